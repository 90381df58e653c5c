//! Reading the records of a batch, one after the other, without copying.
//!
//! The reader checks form (lengths, kinds, UTF-8); `check` adds what only the way in demands (JSON,
//! header names, sizes). A record that is handed out is well formed in all its parts.

use bytes::Bytes;

use crate::batch::fault::{BatchError, Part, RecordFault};
use crate::bytes::Reader;
use crate::json::check_json;
use crate::limits::{HEADER_NAME_LEN_MAX, HEADERS_PER_RECORD_MAX, JSON_DEPTH_MAX};
use crate::record::{Datum, DatumKind, HeadersView, RecordView};
use crate::time::is_exact;

/// Fewest bytes of a record: its length, a timestamp, the kinds and the header count.
pub(super) const RECORD_LEN_MIN: u32 = 4;

/// From so many headers on, duplicates are found by sorting instead of comparing all pairs.
const HEADERS_COMPARED_MAX: usize = 8;

/// The records of a batch, decompressed.
#[derive(Debug, Clone)]
pub struct Records {
    bytes: Bytes,
    count: u32,
    base_timestamp_ms: i64,
    /// Offsets of a sparse batch, whose records say how many were left out before them.
    span: Option<u32>,
}

impl Records {
    pub(super) const fn new(
        bytes: Bytes,
        count: u32,
        base_timestamp_ms: i64,
        span: Option<u32>,
    ) -> Self {
        Self {
            bytes,
            count,
            base_timestamp_ms,
            span,
        }
    }

    /// All records as they stand, one after the other.
    pub(super) const fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Number of records, as the header says.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.count as usize
    }

    /// True when there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The records in order. The first error ends the iteration; bytes after the last record are one.
    #[must_use]
    pub fn iter(&self) -> RecordsIter<'_> {
        RecordsIter {
            reader: Reader::new(&self.bytes),
            index: 0,
            count: self.count,
            base_timestamp_ms: self.base_timestamp_ms,
            span: self.span,
            next_delta: 0,
            body: &[],
        }
    }
}

impl<'a> IntoIterator for &'a Records {
    type Item = Result<RecordView<'a>, BatchError>;
    type IntoIter = RecordsIter<'a>;
    fn into_iter(self) -> RecordsIter<'a> {
        self.iter()
    }
}

/// Iterator over the records of a batch.
#[derive(Debug, Clone)]
pub struct RecordsIter<'a> {
    reader: Reader<'a>,
    index: u32,
    count: u32,
    base_timestamp_ms: i64,
    span: Option<u32>,
    /// Where the next record is when none was left out before it.
    next_delta: u32,
    /// The record handed out last, without its length and what was left out before it.
    body: &'a [u8],
}

impl<'a> RecordsIter<'a> {
    /// Bytes that have not been read yet.
    pub(super) const fn bytes_left(&self) -> usize {
        self.reader.rest().len()
    }

    /// The encoded form of the record handed out last: what follows length and gap.
    pub(super) const fn body(&self) -> &'a [u8] {
        self.body
    }

    /// One record: in a sparse batch the gap before it, then what every record has.
    #[inline]
    fn take(&mut self, bytes: &'a [u8]) -> Result<RecordView<'a>, RecordFault> {
        self.body = bytes;
        let mut offset_delta = self.next_delta;
        if let Some(span) = self.span {
            let mut reader = Reader::new(bytes);
            let gap = reader.uvarint().ok_or(RecordFault::Malformed)?;
            offset_delta = u32::try_from(gap)
                .ok()
                .and_then(|gap| offset_delta.checked_add(gap))
                .filter(|delta| *delta < span)
                .ok_or(RecordFault::Malformed)?;
            self.body = reader.rest();
        }
        let view = parse(self.body, self.base_timestamp_ms, offset_delta)?;
        self.next_delta = offset_delta.saturating_add(1);
        Ok(view)
    }

    /// Ends the iteration with an error.
    fn fail(&mut self, error: BatchError) -> Option<Result<RecordView<'a>, BatchError>> {
        self.count = self.index;
        self.reader = Reader::new(&[]);
        Some(Err(error))
    }
}

impl<'a> Iterator for RecordsIter<'a> {
    type Item = Result<RecordView<'a>, BatchError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.index == self.count {
            let len = self.reader.rest().len();
            return if len == 0 {
                None
            } else {
                self.fail(BatchError::TrailingBytes { len })
            };
        }
        if self.reader.is_empty() {
            let (stated, found) = (self.count, self.index);
            return self.fail(BatchError::RecordCount { stated, found });
        }
        let record = self.reader.sized().ok_or(RecordFault::Malformed);
        match record.and_then(|bytes| self.take(bytes)) {
            Ok(view) => {
                self.index += 1;
                Some(Ok(view))
            }
            Err(fault) => self.fail(BatchError::Record {
                index: self.index,
                fault,
            }),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        // Each record takes some bytes, so a lying count reserves no more than the bytes allow.
        let left = (self.count - self.index) as usize;
        (
            left.min(self.reader.rest().len() / RECORD_LEN_MIN as usize),
            None,
        )
    }
}

