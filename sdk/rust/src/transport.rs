//! One HTTP call: URL, TLS, deadline, and what an answer or a failure means.
//!
//! HTTP/1.1 and HTTP/2 by ALPN over pooled connections. A refused connection is told from one that broke
//! under way, because only the first is certain to have had no effect: only then the next of several servers
//! is tried at once. Nothing else is retried here: whether a repeat is safe is known above; it goes to the
//! next server, too.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, HeaderName, HeaderValue};
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client as Pool;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::crypto::CryptoProvider;
use rustls::{ClientConfig as TlsConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use tidegate_proto::error::Problem;

use crate::error::{Error, root_cause, tls_cause};
use crate::limits::{
    ANSWER_BYTES_MAX, CONNECT_TIMEOUT, H2_CONNECTION_WINDOW_BYTES, H2_FRAME_BYTES, H2_KEEP_ALIVE,
    H2_STREAM_WINDOW_BYTES,
};

/// A request, without what is the same for all of them.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) method: Method,
    /// From `/v1` on, with the query.
    pub(crate) path: String,
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    pub(crate) body: Bytes,
    pub(crate) timeout: Duration,
}

/// A successful answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

pub(crate) type Connector = HttpsConnector<HttpConnector>;

pub(crate) struct Transport {
    pool: Pool<Connector, Full<Bytes>>,
    /// HTTP/1.1 alone, which sockets are opened by.
    pub(crate) connector: Connector,
    /// Of one Tidegate, at least one; `current` is the place of the one that is spoken to.
    bases: Vec<String>,
    current: AtomicUsize,
    pub(crate) authorization: Option<HeaderValue>,
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transport")
            .field("bases", &self.bases)
            .finish_non_exhaustive()
    }
}

impl Transport {
    /// `urls` are scheme and authority, of servers that do the same; `ca_pem` the only trust root when given.
    pub(crate) fn new(
        urls: &[&str],
        ca_pem: Option<&[u8]>,
        token: Option<&str>,
        http1_only: bool,
    ) -> Result<Self, Error> {
        let bases = urls.iter().map(|url| base_url(url));
        let bases = bases.collect::<Result<Vec<_>, _>>()?;
        let tls = tls_config(&bases, ca_pem)?;
        let authorization = token.map(bearer).transpose()?;

        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
        let builder = HttpsConnectorBuilder::new()
            .with_tls_config(tls.clone())
            .https_or_http();
        let for_sockets = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp.clone());
        let connector = if http1_only {
            builder.enable_http1().wrap_connector(tcp)
        } else {
            builder.enable_all_versions().wrap_connector(tcp)
        };
        let pool = Pool::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .http2_initial_stream_window_size(H2_STREAM_WINDOW_BYTES)
            .http2_initial_connection_window_size(H2_CONNECTION_WINDOW_BYTES)
            .http2_max_frame_size(H2_FRAME_BYTES)
            .http2_keep_alive_interval(H2_KEEP_ALIVE)
            .build(connector);
        Ok(Self {
            pool,
            connector: for_sockets,
            bases,
            current: AtomicUsize::new(0),
            authorization,
        })
    }

    /// The servers, from the one that is spoken to on, with their places.
    pub(crate) fn servers(&self) -> impl Iterator<Item = (usize, &str)> {
        let (count, current) = (self.bases.len(), self.current.load(Ordering::Relaxed));
        let places = (0..count).map(move |step| (current + step) % count);
        places.map(|place| (place, self.bases[place].as_str()))
    }

    /// Speaks to that one from now on.
    pub(crate) fn prefer(&self, place: usize) {
        self.current.store(place, Ordering::Relaxed);
    }

    /// Whatever comes next goes to another one than that: it may be about to go.
    pub(crate) fn avoid(&self, place: usize) {
        self.prefer((place + 1) % self.bases.len());
    }

    /// Sends one request and reads the whole answer. Statuses from 400 on become `Error::Problem`.
    pub(crate) async fn call(&self, call: Call) -> Result<Answer, Error> {
        let named = format!("{} {}", call.method, call.path);
        let timeout = call.timeout;
        match tokio::time::timeout(timeout, self.exchange(call, &named)).await {
            Ok(outcome) => outcome,
            Err(_) => {
                self.avoid(self.current.load(Ordering::Relaxed));
                Err(Error::Timeout {
                    request: named,
                    after_ms: u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX),
                })
            }
        }
    }

    async fn exchange(&self, call: Call, named: &str) -> Result<Answer, Error> {
        self.exchange_up_to(ANSWER_BYTES_MAX, call, named).await
    }

    /// The same for an answer of at most `bytes_max`, however long it takes.
    pub(crate) async fn exchange_up_to(
        &self,
        bytes_max: usize,
        call: Call,
        named: &str,
    ) -> Result<Answer, Error> {
        let (place, response) = self.first_answer(&call, named).await?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, bytes_max)
            .collect()
            .await
            .map_err(|error| {
                self.avoid(place);
                Error::Transport {
                    request: named.to_owned(),
                    reason: root_cause(error.as_ref()),
                }
            })?;
        let answer = Answer {
            status: head.status,
            headers: head.headers,
            body: body.to_bytes(),
        };
        if answer.status.as_u16() < 400 {
            Ok(answer)
        } else {
            Err(refusal(&answer, named))
        }
    }

    /// The answer of the first server that takes connections, and its place.
    async fn first_answer(
        &self,
        call: &Call,
        named: &str,
    ) -> Result<(usize, Response<Incoming>), Error> {
        let mut refused = None;
        for (place, base) in self.servers() {
            let sent = self.pool.request(self.request(call, base)?).await;
            let error = match sent {
                Ok(response) => {
                    // The others were away just now.
                    if refused.is_some() {
                        self.prefer(place);
                    }
                    return Ok((place, response));
                }
                Err(error) => send_error(&error, base, named),
            };
            match error {
                Error::Connect { .. } => refused = Some(refused.unwrap_or(error)),
                error => {
                    self.avoid(place);
                    return Err(error);
                }
            }
        }
        Err(match refused {
            Some(Error::Connect { reason, .. }) => Error::Connect {
                url: self.bases.join(" or "),
                reason,
            },
            other => other.unwrap_or(Error::Closed),
        })
    }

    fn request(&self, call: &Call, base: &str) -> Result<Request<Full<Bytes>>, Error> {
        let mut request = Request::new(Full::new(call.body.clone()));
        *request.method_mut() = call.method.clone();
        *request.uri_mut() = format!("{base}{}", call.path).parse().map_err(|error| {
            Error::Config(format!("not a request path: {}: {error}", call.path))
        })?;
        let headers = request.headers_mut();
        headers.extend(call.headers.iter().cloned());
        if let Some(value) = &self.authorization {
            headers.insert(AUTHORIZATION, value.clone());
        }
        Ok(request)
    }
}

