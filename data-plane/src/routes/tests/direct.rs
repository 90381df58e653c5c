//! Produce past the router answers as produce through it.

use http::Method;
use tidegate_kit::auth::{Auth, Grants, Op, Principal, TopicPattern};
use tidegate_kit::http::{Direct as _, EdgeConfig, EdgeLayer, Front};
use tower::ServiceExt as _;

use super::*;

const TOKEN: (&str, &str) = ("authorization", "Bearer secret");
const PATH: &str = "/v1/topics/t/records";

/// Path, content type, headers, body.
type Case = (
    &'static str,
    &'static str,
    &'static [(&'static str, &'static str)],
    &'static str,
);

fn surface() -> Surface {
    let writer = Grants::limited(&[Op::Produce], vec![TopicPattern::parse("t").unwrap()]);
    let surface = Surface::with_auth(Auth::with_tokens([("secret", Principal::new("w", writer))]));
    surface.memory.create_topic("t", 2);
    surface
}

async fn told(front: Front, request: Request<Body>) -> (StatusCode, HeaderMap, Value) {
    let (mut head, body) = front.oneshot(request).await.unwrap().into_parts();
    head.headers.remove("x-request-id");
    // Of a direct answer hyper writes it.
    head.headers.remove("content-length");
    let body = body.collect().await.unwrap().to_bytes();
    let mut body: Value = serde_json::from_slice(&body).unwrap();
    if let Some(problem) = body.as_object_mut() {
        problem.remove("request_id");
    }
    for partition in body["partitions"].as_array_mut().into_iter().flatten() {
        partition.as_object_mut().unwrap().remove("timestamp");
    }
    (head.status, head.headers, body)
}

#[tokio::test]
async fn the_direct_way_answers_as_the_router_does() {
    let cases: [Case; 12] = [
        (PATH, "text/plain", &[TOKEN], "a"),
        (
            PATH,
            "application/json",
            &[TOKEN],
            r#"{"records":[{"value":1}]}"#,
        ),
        (PATH, "application/json", &[TOKEN], "{"),
        (PATH, "application/x-ndjson", &[TOKEN], "1\n2\n"),
        (
            "/v1/topics/t/records?acks=none",
            "text/plain",
            &[TOKEN],
            "a",
        ),
        (
            "/v1/topics/t/records?acks=all&unknown=1",
            "text/plain",
            &[TOKEN],
            "a",
        ),
        (PATH, "text/plain", &[TOKEN, ("if-match", "\"0\"")], "a"),
        (PATH, "text/plain", &[TOKEN, ("idempotency-key", "k")], "a"),
        (PATH, "text/plain", &[], "a"),
        ("/v1/topics/t/records?ticket=x", "text/plain", &[], "a"),
        ("/v1/topics/other/records", "text/plain", &[TOKEN], "a"),
        ("/v1/topics/..t/records", "text/plain", &[TOKEN], "a"),
    ];
    let (routed, direct) = (surface(), surface());
    let edge = EdgeLayer::new(EdgeConfig::default());
    let front = |surface: &Surface| Front::from(surface.router.clone().layer(edge.clone()));
    let produce = DirectProduce::new(direct.state.clone());
    for (path, kind, headers, body) in cases {
        let case = format!("{path} {kind} {headers:?} {body}");
        assert!(produce.takes(&Method::POST, path.split('?').next().unwrap()));
        let expected = told(front(&routed), post(path, kind, headers, body)).await;
        let front = front(&direct).with_direct(produce.clone(), edge.clone());
        let found = told(front, post(path, kind, headers, body)).await;
        assert_eq!(found, expected, "{case}");
    }
}

#[tokio::test]
async fn only_plain_paths_of_produce_are_taken() {
    let produce = DirectProduce::new(surface().state);
    for (method, path, expected) in [
        (Method::POST, "/v1/topics/t/records", true),
        (Method::GET, "/v1/topics/t/records", false),
        (Method::HEAD, "/v1/topics/t/records", false),
        (Method::OPTIONS, "/v1/topics/t/records", false),
        (Method::POST, "/v1/topics//records", false),
        (Method::POST, "/v1/topics/records", false),
        (Method::POST, "/v1/topics/t/records/", false),
        (Method::POST, "/v1/topics/%74/records", false),
        (Method::POST, "/v1/topics/t/partitions/0/records", false),
    ] {
        assert_eq!(produce.takes(&method, path), expected, "{method} {path}");
    }
}
