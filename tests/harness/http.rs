//! A plain HTTP/1.1 client over TCP or TLS: one connection, requests one after the other.
//!
//! It shares no code with the product's own client, so that both sides of a test cannot agree on the
//! same mistake.

use std::sync::Arc;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Where a server is and how to be let in.
#[derive(Debug, Clone)]
pub struct Target {
    /// `https://127.0.0.1:1234`, without a path.
    pub url: String,
    pub ca_pem: Option<String>,
    pub token: Option<String>,
}

/// A whole answer.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    /// The body as JSON.
    ///
    /// # Panics
    /// When it is not JSON.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error} in {:?}", self.text()))
    }

    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// `code` of a problem, or nothing.
    #[must_use]
    pub fn code(&self) -> Option<String> {
        let body: serde_json::Value = serde_json::from_slice(&self.body).ok()?;
        Some(body.get("code")?.as_str()?.to_owned())
    }

    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// TLS that trusts one authority and speaks HTTP/1.1.
///
/// # Errors
/// When the certificate cannot be read.
pub fn tls_config(ca_pem: &str) -> Result<rustls::ClientConfig> {
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(ca_pem.as_bytes()) {
        roots.add(certificate?)?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider);
    let mut config = builder
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// One connection to a server.
#[derive(Debug)]
pub struct Connection {
    target: Target,
    sender: http1::SendRequest<Full<Bytes>>,
}

impl Connection {
    /// Connects and shakes hands.
    ///
    /// # Errors
    /// When nobody listens or TLS fails.
    pub async fn open(target: &Target) -> Result<Self> {
        let (tls, address) = split_url(&target.url)?;
        let tcp = TcpStream::connect(address).await.context("connect")?;
        tcp.set_nodelay(true)?;
        let sender = if tls {
            let ca = target
                .ca_pem
                .as_deref()
                .context("https without an authority to trust")?;
            let connector = TlsConnector::from(Arc::new(tls_config(ca)?));
            let name = ServerName::try_from("localhost")?;
            handshake(connector.connect(name, tcp).await.context("TLS")?).await?
        } else {
            handshake(tcp).await?
        };
        Ok(Self {
            target: target.clone(),
            sender,
        })
    }

    /// Sends a request with the target's token and reads the whole answer.
    ///
    /// # Errors
    /// When the connection breaks before the answer is complete.
    pub async fn send(
        &mut self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Result<Answer> {
        let mut request = Request::builder().method(method).uri(path);
        let (_, address) = split_url(&self.target.url)?;
        if !headers
            .iter()
            .any(|(name, _)| name.eq_ignore_ascii_case("host"))
        {
            request = request.header("host", address);
        }
        let authorised = headers
            .iter()
            .any(|(name, _)| name.eq_ignore_ascii_case("authorization"));
        if let (Some(token), false) = (&self.target.token, authorised) {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body.into()))?;
        self.sender.ready().await?;
        let answer = self.sender.send_request(request).await?;
        let (head, body) = answer.into_parts();
        let body = body.collect().await?.to_bytes();
        Ok(Answer {
            status: head.status,
            headers: head.headers,
            body,
        })
    }

    /// [`Self::send`] with GET.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub async fn get(&mut self, path: &str) -> Result<Answer> {
        self.send(Method::GET, path, &[], Bytes::new()).await
    }

    /// [`Self::send`] with POST.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub async fn post(&mut self, path: &str, kind: &str, body: impl Into<Bytes>) -> Result<Answer> {
        self.send(Method::POST, path, &[("content-type", kind)], body)
            .await
    }

    /// Sends a request and hands over the answer's body piece by piece (for event streams).
    ///
    /// # Errors
    /// When the connection breaks before the head of the answer.
    pub async fn stream(
        &mut self,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Result<http::Response<hyper::body::Incoming>> {
        let (_, address) = split_url(&self.target.url)?;
        let mut request = Request::builder().uri(path).header("host", address);
        if let Some(token) = &self.target.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.sender.ready().await?;
        Ok(self
            .sender
            .send_request(request.body(Full::new(Bytes::new()))?)
            .await?)
    }
}

async fn handshake<S>(stream: S) -> Result<http1::SendRequest<Full<Bytes>>>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // The task ends with the connection, which ends with its sender.
    #[expect(
        clippy::disallowed_methods,
        reason = "a test's connection needs no supervision"
    )]
    tokio::spawn(connection);
    Ok(sender)
}

/// Whether a URL is TLS, and its `host:port`.
///
/// # Errors
/// When it is neither http nor https.
pub fn split_url(url: &str) -> Result<(bool, &str)> {
    if let Some(address) = url.strip_prefix("https://") {
        return Ok((true, address.trim_end_matches('/')));
    }
    if let Some(address) = url.strip_prefix("http://") {
        return Ok((false, address.trim_end_matches('/')));
    }
    bail!("not a URL of a server: {url}")
}
