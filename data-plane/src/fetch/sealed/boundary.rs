//! Where pages begin, and how a page is named.
//!
//! A page begins with a batch that is drawn by its place and its length alone, so that every replica,
//! every version and every restart cuts a log alike, whatever its segment files are, and retention
//! moves no boundary. Invariant: nothing here may ever change; names of pages are kept by caches for a
//! year.

use std::fmt;

use tidegate_proto::batch::Batch;
use tidegate_proto::error::{ErrorCode, Problem};
use tidegate_proto::id::TopicId;
use tidegate_proto::limits::INTEGER_MAX;
use tidegate_proto::position::Offset;

/// Pages have this many bytes of batches on average; a batch that is longer always begins one.
const PAGE_BYTES_MEAN: u64 = 512 * 1024;
/// A longer page is not offered: one of ten million. Its records are read by an ordinary fetch.
pub(crate) const PAGE_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Whether a page begins with this batch, which holds records.
pub(crate) fn begins_page(batch: &Batch) -> bool {
    draw(batch.placement.base_offset) % PAGE_BYTES_MEAN < batch.encoded_len() as u64
}

/// The finaliser of splitmix64.
const fn draw(offset: Offset) -> u64 {
    let mut x = offset.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// The name of a page: the topic's incarnation, the first offset, and one past the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PageName {
    pub(crate) topic_id: TopicId,
    pub(crate) base: Offset,
    pub(crate) end: Offset,
}

impl PageName {
    /// Reads the last segment of a page's path. There is one spelling: caches know names by their bytes.
    pub(crate) fn parse(text: &str) -> Result<Self, Problem> {
        Self::read(text)
            .filter(|name| name.base < name.end && name.to_string() == text)
            .ok_or_else(|| {
                let detail =
                    "a page is named <topic id>.<base offset>-<end>; the list has the names";
                Problem::new(ErrorCode::InvalidParameter, detail).at("page", "is no page's name")
            })
    }

    fn read(text: &str) -> Option<Self> {
        let (topic_id, range) = text.split_once('.')?;
        let (base, end) = range.split_once('-')?;
        let offset = |text: &str| {
            let at: Option<u64> = text.parse().ok();
            at.filter(|at| *at <= INTEGER_MAX).map(Offset::new)
        };
        Some(Self {
            topic_id: topic_id.parse().ok()?,
            base: offset(base)?,
            end: offset(end)?,
        })
    }
}

impl fmt::Display for PageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}-{}", self.topic_id, self.base, self.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

    #[test]
    fn a_page_has_one_name() {
        let text = format!("{ID}.0-812");
        let name = PageName::parse(&text).unwrap();
        assert_eq!((name.base.get(), name.end.get()), (0, 812));
        assert_eq!(name.to_string(), text);
        for other in [
            format!("{ID}.00-812"),
            format!("{ID}.+0-812"),
            format!("{ID}.0-0812"),
            format!("{ID}.812-812"),
            format!("{ID}.812-1"),
            format!("{ID}.0-18446744073709551615"),
            format!("{ID}.0-99999999999999999999"),
            format!("{ID}.0-"),
            format!("{ID}.0"),
            format!("{}.0-812", ID.to_uppercase()),
            format!("{}.0-812", ID.replace('-', "")),
            "orders.0-812".to_owned(),
            String::new(),
        ] {
            assert!(PageName::parse(&other).is_err(), "{other}");
        }
    }

    #[test]
    fn boundaries_are_what_they_were_from_the_first_day() {
        let drawn = |offset| draw(Offset::new(offset)) % PAGE_BYTES_MEAN;
        assert_eq!([0, 1, 1_000_000].map(drawn), [380_335, 154_817, 476_647]);
    }
}
