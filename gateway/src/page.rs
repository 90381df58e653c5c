//! A file that is part of the program: its headers, its entity tag, and when it need not be sent.
//!
//! Every page goes out through here, so that none lacks the security headers. Invariant: no page may
//! run or load anything that is not a file of this server.

use axum::Router;
use axum::body::Body;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH, REFERRER_POLICY,
    STRICT_TRANSPORT_SECURITY, VARY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode};
use axum::middleware::Next;
use axum::response::Response;
use axum::routing::get;
use ring::digest;

pub(crate) const HTML: &str = "text/html; charset=utf-8";
pub(crate) const CSS: &str = "text/css; charset=utf-8";
pub(crate) const SCRIPT: &str = "text/javascript; charset=utf-8";
pub(crate) const JSON: &str = "application/json";
pub(crate) const IMAGE: &str = "image/svg+xml";

const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
     img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'; form-action 'self'; \
     require-trusted-types-for 'script'",
);
const SAME_ORIGIN: HeaderValue = HeaderValue::from_static("same-origin");
// One year; not for localhost, where it would force TLS on every other server of that machine.
const TRANSPORT: HeaderValue = HeaderValue::from_static("max-age=31536000");

/// A page, ready to be sent.
#[derive(Debug, Clone)]
pub(crate) struct Page {
    kind: &'static str,
    etag: HeaderValue,
    body: axum::body::Bytes,
}

impl Page {
    pub(crate) fn new(kind: &'static str, body: impl Into<axum::body::Bytes>) -> Self {
        let body = body.into();
        Self {
            kind,
            etag: etag_of(&body),
            body,
        }
    }

    /// The answer to a request with those headers: 304 when the client has it already.
    pub(crate) fn answer(&self, headers: &HeaderMap) -> Response {
        let is_known = headers.get_all(IF_NONE_MATCH).iter().any(|value| {
            let known = value.to_str().unwrap_or_default();
            known.split(',').any(|tag| {
                let tag = tag.trim();
                tag == "*" || tag.trim_start_matches("W/").as_bytes() == self.etag.as_bytes()
            })
        });
        let mut response = Response::new(Body::empty());
        if is_known {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
        } else {
            *response.body_mut() = Body::from(self.body.clone());
        }
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(self.kind));
        headers.insert(ETAG, self.etag.clone());
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        headers.append(VARY, HeaderValue::from_static("accept-encoding"));
        response
    }
}

/// A route that answers with one page.
pub(crate) fn file(path: &str, page: Page) -> Router {
    let answer = move |headers: HeaderMap| {
        let page = page.clone();
        async move { page.answer(&headers) }
    };
    Router::new().route(path, get(answer))
}

// The first half of the digest is enough to tell versions of a page apart.
fn etag_of(body: &[u8]) -> HeaderValue {
    let mut text = String::from("\"");
    for byte in &digest::digest(&digest::SHA256, body).as_ref()[..16] {
        text.push_str(&format!("{byte:02x}"));
    }
    text.push('"');
    HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("\"0\""))
}

/// Puts the security headers on every answer of the pages' router.
pub(crate) async fn secure(request: Request<Body>, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, POLICY);
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(
        HeaderName::from_static("cross-origin-opener-policy"),
        SAME_ORIGIN,
    );
    headers.insert(
        HeaderName::from_static("cross-origin-resource-policy"),
        SAME_ORIGIN,
    );
    response
}

/// As [`secure`], on a listener with TLS.
pub(crate) async fn secure_tls(request: Request<Body>, next: Next) -> Response {
    let authority = request.uri().authority().map(ToString::to_string);
    let host = request.headers().get(axum::http::header::HOST);
    let host = authority.or_else(|| host.and_then(|host| host.to_str().ok()).map(str::to_owned));
    let is_local = host.is_none_or(|host| host.to_ascii_lowercase().starts_with("localhost"));
    let mut response = secure(request, next).await;
    if !is_local {
        response
            .headers_mut()
            .insert(STRICT_TRANSPORT_SECURITY, TRANSPORT);
    }
    response
}
