//! The public router as strangers meet it.

use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode};
use axum::routing::{get, post};
use serde_json::Value;
use tidegate_kit::auth::Auth;
use tidegate_proto::error::ErrorCode;
use tower::ServiceExt as _;

use super::*;

fn public(is_tls: bool) -> Router {
    public_for(&Auth::with_token("t"), is_tls)
}

fn public_for(auth: &Auth, is_tls: bool) -> Router {
    let (_, ready) = tokio::sync::watch::channel(true);
    let metrics = tidegate_kit::metrics::install();
    router(Parts {
        // A part may bring its own fallback; only the edge's counts.
        data: Router::new()
            .route("/v1/topics/{topic}/records", post(|| async { "produced" }))
            .fallback(|| async { "mine" }),
        control: Router::new()
            .route("/v1/topics", get(|| async { "topics" }))
            .fallback(|| async { "mine" }),
        health: tidegate_kit::health::router(
            ready,
            tokio::sync::watch::channel(None).1,
            metrics,
            auth,
        ),
        openapi: crate::openapi::TIDEGATE,
        asyncapi: Some(crate::openapi::FRAMES),
        origins: OriginRules::parse(&["https://app.example"]).unwrap(),
        memory: tidegate_kit::memory::Memory::default(),
        is_tls,
        is_open: auth.is_open(),
    })
}

async fn ask(router: &Router, request: Request<Body>) -> (StatusCode, HeaderMap, String) {
    let response = router.clone().oneshot(request).await.unwrap();
    let (status, headers) = (response.status(), response.headers().clone());
    let body = to_bytes(response.into_body(), 4 * 1024 * 1024)
        .await
        .unwrap();
    (status, headers, String::from_utf8(body.to_vec()).unwrap())
}

fn get_of(path: &str) -> Request<Body> {
    Request::get(path)
        .header("host", "stream.example")
        .body(Body::empty())
        .unwrap()
}

#[tokio::test]
async fn parts_pages_and_health_answer_side_by_side() {
    let router = public(true);
    for (path, status) in [
        ("/v1/topics", 200),
        ("/", 200),
        ("/live.js", 200),
        ("/live.css", 200),
        ("/icon.svg", 200),
        ("/docs", 200),
        ("/docs/", 200),
        ("/v1/asyncapi.json", 200),
        ("/docs/docs.css", 200),
        ("/docs/errors", 200),
        ("/v1/openapi.json", 200),
        ("/livez", 200),
        ("/readyz", 200),
        ("/metrics", 401),
        ("/v1/nothing", 404),
        ("/docs/errors/nothing", 404),
        ("/v1/topics/a/records", 405),
    ] {
        let (found, headers, body) = ask(&router, get_of(path)).await;
        assert_eq!(found, status, "{path}");
        assert!(headers.contains_key("x-request-id"), "{path}");
        if status >= 400 {
            assert_eq!(
                headers["content-type"], "application/problem+json",
                "{path}: {body}"
            );
        }
    }
    let (_, headers, _) = ask(&router, get_of("/v1/topics/a/records")).await;
    assert_eq!(headers["allow"], "POST");
}

#[tokio::test]
async fn every_error_code_has_a_page_where_its_type_points() {
    let router = public(true);
    for code in ErrorCode::ALL {
        let problem = tidegate_proto::error::Problem::new(*code, "x");
        let problem = serde_json::to_value(problem).unwrap();
        let path = problem["type"].as_str().unwrap().to_owned();
        let (status, headers, body) = ask(&router, get_of(&path)).await;
        assert_eq!(status, 200, "{path}");
        assert!(
            headers["content-type"]
                .to_str()
                .unwrap()
                .starts_with("text/html")
        );
        assert!(body.contains(code.as_str()), "{path}");
    }
}

