//! The difference between two states of a thing, as clients read it: JSON pointers with old and new.
//!
//! Compares what clients can set; versions and times are not differences.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tidegate_proto::api::topic::FieldChange;

use crate::rows::{SpuGroupRow, SpuRow, TopicRow};
use crate::settings::Settings;

/// Every field in which the topic after differs from the topic before; one entry with an empty pointer
/// when it comes into being or goes.
pub(crate) fn differences(before: Option<&TopicRow>, after: Option<&TopicRow>) -> Vec<FieldChange> {
    between(before.map(document), after.map(document))
}

/// The same of a storage unit.
pub(crate) fn spu_differences(before: Option<&SpuRow>, after: Option<&SpuRow>) -> Vec<FieldChange> {
    let document = |row: &SpuRow| {
        json!({
            "id": row.spu,
            "kind": row.kind,
            "group": row.group,
            "rack": row.rack,
            "site": row.site,
            "labels": row.labels,
        })
    };
    between(before.map(document), after.map(document))
}

/// The same of a group of storage units.
pub(crate) fn group_differences(
    before: Option<&SpuGroupRow>,
    after: Option<&SpuGroupRow>,
) -> Vec<FieldChange> {
    let document = |row: &SpuGroupRow| {
        json!({
            "name": row.name,
            "replicas": row.replicas,
            "first_id": row.first_id,
            "racks": row.racks,
            "site": row.site,
        })
    };
    between(before.map(document), after.map(document))
}

/// A name as part of a JSON pointer.
pub(crate) fn pointed(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

fn between(before: Option<Value>, after: Option<Value>) -> Vec<FieldChange> {
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
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    for name in names {
        let path = format!("{path}/{}", pointed(name));
        let (old, new) = (old.get(name), new.get(name));
        let null = &Value::Null;
        compare(&path, old.unwrap_or(null), new.unwrap_or(null), found);
    }
}
