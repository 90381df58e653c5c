//! `tidegate topic list`.

use clap::Args;
use serde_json::Value;

use crate::connection::Connection;
use crate::failure::Failure;
use crate::output::{self, Output, cell};

#[derive(Args, Debug)]
pub(crate) struct ListArguments {
    /// Only topics whose name begins so.
    #[arg(value_name = "PREFIX")]
    pub(crate) prefix: Option<String>,
}

pub(crate) async fn run(
    arguments: ListArguments,
    connection: &Connection,
    output: Output,
) -> Result<(), Failure> {
    let mut topics = connection.client()?.topics().await?;
    if let Some(prefix) = &arguments.prefix {
        topics.retain(|topic| {
            topic
                .get("name")
                .and_then(Value::as_str)
                .is_some_and(|name| name.starts_with(prefix))
        });
    }
    if output == Output::Json {
        return output::print_json(&Value::Array(topics));
    }
    if topics.is_empty() {
        output::say("no topics; `tidegate topic create NAME` makes one");
        return Ok(());
    }
    let rows = topics.iter().map(|topic| {
        vec![
            cell(topic.get("name")),
            cell(topic.get("partitions")),
            cell(topic.get("replication_factor")),
            cell(topic.pointer("/status/state")),
            cell(topic.get("version")),
        ]
    });
    output::print_table(
        &["name", "partitions", "replicas", "state", "version"],
        rows.collect(),
    )
}
