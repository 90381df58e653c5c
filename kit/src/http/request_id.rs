//! The name of a request in answers, in problems and in the log.
//!
//! Taken from `X-Request-Id` when it is sane, else made here: a random prefix per process and a
//! counter, which is unique without asking the operating system for each request.

use std::convert::Infallible;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::extract::FromRequestParts;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::limits::REQUEST_ID_LEN_MAX;
use crate::secret::random_u64;

/// The header that carries it, both ways.
pub(super) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The name of a request. As an extractor it is empty outside the edge.
#[derive(Debug, Clone)]
pub struct RequestId(Name);

// Made names are kept in place: each request has one, and most are only written once.
#[derive(Debug, Clone)]
enum Name {
    Sent(HeaderValue),
    Made([u8; MADE_LEN]),
}

const MADE_LEN: usize = 25;

static PREFIX: LazyLock<u64> = LazyLock::new(|| {
    // Only uniqueness is at stake; the clock is enough where there is no randomness.
    random_u64().unwrap_or_else(|_| crate::clock::now_ms().unsigned_abs())
});
static NEXT: AtomicU64 = AtomicU64::new(0);

impl RequestId {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        match headers.get(X_REQUEST_ID) {
            Some(value) if is_sane(value) => Self(Name::Sent(value.clone())),
            _ => Self::generate(),
        }
    }

    fn generate() -> Self {
        let count = NEXT.fetch_add(1, Ordering::Relaxed);
        let mut text = [b'-'; MADE_LEN];
        put_hex(&mut text[..16], *PREFIX);
        put_hex(&mut text[17..], count);
        Self(Name::Made(text))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Name::Sent(value) => value.to_str().unwrap_or_default(),
            Name::Made(text) => std::str::from_utf8(text).unwrap_or_default(),
        }
    }

    pub(super) fn into_header_value(self) -> HeaderValue {
        match self.0 {
            Name::Sent(value) => value,
            // Digits and a dash are always a value.
            Name::Made(text) => {
                HeaderValue::from_bytes(&text).unwrap_or(HeaderValue::from_static(""))
            }
        }
    }
}

fn is_sane(value: &HeaderValue) -> bool {
    let bytes = value.as_bytes();
    (1..=REQUEST_ID_LEN_MAX).contains(&bytes.len()) && bytes.iter().all(u8::is_ascii_graphic)
}

fn put_hex(place: &mut [u8], number: u64) {
    for (at, digit) in place.iter_mut().rev().enumerate() {
        *digit = b"0123456789abcdef"[(number >> (4 * at)) as usize & 15];
    }
}

impl<S: Sync> FromRequestParts<S> for RequestId {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let known = parts.extensions.get::<Self>().cloned();
        Ok(known.unwrap_or(Self(Name::Sent(HeaderValue::from_static("")))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_short_visible_ascii_is_taken_over() {
        let long = "x".repeat(REQUEST_ID_LEN_MAX + 1);
        let cases: [(&[u8], bool); 7] = [
            (b"abc-1", true),
            (&long.as_bytes()[1..], true),
            (long.as_bytes(), false),
            (b"", false),
            (b"a b", false),
            (b"a\tb", false),
            (b"\xffab", false),
        ];
        for (sent, is_kept) in cases {
            let mut headers = HeaderMap::new();
            headers.insert(X_REQUEST_ID, HeaderValue::from_bytes(sent).unwrap());
            let id = RequestId::of(&headers);
            assert!(!id.as_str().is_empty());
            let answered = id.into_header_value();
            assert_eq!(answered.as_bytes() == sent, is_kept, "{sent:?}");
            assert!(!answered.is_empty());
        }
    }

    #[test]
    fn made_names_differ() {
        let (a, b) = (
            RequestId::of(&HeaderMap::new()),
            RequestId::of(&HeaderMap::new()),
        );
        assert_ne!(a.as_str(), b.as_str());
        assert_eq!(a.as_str().len(), 25);
    }
}
