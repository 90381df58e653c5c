//! Media types: what a body is, and what an answer should be.
//!
//! Parameters are ignored but for `charset`, which must be UTF-8 where text is read, and `q`, which
//! orders what is accepted. No type matching beyond the few that exist.

use http::HeaderMap;
use http::header::{ACCEPT, CONTENT_TYPE};
use tidegate_proto::api::records::{MEDIA_TYPE_BATCH, MEDIA_TYPE_NDJSON};
use tidegate_proto::error::{ErrorCode, Problem};

/// Media type of server-sent events.
pub(crate) const MEDIA_TYPE_EVENTS: &str = "text/event-stream";
/// Media type of JSON.
pub(crate) const MEDIA_TYPE_JSON: &str = "application/json";

/// What a produce body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyFormat {
    Json,
    Ndjson,
    Batch,
    /// One record's value; text is checked to be UTF-8 and then kept as such.
    Raw {
        is_text: bool,
    },
}

/// What a fetch answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AnswerFormat {
    Json,
    Ndjson,
    Batch,
    Events,
}

/// The format of a request body by its `Content-Type`.
pub(crate) fn body_format(headers: &HeaderMap) -> Result<BodyFormat, Problem> {
    let Some(value) = headers.get(CONTENT_TYPE) else {
        return Ok(BodyFormat::Raw { is_text: false });
    };
    let Ok(text) = value.to_str() else {
        return Err(unsupported("`Content-Type` is not text"));
    };
    let (essence, parameters) = text.split_once(';').unwrap_or((text, ""));
    let essence = essence.trim();
    if !is_media_type(essence) {
        return Err(unsupported("`Content-Type` is not a media type"));
    }
    let is = |name: &str| essence.eq_ignore_ascii_case(name);
    let format = if is(MEDIA_TYPE_JSON) {
        BodyFormat::Json
    } else if is(MEDIA_TYPE_NDJSON) {
        BodyFormat::Ndjson
    } else if is(MEDIA_TYPE_BATCH) {
        BodyFormat::Batch
    } else {
        let is_text = essence
            .get(..5)
            .is_some_and(|start| start.eq_ignore_ascii_case("text/"));
        return Ok(BodyFormat::Raw { is_text });
    };
    let charset = parameter(parameters, "charset");
    if charset.is_some_and(|name| !name.eq_ignore_ascii_case("utf-8")) {
        return Err(unsupported("the only charset read here is utf-8"));
    }
    Ok(format)
}

/// The format that an `Accept` header likes best; JSON when it does not care.
pub(crate) fn answer_format(headers: &HeaderMap) -> Result<AnswerFormat, Problem> {
    let mut is_given = false;
    let mut best: Option<(u16, AnswerFormat)> = None;
    for value in headers.get_all(ACCEPT) {
        let Ok(text) = value.to_str() else {
            return Err(not_acceptable());
        };
        for range in text
            .split(',')
            .map(str::trim)
            .filter(|range| !range.is_empty())
        {
            is_given = true;
            let Some((weight, format)) = accepted(range) else {
                continue;
            };
            if weight > 0 && best.is_none_or(|(other, _)| weight > other) {
                best = Some((weight, format));
            }
        }
    }
    match best {
        Some((_, format)) => Ok(format),
        None if is_given => Err(not_acceptable()),
        None => Ok(AnswerFormat::Json),
    }
}

fn accepted(range: &str) -> Option<(u16, AnswerFormat)> {
    let (essence, parameters) = range.split_once(';').unwrap_or((range, ""));
    let essence = essence.trim();
    let is = |name: &str| essence.eq_ignore_ascii_case(name);
    let format = if is(MEDIA_TYPE_JSON) || is("*/*") || is("application/*") {
        AnswerFormat::Json
    } else if is(MEDIA_TYPE_NDJSON) {
        AnswerFormat::Ndjson
    } else if is(MEDIA_TYPE_BATCH) {
        AnswerFormat::Batch
    } else if is(MEDIA_TYPE_EVENTS) {
        AnswerFormat::Events
    } else {
        return None;
    };
    let weight = parameter(parameters, "q").map_or(Some(1000), thousandths)?;
    Some((weight, format))
}

/// `0.5` as 500; weights have at most three digits behind the point.
fn thousandths(text: &str) -> Option<u16> {
    let weight: f32 = text.parse().ok()?;
    (0.0..=1.0)
        .contains(&weight)
        .then_some((weight * 1000.0) as u16)
}

fn parameter<'a>(parameters: &'a str, name: &str) -> Option<&'a str> {
    let mut pairs = parameters
        .split(';')
        .filter_map(|pair| pair.split_once('='));
    pairs
        .find(|(found, _)| found.trim().eq_ignore_ascii_case(name))
        .map(|(_, value)| {
            let value = value.trim();
            value
                .strip_prefix('"')
                .and_then(|rest| rest.strip_suffix('"'))
                .unwrap_or(value)
        })
}

fn is_media_type(essence: &str) -> bool {
    let is_token = |text: &str| {
        !text.is_empty()
            && text
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"!#$&-^_.+*".contains(&byte))
    };
    essence
        .split_once('/')
        .is_some_and(|(kind, subtype)| is_token(kind) && is_token(subtype))
}

fn unsupported(detail: &str) -> Problem {
    Problem::new(ErrorCode::UnsupportedMediaType, detail)
}

fn not_acceptable() -> Problem {
    let offered = [
        MEDIA_TYPE_JSON,
        MEDIA_TYPE_NDJSON,
        MEDIA_TYPE_BATCH,
        MEDIA_TYPE_EVENTS,
    ];
    Problem::new(
        ErrorCode::NotAcceptable,
        format!("offered are: {}", offered.join(", ")),
    )
    .with("offered", offered.as_slice())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(name: http::HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, value.parse().unwrap())])
    }

    #[test]
    fn a_body_is_what_its_content_type_says() {
        let format = |text| body_format(&with(CONTENT_TYPE, text)).map_err(|p| p.code());
        assert_eq!(
            format("application/json; charset=UTF-8"),
            Ok(BodyFormat::Json)
        );
        assert_eq!(format("Application/X-NDJSON"), Ok(BodyFormat::Ndjson));
        assert_eq!(
            format("application/vnd.tidegate.batch"),
            Ok(BodyFormat::Batch)
        );
        assert_eq!(format("TEXT/plain"), Ok(BodyFormat::Raw { is_text: true }));
        assert_eq!(format("image/png"), Ok(BodyFormat::Raw { is_text: false }));
        assert_eq!(format("json"), Err(ErrorCode::UnsupportedMediaType));
        assert_eq!(
            format("application/json; charset=utf-16"),
            Err(ErrorCode::UnsupportedMediaType)
        );
    }

    #[test]
    fn an_answer_is_what_is_liked_best() {
        let format = |text| answer_format(&with(ACCEPT, text)).map_err(|p| p.code());
        assert_eq!(format("*/*"), Ok(AnswerFormat::Json));
        assert_eq!(format("text/html, */*;q=0.1"), Ok(AnswerFormat::Json));
        assert_eq!(
            format("application/json;q=0.2, text/event-stream"),
            Ok(AnswerFormat::Events)
        );
        assert_eq!(
            format("application/x-ndjson;q=0"),
            Err(ErrorCode::NotAcceptable)
        );
        assert_eq!(format("image/png"), Err(ErrorCode::NotAcceptable));
        assert_eq!(
            answer_format(&HeaderMap::new()).ok(),
            Some(AnswerFormat::Json)
        );
    }
}
