//! Records as the public API shows them: produce bodies and answers, fetch answers, offsets.
//!
//! JSON keys and values are [`RawValue`]s, so that whoever sends or reads them keeps the text byte
//! for byte. A server reads produce bodies with a borrowing reader of its own that takes exactly the
//! fields of [`ProduceRecord`].

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::api::away::{AwayPartitions, BackEvent};
use crate::error::Problem;
use crate::produce::Durable;

/// Media type of the binary record batches.
pub const MEDIA_TYPE_BATCH: &str = "application/vnd.tidegate.batch";
/// Media type of one JSON value per line.
pub const MEDIA_TYPE_NDJSON: &str = "application/x-ndjson";
/// Media type of problem objects.
pub const MEDIA_TYPE_PROBLEM: &str = "application/problem+json";

/// Answer header: where the next read starts.
pub const HEADER_CURSOR: &str = "tidegate-cursor";
/// Answer header: one past the last committed record, or `{"<partition>":n}`.
pub const HEADER_HIGH_WATERMARK: &str = "tidegate-high-watermark";
/// Answer header: partitions that are missing because they cannot be reached, with commas, or [`AWAY_MANY`].
pub const HEADER_AWAY: &str = "tidegate-away";
/// Partitions are missing, too many for a header.
pub const AWAY_MANY: &str = "*";
/// Answer header, `true` when the records had been appended by an earlier request.
pub const HEADER_DUPLICATE: &str = "tidegate-duplicate";
/// Request header: the producer id, with the two below.
pub const HEADER_PRODUCER_ID: &str = "producer-id";
/// Request header: the producer's epoch.
pub const HEADER_PRODUCER_EPOCH: &str = "producer-epoch";
/// Request header: the sequence number of the first record of the request.
pub const HEADER_PRODUCER_SEQ: &str = "producer-seq";
/// Request header: a repeated request with the same key is answered as the first was.
pub const HEADER_IDEMPOTENCY_KEY: &str = "idempotency-key";
/// Request header of a raw body: the key as text.
pub const HEADER_KEY: &str = "tidegate-key";
/// Request header of a raw body: the key in base64.
pub const HEADER_KEY_BASE64: &str = "tidegate-key-base64";
/// Request header of a raw body: the record's timestamp.
pub const HEADER_TIMESTAMP: &str = "tidegate-timestamp";
/// Prefix of request headers of a raw body that become record headers.
pub const HEADER_PREFIX: &str = "tidegate-header-";

/// A part of a partition that never changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SealedPage {
    /// Offset of the first record.
    pub base_offset: u64,
    /// One past the last record.
    pub end: u64,
    /// Path of the page; it never means another content.
    pub url: String,
}

/// Pages of a partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SealedPages {
    /// The topic's incarnation.
    pub topic_id: String,
    pub partition: u32,
    pub items: Vec<SealedPage>,
    /// `from` of the next list; null when there are no more pages for now.
    pub next: Option<u64>,
    /// Records below this offset are in closed segments.
    pub sealed_end: u64,
}

/// A page as JSON.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SealedRecords {
    /// The topic's incarnation.
    pub topic_id: String,
    pub partition: u32,
    /// Offset of the first record.
    pub base_offset: u64,
    /// One past the last record.
    pub end: u64,
    pub records: Vec<FetchedRecord>,
}

/// Body of `POST /v1/topics/{topic}/records` as `application/json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ProduceBody {
    /// 1 to 10,000.
    pub records: Vec<ProduceRecord>,
}

/// One record to append. An absent or null value is a tombstone.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ProduceRecord {
    /// A string is taken as its UTF-8 without quotes, other JSON as its text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<serde_json::Value>))]
    pub key: Option<Box<RawValue>>,
    /// Any JSON, kept verbatim.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<serde_json::Value>))]
    pub value: Option<Box<RawValue>>,
    /// Instead of `key`: any bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_base64: Option<String>,
    /// Instead of `value`: any bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value_base64: Option<String>,
    /// Names lower case, unique also against `headers_base64`; at most 64 in all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub headers: Option<BTreeMap<String, String>>,
    /// Headers whose values are any bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub headers_base64: Option<BTreeMap<String, String>>,
    /// RFC 3339 or epoch milliseconds; default: when the request came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<RecordTime>,
    /// Default: by the key, or round robin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partition: Option<u32>,
}

