//! A connection to one storage unit: TCP, mutual TLS, HTTP/2.
//!
//! The addresses are those that the topology has for peers at that moment, and whoever answers there must
//! be that unit of this cluster. Nobody else is dialled. Each connection is a task and ends with its stage.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, Uri, header};
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls_pki_types::ServerName;
use thiserror::Error;
use tidegate_kit::limits::{
    NODE_CONNECTION_WINDOW_BYTES, NODE_FRAME_BYTES_MAX, NODE_SEND_BUFFER_BYTES,
    NODE_STREAM_WINDOW_BYTES,
};
use tidegate_kit::tasks::{TaskKind, Tasks};
use tidegate_kit::tls::{Expect, NodeTls};
use tidegate_proto::control::{Audience, Topology};
use tidegate_proto::id::SpuId;
use tidegate_proto::private::{FRAMES_MEDIA_TYPE, VERSION_HEADER, VERSIONS};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tracing::Span;

use super::presence::Presence;
use super::{limits, metrics};

/// What requests are made of.
pub(super) type Body = UnsyncBoxBody<Bytes, Infallible>;
/// One connection; clones use the same.
pub(super) type Sender = SendRequest<Body>;

/// Why there is no connection, or no stream on it. Nothing was done.
#[derive(Debug, Clone, Error)]
pub(super) enum DialError {
    /// The topology has no address of the unit for peers.
    #[error("storage unit {0} has told no address for its peers")]
    NoAddress(SpuId),
    /// No address answered.
    #[error("storage unit {spu} cannot be reached at {url}: {reason}")]
    Unreachable {
        /// Which unit.
        spu: SpuId,
        /// The last address that was tried.
        url: String,
        /// What happened there.
        reason: String,
    },
    /// It answered, and not as it should.
    #[error("storage unit {spu} does not open a stream: {reason}")]
    NoStream {
        /// Which unit.
        spu: SpuId,
        /// What it said.
        reason: String,
    },
}

/// The way to one storage unit.
#[derive(Debug, Clone)]
pub(super) struct Dialer {
    pub(super) spu: SpuId,
    pub(super) tls: NodeTls,
    pub(super) topology: watch::Receiver<Arc<Topology>>,
    pub(super) tasks: Tasks,
    /// Learns from every attempt.
    pub(super) presence: Arc<Presence>,
}

impl Dialer {
    /// A new connection, to the first address that answers.
    pub(super) async fn connect(&self) -> Result<Sender, DialError> {
        let outcome = self.connect_to_any().await;
        metrics::connected(outcome.is_ok());
        match &outcome {
            Ok(_) => self.presence.answers(),
            Err(error) => self.presence.fails(&error.to_string()),
        }
        outcome
    }

    async fn connect_to_any(&self) -> Result<Sender, DialError> {
        let urls: Vec<String> = {
            let topology = self.topology.borrow();
            let unit = topology.spu(self.spu);
            let urls = unit.map(|unit| unit.endpoints_for(Audience::Peers).map(str::to_owned));
            urls.into_iter().flatten().collect()
        };
        let mut last = DialError::NoAddress(self.spu);
        for url in urls {
            let reason = match timeout(limits::CONNECT_TIMEOUT, self.connect_to(&url)).await {
                Ok(Ok(sender)) => return Ok(sender),
                Ok(Err(reason)) => reason,
                Err(_) => format!("no answer within {:?}", limits::CONNECT_TIMEOUT),
            };
            last = DialError::Unreachable {
                spu: self.spu,
                url,
                reason,
            };
        }
        Err(last)
    }

