//! Reading a partition back through the public API, checked for dense offsets.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;
use tidegate_proto::batch::{Batch, ClientBatch, Placement};
use tidegate_proto::id::{PartitionId, TopicId};
use tidegate_proto::position::{LeaderEpoch, Offset, ReplicaKey};
use uuid::Uuid;

use crate::http::Connection;

/// A record as the JSON answers show it, its value verbatim.
#[derive(Debug, Deserialize)]
pub struct Record {
    pub partition: u32,
    pub offset: u64,
    pub timestamp: i64,
    #[serde(default)]
    pub key: Option<Box<RawValue>>,
    #[serde(default)]
    pub value: Option<Box<RawValue>>,
    #[serde(default)]
    pub value_base64: Option<String>,
    #[serde(default)]
    pub headers: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Deserialize)]
struct Page {
    records: Vec<Record>,
}

/// All committed records of a partition from `from`, in order; gaps and repeats are errors.
///
/// # Errors
/// When the connection breaks, an answer is not 200 or 204, or offsets are not dense.
pub async fn read_all(
    connection: &mut Connection,
    topic: &str,
    partition: u32,
    from: u64,
) -> Result<Vec<Record>> {
    let mut records = Vec::new();
    let mut next = from;
    loop {
        let path = format!(
            "/v1/topics/{topic}/partitions/{partition}/records?from={next}&max_bytes=4194304"
        );
        let answer = connection.get(&path).await?;
        if answer.status == http::StatusCode::NO_CONTENT {
            return Ok(records);
        }
        ensure!(
            answer.status == http::StatusCode::OK,
            "{}: {}",
            answer.status,
            answer.text()
        );
        let page: Page = serde_json::from_slice(&answer.body)?;
        ensure!(!page.records.is_empty(), "200 without a record");
        for record in page.records {
            ensure!(
                record.offset == next,
                "offset {} where {next} is due",
                record.offset
            );
            next += 1;
            records.push(record);
        }
    }
}

/// The verbatim JSON text of a record's value.
#[must_use]
pub fn value_text(record: &Record) -> Bytes {
    let text = record.value.as_ref().map_or("", |value| value.get());
    Bytes::copy_from_slice(text.as_bytes())
}

/// A batch as a client sends it: the server's fields of the header are zero.
#[must_use]
pub fn wire(client: &ClientBatch) -> Vec<u8> {
    let placement = Placement {
        key: ReplicaKey {
            topic_id: TopicId(Uuid::nil()),
            partition: PartitionId(0),
        },
        base_offset: Offset::ZERO,
        leader_epoch: LeaderEpoch(0),
        high_watermark: Offset::ZERO,
        append_time_ms: 0,
        append_timestamps: false,
    };
    let mut bytes = Vec::new();
    Batch {
        placement,
        client: client.clone(),
    }
    .encode_into(&mut bytes);
    bytes
}