#[tokio::test]
async fn pages_carry_the_security_headers_and_only_tls_promises_tls() {
    let tls = public(true);
    for path in [
        "/",
        "/live.js",
        "/docs",
        "/docs/errors/internal",
        "/docs/errors/nothing",
        "/v1/openapi.json",
    ] {
        let (_, headers, _) = ask(&tls, get_of(path)).await;
        let policy = headers["content-security-policy"].to_str().unwrap();
        for part in [
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "connect-src 'self'",
            "img-src 'self' data:",
            "frame-ancestors 'none'",
            "base-uri 'none'",
            "form-action 'self'",
            "require-trusted-types-for 'script'",
        ] {
            assert!(
                policy.split("; ").any(|found| found == part),
                "{path}: {part}"
            );
        }
        assert_eq!(headers["x-content-type-options"], "nosniff");
        assert_eq!(headers["referrer-policy"], "no-referrer");
        assert_eq!(headers["cross-origin-opener-policy"], "same-origin");
        assert_eq!(headers["cross-origin-resource-policy"], "same-origin");
        assert!(headers.contains_key("strict-transport-security"), "{path}");
    }
    let local = Request::get("/")
        .header("host", "localhost:8443")
        .body(Body::empty())
        .unwrap();
    let (_, headers, _) = ask(&tls, local).await;
    assert!(!headers.contains_key("strict-transport-security"));
    let (_, headers, _) = ask(&public(false), get_of("/")).await;
    assert!(!headers.contains_key("strict-transport-security"));
}

#[tokio::test]
async fn a_page_that_the_client_has_is_not_sent_again() {
    let router = public(true);
    let (_, headers, _) = ask(&router, get_of("/docs")).await;
    let tag = headers["etag"].to_str().unwrap().to_owned();
    for (sent, expected) in [
        (tag.clone(), 304),
        (format!("W/{tag}"), 304),
        (format!("\"x\", {tag}"), 304),
        ("\"x\"".into(), 200),
    ] {
        let mut request = get_of("/docs");
        request
            .headers_mut()
            .insert("if-none-match", sent.parse().unwrap());
        let (status, headers, body) = ask(&router, request).await;
        assert_eq!(status, expected, "{sent}");
        assert_eq!(
            (body.is_empty(), &headers["etag"]),
            (expected == 304, &tag.parse().unwrap())
        );
    }
}

#[tokio::test]
async fn preflight_works_on_every_route_of_every_part() {
    let router = public(true);
    for path in [
        "/v1/topics",
        "/v1/topics/a/records",
        "/v1/openapi.json",
        "/v1/nothing",
    ] {
        let request = Request::builder()
            .method("OPTIONS")
            .uri(path)
            .header("origin", "https://app.example")
            .header("access-control-request-method", "POST");
        let (status, headers, _) = ask(&router, request.body(Body::empty()).unwrap()).await;
        assert_eq!(status, 204, "{path}");
        assert_eq!(
            headers["access-control-allow-origin"], "https://app.example",
            "{path}"
        );
    }
}

#[tokio::test]
async fn the_description_is_openapi_3_1_with_all_that_generators_ask_for() {
    let (_, headers, body) = ask(&public(true), get_of("/v1/openapi.json")).await;
    assert_eq!(headers["content-type"], "application/json");
    let description: Value = serde_json::from_str(&body).unwrap();
    assert!(description["openapi"].as_str().unwrap().starts_with("3.1."));
    assert_eq!(description["info"]["title"], "Tidegate");
    assert_eq!(description["info"]["license"]["identifier"], "Apache-2.0");
    assert_eq!(
        description["components"]["securitySchemes"]["bearer"]["scheme"],
        "bearer"
    );
    assert_eq!(description["security"][0]["bearer"], serde_json::json!([]));
    assert!(description["components"]["schemas"]["Problem"]["properties"]["code"].is_object());
    assert_eq!(
        description["paths"]["/livez"]["get"]["security"],
        serde_json::json!([{}])
    );
    let mut ids = Vec::new();
    for (path, item) in description["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            ids.push(operation["operationId"].as_str().unwrap().to_owned());
            for (status, response) in operation["responses"].as_object().unwrap() {
                assert!(
                    response["description"].is_string(),
                    "{method} {path} {status}"
                );
            }
        }
    }
    let count = ids.len();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), count, "operation ids are unique");
}

#[tokio::test]
async fn the_page_is_told_whether_a_token_is_wanted() {
    for (auth, mark) in [
        (
            Auth::with_token("t"),
            "<html lang=\"en\" data-access=\"token\">",
        ),
        (Auth::dev(), "<html lang=\"en\" data-access=\"open\">"),
    ] {
        let (status, _, page) = ask(&public_for(&auth, false), get_of("/")).await;
        assert_eq!(status, 200);
        assert!(page.contains(mark), "{mark}");
    }
}
