//! What can go wrong between a client and Tidegate, as one enum.
//!
//! Texts are for people and say what to do where that is known; programs match on the variants and
//! on `Problem::code`. Every error is cheap to clone, because all records of a batch share it.

use std::error::Error as StdError;

use tidegate_proto::error::{ErrorCode, Problem};

/// An error of any call of this crate.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The configuration cannot work: URL, CA, token.
    #[error("{0}")]
    Config(String),
    /// No connection could be made. Nothing was sent.
    #[error("cannot connect to {url}: {reason}")]
    Connect { url: String, reason: String },
    /// The server's certificate was refused, or the handshake failed. Nothing was sent.
    #[error("no trusted TLS connection to {url}: {reason}")]
    Tls { url: String, reason: String },
    /// The connection broke after the request was on its way: it may have been carried out.
    #[error("the connection broke during {request}: {reason}")]
    Transport { request: String, reason: String },
    /// No answer within the deadline: the request may have been carried out.
    #[error("no answer to {request} within {after_ms} ms")]
    Timeout { request: String, after_ms: u64 },
    /// The server's own answer.
    #[error("{}", problem_text(.0))]
    Problem(Box<Problem>),
    /// The answer is not what this client understands.
    #[error("unexpected answer to {request}: {reason}")]
    Protocol { request: String, reason: String },
    /// A record that cannot be sent as it is.
    #[error("{0}")]
    Record(String),
    /// The producer or consumer has been closed, or the task behind it is gone.
    #[error("closed before it was done")]
    Closed,
}

impl Error {
    /// The server's error code, when it was the server that said no.
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Problem(problem) => Some(problem.code()),
            _ => None,
        }
    }

    /// Whether the same call may succeed later. Repeating it is safe only for calls without
    /// effect and for idempotent ones.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Connect { .. } | Self::Transport { .. } | Self::Timeout { .. } => true,
            Self::Problem(problem) => {
                let code = problem.code();
                code.is_retryable() || code == ErrorCode::OutcomeUnknown
            }
            Self::Config(_)
            | Self::Tls { .. }
            | Self::Protocol { .. }
            | Self::Record(_)
            | Self::Closed => false,
        }
    }

    /// Seconds that the server asked to wait before the next attempt.
    pub fn retry_after_s(&self) -> Option<u64> {
        match self {
            Self::Problem(problem) => problem.retry_after_s(),
            _ => None,
        }
    }
}

/// `detail (code)`, with the places in the request that were wrong.
fn problem_text(problem: &Problem) -> String {
    let mut text = format!("{} ({})", problem.detail(), problem.code().as_str());
    let Ok(serde_json::Value::Object(object)) = serde_json::to_value(problem) else {
        return text;
    };
    let Some(errors) = object.get("errors").and_then(serde_json::Value::as_array) else {
        return text;
    };
    for error in errors {
        let at = error
            .get("pointer")
            .and_then(serde_json::Value::as_str)
            .unwrap_or("");
        let detail = error
            .get("detail")
            .and_then(serde_json::Value::as_str)
            .unwrap_or("");
        // A single mistake is usually told by the detail itself.
        if problem.detail().contains(detail) {
            continue;
        }
        text.push_str(&format!("\n  at {at}: {detail}"));
    }
    text
}

/// The innermost cause says what happened; the layers above it only say where.
pub(crate) fn root_cause(error: &(dyn StdError + 'static)) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

/// Looks for a TLS error among the causes. What an `io::Error` wraps is not among its sources, and
/// may be another `io::Error`.
pub(crate) fn tls_cause(error: &(dyn StdError + 'static)) -> Option<String> {
    let mut cause = Some(error);
    while let Some(here) = cause {
        if let Some(found) = here.downcast_ref::<rustls::Error>() {
            return Some(found.to_string());
        }
        if let Some(io) = here.downcast_ref::<std::io::Error>()
            && let Some(inner) = io.get_ref()
        {
            return tls_cause(inner);
        }
        cause = here.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tls_error_is_found_however_deep_it_is_wrapped() {
        let inner = rustls::Error::HandshakeNotComplete;
        let wrapped = std::io::Error::other(std::io::Error::other(inner));
        assert!(tls_cause(&wrapped).is_some());
        assert!(tls_cause(&std::io::Error::other("no")).is_none());
    }

    #[test]
    fn problems_are_told_with_their_code_and_places() {
        let problem = Problem::new(ErrorCode::InvalidParameter, "that will not do")
            .at("/config/acks", "expected none, leader or quorum");
        let text = Error::Problem(Box::new(problem)).to_string();
        assert!(
            text.starts_with("that will not do (invalid_parameter)"),
            "{text}"
        );
        assert!(text.contains("/config/acks"), "{text}");
    }

    #[test]
    fn only_what_time_may_mend_is_retryable() {
        let problem = |code| Error::Problem(Box::new(Problem::new(code, "x")));
        assert!(problem(ErrorCode::Overloaded).is_retryable());
        assert!(problem(ErrorCode::OutcomeUnknown).is_retryable());
        assert!(!problem(ErrorCode::Forbidden).is_retryable());
        assert!(!Error::Closed.is_retryable());
    }
}
