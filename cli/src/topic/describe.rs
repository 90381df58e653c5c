//! `tidegate topic describe`: one topic, its settings and its partitions.

use clap::Args;
use serde_json::{Value, json};
use tidegate_client::TopicName;

use super::partitions;
use crate::connection::Connection;
use crate::failure::Failure;
use crate::output::{self, Output, cell};
use crate::units;

#[derive(Args, Debug)]
pub(crate) struct DescribeArguments {
    /// Topic to show.
    pub(crate) name: TopicName,
}

pub(crate) async fn run(
    arguments: DescribeArguments,
    connection: &Connection,
    output: Output,
) -> Result<(), Failure> {
    let client = connection.client()?;
    let topic = client.topic(&arguments.name).await?;
    let partitions = client.partitions(&arguments.name).await?;
    if output == Output::Json {
        return output::print_json(&json!({ "topic": topic, "partitions": partitions }));
    }
    output::print_table(&["field", "value"], fields(&topic))?;
    output::print("")?;
    partitions::show(&partitions)
}

/// Scalars by name, nested objects with a dotted name.
fn fields(topic: &Value) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    for (name, value) in topic.as_object().into_iter().flatten() {
        match value {
            Value::Object(inner) => {
                rows.extend(
                    inner
                        .iter()
                        .map(|(key, value)| vec![format!("{name}.{key}"), setting(key, value)]),
                );
            }
            scalar => rows.push(vec![name.clone(), setting(name, scalar)]),
        }
    }
    rows
}

fn setting(name: &str, value: &Value) -> String {
    match (name, value) {
        ("retention_ms", Value::Null) => "forever".to_owned(),
        ("retention_bytes", Value::Null) => "unlimited".to_owned(),
        _ => match value.as_u64() {
            Some(number) if name.ends_with("_ms") => {
                with_meaning(number, units::show_milliseconds(number))
            }
            Some(number) if name.ends_with("_bytes") => {
                with_meaning(number, Some(units::show_bytes(number)))
            }
            _ => cell(Some(value)),
        },
    }
}

/// The number as the API has it, and what it is for a reader.
fn with_meaning(number: u64, meaning: Option<String>) -> String {
    match meaning.filter(|meaning| *meaning != format!("{number} B")) {
        Some(meaning) => format!("{number} ({meaning})"),
        None => number.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_settings_are_shown_with_dotted_names() {
        let topic = json!({"name": "a", "config": {"acks": "quorum", "retention_ms": null,
            "segment_ms": 604_800_000, "segment_bytes": 67_108_864}});
        let rows = fields(&topic);
        assert!(rows.contains(&vec!["name".to_owned(), "a".to_owned()]));
        assert!(rows.contains(&vec!["config.acks".to_owned(), "quorum".to_owned()]));
        assert!(rows.contains(&vec![
            "config.segment_ms".to_owned(),
            "604800000 (7d)".to_owned()
        ]));
        assert!(rows.contains(&vec![
            "config.segment_bytes".to_owned(),
            "67108864 (67.1 MB)".to_owned()
        ]));
        assert!(rows.contains(&vec![
            "config.retention_ms".to_owned(),
            "forever".to_owned()
        ]));
    }
}
