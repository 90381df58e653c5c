//! Control calls: topics, partitions, offsets, the cluster.
//!
//! Documents travel as JSON values in the shape of the OpenAPI document, so that a newer server's
//! fields reach the caller; what the client itself computes with has a type.

use std::collections::{BTreeMap, BTreeSet};

use http::Method;
use http::header::{HeaderName, HeaderValue, IF_MATCH};
use serde::Deserialize;
use serde_json::Value;
use tidegate_proto::id::{PartitionId, TopicId};
use tidegate_proto::name::TopicName;
use tidegate_proto::position::{LeaderEpoch, Offset};

use crate::client::{Client, decode};
use crate::error::Error;

/// Conditions of a control-plane write.
#[derive(Clone, Copy, Debug, Default)]
pub struct WriteOptions {
    /// Only when what is written still has this version.
    pub if_version: Option<u64>,
    /// Say what would happen, and do nothing.
    pub dry_run: bool,
}

/// The answer to a control-plane write.
#[derive(Clone, Debug)]
pub struct Written {
    /// `created`, `updated`, `unchanged` or `deleted`.
    pub result: String,
    /// What was written as it is now, or the work that began; of a dry run, `{"result","changes"}`.
    pub body: Value,
}

/// Where a partition's log begins and ends.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
pub struct PartitionOffsets {
    /// First offset that is still there.
    pub log_start: Offset,
    /// Exclusive end of what consumers may read.
    pub high_watermark: Offset,
    /// Exclusive end of what the leader has.
    pub end: Offset,
    /// Term of the leader that answered.
    pub leader_epoch: LeaderEpoch,
    /// First offset at or after the time that was asked for.
    #[serde(default)]
    pub offset: Option<Offset>,
}

/// What a producer or consumer has to know of a topic.
#[derive(Clone, Debug, Deserialize)]
pub struct TopicFacts {
    pub id: TopicId,
    pub partitions: u32,
    /// Its state with the reason; null from a server that does not say.
    #[serde(default)]
    pub status: Value,
}

#[derive(Deserialize)]
struct Page {
    items: Vec<Value>,
    #[serde(default)]
    next: Option<String>,
}

impl Client {
    /// Creates a topic. `spec` is `{"name", "partitions"?, "config"?, ..}`.
    ///
    /// # Errors
    /// `already_exists` when the name is taken.
    pub async fn create_topic(
        &self,
        spec: &Value,
        options: WriteOptions,
    ) -> Result<Written, Error> {
        self.write(
            Method::POST,
            "/v1/topics".to_owned(),
            Some(spec),
            options,
            "created",
        )
        .await
    }

    /// Makes the topic be as `spec` says: created, updated, or found to be so already.
    ///
    /// # Errors
    /// `precondition_failed` when `if_version` is not the version.
    pub async fn ensure_topic(
        &self,
        name: &TopicName,
        spec: &Value,
        options: WriteOptions,
    ) -> Result<Written, Error> {
        self.write(
            Method::PUT,
            topic_path(name),
            Some(spec),
            options,
            "updated",
        )
        .await
    }

    /// Gives up the oldest records of partitions. `body` is
    /// `{"partitions": [{"partition", "before_offset"}, ..]}`; asking again changes nothing.
    ///
    /// # Errors
    /// `topic_not_found`, `partition_not_found`; `offset_out_of_range` above the high watermark.
    pub async fn truncate_topic(
        &self,
        name: &TopicName,
        body: &Value,
        options: WriteOptions,
    ) -> Result<Written, Error> {
        let path = format!("{}/truncate", topic_path(name));
        self.write(Method::POST, path, Some(body), options, "updated")
            .await
    }

    /// Deletes a topic with its records.
    ///
    /// # Errors
    /// `topic_not_found`, or `precondition_failed` when `if_version` is not the version.
    pub async fn delete_topic(
        &self,
        name: &TopicName,
        options: WriteOptions,
    ) -> Result<Written, Error> {
        self.write(Method::DELETE, topic_path(name), None, options, "deleted")
            .await
    }

    /// The whole document of one topic.
    ///
    /// # Errors
    /// `topic_not_found`.
    pub async fn topic(&self, name: &TopicName) -> Result<Value, Error> {
        self.get_json(&topic_path(name)).await
    }

    /// Id and number of partitions of one topic.
    ///
    /// # Errors
    /// `topic_not_found`.
    pub async fn topic_facts(&self, name: &TopicName) -> Result<TopicFacts, Error> {
        self.get_json(&topic_path(name)).await
    }

    /// All topics, following the pages.
    ///
    /// # Errors
    /// Those of any call.
    pub async fn topics(&self) -> Result<Vec<Value>, Error> {
        self.all_pages("/v1/topics").await
    }

