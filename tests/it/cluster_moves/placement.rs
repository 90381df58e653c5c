//! Where new topics are placed on units with racks of their own, as an operator asks for it on the command line.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use tidegate_tests::cluster::Cluster;
use tidegate_tests::program::words;

use super::{GATEWAY, get, leaders, post};

/// Everything about one copy, on three units. Nothing of it is left.
pub(crate) async fn check(cluster: &Cluster) {
    let mut racks = BTreeSet::new();
    for unit in get(cluster, "/v1/spus").await["items"]
        .as_array()
        .expect("units")
    {
        racks.insert(unit["rack"].as_str().expect("a rack").to_owned());
    }
    assert_eq!(racks.len(), 3, "each unit on a rack of its own: {racks:?}");

    create(cluster, &["even", "--partitions", "30"]);
    assert_eq!(counts(cluster, "even").await, [(1, 10), (2, 10), (3, 10)]);
    create(
        cluster,
        &["lopsided", "--place", "3", "--place", "3", "--place", "1"],
    );
    assert_eq!(leaders(cluster, "lopsided").await, [3, 3, 1]);
    // Whatever was placed by hand counts: in all there are 13 leaders on each.
    create(cluster, &["rackless", "--partitions", "6", "--ignore-rack"]);
    assert_eq!(counts(cluster, "rackless").await, [(1, 2), (2, 3), (3, 1)]);
    let rackless = get(cluster, "/v1/topics/rackless").await;
    assert_eq!(rackless["placement"], "ignore_rack");

    plan(cluster).await;
    refuse(cluster).await;
    for topic in ["even", "lopsided", "rackless"] {
        let path = format!("/v1/topics/{topic}");
        let deleted = cluster.delete(GATEWAY, &path).await;
        assert_eq!(deleted.expect("an answer").status, 204);
    }
}

/// A dry run tells the unit of each partition and makes nothing.
async fn plan(cluster: &Cluster) {
    let arguments = ["plan", "--partitions", "3", "--dry-run", "--output", "json"];
    let told: Value = serde_json::from_slice(&create(cluster, &arguments)).expect("JSON");
    assert_eq!(told["result"], "created", "{told}");
    let changes = told["changes"].as_array().expect("changes").iter();
    let placed = changes.filter(|change| {
        let path = change["path"].as_str().expect("a path");
        path.starts_with("/assignment/")
    });
    let units: BTreeSet<u64> = placed
        .map(|change| change["to"][0].as_u64().expect("a unit"))
        .collect();
    assert_eq!(units, BTreeSet::from([1, 2, 3]), "{told}");
    let made = cluster.get(GATEWAY, "/v1/topics/plan").await;
    assert_eq!(made.expect("an answer").status, 404);
}

/// What cannot be placed is refused and named, dry run or not, and nothing of it is made.
async fn refuse(cluster: &Cluster) {
    let manual =
        json!({ "name": "plan", "placement": "manual", "partitions": 1, "assignment": [[9]] });
    let uneven = json!({ "name": "plan", "placement": "manual", "partitions": 2,
        "assignment": [[1, 2], [3]] });
    let cases = [
        (manual, "invalid_parameter", "/assignment/0"),
        (uneven, "invalid_parameter", "/assignment/1"),
    ];
    for (body, code, pointer) in cases {
        for path in ["/v1/topics?dry_run=true", "/v1/topics"] {
            let refused = post(cluster, path, &body).await;
            assert_eq!(refused.code().as_deref(), Some(code), "{}", refused.text());
            let problem = refused.json();
            assert_eq!(problem["errors"][0]["pointer"], pointer, "{problem}");
            assert_eq!(problem["side_effects"], "none", "{problem}");
        }
    }
    let made = cluster.get(GATEWAY, "/v1/topics/plan").await;
    assert_eq!(made.expect("an answer").status, 404);
}

/// `topic create` with these arguments; what it printed.
fn create(cluster: &Cluster, arguments: &[&str]) -> Vec<u8> {
    let mut command = cluster.command(GATEWAY);
    let output = command.args(["topic", "create"]).args(arguments).output();
    let output = output.expect("the program runs");
    assert!(output.status.success(), "{arguments:?}: {}", words(&output));
    output.stdout
}

/// Partitions of the topic that each unit leads.
async fn counts(cluster: &Cluster, topic: &str) -> Vec<(u64, usize)> {
    let mut counts = BTreeMap::new();
    for unit in leaders(cluster, topic).await {
        *counts.entry(unit).or_insert(0) += 1;
    }
    counts.into_iter().collect()
}
