//! What can be wrong with a batch: one fact per variant, with the numbers that prove it.
//!
//! The conversion to a [`Problem`] is here, so that every surface answers the same code.

use thiserror::Error;

use crate::compression::CompressionError;
use crate::error::{ErrorCode, Problem};
use crate::json::JsonError;
use crate::limits::{
    BATCH_BYTES_MAX, DECOMPRESSED_BYTES_MAX, HEADER_NAME_LEN_MAX, HEADERS_PER_RECORD_MAX,
};

/// Why bytes are not a batch, or a batch may not be taken.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BatchError {
    /// The buffer ends before the batch does.
    #[error("{needed} bytes are needed")]
    Truncated {
        /// Bytes needed from the start of the batch.
        needed: usize,
    },
    /// The batch does not start with `TGB1`.
    #[error("a batch starts with \"TGB1\", not with bytes {found:02x?}")]
    BadMagic {
        /// The first four bytes.
        found: [u8; 4],
    },
    /// The placement header's checksum is wrong.
    #[error("header_crc says {stated:#010x}, the header gives {found:#010x}")]
    HeaderCrc {
        /// In the header.
        stated: u32,
        /// Computed.
        found: u32,
    },
    /// The client part's checksum is wrong.
    #[error("payload_crc says {stated:#010x}, the client part gives {found:#010x}")]
    PayloadCrc {
        /// In the header.
        stated: u32,
        /// Computed.
        found: u32,
    },
    /// The placement header has flags that this version does not know.
    #[error("unknown placement flags {found:#010x}")]
    UnknownFlags {
        /// All flags.
        found: u32,
    },
    /// The client part is shorter than its own header.
    #[error("the client part has {len} bytes, fewer than its header")]
    TooShort {
        /// Its length, in bytes.
        len: usize,
    },
    /// The batch, or a batch being built, is too long.
    #[error("the client part has {len} bytes, more than {max}")]
    TooLong {
        /// Its length, in bytes.
        len: usize,
        /// The limit, in bytes.
        max: usize,
    },
    /// The client part is of a version that this build does not know.
    #[error("unknown batch version {found}")]
    UnknownVersion {
        /// The version.
        found: u8,
    },
    /// The codec has no number here.
    #[error("unknown codec {found}")]
    UnknownCodec {
        /// The number.
        found: u8,
    },
    /// Attribute bits that this version does not know, or that a client must not set.
    #[error("attributes {found:#06x} are not allowed here")]
    Attributes {
        /// All attribute bits.
        found: u16,
    },
    /// A reserved field, or one whose attribute bit is not set, is not zero.
    #[error("field {field} must be zero here")]
    NotZero {
        /// Name of the field.
        field: &'static str,
    },
    /// A control batch from a client.
    #[error("clients do not send control batches")]
    ControlFromClient,
    /// A control batch that holds records.
    #[error("a control batch holds no records")]
    ControlWithRecords,
    /// A client batch without records.
    #[error("the batch holds no records")]
    Empty,
    /// The number of records is not what the header says, or cannot be.
    #[error("record_count says {stated}, the records give {found}")]
    RecordCount {
        /// In the header.
        stated: u32,
        /// Found, or the most there can be.
        found: u32,
    },
    /// A sparse batch takes fewer offsets than it has records, or none.
    #[error("a span of {span} offsets does not hold {records} records")]
    Span {
        /// In the header.
        span: u32,
        /// In the header.
        records: u32,
    },
    /// The length of the records before compression is not what the header says.
    #[error("the header says {stated} bytes of records, there are {found}")]
    RecordsLength {
        /// In the header.
        stated: usize,
        /// Found.
        found: usize,
    },
    /// The records would be larger than any batch may be once decompressed.
    #[error("{len} bytes of records pass the bound of {DECOMPRESSED_BYTES_MAX}")]
    RecordsTooLarge {
        /// In the header.
        len: usize,
    },
    /// Bytes follow the last record.
    #[error("{len} bytes follow the last record")]
    TrailingBytes {
        /// How many.
        len: usize,
    },
    /// The records could not be decompressed.
    #[error("decompressing the records: {0}")]
    Decompression(CompressionError),
    /// `max_timestamp` is not the greatest timestamp of the records.
    #[error("max_timestamp says {stated}, the records give {found}")]
    MaxTimestamp {
        /// In the header.
        stated: i64,
        /// Found.
        found: i64,
    },
    /// The offsets would pass 2^64.
    #[error("the offsets of the records pass 2^64")]
    OffsetOverflow,
    /// A record is wrong.
    #[error("record {index}: {fault}")]
    Record {
        /// Its place in the batch, counted from 0.
        index: u32,
        /// What is wrong.
        fault: RecordFault,
    },
}

