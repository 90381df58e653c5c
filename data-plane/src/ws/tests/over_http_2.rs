//! The same sockets over HTTP/2, by the extended CONNECT of RFC 8441.

use std::task::Poll;

use futures_util::FutureExt as _;
use tidegate_kit::tasks::{TaskKind, Tasks};
use tokio::net::TcpStream;

use super::server::{Server, TOKEN, numbers};

#[tokio::test]
async fn http_2_opens_a_socket_by_extended_connect() {
    let server = Server::start().await;
    let text = first_over_http_2(&server, "tidegate.v1.json").await;
    assert!(
        text.contains(r#"{"ev":"subscribed","topic":"orders","partitions":[0,1]"#),
        "{text}"
    );
    let mut producer = server.connect("/v1/ws").await;
    producer.produce(0, &numbers(0..3)).await;
    let text = first_over_http_2(&server, "tidegate.v1.batch").await;
    assert!(text.contains(r#""topic_number":"#), "{text}");
    // A binary frame of less than 126 bytes, of records, of the first topic; then the batch.
    assert!(
        text.contains("\u{1}\u{1}\0\0\0") && text.contains("v2"),
        "{text}"
    );
}

/// What a topic socket says until it has caught up.
async fn first_over_http_2(server: &Server, subprotocol: &'static str) -> String {
    let connection = TcpStream::connect(&server.address).await.unwrap();
    let (mut requests, mut connection) = h2::client::handshake(connection).await.unwrap();
    let tasks = Tasks::new();
    // The server's settings come first: they say that it takes the extended CONNECT.
    while !requests.is_extended_connect_protocol_enabled() {
        std::future::poll_fn(|context| {
            let _ = connection.poll_unpin(context);
            Poll::Ready(())
        })
        .await;
        tokio::task::yield_now().await;
    }
    tasks.spawn(TaskKind::Connection, tracing::Span::none(), connection);
    let request = http::Request::builder()
        .method(http::Method::CONNECT)
        .uri(format!(
            "http://{}/v1/topics/orders/ws?from=earliest",
            server.address
        ))
        .header("sec-websocket-protocol", subprotocol)
        .header("authorization", format!("Bearer {TOKEN}"))
        .header("sec-websocket-version", "13")
        .extension(h2::ext::Protocol::from_static("websocket"))
        .body(())
        .unwrap();
    let (answer, _sender) = requests.send_request(request, false).unwrap();
    let answer = answer.await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["sec-websocket-protocol"], subprotocol);
    let mut body = answer.into_body();
    let mut text = String::new();
    while !text.contains("caught_up") {
        let more = body.data().await.unwrap().unwrap();
        text.push_str(&String::from_utf8_lossy(&more));
    }
    text
}
