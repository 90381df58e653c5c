//! Single appends: one request, one answer, nothing batched or repeated.
//!
//! For tools that do their own batching, and for measuring. Not idempotent: after an error that
//! leaves the outcome open, repeating may store the records twice; [`crate::Producer`] does not.

use std::time::Duration;

use bytes::Bytes;
use http::Method;
use http::header::{CONTENT_TYPE, HeaderValue};
use tidegate_proto::api::records::{MEDIA_TYPE_BATCH, ProduceAnswer};
use tidegate_proto::batch::{Batch, ClientBatch, Placement};
use tidegate_proto::id::{PartitionId, TopicId};
use tidegate_proto::limits::TIMEOUT_MS_DEFAULT;
use tidegate_proto::name::TopicName;
use tidegate_proto::position::{LeaderEpoch, Offset, ReplicaKey};
use tidegate_proto::produce::Acks;
use uuid::Uuid;

use crate::client::{Client, decode};
use crate::error::Error;
use crate::limits::DEADLINE_GRACE;
use crate::topics::topic_path;
use crate::transport::Call;

impl Client {
    /// Appends one record without key or headers, its value being `value`.
    ///
    /// # Errors
    /// Those of the produce route.
    pub async fn append_value(
        &self,
        topic: &TopicName,
        value: Bytes,
        acks: Option<Acks>,
    ) -> Result<ProduceAnswer, Error> {
        let path = with_acks(format!("{}/records", topic_path(topic)), acks);
        self.append(
            path,
            HeaderValue::from_static("application/octet-stream"),
            value,
        )
        .await
    }

    /// Appends finished batches to one partition, all of them or none.
    ///
    /// # Errors
    /// Those of the produce route.
    pub async fn append_batches(
        &self,
        topic: &TopicName,
        partition: PartitionId,
        batches: &[ClientBatch],
        acks: Option<Acks>,
    ) -> Result<ProduceAnswer, Error> {
        let mut body = Vec::new();
        for batch in batches {
            encode_unplaced(batch, &mut body);
        }
        let path = format!("{}/partitions/{partition}/records", topic_path(topic));
        let media_type = HeaderValue::from_static(MEDIA_TYPE_BATCH);
        self.append(with_acks(path, acks), media_type, Bytes::from(body))
            .await
    }

    async fn append(
        &self,
        path: String,
        media_type: HeaderValue,
        body: Bytes,
    ) -> Result<ProduceAnswer, Error> {
        let timeout = Duration::from_millis(TIMEOUT_MS_DEFAULT) + DEADLINE_GRACE;
        let headers = vec![(CONTENT_TYPE, media_type)];
        let named = path.clone();
        let call = Call {
            method: Method::POST,
            path,
            headers,
            body,
            timeout,
        };
        decode(&self.call(call).await?, &named)
    }
}

fn with_acks(path: String, acks: Option<Acks>) -> String {
    match acks {
        Some(acks) => format!("{path}?acks={}", acks.as_str()),
        None => path,
    }
}

/// Appends a batch to a request body. The placement in front of it is the server's to fill.
pub(crate) fn encode_unplaced(batch: &ClientBatch, out: &mut Vec<u8>) {
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
    Batch {
        placement,
        client: batch.clone(),
    }
    .encode_into(out);
}
