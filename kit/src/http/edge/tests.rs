//! The edge around small routes: names, origins, hosts, codings, panics.

use std::io::Write as _;

use async_compression::tokio::write::{GzipEncoder, ZstdEncoder};
use axum::routing::{get, post};
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, ORIGIN, VARY};
use http::{HeaderMap, StatusCode};
use tidegate_proto::error::Problem;
use tidegate_proto::limits::{DECOMPRESSED_BYTES_MAX, DECOMPRESSION_RATIO_MAX};
use tokio::io::AsyncWriteExt as _;
use tower::ServiceExt as _;

use super::super::{fallback_method, fallback_not_found, read_body};
use super::*;

const MIB: usize = 1024 * 1024;

async fn length(body: Body) -> Result<String, ApiError> {
    Ok(read_body(body, 64 * MIB).await?.len().to_string())
}

async fn panics() -> &'static str {
    panic!("a broken invariant")
}

fn large(kind: &'static str) -> impl IntoResponse {
    ([(CONTENT_TYPE, kind)], "tidegate ".repeat(1000))
}

fn routes(origins: OriginRules) -> Router {
    let router = Router::new()
        .route("/length", post(length))
        .route(
            "/id",
            get(|id: RequestId| async move { id.as_str().to_owned() }),
        )
        .route("/panic", get(panics))
        .route("/json", get(|| async { large("application/json") }))
        .route(
            "/events",
            get(|| async { large("text/event-stream; charset=utf-8") }),
        )
        .route(
            "/batch",
            get(|| async { large("application/vnd.tidegate.batch") }),
        )
        .route("/small", get(|| async { "small" }))
        .fallback(fallback_not_found)
        .method_not_allowed_fallback(fallback_method);
    edge(
        router,
        EdgeConfig {
            origins,
            ..EdgeConfig::default()
        },
    )
}

async fn ask(router: &Router, request: Request<Body>) -> (u16, HeaderMap, Vec<u8>) {
    let response = router.clone().oneshot(request).await.unwrap();
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let body = read_body(response.into_body(), 64 * MIB).await.unwrap();
    (status, headers, body.to_vec())
}

fn request(method: &str, path: &str, headers: &[(&str, &str)]) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Body::empty()).unwrap()
}

#[tokio::test]
async fn the_request_id_is_in_the_header_the_handler_and_the_problem() {
    let router = routes(OriginRules::default());
    let (_, headers, body) = ask(&router, request("GET", "/id", &[("x-request-id", "abc")])).await;
    assert_eq!(
        (headers["x-request-id"].as_bytes(), &body[..]),
        (&b"abc"[..], &b"abc"[..])
    );
    let (_, headers, body) = ask(&router, request("GET", "/id", &[("x-request-id", "a b")])).await;
    assert_eq!(headers["x-request-id"].as_bytes(), &body[..]);
    assert_ne!(&body[..], b"a b");

    for (method, path) in [("GET", "/none"), ("DELETE", "/id"), ("GET", "/panic")] {
        let (status, headers, body) = ask(&router, request(method, path, &[])).await;
        let problem: Problem = serde_json::from_slice(&body).unwrap();
        assert_eq!(problem.status(), status);
        assert_eq!(
            problem.request_id_str().unwrap(),
            headers["x-request-id"],
            "{method} {path}"
        );
        assert_eq!(headers["content-length"], body.len().to_string());
    }
}

#[tokio::test]
async fn a_panic_is_an_internal_problem_and_tells_nothing_of_the_inside() {
    let (status, _, body) = ask(
        &routes(OriginRules::default()),
        request("GET", "/panic", &[]),
    )
    .await;
    let text = String::from_utf8(body).unwrap();
    assert_eq!(status, 500);
    assert!(
        text.contains("\"code\":\"internal\"") && !text.contains("invariant"),
        "{text}"
    );
}

#[tokio::test]
async fn an_answer_to_head_has_no_body_even_when_it_is_a_problem() {
    let router = routes(OriginRules::default());
    for path in ["/small", "/none", "/length"] {
        let (_, headers, body) = ask(&router, request("HEAD", path, &[])).await;
        assert!(body.is_empty(), "{path}");
        assert!(headers.contains_key("x-request-id"));
    }
}

