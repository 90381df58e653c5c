//! The partitions of a topic as a table, and a word about those that nobody leads.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::failure::Failure;
use crate::output::{self, cell};
use crate::units;

const HEADER: [&str; 10] = [
    "partition",
    "state",
    "leader",
    "epoch",
    "replicas",
    "in sync",
    "log start",
    "records to",
    "size",
    "damage",
];

/// Prints them.
pub(crate) fn show(partitions: &[Value]) -> Result<(), Failure> {
    let rows = partitions.iter().map(|partition| {
        let size = partition.get("size_bytes").and_then(Value::as_u64);
        vec![
            cell(partition.get("partition")),
            cell(partition.get("state")),
            cell(partition.get("leader")),
            cell(partition.get("leader_epoch")),
            cell(partition.get("replicas")),
            cell(partition.get("isr")),
            cell(partition.get("log_start")),
            cell(partition.get("high_watermark")),
            size.map_or_else(|| "-".to_owned(), units::show_bytes),
            damage(partition.get("damage")),
        ]
    });
    output::print_table(&HEADER, rows.collect())?;
    if let Some(words) = away(partitions) {
        output::say(&words);
    }
    Ok(())
}

/// Which are away, and whose they are.
fn away(partitions: &[Value]) -> Option<String> {
    let is_away = |it: &&Value| it.get("state").and_then(Value::as_str) == Some("offline");
    let away: Vec<&Value> = partitions.iter().filter(is_away).collect();
    let numbers = away.iter().map(|it| cell(it.get("partition")));
    let numbers: Vec<String> = numbers.collect();
    let units = away.iter().filter_map(|it| it.get("replicas")?.as_array());
    let units: BTreeSet<u64> = units.flatten().filter_map(Value::as_u64).collect();
    let units: Vec<String> = units.iter().map(ToString::to_string).collect();
    let (whose, them) = match numbers.len() {
        0 => return None,
        1 => (format!("partition {} is", numbers[0]), "its"),
        _ => (format!("partitions {} are", numbers.join(", ")), "their"),
    };
    let units = match units.len() {
        1 => format!("storage unit {} has", units[0]),
        _ => format!("storage units {} have", units.join(", ")),
    };
    Some(format!(
        "{whose} offline: {units} {them} copies; `tidegate spu list` says how they are"
    ))
}

/// What cannot be read of a partition, and whether it takes records.
fn damage(found: Option<&Value>) -> String {
    let Some(found) = found.filter(|found| !found.is_null()) else {
        return "-".to_owned();
    };
    let offset = |name: &str| found.get(name).and_then(Value::as_u64);
    let place = match (offset("from"), offset("until")) {
        (Some(from), Some(until)) => format!("offsets {from} to {}", until.saturating_sub(1)),
        (Some(from), None) => format!("from offset {from}"),
        (None, _) => "somewhere".to_owned(),
    };
    let is_read_only = found.get("read_only") == Some(&Value::Bool(true));
    let suffix = if is_read_only { ", read-only" } else { "" };
    format!("{place}{suffix}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn partitions_that_are_away_are_named_with_the_units_that_have_them() {
        let partition = |number: u32, state: &str, replicas: &[u32]| json!({ "partition": number, "state": state, "replicas": replicas });
        let online = partition(0, "online", &[1]);
        assert_eq!(away(std::slice::from_ref(&online)), None);
        let one = away(&[online.clone(), partition(1, "offline", &[2])]).unwrap();
        assert!(
            one.starts_with("partition 1 is offline: storage unit 2 has its"),
            "{one}"
        );
        let offline = |number, replicas: &[u32]| partition(number, "offline", replicas);
        let more = away(&[online, offline(1, &[2, 3]), offline(3, &[2])]).unwrap();
        let expected = "partitions 1, 3 are offline: storage units 2, 3 have their copies";
        assert!(more.starts_with(expected), "{more}");
    }
}
