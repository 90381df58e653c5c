//! One record: key, value and headers, as borrowed views for reading and references for building.
//!
//! No copies of payloads: a view points into the batch it came from. A view that exists is well formed
//! (lengths, UTF-8 where its kind says so); only whether JSON is JSON is left to batch validation.

use crate::bytes::Reader;

/// What a key or a value is, as the producer said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DatumKind {
    /// Not there. An absent value is a tombstone.
    Absent = 0,
    /// Any bytes.
    Bytes = 1,
    /// Text.
    Utf8 = 2,
    /// One JSON text, kept verbatim.
    Json = 3,
}

impl DatumKind {
    /// The kind of that number on the wire.
    #[must_use]
    pub const fn from_id(id: u8) -> Option<Self> {
        match id {
            0 => Some(Self::Absent),
            1 => Some(Self::Bytes),
            2 => Some(Self::Utf8),
            3 => Some(Self::Json),
            _ => None,
        }
    }
}

/// A key or a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Datum<'a> {
    /// Not there. An absent value is a tombstone.
    #[default]
    Absent,
    /// Any bytes.
    Bytes(&'a [u8]),
    /// Text.
    Utf8(&'a str),
    /// One JSON text, kept verbatim.
    Json(&'a str),
}

impl<'a> Datum<'a> {
    /// The bytes; none when absent, which is not the same as empty.
    #[must_use]
    pub const fn as_bytes(&self) -> Option<&'a [u8]> {
        match *self {
            Self::Absent => None,
            Self::Bytes(bytes) => Some(bytes),
            Self::Utf8(text) | Self::Json(text) => Some(text.as_bytes()),
        }
    }

    /// The kind.
    #[must_use]
    pub const fn kind(&self) -> DatumKind {
        match self {
            Self::Absent => DatumKind::Absent,
            Self::Bytes(_) => DatumKind::Bytes,
            Self::Utf8(_) => DatumKind::Utf8,
            Self::Json(_) => DatumKind::Json,
        }
    }

    /// Length in bytes; 0 when absent.
    #[must_use]
    pub const fn len(&self) -> usize {
        match self.as_bytes() {
            Some(bytes) => bytes.len(),
            None => 0,
        }
    }

    /// True when there are no bytes, absent or not.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// True when not there at all.
    #[must_use]
    pub const fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }
}

/// A record read from a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordView<'a> {
    /// Its offset above the batch's base offset: ask [`crate::batch::Batch::offset_of`].
    pub offset_delta: u32,
    /// The producer's time, in milliseconds since the epoch. Topics that stamp at append give another:
    /// ask [`crate::batch::Batch::timestamp_of`].
    pub timestamp_ms: i64,
    /// The key.
    pub key: Datum<'a>,
    /// The value; absent means tombstone.
    pub value: Datum<'a>,
    /// The headers.
    pub headers: HeadersView<'a>,
}

impl RecordView<'_> {
    /// Bytes of key, value, header names and header values: what `max_record_bytes` bounds.
    #[must_use]
    pub fn payload_len(&self) -> usize {
        let headers: usize = self
            .headers
            .iter()
            .map(|(name, value)| name.len() + value.len())
            .sum();
        self.key.len() + self.value.len() + headers
    }
}

/// The headers of a record, still in their encoded form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HeadersView<'a> {
    count: usize,
    encoded: &'a [u8],
}

impl<'a> HeadersView<'a> {
    /// `encoded` must hold `count` well-formed headers: the record reader has walked them.
    pub(crate) const fn new(count: usize, encoded: &'a [u8]) -> Self {
        Self { count, encoded }
    }

    /// Number of headers.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.count
    }

    /// True when there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The headers in the producer's order.
    pub fn iter(&self) -> HeadersIter<'a> {
        HeadersIter {
            left: self.count,
            reader: Reader::new(self.encoded),
        }
    }

    /// The value of the header of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&'a [u8]> {
        self.iter()
            .find(|(found, _)| *found == name)
            .map(|(_, value)| value)
    }
}

impl<'a> IntoIterator for HeadersView<'a> {
    type Item = (&'a str, &'a [u8]);
    type IntoIter = HeadersIter<'a>;
    fn into_iter(self) -> HeadersIter<'a> {
        self.iter()
    }
}

/// Iterator over headers: name and value.
#[derive(Debug, Clone)]
pub struct HeadersIter<'a> {
    left: usize,
    reader: Reader<'a>,
}

impl<'a> Iterator for HeadersIter<'a> {
    type Item = (&'a str, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let name = std::str::from_utf8(self.reader.sized()?).ok()?;
        Some((name, self.reader.sized()?))
    }
}

/// A record to put into a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RecordRef<'a> {
    /// Milliseconds since the epoch.
    pub timestamp_ms: i64,
    /// The key.
    pub key: Datum<'a>,
    /// The value; absent means tombstone.
    pub value: Datum<'a>,
    /// Headers: names lower case and unique.
    pub headers: &'a [(&'a str, &'a [u8])],
}

impl RecordRef<'_> {
    /// Bytes of key, value, header names and header values: what `max_record_bytes` bounds.
    #[must_use]
    pub fn payload_len(&self) -> usize {
        let headers: usize = self
            .headers
            .iter()
            .map(|(name, value)| name.len() + value.len())
            .sum();
        self.key.len() + self.value.len() + headers
    }
}
