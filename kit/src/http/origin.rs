//! Which web pages may call us (CORS), and under which host names a development server answers.
//!
//! Exact origins only, no credentials ever: pages send their token or ticket themselves. A
//! development server has no token, so it answers loopback names and loopback pages alone; a page
//! that reached it by DNS rebinding or by a plain form is refused.
//! Invariant: no origin is echoed that the rules do not name.

use std::net::IpAddr;
use std::sync::Arc;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, HOST, ORIGIN, VARY,
};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri};
use thiserror::Error;
use tidegate_proto::error::{ErrorCode, Problem};

use super::error::ApiError;
use crate::limits::{CORS_HEADERS_LEN_MAX, CORS_MAX_AGE};

const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE");
const EXPOSED: HeaderValue = HeaderValue::from_static(
    "tidegate-cursor, tidegate-high-watermark, tidegate-away, tidegate-duplicate, tidegate-result, tidegate-stale, \
     tidegate-revision, x-request-id, etag, retry-after, location, link, allow, www-authenticate, content-encoding",
);
const ANY: HeaderValue = HeaderValue::from_static("*");

/// A text given as an origin is none.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{text:?} is not an origin: it has to be scheme://host[:port] without a path, or *")]
pub struct InvalidOrigin {
    /// The text as given.
    pub text: String,
}

/// Who may call from a web page. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct OriginRules {
    allowed: Arc<[HeaderValue]>,
    is_any_allowed: bool,
    is_dev: bool,
}

impl OriginRules {
    /// Rules that allow exactly `origins` (`https://app.example:8443`), or everybody for `*`.
    ///
    /// # Errors
    /// Names the first text that is no origin.
    pub fn parse<T: AsRef<str>>(origins: &[T]) -> Result<Self, InvalidOrigin> {
        let mut rules = Self::default();
        let mut allowed = Vec::new();
        for text in origins.iter().map(AsRef::as_ref) {
            if text == "*" {
                rules.is_any_allowed = true;
            } else {
                allowed.push(parse_origin(text)?);
            }
        }
        rules.allowed = allowed.into();
        Ok(rules)
    }

    /// The same rules for a development server: loopback pages may call as well, and nothing but
    /// loopback hosts and allowed pages is answered at all.
    #[must_use]
    pub fn dev(mut self) -> Self {
        self.is_dev = true;
        self
    }

    fn allows(&self, origin: &HeaderValue) -> bool {
        self.is_any_allowed
            || self.allowed.contains(origin)
            || (self.is_dev && is_loopback_origin(origin))
    }

    /// 403 for what a development server must not answer.
    pub(super) fn check(&self, request: &Request<Body>) -> Result<(), Problem> {
        if !self.is_dev {
            return Ok(());
        }
        let forbidden = |what: &str| {
            let detail = format!("a development server answers {what} only");
            Err(Problem::new(ErrorCode::Forbidden, detail))
        };
        if !has_loopback_hosts(request.uri(), request.headers()) {
            return forbidden("requests for localhost, 127.0.0.1 and [::1]");
        }
        match request.headers().get(ORIGIN) {
            Some(origin) if !self.allows(origin) => {
                forbidden("pages of localhost and --cors-origin")
            }
            _ => Ok(()),
        }
    }

    /// The answer to a preflight request, when `request` is one.
    pub(super) fn preflight(&self, request: &Request<Body>) -> Option<Response> {
        let headers = request.headers();
        let origin = headers.get(ORIGIN)?;
        if request.method() != Method::OPTIONS
            || !headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
        {
            return None;
        }
        if !self.allows(origin) {
            let detail = "this origin is not in the server's list (--cors-origin)";
            return Some(ApiError::new(ErrorCode::Forbidden, detail).into_response());
        }
        let mut response = StatusCode::NO_CONTENT.into_response();
        let answer = response.headers_mut();
        answer.insert(ACCESS_CONTROL_ALLOW_METHODS, METHODS);
        answer.insert(
            ACCESS_CONTROL_MAX_AGE,
            HeaderValue::from(CORS_MAX_AGE.as_secs()),
        );
        // Record headers have names of the caller's choice, so what is asked for is what is allowed.
        if let Some(asked) = headers.get(ACCESS_CONTROL_REQUEST_HEADERS)
            && asked.len() <= CORS_HEADERS_LEN_MAX
        {
            answer.insert(ACCESS_CONTROL_ALLOW_HEADERS, asked.clone());
        }
        answer.append(
            VARY,
            HeaderValue::from_static("access-control-request-headers"),
        );
        Some(response)
    }