impl std::iter::FusedIterator for RecordsIter<'_> {}

#[inline]
fn parse(
    bytes: &[u8],
    base_timestamp_ms: i64,
    offset_delta: u32,
) -> Result<RecordView<'_>, RecordFault> {
    let mut reader = Reader::new(bytes);
    let delta = reader.ivarint().ok_or(RecordFault::Malformed)?;
    let kinds = reader.u8().ok_or(RecordFault::Malformed)?;
    let key = datum(&mut reader, kinds >> 4, kinds, Part::Key)?;
    let value = datum(&mut reader, kinds & 0x0f, kinds, Part::Value)?;
    let count = reader.uvarint().ok_or(RecordFault::Malformed)?;
    let headers = if count == 0 {
        if !reader.is_empty() {
            return Err(RecordFault::TrailingBytes(reader.rest().len()));
        }
        HeadersView::default()
    } else {
        headers(count, reader.rest())?
    };
    // Wrapping, because any 64-bit pair must give one answer; `check` bounds the result.
    let timestamp_ms = base_timestamp_ms.wrapping_add(delta);
    Ok(RecordView {
        offset_delta,
        timestamp_ms,
        key,
        value,
        headers,
    })
}

#[inline]
fn datum<'a>(
    reader: &mut Reader<'a>,
    kind: u8,
    kinds: u8,
    part: Part,
) -> Result<Datum<'a>, RecordFault> {
    let kind = DatumKind::from_id(kind).ok_or(RecordFault::UnknownKind(kinds))?;
    if kind == DatumKind::Absent {
        return Ok(Datum::Absent);
    }
    let bytes = reader.sized().ok_or(RecordFault::Malformed)?;
    if kind == DatumKind::Bytes {
        return Ok(Datum::Bytes(bytes));
    }
    let text = std::str::from_utf8(bytes).map_err(|_| RecordFault::NotUtf8(part))?;
    Ok(if kind == DatumKind::Json {
        Datum::Json(text)
    } else {
        Datum::Utf8(text)
    })
}

/// Walks `count` headers, so that the view can be iterated without a doubt.
fn headers(count: u64, encoded: &[u8]) -> Result<HeadersView<'_>, RecordFault> {
    let count = match usize::try_from(count) {
        Ok(count) if count <= HEADERS_PER_RECORD_MAX => count,
        _ => return Err(RecordFault::TooManyHeaders(count)),
    };
    let mut reader = Reader::new(encoded);
    for _ in 0..count {
        let name = reader.sized().ok_or(RecordFault::Malformed)?;
        std::str::from_utf8(name).map_err(|_| RecordFault::NotUtf8(Part::HeaderName))?;
        reader.sized().ok_or(RecordFault::Malformed)?;
    }
    if !reader.is_empty() {
        return Err(RecordFault::TrailingBytes(reader.rest().len()));
    }
    Ok(HeadersView::new(count, encoded))
}

/// What the way in demands of a record that is well formed.
pub(super) fn check(record: &RecordView<'_>, record_bytes_max: usize) -> Result<(), RecordFault> {
    if !is_exact(record.timestamp_ms) {
        return Err(RecordFault::Timestamp(record.timestamp_ms));
    }
    let mut len = record.key.len() + record.value.len();
    if !record.headers.is_empty() {
        len += record
            .headers
            .iter()
            .map(|(name, value)| name.len() + value.len())
            .sum::<usize>();
        check_header_names(record.headers.iter().map(|(name, _)| name))?;
    }
    if len > record_bytes_max {
        return Err(RecordFault::TooLarge {
            len,
            max: record_bytes_max,
        });
    }
    for (part, datum) in [(Part::Key, record.key), (Part::Value, record.value)] {
        if let Datum::Json(text) = datum {
            check_json(text, JSON_DEPTH_MAX).map_err(|error| RecordFault::NotJson(part, error))?;
        }
    }
    Ok(())
}

/// Names are 1 to 256 bytes, without control characters and ASCII capitals, and differ.
pub(super) fn check_header_names<'a>(
    names: impl Iterator<Item = &'a str> + Clone,
) -> Result<(), RecordFault> {
    let mut count = 0;
    for name in names.clone() {
        if name.is_empty() || name.len() > HEADER_NAME_LEN_MAX {
            return Err(RecordFault::HeaderNameLength(name.len()));
        }
        if name
            .chars()
            .any(|c| c.is_control() || c.is_ascii_uppercase())
        {
            return Err(RecordFault::HeaderNameCharacter);
        }
        if count < HEADERS_COMPARED_MAX && names.clone().take(count).any(|other| other == name) {
            return Err(RecordFault::DuplicateHeader);
        }
        count += 1;
    }
    if count > HEADERS_COMPARED_MAX {
        let mut sorted: Vec<&str> = names.collect();
        sorted.sort_unstable();
        if sorted.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(RecordFault::DuplicateHeader);
        }
    }
    Ok(())
}