/// What is wrong with a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RecordFault {
    /// A length or varint reaches past the end, or is malformed.
    #[error("a length is malformed or reaches past the end")]
    Malformed,
    /// The record's length leaves bytes after its last header.
    #[error("{0} bytes follow its last header")]
    TrailingBytes(usize),
    /// A kind without meaning.
    #[error("unknown kinds {0:#04x}")]
    UnknownKind(u8),
    /// Text that is not UTF-8.
    #[error("{0} is not UTF-8")]
    NotUtf8(Part),
    /// Not one JSON text.
    #[error("{0} is not JSON: {1}")]
    NotJson(Part, JsonError),
    /// A timestamp beyond ±(2^53 - 1).
    #[error("timestamp {0} is out of range")]
    Timestamp(i64),
    /// Key, value and headers together are too long.
    #[error("{len} bytes of key, value and headers, more than {max}")]
    TooLarge {
        /// Found, in bytes.
        len: usize,
        /// The limit, in bytes.
        max: usize,
    },
    /// Too many headers.
    #[error("{0} headers, more than {HEADERS_PER_RECORD_MAX}")]
    TooManyHeaders(u64),
    /// A header name that is empty or too long.
    #[error("a header name of {0} bytes; 1 to {HEADER_NAME_LEN_MAX} are allowed")]
    HeaderNameLength(usize),
    /// A header name with a capital letter or a control character.
    #[error("a header name with a capital letter or control character")]
    HeaderNameCharacter,
    /// Two headers of one name.
    #[error("two headers have the same name")]
    DuplicateHeader,
}

/// A part of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Its key.
    Key,
    /// Its value.
    Value,
    /// A header's name.
    HeaderName,
}

impl std::fmt::Display for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Key => "the key",
            Self::Value => "the value",
            Self::HeaderName => "a header name",
        })
    }
}

impl From<CompressionError> for BatchError {
    fn from(error: CompressionError) -> Self {
        Self::Decompression(error)
    }
}

impl From<BatchError> for Problem {
    fn from(error: BatchError) -> Self {
        let limit = match &error {
            BatchError::TooLong { .. } => Some(BATCH_BYTES_MAX),
            BatchError::RecordsTooLarge { .. } => Some(DECOMPRESSED_BYTES_MAX),
            BatchError::Record {
                fault: RecordFault::TooLarge { max, .. },
                ..
            } => Some(*max),
            BatchError::Record {
                fault: RecordFault::TooManyHeaders(_),
                ..
            } => Some(HEADERS_PER_RECORD_MAX),
            BatchError::Decompression(CompressionError::TooLarge { cap }) => Some(*cap),
            BatchError::Decompression(CompressionError::Ratio) => Some(DECOMPRESSED_BYTES_MAX),
            _ => None,
        };
        let code = match (&error, limit) {
            (_, Some(_)) => ErrorCode::TooLarge,
            _ => ErrorCode::CorruptBatch,
        };
        let mut problem = Self::new(code, error.to_string());
        if let Some(limit) = limit {
            problem = problem.with("limit", limit);
        }
        if let BatchError::Record { index, .. } = error {
            problem = problem.with("record", index);
        }
        problem
    }
}
