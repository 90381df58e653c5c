//! The control plane of a cluster of real processes, over Postgres and TLS: topics of many partitions made
//! and served, and nodes that start while there are a hundred thousand partitions.

use anyhow::{Context, Result, ensure};
use tidegate_tests::cluster::Cluster;
use tidegate_tests::http::Connection;
use tidegate_tests::wait::wait_for;

use crate::report::Report;
use crate::{Effort, now};

/// How often a topic is made.
const TOPICS: usize = 5;
/// Partitions of one of the many topics: as many as one may have.
const PARTITIONS_EACH: u32 = 10_000;
const GATEWAY: &str = "gateway-1";
const SC: &str = "sc-1";

pub(crate) async fn measure(effort: Effort, report: &mut Report) -> Result<()> {
    let mut cluster = Cluster::start(1, 3, 1);
    let mut made = Vec::new();
    for number in 0..TOPICS {
        made.push(make(&cluster, &format!("topic-{number}"), effort.active).await?);
    }
    let sizes = || [SC, GATEWAY].map(|name| resident_mib(&cluster, name));
    let [sc_before, gateway_before] = sizes();
    let mut left = effort.entered;
    let start = now();
    while left > 0 {
        let count = left.min(PARTITIONS_EACH);
        left -= count;
        make(&cluster, &format!("many-{left}"), count).await?;
    }
    let entered = start.elapsed().as_secs_f64();
    let [sc_then, gateway_then] = sizes();
    let sc = restart(&mut cluster, SC)?;
    let gateway = restart(&mut cluster, GATEWAY)?;
    produce(&cluster, "many-0", 0).await?;
    let [sc_after, gateway_after] = [SC, GATEWAY].map(|name| resident_mib(&cluster, name));

    let cluster = "1 controller, 3 units, 1 gateway, Postgres, all on this machine, TLS";
    let active = effort.active;
    report.bound(
        &format!("topic of {active} partitions made and served"),
        made,
        "s",
        2.0,
        &format!("{cluster}; from the request to durable produces through the gateway into 16 of its partitions, spread over all"),
    );
    let count = effort.entered;
    let rows = [
        ("made and served", entered, 60.0, "s", format!("the same; topics of {PARTITIONS_EACH} partitions one after the other, all opened by the units")),
        ("start of the controller", sc, 10.0, "s", "from the start of its process until it is ready".to_owned()),
        ("start of the gateway", gateway, 5.0, "s", "from the start of its process, with no copy of the topology, until the snapshot was taken in and it is ready".to_owned()),
        ("memory of the controller", sc_after, 512.0, "MiB", format!("resident, after its start; {sc_then:.0} MiB in the process that made them, {sc_before:.0} MiB before")),
        ("memory of the gateway", gateway_after, 256.0, "MiB", format!("resident, after its start; {gateway_then:.0} MiB in the process that followed, {gateway_before:.0} MiB before")),
    ];
    for (what, figure, bound, unit, setting) in rows {
        let what = format!("{count} partitions in a cluster: {what}");
        report.bound(&what, vec![figure], unit, bound, &setting);
    }
    Ok(())
}

/// Makes a topic; how long until it takes records, in seconds.
async fn make(cluster: &Cluster, name: &str, partitions: u32) -> Result<f64> {
    let mut controller = cluster.connect(SC).await?;
    let body =
        serde_json::json!({ "name": name, "partitions": partitions, "replication_factor": 1 });
    let mut gateway = cluster.connect(GATEWAY).await?;
    let start = now();
    let answer = controller.post("/v1/topics", "application/json", body.to_string());
    let answer = answer.await?;
    ensure!(answer.status == 201, "{}", answer.text());
    for step in 1..=16 {
        let partition = (u64::from(partitions) * step / 16).saturating_sub(1);
        take(&mut gateway, name, partition).await;
    }
    Ok(start.elapsed().as_secs_f64())
}

async fn produce(cluster: &Cluster, name: &str, partition: u64) -> Result<()> {
    let mut gateway = cluster.connect(GATEWAY).await?;
    take(&mut gateway, name, partition).await;
    Ok(())
}

/// One record, as soon as the partition takes one.
async fn take(gateway: &mut Connection, name: &str, partition: u64) {
    let path = format!("/v1/topics/{name}/partitions/{partition}/records");
    wait_for("a durable produce", async || {
        let answer = gateway.post(&path, "text/plain", "a record").await.ok()?;
        (answer.status == 200).then_some(())
    })
    .await;
}

/// Kills it and starts it again with nothing but what it asks for; how long until it is ready, in seconds.
fn restart(cluster: &mut Cluster, name: &str) -> Result<f64> {
    cluster.kill(name);
    let kept = cluster.member(name).data_dir.join("topology.json");
    if kept.exists() {
        std::fs::remove_file(kept)?;
    }
    let start = now();
    cluster.start_by_hand(name);
    Ok(start.elapsed().as_secs_f64())
}

fn resident_mib(cluster: &Cluster, name: &str) -> f64 {
    resident(cluster, name).map_or(0.0, |kib| kib / 1024.0)
}

fn resident(cluster: &Cluster, name: &str) -> Result<f64> {
    let facts = std::fs::read(cluster.member(name).data_dir.join("node.json"))?;
    let facts: serde_json::Value = serde_json::from_slice(&facts)?;
    let status = std::fs::read_to_string(format!("/proc/{}/status", facts["pid"]))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let amount = line.and_then(|line| line.split_whitespace().next());
    Ok(amount.context("VmRSS")?.parse()?)
}