#[tokio::test]
async fn the_cors_matrix_holds() {
    let rules = |origins: &[&str]| OriginRules::parse(origins).unwrap();
    let (app, other) = ("https://app.example", "https://other.example");
    // Rules, origin of the request, what Access-Control-Allow-Origin is.
    let rows: Vec<(OriginRules, &str, Option<&str>)> = vec![
        (rules(&[]), app, None),
        (rules(&[app]), app, Some(app)),
        (rules(&[app]), other, None),
        (rules(&[app, other]), other, Some(other)),
        (rules(&[app]), "null", None),
        (rules(&[app]), "https://app.example.evil.example", None),
        (rules(&[app]), "https://app.example:8443", None),
        (rules(&[app]), "http://app.example", None),
        (rules(&[app]), "https://APP.example", None),
        (rules(&["*"]), other, Some("*")),
        (
            rules(&[]).dev(),
            "http://localhost:3000",
            Some("http://localhost:3000"),
        ),
        (
            rules(&[]).dev(),
            "http://127.0.0.1:5173",
            Some("http://127.0.0.1:5173"),
        ),
        (rules(&[app]).dev(), app, Some(app)),
    ];
    for (rules, origin, expected) in rows {
        let router = routes(rules);
        let local = ("host", "localhost:8080");
        let plain = request("GET", "/small", &[("origin", origin), local]);
        let (_, headers, _) = ask(&router, plain).await;
        let allowed = |headers: &HeaderMap| {
            let value = headers.get("access-control-allow-origin");
            value.map(|value| value.to_str().unwrap().to_owned())
        };
        assert_eq!(allowed(&headers).as_deref(), expected, "{origin}");
        assert!(!headers.contains_key("access-control-allow-credentials"));
        let asked = [
            ("origin", origin),
            local,
            ("access-control-request-method", "POST"),
            (
                "access-control-request-headers",
                "authorization, tidegate-header-x",
            ),
        ];
        let (status, headers, _) = ask(&router, request("OPTIONS", "/length", &asked)).await;
        assert_eq!(allowed(&headers).as_deref(), expected, "{origin}");
        assert_eq!(
            status,
            if expected.is_some() { 204 } else { 403 },
            "{origin}"
        );
        if expected.is_some() {
            assert_eq!(headers["access-control-max-age"], "600");
            assert_eq!(
                headers["access-control-allow-headers"],
                "authorization, tidegate-header-x"
            );
            assert!(headers.get_all(VARY).iter().any(|value| value == "origin"));
        }
    }
}

#[tokio::test]
async fn pages_may_see_our_headers_on_every_answer() {
    let origin = "https://app.example";
    let router = routes(OriginRules::parse(&[origin]).unwrap());
    let (_, headers, _) = ask(&router, request("GET", "/none", &[("origin", origin)])).await;
    let exposed = headers["access-control-expose-headers"].to_str().unwrap();
    for name in [
        "tidegate-cursor",
        "tidegate-high-watermark",
        "x-request-id",
        "etag",
        "retry-after",
    ] {
        assert!(exposed.contains(name), "{name}");
    }
}

#[tokio::test]
async fn a_development_server_answers_loopback_hosts_and_pages_only() {
    let router = routes(OriginRules::default().dev());
    for (headers, expected) in [
        (&[("host", "localhost:8080")][..], 200),
        (&[("host", "127.0.0.1")], 200),
        (&[("host", "[::1]:8080")], 200),
        (&[("host", "evil.example")], 403),
        (&[("host", "localhost.evil.example")], 403),
        (&[("host", "localhost"), ("host", "evil.example")], 403),
        (&[], 403),
        (
            &[("host", "localhost"), ("origin", "https://evil.example")],
            403,
        ),
        (&[("host", "localhost"), ("origin", "null")], 403),
    ] {
        let (status, _, body) = ask(&router, request("GET", "/small", headers)).await;
        assert_eq!(
            status,
            expected,
            "{headers:?} {}",
            String::from_utf8_lossy(&body)
        );
    }
    // HTTP/2 names the host in :authority.
    assert_eq!(
        ask(&router, request("GET", "http://evil.example/small", &[]))
            .await
            .0,
        403
    );
    assert_eq!(
        ask(&router, request("GET", "http://localhost:1/small", &[]))
            .await
            .0,
        200
    );
}

async fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzipEncoder::new(Vec::new());
    encoder.write_all(bytes).await.unwrap();
    encoder.shutdown().await.unwrap();
    encoder.into_inner()
}

async fn zstd(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = ZstdEncoder::new(Vec::new());
    encoder.write_all(bytes).await.unwrap();
    encoder.shutdown().await.unwrap();
    encoder.into_inner()
}

// Text that no coder shrinks a hundredfold.
fn varied(size: usize) -> Vec<u8> {
    let mut text = Vec::with_capacity(size + 32);
    let mut at = 0_u64;
    while text.len() < size {
        at = at
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        write!(text, "{at:x} ").unwrap();
    }
    text.truncate(size);
    text
}

async fn send(encoding: &str, body: Vec<u8>) -> (u16, String) {
    let mut request = request("POST", "/length", &[("content-encoding", encoding)]);
    *request.body_mut() = Body::from(body);
    let (status, _, body) = ask(&routes(OriginRules::default()), request).await;
    (status, String::from_utf8(body).unwrap())
}

#[tokio::test]
async fn compressed_bodies_are_read_whole() {
    let text = varied(MIB);
    let expected = (200, text.len().to_string());
    assert_eq!(send("gzip", gzip(&text).await).await, expected);
    assert_eq!(send("GZIP", gzip(&text).await).await, expected);
    assert_eq!(send("zstd", zstd(&text).await).await, expected);
    assert_eq!(send("identity", text.clone()).await, expected);
    let (a, b) = (gzip(&text).await, gzip(&text).await);
    assert_eq!(
        send("gzip", [a, b].concat()).await,
        (200, (2 * text.len()).to_string())
    );
    // Repetitive but small: within the floor, whatever the ratio.
    assert_eq!(
        send("zstd", zstd(&vec![b'x'; 60_000]).await).await,
        (200, "60000".to_owned())
    );
}