    async fn connect_to(&self, url: &str) -> Result<Sender, String> {
        let text = |error: &dyn std::fmt::Display| error.to_string();
        let uri: Uri = url.parse().map_err(|error| text(&error))?;
        let host = uri.host().ok_or("the address has no host")?;
        let host = host
            .trim_start_matches('[')
            .trim_end_matches(']')
            .to_owned();
        let port = uri.port_u16().unwrap_or(443);
        let tcp = TcpStream::connect((host.as_str(), port)).await;
        let tcp = tcp.map_err(|error| text(&error))?;
        tcp.set_nodelay(true).map_err(|error| text(&error))?;
        let config = self.tls.client_config(Expect::spu(self.spu));
        let connector = TlsConnector::from(config.map_err(|error| text(&error))?);
        let name = ServerName::try_from(host).map_err(|error| text(&error))?;
        let stream = connector.connect(name, tcp).await;
        let stream = stream.map_err(|error| text(&error))?;
        let (sender, connection) = Builder::new(Executor(self.tasks.clone()))
            .timer(TokioTimer::new())
            .initial_stream_window_size(NODE_STREAM_WINDOW_BYTES)
            .initial_connection_window_size(NODE_CONNECTION_WINDOW_BYTES)
            .max_frame_size(NODE_FRAME_BYTES_MAX)
            .max_send_buf_size(NODE_SEND_BUFFER_BYTES)
            .keep_alive_interval(limits::PING_INTERVAL)
            .keep_alive_timeout(limits::PING_TIMEOUT)
            .keep_alive_while_idle(true)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| text(&error))?;
        self.tasks
            .spawn(TaskKind::Channel, Span::none(), async move {
                // What is under way on it learns by itself that it broke.
                let _ = connection.await;
            });
        Ok(sender)
    }

    /// Opens a long stream on a connection of its own. What `body` has is sent when the answer's head is
    /// there, if `body` waits for that.
    pub(super) async fn open(&self, path: &str, body: Body) -> Result<Incoming, DialError> {
        let mut sender = self.connect().await?;
        let no_stream = |reason: String| DialError::NoStream {
            spu: self.spu,
            reason,
        };
        let answer = timeout(limits::OPEN_TIMEOUT, send(&mut sender, path, body)).await;
        let answer = answer
            .map_err(|_| no_stream(format!("no answer within {:?}", limits::OPEN_TIMEOUT)))?;
        let answer = answer.map_err(|error| no_stream(error.to_string()))?;
        check(&answer).map_err(no_stream)?;
        Ok(answer.into_body())
    }
}

/// Sends a request of frames.
pub(super) async fn send(
    sender: &mut Sender,
    path: &str,
    body: Body,
) -> Result<Response<Incoming>, hyper::Error> {
    sender.ready().await?;
    let mut request = Request::new(body);
    *request.method_mut() = Method::POST;
    // HTTP/2 wants an authority; nodes do not look at it.
    let uri = Uri::builder()
        .scheme("https")
        .authority("spu")
        .path_and_query(path)
        .build();
    *request.uri_mut() = uri.unwrap_or_default();
    let headers = request.headers_mut();
    let media = HeaderValue::from_static(FRAMES_MEDIA_TYPE);
    headers.insert(header::CONTENT_TYPE, media);
    if let Ok(versions) = HeaderValue::try_from(VERSIONS.to_string()) {
        headers.insert(VERSION_HEADER, versions);
    }
    sender.send_request(request).await
}

/// Whether frames come, in a version that is spoken here.
fn check(answer: &Response<Incoming>) -> Result<(), String> {
    if !answer.status().is_success() {
        return Err(format!("it answers {}", answer.status()));
    }
    let version = answer.headers().get(VERSION_HEADER);
    let version = version.and_then(|value| value.to_str().ok()?.parse().ok());
    match version {
        Some(version) if VERSIONS.contains(version) => Ok(()),
        _ => Err("it speaks another version".to_owned()),
    }
}

/// How long to rest between two looks at something that is waited for elsewhere.
pub(super) fn until(deadline: std::time::Instant) -> Duration {
    deadline.saturating_duration_since(tidegate_kit::clock::monotonic())
}

#[derive(Clone)]
struct Executor(Tasks);

impl<F> hyper::rt::Executor<F> for Executor
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    fn execute(&self, future: F) {
        self.0.spawn(TaskKind::Channel, Span::none(), async move {
            future.await;
        });
    }
}
