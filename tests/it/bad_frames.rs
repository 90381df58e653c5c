//! Bad WebSocket frames: an error frame with the right code where the socket can go on, a close with
//! the right code where it cannot.

mod binary;

use serde_json::json;
use tidegate_tests::http::Target;
use tidegate_tests::server::Server;
use tidegate_tests::socket::Socket;
use tokio_tungstenite::tungstenite::Message;

/// Frames that are answered by an error frame, and its code; the socket stays.
const ERRORS: [(&str, &str); 34] = [
    ("", "malformed_json"),
    ("{", "malformed_json"),
    ("nonsense", "malformed_json"),
    ("[]", "malformed_json"),
    ("7", "malformed_json"),
    ("null", "malformed_json"),
    ("{}", "invalid_parameter"),
    (r#"{"op":"fly"}"#, "invalid_parameter"),
    (r#"{"op":7}"#, "invalid_parameter"),
    (r#"{"op":"subscribe"}"#, "invalid_parameter"),
    (r#"{"op":"subscribe","id":1}"#, "invalid_parameter"),
    (
        r#"{"op":"subscribe","id":-1,"topic":"t"}"#,
        "invalid_parameter",
    ),
    (
        r#"{"op":"subscribe","id":4294967296,"topic":"t"}"#,
        "invalid_parameter",
    ),
    (r#"{"op":"subscribe","id":1,"topic":"T"}"#, "invalid_name"),
    (
        r#"{"op":"subscribe","id":1,"topic":"../x"}"#,
        "invalid_name",
    ),
    (
        r#"{"op":"subscribe","id":1,"topic":"none"}"#,
        "topic_not_found",
    ),
    (
        r#"{"op":"subscribe","id":1,"topic":"t","partitions":[9]}"#,
        "partition_not_found",
    ),
    (
        r#"{"op":"subscribe","id":1,"topic":"t","from":"soon"}"#,
        "invalid_parameter",
    ),
    (
        r#"{"op":"subscribe","id":1,"topic":"t","cursor":"zzz"}"#,
        "invalid_parameter",
    ),
    (
        r#"{"op":"subscribe","id":1,"topic":"t","colour":"red"}"#,
        "unknown_field",
    ),
    (
        r#"{"op":"subscribe","id":1,"topic":"t","group":"g"}"#,
        "not_supported",
    ),
    (
        r#"{"op":"subscribe","id":1,"topic":"t","filter":"a"}"#,
        "not_supported",
    ),
    (
        r#"{"op":"subscribe","id":1,"topic":"t","on_slow":"dropped"}"#,
        "invalid_parameter",
    ),
    (
        r#"{"op":"subscribe","id":1,"topic":"t","partitions":[0],"from":"99"}"#,
        "offset_out_of_range",
    ),
    (
        r#"{"op":"commit","id":1,"topic":"t","cursor":"x"}"#,
        "not_supported",
    ),
    (
        r#"{"op":"credit","topic":"t","records":5}"#,
        "invalid_parameter",
    ),
    (
        r#"{"op":"unsubscribe","id":1,"topic":"t"}"#,
        "invalid_parameter",
    ),
    (r#"{"op":"pause","id":1,"topic":"t"}"#, "invalid_parameter"),
    (
        r#"{"op":"produce","id":1,"topic":"t"}"#,
        "invalid_parameter",
    ),
    (
        r#"{"op":"produce","id":1,"topic":"t","records":[]}"#,
        "invalid_parameter",
    ),
    (
        r#"{"op":"produce","id":1,"topic":"none","records":[{"value":1}]}"#,
        "topic_not_found",
    ),
    (
        r#"{"op":"produce","id":1,"topic":"t","partition":9,"records":[{"value":1}]}"#,
        "partition_not_found",
    ),
    (
        r#"{"op":"produce","id":1,"topic":"t","acks":"two","records":[{"value":1}]}"#,
        "invalid_parameter",
    ),
    (r#"{"op":"auth","id":1,"token":"wrong"}"#, "unauthenticated"),
];

#[tokio::test]
async fn bad_frames_get_an_error_frame_and_the_socket_stays() {
    let server = Server::start();
    server.create_topic("t", 2).await;
    let mut socket = Socket::open(&server.target(), "/v1/ws")
        .await
        .expect("a socket");
    let mut wrong = Vec::new();
    for (frame, code) in ERRORS {
        socket.send(frame).await.expect("the socket is open");
        let answer = socket.next_of("error").await.expect("an error frame");
        if answer["error"]["code"] != code {
            wrong.push(format!("{frame}: wanted {code}, got {answer}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let good =
        json!({"op": "produce", "id": 7, "topic": "t", "partition": 0, "records": [{"value": 1}]});
    socket
        .send(good.to_string())
        .await
        .expect("the socket is open");
    let ack = socket.next_of("ack").await.expect("the socket still works");
    assert_eq!(ack["id"], 7, "{ack}");
    assert_eq!(
        ack["partitions"][0]["base_offset"], 0,
        "nothing refused was stored: {ack}"
    );
    assert!(!server.log().contains("panicked"), "{}", server.log());
}

#[tokio::test]
async fn messages_that_break_the_protocol_close_the_socket_with_a_reason() {
    let server = Server::start_dev();
    server.create_topic("t", 1).await;
    let huge = format!(r#"{{"op":"{}"}}"#, "x".repeat(5 * 1024 * 1024));
    let cases = [
        (
            "binary in the JSON subprotocol",
            Message::Binary(vec![1, 2, 3].into()),
            3500,
        ),
        ("a message above 4 MiB", Message::Text(huge.into()), 3504),
    ];
    for (name, message, code) in cases {
        let mut socket = Socket::open(&server.target(), "/v1/ws")
            .await
            .expect("a socket");
        // The server may close before all of a huge message is written.
        socket.send_message(message).await.ok();
        let (got, reason) = socket.next_close().await;
        assert_eq!(got, code, "{name}: {reason}");
    }
}

async fn refused(target: &Target, path: &str) -> String {
    Socket::open(target, path)
        .await
        .expect_err("it must be refused")
        .to_string()
}

#[tokio::test]
async fn sockets_are_refused_before_the_upgrade() {
    let server = Server::start();
    server.create_topic("t", 1).await;
    let mut target = server.target();
    let text = refused(&target, "/v1/topics/none/ws").await;
    assert!(text.contains("404"), "{text}");
    let text = refused(&target, "/v1/topics/t/ws?colour=red").await;
    assert!(text.contains("400"), "{text}");
    target.token = Some("wrong".into());
    let text = refused(&target, "/v1/ws").await;
    assert!(text.contains("401"), "{text}");
    target.token = None;
    let text = refused(&target, "/v1/ws").await;
    assert!(text.contains("401"), "{text}");
}

#[tokio::test]
async fn a_ticket_opens_one_socket_and_never_a_second() {
    let server = Server::start();
    server.create_topic("t", 1).await;
    let mut connection = server.connect().await.expect("a connection");
    let wish = r#"{"topics":["t"],"ops":["consume"]}"#;
    let answer = connection
        .post("/v1/ws-tickets", "application/json", wish)
        .await
        .expect("a ticket");
    let ticket = answer.json()["ticket"]
        .as_str()
        .expect("a ticket")
        .to_owned();
    let mut target = server.target();
    target.token = None;
    let origin = target.url.clone();
    let offered = format!("tidegate.v1.json, ticket.{ticket}");
    let headers = [
        ("sec-websocket-protocol", offered.as_str()),
        ("origin", origin.as_str()),
    ];
    let mut socket = Socket::open_with(&target, "/v1/topics/t/ws", &headers)
        .await
        .expect("the first use");
    socket
        .next_of("subscribed")
        .await
        .expect("subscribed at once");
    socket
        .send(r#"{"op":"produce","id":1,"topic":"t","records":[{"value":1}]}"#)
        .await
        .expect("open");
    let error = socket
        .next_of("error")
        .await
        .expect("a ticket to read cannot write");
    assert_eq!(error["error"]["code"], "forbidden", "{error}");
    let second = Socket::open_with(&target, "/v1/topics/t/ws", &headers).await;
    assert!(
        second
            .expect_err("the second use")
            .to_string()
            .contains("401")
    );
}