    /// The partitions that nobody leads for now. None when that cannot be found out: it is for those who may
    /// as well take another.
    pub(crate) async fn offline_partitions(
        &self,
        name: &TopicName,
        facts: &TopicFacts,
    ) -> BTreeSet<PartitionId> {
        let state = facts.status["state"].as_str();
        if matches!(state, None | Some("provisioned")) {
            return BTreeSet::new();
        }
        let partitions = self.partitions(name).await.unwrap_or_default();
        let offline = partitions.iter().filter(|one| one["state"] != "online");
        offline
            .filter_map(|one| u32::try_from(one["partition"].as_u64()?).ok())
            .map(PartitionId)
            .collect()
    }

    /// Leader, replicas, watermarks and sizes of a topic's partitions.
    ///
    /// # Errors
    /// `topic_not_found`.
    pub async fn partitions(&self, name: &TopicName) -> Result<Vec<Value>, Error> {
        self.all_pages(&format!("{}/partitions", topic_path(name)))
            .await
    }

    /// Where a partition's log begins and ends, and the offset for a time (epoch ms) if asked.
    ///
    /// # Errors
    /// `topic_not_found`, `partition_not_found`.
    pub async fn offsets(
        &self,
        name: &TopicName,
        partition: PartitionId,
        at_ms: Option<i64>,
    ) -> Result<PartitionOffsets, Error> {
        self.get_json(&offsets_path(name, partition, at_ms)).await
    }

    /// The same, or why not at once.
    pub(crate) async fn offsets_once(
        &self,
        name: &TopicName,
        partition: PartitionId,
        at_ms: Option<i64>,
    ) -> Result<PartitionOffsets, Error> {
        let path = offsets_path(name, partition, at_ms);
        self.get_json_once(&path).await
    }

    /// The cluster as its controller describes it.
    ///
    /// # Errors
    /// Those of any call.
    pub async fn cluster(&self) -> Result<Value, Error> {
        self.get_json("/v1/cluster").await
    }

    /// What went in and out of the cluster in the last 15 minutes, without the buckets of charts.
    ///
    /// # Errors
    /// Those of any call.
    pub async fn stats(&self) -> Result<Value, Error> {
        self.get_json("/v1/stats").await
    }

    pub(crate) async fn write(
        &self,
        method: Method,
        path: String,
        body: Option<&Value>,
        options: WriteOptions,
        usual: &str,
    ) -> Result<Written, Error> {
        let named = format!("{method} {path}");
        let path = if options.dry_run {
            format!("{path}?dry_run=true")
        } else {
            path
        };
        let mut headers: Vec<(HeaderName, HeaderValue)> = Vec::new();
        if let Some(version) = options.if_version {
            let value = HeaderValue::from_str(&format!("\"{version}\""))
                .expect("a quoted number is a header value");
            headers.push((IF_MATCH, value));
        }
        let answer = self.send_json(method, path, headers, body).await?;
        let body: Value = if answer.body.is_empty() {
            Value::Null
        } else {
            decode(&answer, &named)?
        };
        let result = answer
            .header("tidegate-result")
            .or_else(|| body.get("result").and_then(Value::as_str))
            .unwrap_or(usual)
            .to_owned();
        Ok(Written { result, body })
    }

    pub(crate) async fn all_pages(&self, path: &str) -> Result<Vec<Value>, Error> {
        let mut items = Vec::new();
        let mut seen: BTreeMap<String, ()> = BTreeMap::new();
        let mut query = "?limit=1000".to_owned();
        loop {
            let page: Page = self.get_json(&format!("{path}{query}")).await?;
            items.extend(page.items);
            let Some(next) = page.next else {
                return Ok(items);
            };
            if seen.insert(next.clone(), ()).is_some() {
                return Err(Error::Protocol {
                    request: format!("GET {path}"),
                    reason: "the pages of the list go in a circle".to_owned(),
                });
            }
            query = format!("?limit=1000&next={}", percent_encoded(&next));
        }
    }
}

fn offsets_path(name: &TopicName, partition: PartitionId, at_ms: Option<i64>) -> String {
    let mut path = format!("{}/partitions/{partition}/offsets", topic_path(name));
    if let Some(at_ms) = at_ms {
        path.push_str(&format!("?at={at_ms}"));
    }
    path
}

/// `/v1/topics/<name>`; topic names need no escaping.
pub(crate) fn topic_path(name: &TopicName) -> String {
    format!("/v1/topics/{}", name.as_str())
}

/// Everything but unreserved characters as `%XX`.
pub(crate) fn percent_encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn query_values_are_escaped_byte_by_byte() {
        assert_eq!(percent_encoded("a-b.c_d~9"), "a-b.c_d~9");
        assert_eq!(percent_encoded("ä=&+ "), "%C3%A4%3D%26%2B%20");
    }
}
