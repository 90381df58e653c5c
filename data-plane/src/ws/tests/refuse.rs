//! What is refused: before the upgrade, as a frame, by closing.

use futures_util::SinkExt as _;
use http::header::AUTHORIZATION;
use http::{Method, Request};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tidegate_proto::limits::WS_MESSAGE_BYTES_MAX;
use tokio_tungstenite::tungstenite::{Bytes, Message};
use tower::ServiceExt as _;

use super::server::{Client, Server, TOKEN};

/// Per line: the code of the refusal, the pointer in it or `-`, the message.
const BAD_MESSAGES: &str = r#"malformed_json - hello
malformed_json - {
malformed_json - []
malformed_json - null
malformed_json - "subscribe"
malformed_json - 7
malformed_json - {"op":"pause","topic":"orders"}{
malformed_json - {"op":"pause","op":"resume","topic":"orders"}
malformed_json - {"a":1,"b":1,"c":1,"d":1,"e":1,"f":1,"g":1,"h":1,"i":1,"j":1,"k":1,"l":1,"m":1,"n":1,"o":1,"p":1,"q":1}
invalid_parameter /op {}
invalid_parameter /op {"id":3}
invalid_parameter /op {"op":null}
invalid_parameter /op {"op":7}
invalid_parameter /op {"op":"Subscribe","topic":"orders"}
invalid_parameter /op {"op":"nonsense"}
invalid_parameter /id {"op":"pause","id":-1,"topic":"orders"}
invalid_parameter /id {"op":"pause","id":4294967296,"topic":"orders"}
invalid_parameter /id {"op":"pause","id":"7","topic":"orders"}
invalid_parameter /topic {"op":"subscribe"}
invalid_parameter /topic {"op":"subscribe","topic":7}
invalid_name /topic {"op":"subscribe","topic":"No Name"}
invalid_name /topic {"op":"subscribe","topic":"../etc"}
invalid_name /topic {"op":"subscribe","topic":""}
unknown_field /form {"op":"subscribe","topic":"orders","form":1}
invalid_parameter /from {"op":"subscribe","topic":"orders","from":"yesterday"}
invalid_parameter /from {"op":"subscribe","topic":"orders","from":true}
invalid_parameter /from {"op":"subscribe","topic":"orders","from":"@"}
invalid_parameter /from {"op":"subscribe","topic":"orders","from":1.5}
invalid_parameter - {"op":"subscribe","topic":"orders","from":5}
offset_out_of_range - {"op":"subscribe","topic":"orders","partitions":[0],"from":5}
invalid_parameter - {"op":"subscribe","topic":"orders","cursor":"nonsense"}
invalid_parameter /cursor {"op":"subscribe","topic":"orders","cursor":[]}
invalid_parameter /cursor {"op":"subscribe","topic":"orders","cursor":"a","from":"latest"}
invalid_parameter /partitions {"op":"subscribe","topic":"orders","partitions":[]}
partition_not_found - {"op":"subscribe","topic":"orders","partitions":[2]}
invalid_parameter /partitions {"op":"subscribe","topic":"orders","partitions":"all"}
invalid_parameter /partitions {"op":"subscribe","topic":"orders","partitions":[-1]}
unknown_field /credit {"op":"subscribe","topic":"orders","credit":{"record":5}}
invalid_parameter /credit {"op":"subscribe","topic":"orders","credit":{"records":-5}}
not_supported /group {"op":"subscribe","topic":"orders","group":"g"}
invalid_parameter /codecs {"op":"subscribe","topic":"orders","codecs":["zstd"]}
invalid_parameter /codecs {"op":"subscribe","topic":"orders","codecs":["brotli"]}
invalid_parameter /codecs {"op":"subscribe","topic":"orders","codecs":"zstd"}
not_supported /filter {"op":"subscribe","topic":"orders","filter":"x"}
invalid_parameter /on_slow {"op":"subscribe","topic":"orders","on_slow":"panic"}
topic_not_found - {"op":"subscribe","topic":"nowhere"}
not_supported /op {"op":"commit","topic":"orders"}
invalid_parameter /records {"op":"credit","topic":"orders"}
invalid_parameter /topic {"op":"credit","topic":"orders","records":1}
invalid_parameter /from {"op":"seek","topic":"orders"}
invalid_parameter /topic {"op":"unsubscribe","topic":"orders"}
unauthenticated - {"op":"auth","token":"wrong"}
invalid_parameter - {"op":"produce","topic":"orders"}
invalid_parameter - {"op":"produce","topic":"orders","records":{}}
invalid_parameter - {"op":"produce","topic":"orders","records":[]}
invalid_parameter - {"op":"produce","topic":"orders","records":[7]}
unknown_field - {"op":"produce","topic":"orders","records":[{"valve":1}]}
invalid_parameter - {"op":"produce","topic":"orders","acks":"all","records":[{"value":1}]}
partition_not_found - {"op":"produce","topic":"orders","partition":9,"records":[{"value":1}]}
invalid_parameter - {"op":"produce","topic":"orders","timeout_ms":0,"records":[{"value":1}]}
invalid_parameter - {"op":"produce","topic":"orders","timeout_ms":99999999,"records":[{"value":1}]}
topic_not_found - {"op":"produce","topic":"nowhere","records":[{"value":1}]}
forbidden - {"op":"produce","topic":"__groups","records":[{"value":1}]}
unknown_field - {"op":"produce","topic":"orders","value":1,"records":[{"value":1}]}
invalid_parameter - {"op":"produce","topic":"orders","records":[{"value":1,"value_base64":"AA=="}]}"#;

#[tokio::test]
async fn bad_messages_get_an_error_frame_and_the_socket_stays() {
    let server = Server::start().await;
    let mut client = server.connect("/v1/ws").await;
    for blank in ["", " "] {
        client.say_text(blank).await;
        assert_eq!(
            client.frame_of("error").await["error"]["code"],
            "malformed_json"
        );
    }
    for line in BAD_MESSAGES.lines() {
        let mut columns = line.splitn(3, ' ');
        let [code, pointer, message] = [(); 3].map(|()| columns.next().unwrap());
        client.say_text(message).await;
        let frame = client.frame_of("error").await;
        assert_eq!(frame["error"]["code"], code, "{message} -> {frame}");
        let is_named = pointer == "-" || frame.to_string().contains(&format!("\"{pointer}\""));
        assert!(is_named, "{message} -> {frame}");
    }
    client.produce(0, &["still here".to_owned()]).await;
}

#[tokio::test]
async fn an_error_frame_repeats_the_id_of_what_it_answers() {
    let server = Server::start().await;
    let mut client = server.connect("/v1/ws").await;
    for op in [
        "nonsense",
        "subscribe",
        "pause",
        "produce",
        "auth",
        "commit",
    ] {
        client
            .say(json!({"id": 41, "op": op, "topic": "nowhere", "token": "x"}))
            .await;
        assert_eq!(client.frame_of("error").await["id"], 41, "{op}");
    }
}

#[tokio::test]
async fn binary_messages_close_with_3500() {
    let server = Server::start().await;
    let mut client = server.connect("/v1/ws").await;
    client
        .socket
        .send(Message::Binary(Bytes::from_static(b"\x01")))
        .await
        .unwrap();
    assert_eq!(client.closed().await, (3500, "protocol".to_owned()));
}

#[tokio::test]
async fn a_message_above_the_limit_closes_with_3504() {
    let server = Server::start().await;
    let mut client = server.connect("/v1/ws").await;
    let large = "x".repeat(WS_MESSAGE_BYTES_MAX + 1);
    // The server stops reading, so the end of the message may not get through.
    let _ = client.socket.send(Message::text(large)).await;
    assert_eq!(client.closed().await, (3504, "too_large".to_owned()));
    server
        .connect("/v1/ws")
        .await
        .produce(0, &["fine".to_owned()])
        .await;
}

/// Per line: status, code, who asks, path.
const REFUSED: &str = "401 unauthenticated nobody /v1/ws
401 unauthenticated stranger /v1/ws
401 unauthenticated basic /v1/ws
401 unauthenticated twice /v1/ws
401 unauthenticated nobody /v1/topics/nowhere/ws
401 unauthenticated ticket /v1/ws
403 forbidden page /v1/ws
400 unknown_field good /v1/topics/orders/ws?codecs=zstd
400 invalid_parameter batch /v1/topics/orders/ws?codecs=brotli
400 invalid_parameter batch /v1/topics/orders/ws?codecs=
400 unknown_field good /v1/ws?topic=orders
400 unknown_field good /v1/topics/orders/ws?form=1
400 invalid_parameter good /v1/topics/orders/ws?from=never
400 invalid_parameter good /v1/topics/orders/ws?from=5
416 offset_out_of_range good /v1/topics/orders/ws?from=5&partitions=0
400 invalid_parameter good /v1/topics/orders/ws?partitions=a
400 invalid_parameter good /v1/topics/orders/ws?cursor=x
400 invalid_parameter good /v1/topics/orders/ws?from=1&cursor=x
404 partition_not_found good /v1/topics/orders/ws?partitions=7
404 topic_not_found good /v1/topics/nowhere/ws
400 invalid_name good /v1/topics/No%20Name/ws
400 invalid_parameter good /v1/topics/%ff/ws
401 unauthenticated nobody /v1/topics/%ff/ws
501 not_supported good /v1/topics/orders/ws?filter=x";

#[tokio::test]
async fn refusals_before_the_upgrade_have_a_status_and_a_code() {
    let server = Server::start().await;
    let bearer = format!("Bearer {TOKEN}");
    let good = ("authorization", bearer.as_str());
    let ticket = ("sec-websocket-protocol", "tidegate.v1.json, ticket.unknown");
    for line in REFUSED.lines() {
        let mut columns = line.split(' ');
        let [status, code, who, path] = [(); 4].map(|()| columns.next().unwrap());
        let headers: &[(&str, &str)] = match who {
            "nobody" => &[],
            "stranger" => &[("authorization", "Bearer wrong")],
            "basic" => &[("authorization", "Basic abc")],
            "twice" => &[good, good],
            "ticket" => &[ticket],
            "page" => &[ticket, ("origin", "https://evil.example")],
            "batch" => &[good, ("sec-websocket-protocol", "tidegate.v1.batch")],
            _ => &[good],
        };
        let refused = server.connect_as(path, headers).await.err();
        assert_eq!(
            refused,
            Some((status.parse().unwrap(), code.to_owned())),
            "{line}"
        );
    }
}

#[tokio::test]
async fn a_request_that_is_no_upgrade_is_a_problem() {
    let server = Server::start().await;
    for (method, status) in [
        (Method::GET, 400),
        (Method::POST, 405),
        (Method::DELETE, 405),
    ] {
        let request = Request::builder()
            .method(method)
            .uri("/v1/ws")
            .header(AUTHORIZATION, format!("Bearer {TOKEN}"))
            .body(axum::body::Body::empty())
            .unwrap();
        let answer = server.router.clone().oneshot(request).await.unwrap();
        assert_eq!(answer.status().as_u16(), status);
        assert_eq!(answer.headers()["content-type"], "application/problem+json");
    }
}

async fn ticket(server: &Server, body: Value) -> (u16, Value) {
    let request = Request::post("/v1/ws-tickets")
        .header(AUTHORIZATION, format!("Bearer {TOKEN}"))
        .header("content-type", "application/json")
        .body(axum::body::Body::from(body.to_string()))
        .unwrap();
    let answer = server.router.clone().oneshot(request).await.unwrap();
    let status = answer.status().as_u16();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&body).unwrap())
}

