//! `tidegate status`: how storage units and copies are, in one look, and which command tells more.
//!
//! It counts nothing itself: the numbers are the controller's own, those of `/v1/stats`. Invariant: exit code 0
//! means that every partition has a leader and enough copies in sync for `acks=quorum`.

use serde_json::{Value, json};

use crate::connection::Connection;
use crate::failure::Failure;
use crate::output::{self, Output, cell};
use crate::units;

/// Names that are shown of more that are amiss; `tidegate topic list` has all.
const NAMED_MAX: usize = 5;

/// Shows it. Exit code 1 when a partition is offline or has too few copies for `acks=quorum`.
pub(super) async fn run(connection: &Connection, output: Output) -> Result<(), Failure> {
    let client = connection.client()?;
    let stats = client.stats().await?;
    let (spus, topics) = (client.spus().await?, client.topics().await?);
    let summary = summary(&stats, &spus, &topics);
    match output {
        Output::Json => output::print_json(&summary)?,
        Output::Table => output::print_table(&["WHAT", "COUNT", "MORE"], rows(&summary))?,
    }
    verdict(&summary).map_or(Ok(()), |why| Err(Failure::failed(why)))
}

fn summary(stats: &Value, spus: &[Value], topics: &[Value]) -> Value {
    let cluster = |name: &str| stats.pointer(&format!("/cluster/{name}")).cloned();
    let away = spus.iter().filter(|unit| state(unit) == Some("offline"));
    let away: Vec<Value> = away.filter_map(|unit| unit.get("id").cloned()).collect();
    let amiss = topics.iter().filter(|topic| {
        let reason = topic.pointer("/status/reason");
        reason.is_some_and(|reason| !reason.is_null())
    });
    let amiss: Vec<Value> = amiss.filter_map(|it| it.get("name").cloned()).collect();
    json!({
        "spus": spus.len(),
        "spus_offline": away,
        "topics": cluster("topics"),
        "topics_affected": amiss,
        "partitions": cluster("partitions"),
        "offline_partitions": cluster("offline_partitions"),
        "below_min_in_sync_partitions": cluster("below_min_in_sync_partitions"),
        "under_replicated_partitions": cluster("under_replicated_partitions"),
    })
}

fn state(unit: &Value) -> Option<&str> {
    unit.pointer("/status/state").and_then(Value::as_str)
}

fn rows(summary: &Value) -> Vec<Vec<String>> {
    let row =
        |what: &str, name: &str, more: String| vec![what.to_owned(), cell(summary.get(name)), more];
    let named = |name: &str| match summary.get(name).and_then(Value::as_array) {
        Some(all) if !all.is_empty() => {
            let more = if all.len() > NAMED_MAX { ", .." } else { "" };
            let shown = all.iter().take(NAMED_MAX).map(|one| cell(Some(one)));
            format!("{}{more}", shown.collect::<Vec<_>>().join(", "))
        }
        _ => String::new(),
    };
    let away = match named("spus_offline") {
        none if none.is_empty() => none,
        units => format!("offline: {units}; tidegate spu list"),
    };
    let topics = match named("topics_affected") {
        none if none.is_empty() => none,
        topics => format!("affected: {topics}; tidegate topic describe NAME"),
    };
    let none = String::new;
    vec![
        row("storage units", "spus", away),
        row("topics", "topics", topics),
        row("partitions", "partitions", none()),
        row("offline", "offline_partitions", none()),
        row("below min_in_sync", "below_min_in_sync_partitions", none()),
        row("under-replicated", "under_replicated_partitions", none()),
    ]
}

/// Why the cluster does not do what it should; none when it does, also with copies missing that it can spare.
fn verdict(summary: &Value) -> Option<String> {
    let count = |name: &str| {
        summary
            .get(name)
            .and_then(Value::as_u64)
            .unwrap_or_default()
    };
    let (offline, below) = (
        count("offline_partitions"),
        count("below_min_in_sync_partitions"),
    );
    let partitions = |count| units::counted(count, "partition");
    match (offline, below) {
        (0, 0) => None,
        (0, below) => Some(format!(
            "too few copies in sync for acks=quorum: {}",
            partitions(below)
        )),
        (offline, _) => Some(format!("nobody leads {}", partitions(offline))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(offline: u64, below: u64, short: u64) -> Value {
        let stats = json!({ "cluster": { "topics": 2, "partitions": 9, "offline_partitions": offline,
            "below_min_in_sync_partitions": below, "under_replicated_partitions": short } });
        let unit = |id: u32, state: &str| json!({ "id": id, "status": { "state": state } });
        let topics = [
            json!({ "name": "orders", "status": { "state": "degraded", "reason": "one copy is away" } }),
            json!({ "name": "bills", "status": { "state": "online" } }),
        ];
        summary(&stats, &[unit(1, "online"), unit(2, "offline")], &topics)
    }

    #[test]
    fn it_says_what_is_amiss_where_and_which_command_tells_more() {
        let summary = shown(0, 0, 3);
        assert_eq!(summary["spus_offline"], json!([2]));
        assert_eq!(summary["topics_affected"], json!(["orders"]));
        let rows = rows(&summary);
        assert_eq!(
            rows[0],
            ["storage units", "2", "offline: 2; tidegate spu list"]
        );
        assert_eq!(rows[1][2], "affected: orders; tidegate topic describe NAME");
        assert_eq!(rows[5][..2], ["under-replicated", "3"]);
    }

    #[test]
    fn it_fails_when_records_cannot_be_written_or_read_and_not_for_a_spare_copy() {
        assert_eq!(verdict(&shown(0, 0, 3)), None);
        let below = verdict(&shown(0, 1, 3)).unwrap();
        assert_eq!(below, "too few copies in sync for acks=quorum: 1 partition");
        assert_eq!(
            verdict(&shown(2, 3, 3)).unwrap(),
            "nobody leads 2 partitions"
        );
    }
}