fn send_error(error: &hyper_util::client::legacy::Error, base: &str, named: &str) -> Error {
    let url = base.to_owned();
    if let Some(reason) = tls_cause(error) {
        return Error::Tls { url, reason };
    }
    let reason = root_cause(error);
    if error.is_connect() {
        return Error::Connect { url, reason };
    }
    Error::Transport {
        request: named.to_owned(),
        reason,
    }
}

pub(crate) fn refusal(answer: &Answer, named: &str) -> Error {
    match serde_json::from_slice::<Problem>(&answer.body) {
        Ok(problem) => Error::Problem(Box::new(problem)),
        Err(_) => Error::Protocol {
            request: named.to_owned(),
            reason: format!(
                "status {} without a problem object; is there a proxy in between? The answer \
                 begins: {}",
                answer.status,
                String::from_utf8_lossy(&answer.body[..answer.body.len().min(200)]).escape_debug()
            ),
        },
    }
}

/// Scheme and authority, without a trailing slash.
fn base_url(url: &str) -> Result<String, Error> {
    let complain = |why: &str| {
        Error::Config(format!(
            "{url:?} is not a Tidegate URL: {why}; try https://127.0.0.1:8443"
        ))
    };
    let uri: Uri = url.parse().map_err(|_| complain("it cannot be read"))?;
    match uri.scheme_str() {
        Some("http" | "https") => {}
        Some(_) => return Err(complain("only http and https are served")),
        None => return Err(complain("the scheme is missing")),
    }
    if uri
        .authority()
        .is_none_or(|authority| authority.host().is_empty())
    {
        return Err(complain("the host is missing"));
    }
    if uri.query().is_some() {
        return Err(complain("it has a query"));
    }
    Ok(url.trim_end_matches('/').to_owned())
}

