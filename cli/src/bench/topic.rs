//! The topic that a benchmark works on: made when it is not there.

use serde_json::json;
use tidegate_client::{Client, TopicFacts, TopicName, WriteOptions};

use crate::failure::Failure;

/// Finds the topic, or creates it with `partitions`.
pub(crate) async fn find_or_create(
    client: &Client,
    name: &TopicName,
    partitions: u32,
) -> Result<TopicFacts, Failure> {
    match client.topic_facts(name).await {
        Err(error) if error.code() == Some(tidegate_client::ErrorCode::TopicNotFound) => {}
        outcome => return Ok(outcome?),
    }
    let spec = json!({ "partitions": partitions });
    client
        .ensure_topic(name, &spec, WriteOptions::default())
        .await?;
    Ok(client.topic_facts(name).await?)
}
