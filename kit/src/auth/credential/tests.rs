//! Credentials through the extractors: which are taken, and what is said about the others.

use axum::body::Body;
use axum::routing::get;
use http::Request;
use serde::Deserialize;
use tower::ServiceExt as _;

use super::super::grants::{Op, TopicPattern};
use super::*;
use crate::http::{ApiQuery, read_body};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

async fn who(Authenticated(principal): Authenticated) -> String {
    principal.name.to_string()
}

async fn who_by_ticket(
    AuthenticatedOrTicket(principal): AuthenticatedOrTicket,
    ApiQuery(Nothing {}): ApiQuery<Nothing>,
) -> String {
    principal.name.to_string()
}

fn routes() -> Router {
    Router::new()
        .route("/who", get(who))
        .route("/ticket", get(who_by_ticket))
}

async fn ask(router: &Router, path: &str, headers: &[(&str, &[u8])]) -> (u16, String) {
    let mut request = Request::get(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = router
        .clone()
        .oneshot(request.body(Body::empty()).unwrap())
        .await
        .unwrap();
    let status = response.status().as_u16();
    if status == 401 {
        assert!(response.headers().contains_key("www-authenticate"));
    }
    let body = read_body(response.into_body(), 1024 * 1024).await.unwrap();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn tokens_are_taken_and_everything_else_is_told_apart() {
    let router = Auth::with_token("sesame").layer(routes());
    type Row<'a> = (&'a [(&'a str, &'a [u8])], u16, &'a str);
    let rows: &[Row<'_>] = &[
        (&[("authorization", b"Bearer sesame")], 200, "admin"),
        (&[("authorization", b"bearer sesame")], 200, "admin"),
        (&[("authorization", b"BEARER   sesame ")], 200, "admin"),
        (&[], 401, "needs a credential"),
        (&[("authorization", b"")], 401, "not of the form"),
        (&[("authorization", b"Bearer")], 401, "not of the form"),
        (&[("authorization", b"Bearer ")], 401, "not of the form"),
        (&[("authorization", b"Bearer a b")], 401, "not of the form"),
        (
            &[("authorization", b"Basic sesame")],
            401,
            "not of the form",
        ),
        (&[("authorization", b"sesame")], 401, "not of the form"),
        (
            &[("authorization", b"Bearer s\xffsame")],
            401,
            "not of the form",
        ),
        (&[("authorization", b"Bearer Sesame")], 401, "not known"),
        (&[("authorization", b"Bearer sesam")], 401, "not known"),
        (
            &[
                ("authorization", b"Bearer sesame"),
                ("authorization", b"Bearer x"),
            ],
            401,
            "more than one",
        ),
    ];
    for (headers, status, text) in rows {
        let (found, body) = ask(&router, "/who", headers).await;
        assert_eq!(found, *status, "{headers:?}: {body}");
        assert!(body.contains(text), "{headers:?}: {body}");
        assert!(!body.contains("sesame"), "{body}");
    }
    let long = format!("Bearer {}", "x".repeat(TOKEN_LEN_MAX + 1));
    assert_eq!(
        ask(&router, "/who", &[("authorization", long.as_bytes())])
            .await
            .0,
        401
    );
    assert_eq!(ask(&router, "/who?ticket=sesame", &[]).await.0, 401);
}

#[tokio::test]
async fn the_development_server_knows_everybody() {
    let router = Auth::dev().layer(routes());
    assert_eq!(ask(&router, "/who", &[]).await, (200, "dev".to_owned()));
    assert_eq!(ask(&router, "/ticket?ticket=any", &[]).await.0, 401);
    assert_eq!(ask(&router, "/ticket", &[]).await.0, 200);
}

#[tokio::test]
async fn a_route_without_the_layer_fails_closed() {
    let (status, body) = ask(&routes(), "/who", &[("authorization", b"Bearer sesame")]).await;
    assert_eq!(status, 500, "{body}");
}

#[tokio::test]
async fn a_ticket_opens_its_route_once_and_is_no_unknown_parameter() {
    let auth = Auth::with_token("sesame");
    let router = auth.layer(routes());
    let issuer = auth.check(Some("Bearer sesame")).unwrap();
    let issue = || {
        let topics = vec![TopicPattern::parse("a").unwrap()];
        auth.tickets()
            .issue(&issuer, topics, &[Op::Consume], crate::limits::TICKET_TTL)
            .unwrap()
    };
    let path = format!("/ticket?ticket={}", issue().ticket);
    assert_eq!(ask(&router, &path, &[]).await, (200, "admin".to_owned()));
    let (status, body) = ask(&router, &path, &[]).await;
    assert_eq!(status, 401);
    assert!(body.contains("unknown, used or expired"), "{body}");
    assert_eq!(
        ask(
            &router,
            &format!("{path}&more=1"),
            &[("authorization", b"Bearer sesame")]
        )
        .await
        .0,
        400
    );
    assert_eq!(
        ask(&router, &format!("/who?ticket={}", issue().ticket), &[])
            .await
            .0,
        401
    );
}