/// A point in time as a request may give it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(untagged)]
pub enum RecordTime {
    /// Epoch milliseconds.
    EpochMs(i64),
    /// RFC 3339.
    Text(String),
}

/// Answer to a produce request whose records all had the same fate. With `acks=none` (202) only
/// `durable`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ProduceAnswer {
    /// Where the records are, in partition order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub partitions: Vec<ProducedPartition>,
    /// How durable they are.
    pub durable: Durable,
}

/// What one partition took of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ProducedPartition {
    pub partition: u32,
    /// The offset of the first record; the others follow without holes.
    pub base_offset: u64,
    pub count: u64,
    /// When the partition's leader took them, epoch milliseconds.
    pub timestamp: i64,
}

/// Answer to a produce request whose records had different fates (207): one result per record, in
/// request order.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ProduceResults {
    pub results: Vec<ProduceResult>,
}

/// The fate of one record: `partition` and `offset`, or `error`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(untagged)]
pub enum ProduceResult {
    Stored(StoredRecord),
    Failed(FailedRecord),
}

/// A record that was appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct StoredRecord {
    pub partition: u32,
    pub offset: u64,
}

/// A record that was not appended, or may not have been.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct FailedRecord {
    pub error: Problem,
}

/// Body of `POST /v1/producers`; may be empty.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ProducerBody {
    /// A named producer fences its older self. Not supported yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// A producer id, for the `Producer-Id` and `Producer-Epoch` headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ProducerAnswer {
    pub producer_id: u64,
    pub producer_epoch: u16,
}

/// One record as it is read. `key` and `value` are null when absent; bytes that are not UTF-8 come in
/// `key_base64` and `value_base64` instead.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct FetchedRecord {
    pub partition: u32,
    pub offset: u64,
    /// Epoch milliseconds.
    pub timestamp: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<serde_json::Value>))]
    pub key: Option<Box<RawValue>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<serde_json::Value>))]
    pub value: Option<Box<RawValue>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_base64: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value_base64: Option<String>,
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// Headers whose values are not UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub headers_base64: Option<BTreeMap<String, String>>,
}

/// Answer of the fetch routes as `application/json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct FetchAnswer {
    pub records: Vec<FetchedRecord>,
    /// Where the next read starts.
    pub cursor: String,
    pub high_watermark: HighWatermark,
    /// Partitions that were asked for and cannot be reached now; absent when there are none. The cursor
    /// keeps their places.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub away: Option<AwayPartitions>,
}

/// One past the last committed record: a number for one partition, else one per partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(untagged)]
pub enum HighWatermark {
    One(u64),
    Each(BTreeMap<String, u64>),
}

/// Answer of `GET /v1/topics/{topic}/partitions/{partition}/offsets`. `high_watermark` and `end` are
/// exclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PartitionOffsets {
    /// The first offset still held.
    pub log_start: u64,
    /// One past the last committed record.
    pub high_watermark: u64,
    /// One past the last record of the leader.
    pub end: u64,
    pub leader_epoch: u64,
    /// With `?at=`: the first offset at or after that time, or the high watermark.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
}

/// Data of an SSE event, whose name says which.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(untagged)]
pub enum EventData {
    Records(RecordsEvent),
    CaughtUp(CaughtUpEvent),
    Away(AwayPartitions),
    Back(BackEvent),
    Ping(PingEvent),
    Drain(DrainEvent),
    /// The last one.
    Error(Problem),
}

/// Data of an SSE `records` event.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RecordsEvent {
    pub partition: u32,
    pub records: Vec<FetchedRecord>,
}

/// Data of an SSE `caught_up` event: all that there was has been sent, but for partitions that are `away`.
/// It is told once, and once more after each `back`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CaughtUpEvent {
    pub cursor: String,
}

/// Data of an SSE `ping` event: the high watermark of each partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PingEvent {
    pub tails: BTreeMap<String, u64>,
}

/// Data of an SSE `drain` event: the server stops, connect again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DrainEvent {
    pub retry_after_ms: u64,
    pub cursor: String,
}
