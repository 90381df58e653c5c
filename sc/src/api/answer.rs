//! The answer to a write, as data: sent now, and kept under its request key to be sent again; a refusal too.
//!
//! Only shapes. The form in which it is kept is read by later versions too: fields are added with a
//! default, never renamed.

use axum::http::header::{CONTENT_TYPE, ETAG, LOCATION};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use tidegate_kit::http::ApiError;
use tidegate_proto::api::topic::WriteResult;
use tidegate_proto::error::{ErrorCode, Problem};

use super::condition::{TIDEGATE_RESULT, etag};

/// Says that an answer was given before, to the same request under the same key.
const TIDEGATE_DUPLICATE: HeaderName = HeaderName::from_static("tidegate-duplicate");

/// The answer to a write that was carried out.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Answer {
    status: u16,
    result: WriteResult,
    /// The `ETag`.
    #[serde(default)]
    version: Option<u64>,
    #[serde(default)]
    location: Option<String>,
    #[serde(default)]
    body: Option<Box<RawValue>>,
}

impl Answer {
    /// 201, 200 or 204, with that document.
    pub(super) fn of(result: WriteResult, body: &impl Serialize) -> Self {
        let status = match result {
            WriteResult::Created => StatusCode::CREATED,
            WriteResult::Updated | WriteResult::Unchanged => StatusCode::OK,
            WriteResult::Deleted => return Self::deleted(),
        };
        Self {
            status: status.as_u16(),
            result,
            version: None,
            location: None,
            body: Some(to_raw_value(body).expect("answers have string keys only")),
        }
    }

    /// 204.
    pub(super) const fn deleted() -> Self {
        Self {
            status: 204,
            result: WriteResult::Deleted,
            version: None,
            location: None,
            body: None,
        }
    }

    pub(super) const fn version(mut self, version: u64) -> Self {
        self.version = Some(version);
        self
    }

    /// Where what was created is found.
    pub(super) fn location(mut self, location: String) -> Self {
        if self.result == WriteResult::Created {
            self.location = Some(location);
        }
        self
    }

    /// 202: the work goes on, and is found there.
    pub(super) fn accepted(mut self, location: String) -> Self {
        self.status = 202;
        self.location = Some(location);
        self
    }

    /// As it is kept.
    pub(super) fn text(&self) -> String {
        serde_json::to_string(self).expect("answers have string keys only")
    }
}

/// A refusal as it is kept: an answer with its status, which versions that keep no refusals send as it is.
pub(super) fn refusal_text(refusal: &Problem) -> String {
    let answer = Answer {
        status: refusal.status(),
        result: WriteResult::Unchanged,
        version: None,
        location: None,
        body: Some(to_raw_value(refusal).expect("problems have string keys only")),
    };
    answer.text()
}

/// What was kept under a request key.
#[derive(Debug)]
pub(super) enum Kept {
    Answer(Answer),
    Refusal(Problem),
}

impl Kept {
    /// A text that is no answer is told as a refusal of this server's own.
    pub(super) fn read(text: &str) -> Self {
        Self::parse(text).unwrap_or_else(|error| {
            let detail = format!("the answer that was kept cannot be read: {error}");
            Self::Refusal(Problem::new(ErrorCode::Internal, detail))
        })
    }

    fn parse(text: &str) -> serde_json::Result<Self> {
        let answer: Answer = serde_json::from_str(text)?;
        match &answer.body {
            Some(body) if answer.status >= 400 => {
                serde_json::from_str(body.get()).map(Self::Refusal)
            }
            _ => Ok(Self::Answer(answer)),
        }
    }

    /// The answer as it is sent, with `is_repeat` marked as given before.
    pub(super) fn into_response(self, is_repeat: bool) -> Response {
        let mut response = match self {
            Self::Answer(answer) => answer.into_response(),
            Self::Refusal(refusal) => ApiError::from(refusal).into_response(),
        };
        if is_repeat {
            let yes = HeaderValue::from_static("true");
            response.headers_mut().insert(TIDEGATE_DUPLICATE, yes);
        }
        response
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::OK);
        let mut response = match self.body {
            Some(body) => {
                let json = HeaderValue::from_static("application/json");
                (status, [(CONTENT_TYPE, json)], body.get().to_owned()).into_response()
            }
            None => status.into_response(),
        };
        let headers = response.headers_mut();
        headers.insert(
            TIDEGATE_RESULT,
            HeaderValue::from_static(self.result.as_str()),
        );
        if let Some(version) = self.version {
            headers.insert(ETAG, etag(version));
        }
        if let Some(Ok(location)) = self.location.map(HeaderValue::try_from) {
            headers.insert(LOCATION, location);
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn a_refusal_that_is_kept_comes_back_and_is_an_answer_to_versions_that_keep_none() {
        let refusal =
            Problem::new(ErrorCode::TopicNotFound, "there is no topic late").at("/x", "y");
        let text = refusal_text(&refusal);
        let Kept::Refusal(read) = Kept::read(&text) else {
            panic!("{text}")
        };
        assert_eq!(read, refusal);
        // All that those ask for.
        let answer: Answer = serde_json::from_str(&text).unwrap();
        assert_eq!(answer.status, 404);
        let body: Value = serde_json::from_str(answer.body.unwrap().get()).unwrap();
        assert_eq!(body, serde_json::to_value(&refusal).unwrap());
        let Kept::Refusal(broken) = Kept::read("{}") else {
            panic!("it is none")
        };
        assert_eq!(broken.code(), ErrorCode::Internal);
    }
}
