//! The extractors, row by row: what is sent, which code comes back, and which place it names.

use axum::Router;
use axum::extract::Request as AxumRequest;
use axum::routing::{get, post};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tidegate_proto::name::TopicName;
use tower::ServiceExt as _;

use super::*;

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Order {
    name: TopicName,
    #[serde(default)]
    count: Option<u32>,
    #[serde(default)]
    config: Config,
}

#[derive(Deserialize, Serialize, Default)]
#[serde(deny_unknown_fields)]
struct Config {
    #[serde(default)]
    limits: Vec<Limit>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Limit {
    bytes: u64,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Page {
    limit: Option<u32>,
    #[serde(default)]
    cursor: Vec<String>,
    topic: Option<TopicName>,
    dry_run: Option<bool>,
}

async fn json_back(ApiJson(order): ApiJson<Order, 256>) -> axum::Json<Order> {
    axum::Json(order)
}

async fn query_back(ApiQuery(page): ApiQuery<Page>) -> axum::Json<Page> {
    axum::Json(page)
}

async fn path_back(ApiPath((topic, part)): ApiPath<(TopicName, u32)>) -> String {
    format!("{topic}/{part}")
}

async fn name_back(ApiPath(topic): ApiPath<TopicName>) -> String {
    topic.to_string()
}

fn router() -> Router {
    Router::new()
        .route("/json", post(json_back))
        .route("/query", get(query_back))
        .route("/topics/{topic}/partitions/{partition}", get(path_back))
        .route("/topics/{topic}", get(name_back))
        .fallback(fallback_not_found)
        .method_not_allowed_fallback(fallback_method)
}

async fn ask(request: AxumRequest) -> (u16, HeaderMap, Value) {
    let response = router().oneshot(request).await.unwrap();
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let body = read_body(response.into_body(), 1024 * 1024).await.unwrap();
    (
        status,
        headers,
        serde_json::from_slice(&body).unwrap_or(Value::Null),
    )
}

async fn post_json(kind: Option<&str>, body: &str) -> (u16, Value) {
    let mut request = Request::post("/json");
    if let Some(kind) = kind {
        request = request.header("content-type", kind);
    }
    let (status, _, body) = ask(request.body(Body::from(body.to_owned())).unwrap()).await;
    (status, body)
}

async fn get_path(path: &str) -> (u16, Value) {
    let (status, _, body) = ask(Request::get(path).body(Body::empty()).unwrap()).await;
    (status, body)
}

#[tokio::test]
async fn bodies_are_refused_with_a_code_and_a_place() {
    let long = format!(r#"{{"name":"{}"}}"#, "a".repeat(300));
    let rows: &[(&str, u16, &str, &str)] = &[
        ("", 400, "malformed_json", ""),
        ("{", 400, "malformed_json", ""),
        ("{\"name\":\"a\"} x", 400, "malformed_json", ""),
        ("{'name':1}", 400, "malformed_json", ""),
        ("\u{feff}{}", 400, "malformed_json", ""),
        ("[]", 400, "invalid_parameter", ""),
        ("null", 400, "invalid_parameter", ""),
        ("{}", 400, "invalid_parameter", ""),
        (r#"{"name":"a","nmae":1}"#, 400, "unknown_field", "/nmae"),
        (
            r#"{"name":"a","config":{"limits":[{"bytes":1},{"byte":1}]}}"#,
            400,
            "unknown_field",
            "/config/limits/1/byte",
        ),
        (
            r#"{"name":"a","config":{"limits":[{"bytes":-1}]}}"#,
            400,
            "invalid_parameter",
            "/config/limits/0/bytes",
        ),
        (
            r#"{"name":"a","count":1.5}"#,
            400,
            "invalid_parameter",
            "/count",
        ),
        (
            r#"{"name":"a","count":4294967296}"#,
            400,
            "invalid_parameter",
            "/count",
        ),
        (r#"{"name":"a","name":"b"}"#, 400, "invalid_parameter", ""),
        (r#"{"name":"Not A Name"}"#, 400, "invalid_name", "/name"),
        (r#"{"name":7}"#, 400, "invalid_parameter", "/name"),
        (&long, 413, "too_large", ""),
    ];
    for (body, status, code, place) in rows {
        let (found, problem) = post_json(Some("application/json"), body).await;
        assert_eq!(
            (found, problem["code"].as_str()),
            (*status, Some(*code)),
            "{body}: {problem}"
        );
        if !place.is_empty() {
            assert_eq!(problem["errors"][0]["pointer"], *place, "{body}: {problem}");
        }
    }
    let (_, problem) = post_json(Some("application/json"), "{\n \"name\" 1}").await;
    assert_eq!(
        (&problem["line"], &problem["column"]),
        (&json!(2), &json!(9))
    );
    let (_, problem) = post_json(Some("application/json"), &long).await;
    assert_eq!(problem["limit"], 256);
}

#[tokio::test]
async fn whole_numbers_may_be_written_as_floating_point() {
    let taken = post_json(
        Some("application/json"),
        r#"{"name":"a","count":3.0,"config":{"limits":[{"bytes":1e3}]}}"#,
    );
    let (status, order) = taken.await;
    assert_eq!((status, &order["count"]), (200, &json!(3)), "{order}");
    assert_eq!(order["config"]["limits"][0]["bytes"], 1000);
    for refused in [
        r#"{"name":"a","count":3.5}"#,
        r#"{"name":"a","count":-3.0}"#,
        r#"{"name":"a","count":1e99}"#,
        r#"{"name":"a","count":3.0,"what":1}"#,
    ] {
        let (status, _) = post_json(Some("application/json"), refused).await;
        assert_eq!(status, 400, "{refused}");
    }
}

#[tokio::test]
async fn only_json_media_types_are_taken() {
    let body = r#"{"name":"a"}"#;
    for kind in [
        "application/json",
        "Application/JSON; charset=utf-8",
        "application/merge-patch+json",
        "application/x+JSON;v=1",
    ] {
        assert_eq!(post_json(Some(kind), body).await.0, 200, "{kind}");
    }
    for kind in [
        "text/plain",
        "application/jsonp",
        "text/json",
        "json",
        "",
        "application/+json",
        "application/xml",
    ] {
        let (status, problem) = post_json(Some(kind), body).await;
        assert_eq!(
            (status, &problem["code"]),
            (415, &json!("unsupported_media_type")),
            "{kind}"
        );
    }
    assert_eq!(post_json(None, body).await.0, 415);
}

#[tokio::test]
async fn query_parameters_are_read_strictly() {
    let (status, page) = get_path("/query?limit=7&cursor=a&cursor=b&dry_run=true").await;
    assert_eq!(
        (status, &page["cursor"], &page["limit"]),
        (200, &json!(["a", "b"]), &json!(7))
    );
    assert_eq!(get_path("/query").await.0, 200);
    for (query, code, place) in [
        ("limti=7", "invalid_parameter", "limti"),
        ("limit=x", "invalid_parameter", "limit"),
        ("limit=-1", "invalid_parameter", "limit"),
        ("limit=", "", ""),
        ("limit=1&limit=2", "invalid_parameter", "limit"),
        ("dry_run=maybe", "invalid_parameter", "dry_run"),
        ("topic=A", "invalid_name", "topic"),
        ("cursor=%ff", "invalid_parameter", ""),
        ("ticket=abc", "invalid_parameter", "ticket"),
    ] {
        let (status, problem) = get_path(&format!("/query?{query}")).await;
        if code.is_empty() {
            assert_eq!(status, 200, "{query}: {problem}");
            continue;
        }
        assert_eq!(
            (status, problem["code"].as_str()),
            (400, Some(code)),
            "{query}: {problem}"
        );
        if !place.is_empty() {
            assert_eq!(problem["errors"][0]["pointer"], place, "{query}: {problem}");
        }
    }
}

#[tokio::test]
async fn path_parts_are_read_strictly() {
    assert_eq!(get_path("/topics/orders/partitions/7").await.0, 200);
    assert_eq!(get_path("/topics/orders").await.0, 200);
    for (path, code) in [
        ("/topics/Orders/partitions/7", "invalid_name"),
        ("/topics/%2e%2e/partitions/7", "invalid_name"),
        ("/topics/a%00/partitions/7", "invalid_name"),
        ("/topics/Orders", "invalid_name"),
        ("/topics/a/partitions/x", "invalid_parameter"),
        ("/topics/a/partitions/-1", "invalid_parameter"),
        ("/topics/a/partitions/4294967296", "invalid_parameter"),
        ("/topics/%ff/partitions/1", "invalid_parameter"),
    ] {
        let (status, problem) = get_path(path).await;
        assert_eq!(
            (status, problem["code"].as_str()),
            (400, Some(code)),
            "{path}: {problem}"
        );
    }
}

#[tokio::test]
async fn unknown_routes_and_methods_are_problems() {
    let (status, problem) = get_path("/nowhere").await;
    assert_eq!((status, &problem["code"]), (404, &json!("route_not_found")));
    let request = Request::delete("/json").body(Body::empty()).unwrap();
    let (status, headers, problem) = ask(request).await;
    assert_eq!(
        (status, &problem["code"]),
        (405, &json!("method_not_allowed"))
    );
    assert_eq!(headers["allow"], "POST");
    let (_, problem) = get_path(&format!("/{}", "x".repeat(5_000))).await;
    assert!(problem["detail"].as_str().unwrap().len() < 300);
}