async fn connect_with(server: &Server, ticket: &Value) -> Result<Client, (u16, String)> {
    let protocols = format!(
        "tidegate.v1.json, ticket.{}",
        ticket["ticket"].as_str().unwrap()
    );
    let headers = [
        ("sec-websocket-protocol", protocols.as_str()),
        ("origin", "https://app.example"),
    ];
    server.connect_as("/v1/ws", &headers).await
}

#[tokio::test]
async fn a_ticket_opens_one_socket_with_its_rights_only() {
    let server = Server::start().await;
    let (status, answer) = ticket(
        &server,
        json!({"topics": ["orders"], "ops": ["consume"], "ttl_s": 5}),
    )
    .await;
    assert_eq!(status, 200);
    assert!(answer["expires_at"].as_i64().unwrap() > 0);
    let mut client = connect_with(&server, &answer).await.unwrap();
    assert_eq!(client.protocol.as_deref(), Some("tidegate.v1.json"));
    client
        .say(json!({"op": "subscribe", "topic": "orders"}))
        .await;
    client.frame_of("subscribed").await;
    client.frame_of("caught_up").await;
    client
        .say(json!({"op": "produce", "topic": "orders", "records": [{"value": 1}]}))
        .await;
    assert_eq!(client.frame_of("error").await["error"]["code"], "forbidden");
    client
        .say(json!({"op": "subscribe", "topic": "other"}))
        .await;
    assert_eq!(client.frame_of("error").await["error"]["code"], "forbidden");
    client
        .say(json!({"op": "auth", "id": 6, "token": TOKEN}))
        .await;
    assert_eq!(client.frame_of("ack").await["id"], 6);
    client
        .say(json!({"op": "produce", "topic": "orders", "records": [{"value": 1}]}))
        .await;
    client.frame().await;
    let again = connect_with(&server, &answer).await.err();
    assert_eq!(again, Some((401, "unauthenticated".to_owned())));
}

#[tokio::test]
async fn ticket_requests_are_checked() {
    let server = Server::start().await;
    for (body, code) in [
        (json!({}), "invalid_parameter"),
        (json!({"topics": []}), "invalid_parameter"),
        (json!({"topics": ["No Name"]}), "invalid_name"),
        (
            json!({"topics": ["orders"], "ops": ["admin"]}),
            "invalid_parameter",
        ),
        (
            json!({"topics": ["orders"], "ops": []}),
            "invalid_parameter",
        ),
        (
            json!({"topics": ["orders"], "ttl_s": 0}),
            "invalid_parameter",
        ),
        (
            json!({"topics": ["orders"], "ttl_s": 31}),
            "invalid_parameter",
        ),
        (
            json!({"topics": ["orders"], "origin": "x"}),
            "unknown_field",
        ),
    ] {
        let (_, answer) = ticket(&server, body.clone()).await;
        assert_eq!(answer["code"], code, "{body} -> {answer}");
    }
}
