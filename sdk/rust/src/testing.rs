//! A small HTTP server for tests: a function answers each request, lets it wait, or breaks its
//! connection.

use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tidegate_proto::error::{ErrorCode, Problem};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// What becomes of one request.
pub(crate) enum Reply {
    Answer(StatusCode, Bytes),
    /// Never answered, as a long poll without news.
    Held,
    /// The connection breaks.
    Broken,
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
    let body = request.into_body().collect().await;
    let body = body.map_err(|_| LostAnswer)?.to_bytes();
    match handle(&uri, body) {
        Reply::Answer(status, body) => {
            let mut response = Response::new(Full::new(body));
            *response.status_mut() = status;
            Ok(response)
        }
        Reply::Held => std::future::pending().await,
        Reply::Broken => Err(LostAnswer),
    }
}
