//! The difference between two states of a topic, as clients read it: JSON pointers with old and new.
//!
//! Compares what clients can set; versions and times are not differences.

use serde_json::{Value, json};
use tidegate_proto::api::topic::FieldChange;

use crate::rows::TopicRow;
use crate::settings::Settings;

/// Every field in which the topic after differs from the topic before; one entry with an empty pointer
/// when it comes into being or goes.
pub(crate) fn differences(before: Option<&TopicRow>, after: Option<&TopicRow>) -> Vec<FieldChange> {
    let (before, after) = (before.map(document), after.map(document));
    let mut found = Vec::new();
    match (before, after) {
        (Some(before), Some(after)) => compare("", &before, &after, &mut found),
        (None, None) => {}
        (before, after) => found.push(FieldChange {
            path: String::new(),
            from: before.unwrap_or_default(),
            to: after.unwrap_or_default(),
        }),
    }
    found
}

fn document(row: &TopicRow) -> Value {
    let Settings {
        partitions,
        replication_factor,
        placement,
        config,
        ..
    } = Settings::of(row);
    json!({
        "name": row.name,
        "partitions": partitions,
        "replication_factor": replication_factor,
        "min_in_sync": row.effective_min_in_sync(),
        "placement": placement,
        "config": config,
    })
}

fn compare(path: &str, before: &Value, after: &Value, found: &mut Vec<FieldChange>) {
    let (Value::Object(old), Value::Object(new)) = (before, after) else {
        if before != after {
            let (path, from, to) = (path.to_owned(), before.clone(), after.clone());
            found.push(FieldChange { path, from, to });
        }
        return;
    };
    // Both sides were written by `document`, so they have the same fields.
    for (name, old) in old {
        compare(
            &format!("{path}/{name}"),
            old,
            new.get(name).unwrap_or(&Value::Null),
            found,
        );
    }
}
