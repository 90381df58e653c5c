//! Headers of answers to reads: where they end, and how far the log goes.

use http::{HeaderMap, HeaderValue};
use tidegate_proto::api::away::AwayPartitions;
use tidegate_proto::api::records::{AWAY_MANY, HEADER_AWAY, HEADER_HIGH_WATERMARK};

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

/// Names the partitions that are missing from an answer, or says that they are too many to be named: that
/// something is missing is told in any case.
pub(crate) fn insert_away(headers: &mut HeaderMap, away: &AwayPartitions) {
    let numbers: Vec<String> = away.partitions.iter().map(u32::to_string).collect();
    let mut text = numbers.join(",");
    if text.len() > AWAY_BYTES_MAX {
        text = AWAY_MANY.to_owned();
    }
    insert(headers, HEADER_AWAY, text);
}

#[cfg(test)]
mod tests {
    use tidegate_proto::error::{ErrorCode, Problem};

    use super::*;

    fn told(count: u32) -> String {
        let away = AwayPartitions {
            partitions: (0..count).collect(),
            error: Problem::new(ErrorCode::Unavailable, "gone"),
        };
        let mut headers = HeaderMap::new();
        insert_away(&mut headers, &away);
        headers[HEADER_AWAY].to_str().unwrap().to_owned()
    }

    #[test]
    fn partitions_that_are_missing_are_named_unless_they_are_many_and_told_of_always() {
        assert_eq!(told(3), "0,1,2");
        assert!(told(500).starts_with("0,1,2,"));
        assert_eq!(told(600), "*");
    }
}
