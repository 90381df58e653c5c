//! The difference between two states of a thing, as clients read it: JSON pointers with old and new.
//!
//! Compares what clients can set; versions and times are not differences.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tidegate_proto::api::topic::FieldChange;
use tidegate_proto::id::SpuId;

use crate::change::Change;
use crate::decision::Decision;
use crate::model::{Model, Topic};
use crate::rows::{PartitionRow, SpuGroupRow, SpuRow, TopicRow};
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

/// The decision with what it moves: where copies are to be, who leads, which units are emptied. Pointers
/// start at the cluster: `/topics/orders/partitions/3/replicas`.
pub(crate) fn moved(model: &Model, decision: Decision) -> Decision {
    let mut found = Vec::new();
    for change in &decision.changes {
        match change {
            Change::PutPartition(row) => of_partition(model, row, &mut found),
            Change::PutSpu(row) => {
                let was = model.spu(row.spu).map(|before| before.draining);
                let path = format!("/spus/{}/draining", row.spu);
                compare(&path, &json!(was), &json!(row.draining), &mut found);
            }
            Change::PutTopic(_)
            | Change::PutSpuGroup(_)
            | Change::PutOperation(_)
            | Change::DeleteTopic(_)
            | Change::DeleteOperation(_) => {}
        }
    }
    Decision {
        differences: found,
        ..decision
    }
}

/// Where the copies of partitions are to be that are new, or are to be elsewhere; pointers start at the
/// topic: `/assignment/3`, as in what `assignment` takes.
pub(crate) fn assignments(topic: Option<&Topic>, changes: &[Change]) -> Vec<FieldChange> {
    let mut found = Vec::new();
    for change in changes {
        let Change::PutPartition(row) = change else {
            continue;
        };
        let number = row.partition.0;
        let before = topic.and_then(|topic| topic.partitions.get(number as usize));
        let before = before.map_or(Value::Null, |before| json!(wanted(before)));
        compare(
            &format!("/assignment/{number}"),
            &before,
            &json!(wanted(row)),
            &mut found,
        );
    }
    found
}

fn of_partition(model: &Model, row: &PartitionRow, found: &mut Vec<FieldChange>) {
    let (Some(before), Some(topic)) = (model.partition(row.key()), model.topic_by_id(row.topic_id))
    else {
        return;
    };
    let path = format!("/topics/{}/partitions/{}", topic.row.name, row.partition);
    let (old, new) = (json!(wanted(before)), json!(wanted(row)));
    compare(&format!("{path}/replicas"), &old, &new, found);
    let (old, new) = (json!(before.leader), json!(row.leader));
    compare(&format!("{path}/leader"), &old, &new, found);
}

/// Where its copies are to be.
fn wanted(row: &PartitionRow) -> Vec<SpuId> {
    match &row.moving {
        Some(moving) => moving.target.clone(),
        None => row.replicas.iter().map(|replica| replica.spu).collect(),
    }
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
