//! One record on its way in, whatever the body was.
//!
//! Payloads borrow from the body where they can. What a batch builder checks itself (header names,
//! counts, timestamps) is not checked twice here; [`refuse`] turns its findings into problems that
//! point into the request.

use std::borrow::Cow;

use tidegate_proto::batch::{BatchError, RecordFault};
use tidegate_proto::error::{ErrorCode, Problem};
use tidegate_proto::id::PartitionId;
use tidegate_proto::json::check_json;
use tidegate_proto::limits::JSON_DEPTH_MAX;
use tidegate_proto::record::Datum;

/// A key or a value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Payload<'a> {
    #[default]
    Absent,
    Bytes(Cow<'a, [u8]>),
    Utf8(Cow<'a, str>),
    /// One JSON text, checked.
    Json(Cow<'a, str>),
}

impl Payload<'_> {
    /// The view that a batch builder takes.
    pub fn datum(&self) -> Datum<'_> {
        match self {
            Self::Absent => Datum::Absent,
            Self::Bytes(bytes) => Datum::Bytes(bytes),
            Self::Utf8(text) => Datum::Utf8(text),
            Self::Json(text) => Datum::Json(text),
        }
    }
}

/// One header: its name and its value.
pub type Header<'a> = (Cow<'a, str>, Cow<'a, [u8]>);

/// A record to append.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record<'a> {
    pub key: Payload<'a>,
    pub value: Payload<'a>,
    pub headers: Vec<Header<'a>>,
    /// Epoch milliseconds; `None` is the time of the request.
    pub timestamp_ms: Option<i64>,
    /// The partition it names itself.
    pub partition: Option<PartitionId>,
}

/// Refuses JSON that is nested too deeply. `text` is known to be JSON.
pub(crate) fn check_depth(text: &str, pointer: &str) -> Result<(), Problem> {
    let is_bracket = |byte: &u8| matches!(byte, b'[' | b'{');
    // Depth n takes n opening and n closing brackets, so that most texts need no closer look.
    if text.len() <= 2 * JSON_DEPTH_MAX
        || text
            .as_bytes()
            .iter()
            .filter(|byte| is_bracket(byte))
            .count()
            <= JSON_DEPTH_MAX
    {
        return Ok(());
    }
    check_json(text, JSON_DEPTH_MAX).map_err(|error| {
        Problem::new(ErrorCode::MalformedJson, format!("`{pointer}`: {error}"))
            .with("depth_limit", JSON_DEPTH_MAX)
            .at(pointer, error.to_string())
    })
}

/// 413 for a record.
pub(crate) fn record_too_large(len: usize, limit: usize, pointer: &str) -> Problem {
    let detail =
        format!("the record has {len} bytes of key, value and headers; this topic takes {limit}");
    Problem::new(ErrorCode::TooLarge, detail)
        .with("limit", limit)
        .with("size", len)
        .at(pointer, "too large")
}

/// What a batch builder found wrong with a record at `pointer`.
pub(crate) fn refuse(error: BatchError, pointer: &str) -> Problem {
    let BatchError::Record { fault, .. } = &error else {
        return Problem::from(error).at(pointer, "does not fit into a batch");
    };
    let field = match fault {
        RecordFault::Timestamp(_) => "/timestamp",
        RecordFault::TooManyHeaders(_)
        | RecordFault::HeaderNameLength(_)
        | RecordFault::HeaderNameCharacter
        | RecordFault::DuplicateHeader => "/headers",
        _ => "",
    };
    let place = format!("{pointer}{field}");
    let detail = fault.to_string();
    Problem::new(ErrorCode::InvalidParameter, format!("`{place}`: {detail}")).at(place, detail)
}