fn bearer(token: &str) -> Result<HeaderValue, Error> {
    let mut value = HeaderValue::from_str(&format!("Bearer {}", token.trim()))
        .map_err(|_| Error::Config("the token has characters that no token has".to_owned()))?;
    value.set_sensitive(true);
    Ok(value)
}

fn tls_config(bases: &[String], ca_pem: Option<&[u8]>) -> Result<TlsConfig, Error> {
    let provider: Arc<CryptoProvider> = Arc::new(rustls::crypto::ring::default_provider());
    let builder = TlsConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::Config(format!("TLS cannot be set up: {error}")))?;
    if let Some(pem) = ca_pem {
        return Ok(builder
            .with_root_certificates(roots(pem)?)
            .with_no_client_auth());
    }
    if !bases.iter().any(|base| base.starts_with("https:")) {
        return Ok(builder
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth());
    }
    use hyper_rustls::ConfigBuilderExt;
    let builder = builder.with_native_roots().map_err(|error| {
        Error::Config(format!(
            "no CA was given and this machine has no trusted ones: {error}"
        ))
    })?;
    Ok(builder.with_no_client_auth())
}

fn roots(pem: &[u8]) -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate
            .map_err(|error| Error::Config(format!("the CA is not a PEM certificate: {error}")))?;
        roots
            .add(certificate)
            .map_err(|error| Error::Config(format!("the CA certificate is refused: {error}")))?;
    }
    if roots.is_empty() {
        return Err(Error::Config("the CA file holds no certificate".to_owned()));
    }
    Ok(roots)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{self, Reply};

    /// Where nobody listens: a port of which another socket keeps the system from giving it away.
    fn nobody() -> (std::net::UdpSocket, String) {
        let held = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = held.local_addr().unwrap().port();
        (held, format!("http://127.0.0.1:{port}"))
    }

    fn post() -> Call {
        Call {
            method: Method::POST,
            path: "/v1/x".to_owned(),
            headers: Vec::new(),
            body: Bytes::from_static(b"once"),
            timeout: Duration::from_secs(20),
        }
    }

    #[tokio::test]
    async fn what_was_not_sent_goes_to_the_next_server_and_what_may_have_been_does_not() {
        let (_held, away) = nobody();
        let (seen, mut asked) = tokio::sync::mpsc::channel(8);
        let breaking = testing::serve(move |_, body| {
            seen.try_send(body).unwrap();
            Reply::Broken
        });
        let breaking = breaking.await;
        let good = testing::serve(|_, body| Reply::ok(body)).await;
        let urls = [away.as_str(), &breaking.url, &good.url];
        let transport = Transport::new(&urls, None, None, true).unwrap();
        let broken = transport.call(post()).await.unwrap_err();
        assert!(matches!(broken, Error::Transport { .. }), "{broken}");
        assert_eq!(asked.try_recv().unwrap(), "once");
        // The next one goes elsewhere.
        assert_eq!(transport.call(post()).await.unwrap().body, "once");
        assert!(asked.try_recv().is_err());
        let transport = Transport::new(&[&away, &away], None, None, true).unwrap();
        let refused = transport.call(post()).await.unwrap_err().to_string();
        assert!(refused.contains(&format!("{away} or {away}")), "{refused}");
    }

    #[test]
    fn base_urls_lose_their_slash_and_keep_their_port() {
        assert_eq!(
            base_url("https://a.example:8443/").unwrap(),
            "https://a.example:8443"
        );
        assert_eq!(base_url("http://[::1]:80").unwrap(), "http://[::1]:80");
    }

    #[test]
    fn what_is_no_base_url_is_refused_with_a_reason() {
        for (url, reason) in [
            ("127.0.0.1:8443", "Tidegate URL"),
            ("ftp://x", "only http and https"),
            ("https://x/?a=b", "query"),
            ("", "Tidegate URL"),
        ] {
            let error = base_url(url).unwrap_err().to_string();
            assert!(error.contains(reason), "{url}: {error}");
        }
    }

    #[test]
    fn tokens_are_marked_sensitive_and_line_ends_are_trimmed() {
        let value = bearer("abc\n").unwrap();
        assert!(value.is_sensitive());
        assert_eq!(value, "Bearer abc");
        assert!(bearer("a\nb").is_err());
    }

    #[test]
    fn an_empty_ca_file_is_an_error_not_an_empty_trust_store() {
        assert!(matches!(roots(b""), Err(Error::Config(_))));
    }
}
