//! Produce requests in the binary batch format: their bytes, their path, their answer.

use std::time::Duration;

use bytes::Bytes;
use http::Method;
use http::header::{CONTENT_TYPE, HeaderValue};
use tidegate_proto::api::records::{MEDIA_TYPE_BATCH, ProduceAnswer};
use tidegate_proto::batch::{BatchBuilder, ProducerStamp};
use tidegate_proto::id::PartitionId;
use tidegate_proto::name::TopicName;
use tidegate_proto::position::Offset;

use crate::append::encode_unplaced;
use crate::client::{Client, decode};
use crate::error::Error;
use crate::limits::DEADLINE_GRACE;
use crate::producer::config::ProducerConfig;
use crate::producer::delivery::Placed;
use crate::producer::identity::Identity;
use crate::topics::topic_path;
use crate::transport::Call;

pub(crate) fn stamp(identity: Identity, seq: u32) -> ProducerStamp {
    ProducerStamp {
        id: identity.producer_id,
        epoch: identity.producer_epoch,
        seq,
        unordered: false,
    }
}

/// Appends one batch to a request body.
pub(crate) fn encode(
    builder: BatchBuilder,
    stamp: ProducerStamp,
    wire: &mut Vec<u8>,
) -> Result<(), Error> {
    let client = builder
        .producer(stamp)
        .finish()
        .map_err(|error| Error::Record(error.to_string()))?;
    encode_unplaced(&client, wire);
    Ok(())
}

/// Where a lane's requests go.
#[derive(Debug)]
pub(crate) struct Target {
    client: Client,
    path: String,
    timeout: Duration,
}

impl Target {
    pub(crate) fn new(
        client: Client,
        topic: &TopicName,
        partition: PartitionId,
        config: &ProducerConfig,
    ) -> Self {
        let mut path = format!(
            "{}/partitions/{partition}/records?timeout_ms={}",
            topic_path(topic),
            config.request_timeout.as_millis()
        );
        if let Some(acks) = config.acks {
            path.push_str(&format!("&acks={}", acks.as_str()));
        }
        Self {
            client,
            path,
            timeout: config.request_timeout + DEADLINE_GRACE,
        }
    }

    pub(crate) async fn produce(&self, body: Bytes) -> Result<Placed, Error> {
        let headers = vec![(CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE_BATCH))];
        let call = Call {
            method: Method::POST,
            path: self.path.clone(),
            headers,
            body,
            timeout: self.timeout,
        };
        let answer = self.client.call(call).await?;
        let parsed: ProduceAnswer = decode(&answer, &self.path)?;
        let base_offset = parsed
            .partitions
            .first()
            .map(|placed| Offset::new(placed.base_offset));
        Ok(Placed { base_offset })
    }
}
