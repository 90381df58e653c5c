//! A small HTTP server for tests: a function answers each request, lets it wait, or breaks its
//! connection.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::SinkExt as _;
use http::header::{
    CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, UPGRADE,
};
use http::{Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tidegate_proto::error::{ErrorCode, Problem};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

/// What becomes of one request.
pub(crate) enum Reply {
    Answer(StatusCode, Bytes),
    /// Never answered, as a long poll without news.
    Held,
    /// The connection breaks.
    Broken,
    /// A socket of that subprotocol, on which these are said; then it is held, or breaks.
    Socket(&'static str, Vec<Message>, AfterWords),
}

/// What becomes of a socket on which all was said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AfterWords {
    Hold,
    Break,
}

impl Reply {
    pub(crate) fn ok(body: impl Into<Bytes>) -> Self {
        Self::Answer(StatusCode::OK, body.into())
    }

    pub(crate) fn refusal(code: ErrorCode) -> Self {
        let text = serde_json::to_string(&Problem::new(code, "no")).unwrap();
        Self::Answer(StatusCode::from_u16(code.status()).unwrap(), text.into())
    }
}

/// A running server; ends when dropped.
pub(crate) struct Server {
    pub(crate) url: String,
    pub(crate) tasks: JoinSet<()>,
}

pub(crate) async fn serve(handle: impl Fn(&Uri, Bytes) -> Reply + Send + Sync + 'static) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let handle = Arc::new(handle);
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let handle = handle.clone();
            connections.spawn(async move {
                let service = service_fn(move |request| answer(handle.clone(), request));
                let connection = hyper::server::conn::http1::Builder::new();
                // A connection that is broken on purpose ends with an error.
                let _ = connection
                    .serve_connection(TokioIo::new(stream), service)
                    .with_upgrades()
                    .await;
            });
        }
    });
    Server { url, tasks }
}

#[derive(Debug, thiserror::Error)]
#[error("the answer is lost")]
struct LostAnswer;

async fn answer(
    handle: Arc<impl Fn(&Uri, Bytes) -> Reply>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, LostAnswer> {
    let uri = request.uri().clone();
    if request.headers().contains_key(UPGRADE) {
        return Ok(open_socket(request, handle(&uri, Bytes::new())));
    }
    let body = request.into_body().collect().await;
    let body = body.map_err(|_| LostAnswer)?.to_bytes();
    match handle(&uri, body) {
        Reply::Socket(..) => unreachable!("nobody asked for a socket"),
        Reply::Answer(status, body) => {
            let mut response = Response::new(Full::new(body));
            *response.status_mut() = status;
            Ok(response)
        }
        Reply::Held => std::future::pending().await,
        Reply::Broken => Err(LostAnswer),
    }
}

fn open_socket(mut request: Request<Incoming>, reply: Reply) -> Response<Full<Bytes>> {
    let (subprotocol, words, after) = match reply {
        Reply::Socket(subprotocol, words, after) => (subprotocol, words, after),
        Reply::Answer(status, body) => {
            let mut response = Response::new(Full::new(body));
            *response.status_mut() = status;
            return response;
        }
        Reply::Held | Reply::Broken => unreachable!("a socket is opened or refused"),
    };
    let key = request.headers()[SEC_WEBSOCKET_KEY].as_bytes();
    let accept = derive_accept_key(key);
    let upgraded = hyper::upgrade::on(&mut request);
    // It ends with its connection, which ends with the server.
    #[expect(
        clippy::disallowed_methods,
        reason = "a test's socket needs no supervision"
    )]
    tokio::spawn(async move {
        let Ok(upgraded) = upgraded.await else { return };
        let io = TokioIo::new(upgraded);
        let mut socket = WebSocketStream::from_raw_socket(io, Role::Server, None).await;
        for word in words {
            if socket.send(word).await.is_err() {
                return;
            }
        }
        if after == AfterWords::Hold {
            std::future::pending::<()>().await;
        }
    });
    let response = Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header(CONNECTION, "upgrade")
        .header(UPGRADE, "websocket")
        .header(SEC_WEBSOCKET_ACCEPT, accept)
        .header(SEC_WEBSOCKET_PROTOCOL, subprotocol);
    response.body(Full::default()).unwrap()
}
