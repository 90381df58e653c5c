//! One WebSocket: opened with the client's authority and token, read message by message.
//!
//! What the messages say is not known here. Nothing is retried. Invariant: a refusal before the upgrade is
//! told apart from a connection that broke, because only the first says something about the server.

use std::fmt;

use bytes::Bytes;
use futures_util::{FutureExt as _, StreamExt as _};
use http::header::{AUTHORIZATION, HeaderValue, SEC_WEBSOCKET_PROTOCOL};
use http::{Request, Uri};
use hyper_rustls::MaybeHttpsStream;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error as SocketError, Message};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};
use tower::Service as _;

use crate::error::{Error, root_cause, tls_cause};
use crate::limits::{
    REQUEST_TIMEOUT_DEFAULT, SOCKET_MESSAGE_BYTES_MAX, SOCKET_READ_BYTES, SOCKET_SILENCE_MAX,
};
use crate::transport::{Answer, Transport, refusal};

type Stream = TokioIo<MaybeHttpsStream<TokioIo<TcpStream>>>;

/// An open socket.
pub(crate) struct Socket {
    stream: WebSocketStream<Stream>,
    path: String,
}

/// Why there is no socket.
#[derive(Debug)]
pub(crate) enum NotOpened {
    /// The server, or something in between, answers but opens no such socket.
    Refused,
    /// Nobody knows.
    Failed(Error),
}

/// What comes out of a socket.
#[derive(Debug)]
pub(crate) enum Said {
    Text(String),
    Binary(Bytes),
    /// It is over, with this code and reason.
    Closed(u16, String),
}

impl Socket {
    /// Opens `path`; only a server that speaks `subprotocol` will do.
    pub(crate) async fn open(
        transport: &Transport,
        path: &str,
        subprotocol: &'static str,
    ) -> Result<Self, NotOpened> {
        let opening = open(transport, path, subprotocol);
        match tokio::time::timeout(REQUEST_TIMEOUT_DEFAULT, opening).await {
            Ok(outcome) => outcome,
            Err(_) => Err(NotOpened::Failed(timeout(path, REQUEST_TIMEOUT_DEFAULT))),
        }
    }

    /// The next message; pings are answered on the way.
    pub(crate) async fn next(&mut self) -> Result<Said, Error> {
        loop {
            let next = tokio::time::timeout(SOCKET_SILENCE_MAX, self.stream.next()).await;
            let message = next.map_err(|_| timeout(&self.path, SOCKET_SILENCE_MAX))?;
            if let Some(said) = self.understood(message)? {
                return Ok(said);
            }
        }
    }

    /// A message that is here already.
    pub(crate) fn next_now(&mut self) -> Result<Option<Said>, Error> {
        while let Some(message) = self.stream.next().now_or_never() {
            if let Some(said) = self.understood(message)? {
                return Ok(Some(said));
            }
        }
        Ok(None)
    }

    fn understood(
        &self,
        message: Option<Result<Message, SocketError>>,
    ) -> Result<Option<Said>, Error> {
        let broken = |reason: String| Error::Transport {
            request: self.path.clone(),
            reason,
        };
        match message {
            Some(Ok(Message::Text(text))) => Ok(Some(Said::Text(text.as_str().to_owned()))),
            Some(Ok(Message::Binary(bytes))) => Ok(Some(Said::Binary(bytes))),
            Some(Ok(Message::Close(frame))) => {
                let (code, reason) = frame.map_or((1005, String::new()), |frame| {
                    (frame.code.into(), frame.reason.as_str().to_owned())
                });
                Ok(Some(Said::Closed(code, reason)))
            }
            Some(Ok(_)) => Ok(None),
            Some(Err(error)) => Err(broken(root_cause(&error))),
            None => Err(broken("it ended without a close".to_owned())),
        }
    }
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

fn timeout(path: &str, after: std::time::Duration) -> Error {
    Error::Timeout {
        request: path.to_owned(),
        after_ms: u64::try_from(after.as_millis()).unwrap_or(u64::MAX),
    }
}

async fn open(
    transport: &Transport,
    path: &str,
    subprotocol: &'static str,
) -> Result<Socket, NotOpened> {
    let (request, stream) = connect(transport, path, subprotocol).await?;
    let limits = WebSocketConfig::default()
        .read_buffer_size(SOCKET_READ_BYTES)
        .max_message_size(Some(SOCKET_MESSAGE_BYTES_MAX))
        .max_frame_size(Some(SOCKET_MESSAGE_BYTES_MAX));
    let opened = client_async_with_config(request, TokioIo::new(stream), Some(limits)).await;
    match opened {
        Ok((stream, _)) => Ok(Socket {
            stream,
            path: path.to_owned(),
        }),
        Err(error) => Err(not_opened(error, path)),
    }
}

/// A stream to the first server that takes connections, and the request for an upgrade there.
async fn connect(
    transport: &Transport,
    path: &str,
    subprotocol: &'static str,
) -> Result<(Request<()>, MaybeHttpsStream<TokioIo<TcpStream>>), NotOpened> {
    let mut connector = transport.connector.clone();
    let mut refused = NotOpened::Failed(Error::Closed);
    for (place, base) in transport.servers() {
        let (request, uri) = asked(transport, base, path, subprotocol)?;
        let error = match connector.call(uri).await {
            Ok(stream) => {
                transport.prefer(place);
                return Ok((request, stream));
            }
            Err(error) => error,
        };
        let url = base.to_owned();
        refused = NotOpened::Failed(match tls_cause(error.as_ref()) {
            Some(reason) => return Err(NotOpened::Failed(Error::Tls { url, reason })),
            None => Error::Connect {
                url,
                reason: root_cause(error.as_ref()),
            },
        });
    }
    Err(refused)
}

fn asked(
    transport: &Transport,
    base: &str,
    path: &str,
    subprotocol: &'static str,
) -> Result<(Request<()>, Uri), NotOpened> {
    let config = |what: String| NotOpened::Failed(Error::Config(what));
    let url = format!("{base}{path}");
    let uri = url.parse::<Uri>();
    let uri = uri.map_err(|error| config(format!("not a request path: {path}: {error}")))?;
    // The scheme of sockets is that of requests with other letters.
    let mut request = format!("ws{}", url.trim_start_matches("http"))
        .into_client_request()
        .map_err(|error| config(format!("not a socket's URL: {url}: {error}")))?;
    let headers = request.headers_mut();
    headers.insert(
        SEC_WEBSOCKET_PROTOCOL,
        HeaderValue::from_static(subprotocol),
    );
    if let Some(value) = &transport.authorization {
        headers.insert(AUTHORIZATION, value.clone());
    }
    Ok((request, uri))
}

fn not_opened(error: SocketError, path: &str) -> NotOpened {
    match error {
        SocketError::Http(response) => {
            let (head, body) = response.into_parts();
            let answer = Answer {
                status: head.status,
                headers: head.headers,
                body: Bytes::from(body.unwrap_or_default()),
            };
            match refusal(&answer, path) {
                error if error.is_retryable() => NotOpened::Failed(error),
                _ => NotOpened::Refused,
            }
        }
        SocketError::Io(error) => NotOpened::Failed(Error::Transport {
            request: path.to_owned(),
            reason: root_cause(&error),
        }),
        // No subprotocol of ours, or no answer to an upgrade at all.
        _ => NotOpened::Refused,
    }
}
