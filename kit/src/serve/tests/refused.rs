//! Bodies that are refused before their end: the answer arrives, whatever the client does first.

use axum::routing::post;
use http_body_util::Full;
use tidegate_proto::error::{ErrorCode, Problem};

use super::*;
use crate::http::{ApiError, EdgeConfig, edge, read_body};
use crate::limits::BODY_DISCARD_BYTES_MAX;

const MIB: usize = 1024 * 1024;
const LIMIT_BYTES: usize = 32 * MIB;

async fn limited(body: Body) -> Result<String, ApiError> {
    Ok(read_body(body, LIMIT_BYTES).await?.len().to_string())
}

async fn unread() -> ApiError {
    ApiError::new(ErrorCode::TopicNotFound, "nobody reads this body")
}

fn start() -> Listening {
    let routes = Router::new()
        .route("/limited", post(limited))
        .route("/unread", post(unread));
    let router = edge(routes, EdgeConfig::default());
    listen(router, None, ServeLimits::default())
}

/// One answer with a `Content-Length`.
async fn read_answer(stream: &mut TcpStream) -> (String, Vec<u8>) {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let head = head.to_ascii_lowercase();
            let (_, rest) = head.split_once("content-length: ").expect("a length");
            let length: usize = rest.lines().next().unwrap().parse().unwrap();
            if body.len() >= length {
                return (head, body.as_bytes().to_vec());
            }
        }
        let read = timeout(PATIENCE, stream.read_buf(&mut bytes)).await;
        assert_ne!(read.unwrap().unwrap(), 0, "closed after {text:?}");
    }
}

fn announced(path: &str, body_bytes: usize, more: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nhost: a\r\ncontent-length: {body_bytes}\r\n{more}\r\n")
}

fn chunked(path: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n")
}

#[tokio::test]
async fn a_client_that_writes_all_before_it_reads_gets_its_answer_every_time() {
    let server = start();
    let body = vec![b'x'; 33 * MIB];
    let mut stream = connect(server.address).await;
    for round in 0..6 {
        let (path, code) = [
            ("/limited", ErrorCode::TooLarge),
            ("/unread", ErrorCode::TopicNotFound),
        ][round % 2];
        if round < 3 {
            let head = announced(path, body.len(), "");
            stream.write_all(head.as_bytes()).await.unwrap();
            stream.write_all(&body).await.expect("the body is taken");
        } else {
            stream.write_all(chunked(path).as_bytes()).await.unwrap();
            for part in body.chunks(MIB) {
                let size = format!("{:x}\r\n", part.len());
                stream.write_all(size.as_bytes()).await.unwrap();
                stream.write_all(part).await.expect("the body is taken");
                stream.write_all(b"\r\n").await.unwrap();
            }
            stream.write_all(b"0\r\n\r\n").await.unwrap();
        }
        let (head, answer) = read_answer(&mut stream).await;
        let problem: Problem = serde_json::from_slice(&answer).unwrap();
        assert_eq!(problem.code(), code, "round {round}: {head}");
    }
    // And the same connection takes a body that is not refused.
    let request = announced("/limited", 5, "") + "12345";
    stream.write_all(request.as_bytes()).await.unwrap();
    assert_eq!(read_answer(&mut stream).await.1, b"5");
}

#[tokio::test]
async fn a_body_that_waits_to_be_asked_for_is_not_asked_for() {
    let server = start();
    let mut stream = connect(server.address).await;
    let head = announced("/limited", 33 * MIB, "expect: 100-continue\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let (head, _) = read_answer(&mut stream).await;
    assert!(head.starts_with("http/1.1 413"), "{head}");
    until_closed(&mut stream).await;
}

#[tokio::test]
async fn what_is_thrown_away_has_a_limit() {
    let server = start();
    let mut stream = connect(server.address).await;
    let head = announced("/unread", 100 * BODY_DISCARD_BYTES_MAX, "");
    stream.write_all(head.as_bytes()).await.unwrap();
    let (head, _) = read_answer(&mut stream).await;
    assert!(head.starts_with("http/1.1 404"), "{head}");
    let part = vec![b'x'; MIB];
    let mut taken_bytes = 0;
    while stream.write_all(&part).await.is_ok() {
        taken_bytes += part.len();
        assert!(taken_bytes < 2 * BODY_DISCARD_BYTES_MAX, "never ends");
    }
    assert!(taken_bytes + MIB >= BODY_DISCARD_BYTES_MAX);
}

#[tokio::test]
async fn a_client_that_reads_while_it_writes_goes_on_with_its_connection() {
    let server = start();
    let io = TokioIo::new(connect(server.address).await);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
    let tasks = Tasks::new();
    tasks.spawn(TaskKind::Connection, tracing::Span::none(), connection);
    let (large, small) = (Bytes::from(vec![b'x'; 33 * MIB]), Bytes::from("12345"));
    for round in 0..10 {
        for (path, body, status) in [
            ("/unread", &large, 404),
            ("/limited", &small, 200),
            ("/limited", &large, 413),
            ("/unread", &small, 404),
        ] {
            let request = Request::post(path).header("host", "a");
            let request = request.body(Full::new(body.clone())).unwrap();
            let ready = timeout(PATIENCE, sender.ready()).await;
            ready.expect("still writes").unwrap();
            let answer = timeout(PATIENCE, sender.send_request(request)).await;
            let answer = answer.expect("no answer").unwrap();
            assert_eq!(answer.status(), status, "round {round}");
            answer.into_body().collect().await.unwrap();
        }
    }
}
