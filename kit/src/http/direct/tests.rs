//! A router and a way past it, told apart by what their handlers say.

use axum::extract::Path;
use axum::response::IntoResponse as _;
use axum::routing::any;
use http::header::{CONTENT_ENCODING, HOST, ORIGIN};
use http::{HeaderMap, Method};
use tidegate_proto::error::{ErrorCode, Problem};

use super::super::{ApiError, EdgeConfig, OriginRules, read_body};
use super::*;

struct Items;

impl Direct for Items {
    const ROUTE: &'static str = "/items/{name}";

    fn takes(&self, method: &Method, path: &str) -> bool {
        method == Method::POST && path.starts_with("/items/") && !path.contains('%')
    }

    fn answer(&self, head: Parts, body: Body) -> impl Future<Output = Response> + Send + use<> {
        async move {
            match head.uri.path() {
                "/items/panic" => panic!("a broken invariant"),
                "/items/refused" => {
                    ApiError::new(ErrorCode::InvalidParameter, "refused").into_response()
                }
                _ => match read_body(body, 100).await {
                    Ok(body) => [b"direct ".as_slice(), &body].concat().into_response(),
                    Err(problem) => ApiError(problem).into_response(),
                },
            }
        }
    }
}

fn front() -> Front {
    let routed = any(|Path(name): Path<String>| async move { format!("routed {name}") });
    let edge = EdgeLayer::new(EdgeConfig {
        origins: OriginRules::parse(&["https://app.example"]).unwrap(),
        ..EdgeConfig::default()
    });
    let router = Router::new().route(Items::ROUTE, routed);
    Front::from(router.layer(edge.clone())).with_direct(Items, edge)
}

async fn ask(method: &str, path: &str, headers: &[(&str, &str)]) -> (u16, HeaderMap, String) {
    let mut request = Request::builder().method(method).uri(path);
    request = request.header(HOST, "stream.example");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Body::from("body")).unwrap();
    let response = front().call(request).await.unwrap();
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let body = read_body(response.into_body(), 10_000).await.unwrap();
    (status, headers, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn what_the_direct_way_does_not_take_goes_to_the_router() {
    for (method, path, expected) in [
        ("POST", "/items/a", "direct body"),
        ("POST", "/items/a?b=%20", "direct body"),
        ("POST", "/items/a%20b", "routed a b"),
        ("GET", "/items/a", "routed a"),
    ] {
        assert_eq!(ask(method, path, &[]).await.2, expected, "{method} {path}");
    }
    assert_eq!(ask("POST", "/other", &[]).await.0, 404);
}

#[tokio::test]
async fn the_edge_is_around_the_direct_way_as_well() {
    let origin = (ORIGIN.as_str(), "https://app.example");
    let (status, headers, _) = ask("POST", "/items/a", &[("x-request-id", "mine"), origin]).await;
    assert_eq!(
        (status, &headers["x-request-id"]),
        (200, &"mine".parse().unwrap())
    );
    assert_eq!(
        headers["access-control-allow-origin"],
        "https://app.example"
    );

    for (path, headers, expected) in [
        ("/items/panic", vec![], 500),
        ("/items/refused", vec![], 400),
        ("/items/a", vec![(CONTENT_ENCODING.as_str(), "br")], 415),
        ("/items/a", vec![(CONTENT_ENCODING.as_str(), "gzip")], 400),
    ] {
        let (status, headers, body) = ask("POST", path, &headers).await;
        let problem: Problem = serde_json::from_str(&body).unwrap();
        assert_eq!(
            (status, problem.status()),
            (expected, expected),
            "{path}: {body}"
        );
        assert_eq!(problem.request_id_str().unwrap(), headers["x-request-id"]);
    }
}
