//! Who may do what, judged before anything is looked up.

use axum::body::Body;
use http::Request;
use tidegate_kit::auth::{Auth, Grants, Op, Principal, TopicPattern};

use super::Surface;

const TEXT: &str = "text/plain";
const TOPIC: &str = "/v1/topics/t/records";
const PART: &str = "/v1/topics/t/partitions/1/records";

#[tokio::test]
async fn the_right_is_checked_before_the_topic_is_looked_up() {
    let reader = Grants::limited(&[Op::Consume], vec![TopicPattern::parse("t").unwrap()]);
    let surface = Surface::with_auth(Auth::with_tokens([("secret", Principal::new("r", reader))]));
    surface.memory.create_topic("t", 1);
    let send = async |method: &str, path: &str, token: &str| {
        let mut request = Request::builder().method(method).uri(path);
        if !token.is_empty() {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        surface.send(request.body(Body::empty()).unwrap()).await
    };
    for path in [TOPIC, PART, "/v1/topics/nowhere/records"] {
        assert_eq!(
            send("POST", path, "").await.refusal(),
            (401, "unauthenticated".to_owned())
        );
        assert_eq!(
            send("POST", path, "wrong").await.refusal(),
            (401, "unauthenticated".to_owned())
        );
        assert_eq!(
            send("POST", path, "secret").await.refusal(),
            (403, "forbidden".to_owned())
        );
    }
    let nowhere = send("GET", "/v1/topics/nowhere/records", "secret").await;
    assert_eq!(nowhere.refusal(), (403, "forbidden".to_owned()));
    assert_eq!(send("GET", TOPIC, "secret").await.status, 204);
    assert_eq!(
        send("GET", "/v1/topics/t/partitions/0/offsets", "secret")
            .await
            .status,
        200
    );
    for path in [
        "/v1/topics/t/events",
        "/v1/groups",
        "/v1/topics/t/partitions/0/offsets",
    ] {
        assert_eq!(send("GET", path, "").await.refusal().0, 401, "{path}");
    }
    assert_eq!(send("POST", "/v1/producers", "").await.refusal().0, 401);
}

#[tokio::test]
async fn a_ticket_is_good_once_where_headers_cannot_be_set() {
    let admin = Principal::new("a", Grants::all());
    let surface = Surface::with_auth(Auth::with_tokens([("secret", admin.clone())]));
    surface.memory.create_topic("t", 1);
    let issue = || {
        let topics = vec![TopicPattern::parse("t").unwrap()];
        let ops = [Op::Consume, Op::Produce];
        let ttl = std::time::Duration::from_secs(30);
        surface
            .auth
            .tickets()
            .issue(&admin, topics, &ops, ttl)
            .unwrap()
            .ticket
    };
    let ticket = issue();
    let path = format!("{TOPIC}?acks=none&ticket={ticket}");
    assert_eq!(surface.post(&path, TEXT, "beacon").await.status, 202);
    assert_eq!(surface.post(&path, TEXT, "beacon").await.refusal().0, 401);
    let path = format!("/v1/topics/t/events?from=earliest&ticket={}", issue());
    let request = Request::get(path).body(Body::empty()).unwrap();
    assert_eq!(surface.response(request).await.status(), 200);
    let path = format!("{TOPIC}?ticket={}", issue());
    assert_eq!(
        surface.get(&path).await.refusal(),
        (401, "unauthenticated".to_owned())
    );
    let path = format!("/v1/topics/other/records?ticket={}", issue());
    assert_eq!(
        surface.post(&path, TEXT, "x").await.refusal(),
        (403, "forbidden".to_owned())
    );
}
