//! Which web pages may open a socket.
//!
//! A page that brings a bearer token proved more than its address. One that comes with a ticket, or
//! to a development server that asks for nothing, must be a page of this server or of a listed
//! origin, compared as text: no wildcard, no subdomain, no case folding, because browsers send
//! origins in one form only. Browsers cannot leave the origin away, so a request without one is no
//! page's: a program that was given a ticket by its own server, say.

use http::header::{HOST, ORIGIN};
use http::request::Parts;
use tidegate_proto::error::{ErrorCode, Problem};

/// How the caller showed who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shown {
    Bearer,
    Ticket,
    /// Nothing, and nothing was asked for.
    Nothing,
}

/// 403 `forbidden` for a page that may not open a socket.
pub(crate) fn check(parts: &Parts, shown: Shown, allowed: &[String]) -> Result<(), Problem> {
    if shown == Shown::Bearer {
        return Ok(());
    }
    let refuse = |detail: &str| Err(Problem::new(ErrorCode::Forbidden, detail));
    let mut origins = parts.headers.get_all(ORIGIN).iter();
    let Some(origin) = origins.next() else {
        return Ok(());
    };
    let Ok(origin) = origin.to_str() else {
        return refuse("the Origin is not text");
    };
    if origins.next().is_some() {
        return refuse("more than one Origin");
    }
    let is_allowed = allowed.iter().any(|listed| listed == origin)
        || authority(parts).is_some_and(|authority| is_own(origin, authority))
        || (shown == Shown::Nothing && is_loopback(origin));
    if is_allowed {
        Ok(())
    } else {
        refuse("pages of this origin may not open sockets here")
    }
}

fn authority(parts: &Parts) -> Option<&str> {
    match parts.uri.authority() {
        Some(authority) => Some(authority.as_str()),
        None => parts.headers.get(HOST)?.to_str().ok(),
    }
}

/// Plain HTTP counts on loopback only: elsewhere a page of `http://host` is not that of
/// `https://host`, and we cannot see behind a proxy which of the two was asked.
fn is_own(origin: &str, authority: &str) -> bool {
    match origin.split_once("://") {
        Some(("https", host)) => host == authority,
        Some(("http", host)) => host == authority && is_loopback(origin),
        _ => false,
    }
}

fn is_loopback(origin: &str) -> bool {
    let Some((scheme, rest)) = origin.split_once("://") else {
        return false;
    };
    let (host, port) = match rest.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() && !port.contains(']') => (host, Some(port)),
        _ => (rest, None),
    };
    matches!(scheme, "http" | "https")
        && matches!(host, "localhost" | "127.0.0.1" | "[::1]")
        && port.is_none_or(|port| port.parse::<u16>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(host: &str, origin: Option<&str>) -> Parts {
        let mut request = http::Request::builder().uri("/v1/ws").header(HOST, host);
        if let Some(origin) = origin {
            request = request.header(ORIGIN, origin);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn is_let_in(host: &str, origin: &str, shown: Shown) -> bool {
        let allowed = [
            "https://app.example".to_owned(),
            "http://[::1]:3000".to_owned(),
        ];
        check(&parts(host, Some(origin)), shown, &allowed).is_ok()
    }

    #[test]
    fn a_page_with_a_ticket_must_be_ours_or_listed() {
        for origin in [
            "https://app.example",
            "https://tide.example:8443",
            "http://[::1]:3000",
        ] {
            assert!(
                is_let_in("tide.example:8443", origin, Shown::Ticket),
                "{origin}"
            );
        }
        for origin in [
            "null",
            "",
            "https://evil.example",
            "https://app.example.evil.example",
            "https://evil-app.example",
            "https://sub.app.example",
            "https://app.example:443",
            "https://app.example/",
            "HTTPS://app.example",
            "https://APP.example",
            "http://app.example",
            "https://app.example@evil.example",
            "app.example",
            "https://tide.example",
            "https://tide.example:8444",
            "http://tide.example:8443",
            "https://xn--pp-eka.example",
            "https://app.example.",
            "wss://app.example",
            "https://app.example https://evil.example",
            "http://localhost:3000",
            "http://127.0.0.1",
        ] {
            assert!(
                !is_let_in("tide.example:8443", origin, Shown::Ticket),
                "{origin}"
            );
            assert!(
                is_let_in("tide.example:8443", origin, Shown::Bearer),
                "{origin}"
            );
        }
    }

    #[test]
    fn a_development_server_answers_loopback_pages() {
        for origin in [
            "http://localhost:5173",
            "http://127.0.0.1:8080",
            "https://[::1]",
        ] {
            assert!(
                is_let_in("127.0.0.1:8080", origin, Shown::Nothing),
                "{origin}"
            );
        }
        for origin in [
            "http://localhost.evil.example",
            "http://evil.example",
            "http://localhost:evil",
            "http://localhost@evil.example",
            "ftp://localhost",
            "null",
            "http://127.0.0.1.evil",
        ] {
            assert!(
                !is_let_in("127.0.0.1:8080", origin, Shown::Nothing),
                "{origin}"
            );
        }
    }

    #[test]
    fn a_program_that_is_no_page_has_no_origin_and_needs_none() {
        let bare = parts("tide.example:8443", None);
        // Node's own WebSocket sends these, and no Origin.
        let mut node = parts("tide.example:8443", None);
        for (name, value) in [
            ("sec-fetch-mode", "websocket"),
            ("sec-fetch-site", "cross-site"),
        ] {
            let value = http::HeaderValue::from_static(value);
            node.headers.insert(name, value);
        }
        for request in [bare, node] {
            for shown in [Shown::Bearer, Shown::Ticket, Shown::Nothing] {
                assert!(check(&request, shown, &[]).is_ok(), "{shown:?}");
            }
        }
    }

    #[test]
    fn what_is_not_one_readable_origin_is_refused() {
        let mut two = parts("tide.example", Some("https://tide.example"));
        let again = http::HeaderValue::from_static("https://tide.example");
        two.headers.append(ORIGIN, again);
        let mut unreadable = parts("tide.example", None);
        let bytes = http::HeaderValue::from_bytes(b"https://\xff").unwrap();
        unreadable.headers.insert(ORIGIN, bytes);
        for request in [two, unreadable] {
            for shown in [Shown::Ticket, Shown::Nothing] {
                assert!(check(&request, shown, &[]).is_err(), "{shown:?}");
            }
        }
    }
}