#[tokio::test]
async fn bombs_unknown_codings_and_damage_are_refused() {
    let bomb = vec![0_u8; 8 * MIB];
    for (name, body) in [("gzip", gzip(&bomb).await), ("zstd", zstd(&bomb).await)] {
        let (status, text) = send(name, body).await;
        let problem: Problem = serde_json::from_str(&text).unwrap();
        assert_eq!(
            (status, problem.extra("ratio_limit")),
            (413, Some(&DECOMPRESSION_RATIO_MAX.into())),
            "{text}"
        );
    }
    let large = zstd(&varied(DECOMPRESSED_BYTES_MAX + 1)).await;
    let (status, text) = send("zstd", large).await;
    assert_eq!(status, 413, "{text}");
    for encoding in ["br", "deflate", "gzip, zstd", "compress", "x"] {
        let (status, text) = send(encoding, b"abc".to_vec()).await;
        assert_eq!(status, 415, "{encoding}");
        assert!(text.contains("unsupported_media_type"), "{text}");
    }
    let whole = gzip(&varied(MIB)).await;
    let zipped = zstd(&varied(MIB)).await;
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 0x55;
    for (encoding, body) in [
        ("gzip", whole[..whole.len() / 2].to_vec()),
        ("gzip", flipped),
        ("gzip", b"plain text".to_vec()),
        ("gzip", Vec::new()),
        ("zstd", zipped[..zipped.len() / 2].to_vec()),
        ("zstd", b"plain text".to_vec()),
    ] {
        let (status, text) = send(encoding, body).await;
        assert_eq!(status, 400, "{text}");
        assert!(text.contains(&format!("not valid {encoding}")), "{text}");
    }
}

#[tokio::test]
async fn a_large_window_is_held_only_while_there_is_room_for_it() {
    let memory = Memory {
        decoders: ByteBudget::new(1024 * 1024),
        ..Memory::default()
    };
    let config = EdgeConfig {
        memory: memory.clone(),
        ..EdgeConfig::default()
    };
    let router = edge(Router::new().route("/length", post(length)), config);
    let send = async |body: Vec<u8>| {
        let headers = [("content-encoding", "zstd")];
        let request = request("POST", "/length", &headers).map(|_| Body::from(body));
        ask(&router, request).await.0
    };
    assert_eq!(send(zstd(&varied(900_000)).await).await, 200);
    assert_eq!(memory.decoders.held(), 0);
    assert_eq!(send(zstd(&varied(2_000_000)).await).await, 503);
    let _others = memory.decoders.try_acquire(1024 * 1024).unwrap();
    assert_eq!(send(zstd(&varied(900_000)).await).await, 503);
    assert_eq!(send(zstd(&varied(200_000)).await).await, 200);
}

#[tokio::test]
async fn answers_are_compressed_when_asked_for_and_worth_it() {
    let router = routes(OriginRules::default());
    let rows: &[(&str, &str, Option<&str>)] = &[
        ("/json", "gzip", Some("gzip")),
        ("/json", "zstd", Some("zstd")),
        ("/json", "gzip;q=0.5, zstd", Some("zstd")),
        ("/json", "br", None),
        ("/json", "identity", None),
        ("/json", "gzip;q=0", None),
        ("/events", "gzip", None),
        ("/batch", "gzip, zstd", None),
        ("/small", "gzip", None),
    ];
    for (path, accepted, expected) in rows {
        let asked = request("GET", path, &[("accept-encoding", accepted)]);
        let (status, headers, body) = ask(&router, asked).await;
        let found = headers
            .get(CONTENT_ENCODING)
            .map(|value| value.to_str().unwrap());
        assert_eq!((status, found), (200, *expected), "{path} {accepted}");
        assert_eq!(
            body.len() < 1000,
            expected.is_some() || *path == "/small",
            "{path} {accepted}"
        );
    }
    let (_, headers, _) = ask(&router, request("GET", "/json", &[])).await;
    assert!(!headers.contains_key(CONTENT_ENCODING));
}

#[tokio::test]
async fn requests_are_counted_by_route_and_status() {
    let metrics = crate::metrics::install();
    let router = routes(OriginRules::default());
    for path in ["/counted/1", "/counted/2"] {
        ask(&router, request("GET", path, &[])).await;
    }
    ask(
        &router,
        request("PURGE", "/small", &[(ORIGIN.as_str(), "x")]),
    )
    .await;
    let text = metrics.render();
    let wanted = "tidegate_http_requests_total{method=\"other\",route=\"/small\",status=\"405\"} 1";
    assert!(text.contains(wanted), "{text}");
    assert!(
        text.contains("route=\"none\",status=\"404\"") && !text.contains("counted/1"),
        "{text}"
    );
    assert_eq!(StatusCode::METHOD_NOT_ALLOWED.as_u16(), 405);
}
