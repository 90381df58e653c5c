//! Headers of answers to reads: where they end, and how far the log goes.

use http::{HeaderMap, HeaderValue};
use tidegate_proto::api::away::AwayPartitions;
use tidegate_proto::api::records::{HEADER_AWAY, HEADER_HIGH_WATERMARK};

use crate::limits::{AWAY_BYTES_MAX, HIGH_WATERMARK_BYTES_MAX};

/// Sets a header whose text is ours, so that it cannot be refused.
pub(crate) fn insert(headers: &mut HeaderMap, name: &'static str, text: String) {
    if let Ok(value) = HeaderValue::try_from(text) {
        headers.insert(name, value);
    }
}

/// Sets the high watermarks unless they are many: clients refuse answers whose headers are too long.
pub(crate) fn insert_high_watermark(headers: &mut HeaderMap, text: String) {
    if text.len() <= HIGH_WATERMARK_BYTES_MAX {
        insert(headers, HEADER_HIGH_WATERMARK, text);
    }
}

/// Names the partitions that are missing from an answer, unless they are many.
pub(crate) fn insert_away(headers: &mut HeaderMap, away: &AwayPartitions) {
    let numbers: Vec<String> = away.partitions.iter().map(u32::to_string).collect();
    let text = numbers.join(",");
    if text.len() <= AWAY_BYTES_MAX {
        insert(headers, HEADER_AWAY, text);
    }
}