    /// Puts what the page may see into any answer. `origin` is the request's.
    pub(super) fn mark(&self, origin: Option<&HeaderValue>, answer: &mut HeaderMap) {
        if self.allowed.is_empty() && !self.is_any_allowed && !self.is_dev {
            return;
        }
        answer.append(VARY, HeaderValue::from_static("origin"));
        let Some(origin) = origin.filter(|origin| self.allows(origin)) else {
            return;
        };
        let echoed = if self.is_any_allowed {
            ANY
        } else {
            origin.clone()
        };
        answer.insert(ACCESS_CONTROL_ALLOW_ORIGIN, echoed);
        answer.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
    }
}

fn parse_origin(text: &str) -> Result<HeaderValue, InvalidOrigin> {
    let invalid = || InvalidOrigin {
        text: text.to_owned(),
    };
    let uri: Uri = text.parse().map_err(|_| invalid())?;
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return Err(invalid());
    };
    // Browsers send it in lower case, without a path and without a user.
    let is_bare = text.len() == scheme.len() + 3 + authority.as_str().len();
    let is_plain = !authority.as_str().contains('@') && text == text.to_ascii_lowercase();
    if !is_bare || !is_plain || !matches!(scheme, "http" | "https") {
        return Err(invalid());
    }
    HeaderValue::from_str(text).map_err(|_| invalid())
}

fn is_loopback_origin(origin: &HeaderValue) -> bool {
    let Ok(text) = origin.to_str() else {
        return false;
    };
    let rest = text
        .strip_prefix("http://")
        .or_else(|| text.strip_prefix("https://"));
    rest.is_some_and(is_loopback_authority)
}

fn has_loopback_hosts(uri: &Uri, headers: &HeaderMap) -> bool {
    let mut named = 0;
    if let Some(authority) = uri.authority() {
        named += 1;
        if !is_loopback_authority(authority.as_str()) {
            return false;
        }
    }
    for host in headers.get_all(HOST) {
        named += 1;
        if !host.to_str().is_ok_and(is_loopback_authority) {
            return false;
        }
    }
    named > 0
}

// `host[:port]`; names are compared whole, so that `localhost.evil.example` is none.
fn is_loopback_authority(authority: &str) -> bool {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((host, port)) => (host, port.strip_prefix(':').unwrap_or(port)),
            None => return false,
        },
        None => authority.split_once(':').unwrap_or((authority, "")),
    };
    let is_port = port.is_empty() || port.parse::<u16>().is_ok();
    let is_loopback = host.eq_ignore_ascii_case("localhost")
        || host
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback());
    is_port && is_loopback
}

#[cfg(test)]
mod tests {
    use tidegate_proto::api::records::{
        HEADER_AWAY, HEADER_CURSOR, HEADER_DUPLICATE, HEADER_HIGH_WATERMARK,
    };

    use super::*;

    #[test]
    fn only_whole_loopback_authorities_pass() {
        for good in [
            "localhost",
            "LOCALHOST:8080",
            "127.0.0.1:1",
            "127.9.9.9",
            "[::1]",
            "[::1]:80",
        ] {
            assert!(is_loopback_authority(good), "{good}");
        }
        for bad in [
            "localhost.evil.example",
            "evil.example",
            "127.0.0.1.evil.example",
            "localhost:80:80",
            "localhost:evil",
            "127.0.0.1@evil.example",
            "",
            ":80",
            "[::1",
            "[::1]x",
            "::1",
            "0.0.0.0",
            "localhost.",
            "10.0.0.1",
            "2130706433",
            "0x7f.1",
            "[::ffff:10.0.0.1]",
        ] {
            assert!(!is_loopback_authority(bad), "{bad}");
        }
    }

    #[test]
    fn pages_may_see_what_answers_say_of_records() {
        let exposed = EXPOSED;
        let exposed: Vec<_> = exposed.to_str().unwrap().split(", ").collect();
        for name in [
            HEADER_CURSOR,
            HEADER_HIGH_WATERMARK,
            HEADER_AWAY,
            HEADER_DUPLICATE,
        ] {
            assert!(exposed.contains(&name), "{name}");
        }
    }

    #[test]
    fn origins_are_taken_exactly_as_browsers_send_them() {
        for good in [
            "https://app.example",
            "http://localhost:3000",
            "https://[::1]:8443",
            "*",
        ] {
            assert!(OriginRules::parse(&[good]).is_ok(), "{good}");
        }
        for bad in [
            "app.example",
            "https://app.example/",
            "https://app.example/path",
            "https://App.example",
            "ftp://a",
            "https://user@app.example",
            "null",
            "",
            "https://",
            "https://a b",
        ] {
            assert_eq!(OriginRules::parse(&[bad]).unwrap_err().text, bad);
        }
    }
}
