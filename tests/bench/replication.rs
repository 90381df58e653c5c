//! What three copies cost: the same batches into a topic with three copies and into one with a single copy, in
//! turn, in one cluster of processes on this machine; and one follower alone that catches up.
//!
//! On one machine three copies are three times the work of the disk and of the cores, so that the ratio says
//! what the protocol adds, not what a cluster of three machines would reach.

mod stream;

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tidegate_tests::cluster::Cluster;
use tidegate_tests::wait::wait_for;

use crate::batch::batch;
use crate::load::{answers_over_tls, one_after_the_other, open_tls, post_as};
use crate::raw_log::raw_log;
use crate::report::{Report, median};
use crate::{Effort, now};

const BATCH_BYTES: usize = 256 * 1024;
const CONNECTIONS: usize = 4;
const KIND: &str = "application/vnd.tidegate.batch";
/// What is kept of each copy, so that minutes of batches do not fill the disk.
const RETENTION_BYTES: u64 = 512 << 20;
const LEADER: &str = "spu-1";
const FOLLOWER: &str = "spu-2";
/// How much longer one record may take with three copies.
const LATENCY_FACTOR: f64 = 3.0;

/// Name of a topic, and where its copies are.
const TOPICS: [(&str, &[u64]); 3] = [("one", &[1]), ("three", &[1, 2, 3]), ("behind", &[1, 2])];

/// A cluster whose first unit leads all topics.
struct Site {
    cluster: Cluster,
    address: String,
    ca_pem: String,
    token: String,
}

pub(crate) async fn measure(effort: Effort, report: &mut Report) -> Result<()> {
    let site = Site::start().await?;
    for record_bytes in [100, 1024] {
        throughput(&site, effort, record_bytes, report).await?;
    }
    latency(&site, effort, report).await?;
    catching_up(&site, effort, report).await
}

async fn throughput(
    site: &Site,
    effort: Effort,
    record_bytes: usize,
    report: &mut Report,
) -> Result<()> {
    let (body, records) = batch(record_bytes, BATCH_BYTES)?;
    let mut pairs = Vec::new();
    for _ in 0..effort.pairs {
        let three = site.rate("three", &body, effort).await? * records;
        let one = site.rate("one", &body, effort).await? * records;
        pairs.push((three, one));
    }
    let setting = format!(
        "256 KiB batches of {records} records, {CONNECTIONS} HTTP/1.1 connections to the leader, TLS, acks=quorum, each copy \
         on its own unit with an fdatasync before it counts, three units and the load on one machine; limit: the same \
         into a topic with one copy"
    );
    let what = format!("quorum produce with three copies, {record_bytes} B records");
    report.pairs(&what, "records/s", &pairs, &setting);
    Ok(())
}

async fn latency(site: &Site, effort: Effort, report: &mut Report) -> Result<()> {
    let mut pairs = Vec::new();
    for _ in 0..effort.pairs {
        let three = site.half("three", effort).await?;
        let one = site.half("one", effort).await?;
        pairs.push((three, one * LATENCY_FACTOR));
    }
    report.within(
        "quorum produce with three copies, one in flight, p50",
        "us",
        &pairs,
        "one record of 100 B after the other over one connection with TLS; bound: three times that of a topic with \
         one copy in the same run",
    );
    Ok(())
}

async fn catching_up(site: &Site, effort: Effort, report: &mut Report) -> Result<()> {
    let (body, _) = batch(1024, BATCH_BYTES)?;
    let batches = effort.behind_bytes.div_ceil(body.len());
    let bytes = (batches * body.len()) as f64;
    let mut pairs = Vec::new();
    let mut limits = Vec::new();
    for _ in 0..effort.pairs {
        let ours = bytes / site.catch_up(&body, batches).await?;
        let tls = site.cluster.data_dir().join("tls");
        let streamed = stream::bytes_per_second(&tls, &site.ca_pem, &body, batches).await?;
        let (folder, batch, side) = (site.cluster.data_dir(), body.clone(), effort.side);
        // On a thread of its own, so that no worker of the load tool is held up.
        let raw = move || raw_log(&folder, &batch, CONNECTIONS, side);
        let raw = tokio::task::spawn_blocking(raw).await??.bytes_per_second;
        pairs.push((ours, streamed.min(raw)));
        limits.push((streamed, raw));
    }
    let middle =
        |of: fn(&(f64, f64)) -> f64| median(&mut limits.iter().map(of).collect::<Vec<_>>()) / 1e6;
    let setting = format!(
        "{:.0} MB that a follower does not have when it goes on, until a quorum acknowledges what comes after; limit: the \
         slower of one HTTP/2 stream with TLS ({:.0} MB/s) and a raw loop of journal and segments ({:.0} MB/s)",
        bytes / 1e6,
        middle(|limit| limit.0),
        middle(|limit| limit.1),
    );
    report.pairs("one follower catching up", "B/s", &pairs, &setting);
    Ok(())
}

impl Site {
    async fn start() -> Result<Self> {
        let cluster = Cluster::start(1, 3, 0);
        for (name, units) in TOPICS {
            let body = json!({ "name": name, "partitions": 1, "replication_factor": units.len(),
                // A follower that does not answer stays in sync, or it would not be waited for.
                "min_in_sync": units.len().min(2), "placement": "manual", "assignment": [units],
                "config": { "retention_bytes": RETENTION_BYTES } });
            let answer = cluster
                .post("sc-1", "/v1/topics", &body.to_string())
                .await?;
            ensure!(answer.status == 201, "{}", answer.text());
        }
        let target = cluster.target(LEADER);
        let site = Self {
            address: target.url.trim_start_matches("https://").to_owned(),
            ca_pem: target.ca_pem.context("TLS")?,
            token: target.token.context("a token")?,
            cluster,
        };
        for (name, units) in TOPICS {
            site.wait_whole(name, units.len()).await;
        }
        Ok(site)
    }

    /// Waits until all copies are in sync and the leader takes records.
    async fn wait_whole(&self, topic: &str, copies: usize) {
        let path = format!("/v1/topics/{topic}/partitions");
        wait_for("all copies to be in sync", async || {
            let answer = self.cluster.get("sc-1", &path).await.ok()?;
            let list: Value = serde_json::from_slice(&answer.body).ok()?;
            (list["items"][0]["isr"].as_array()?.len() == copies).then_some(())
        })
        .await;
        let path = format!("/v1/topics/{topic}/partitions/0/records");
        wait_for("a record to be taken", async || {
            let body = r#"{"records":[{"value":0}]}"#;
            let answer = self.cluster.post(LEADER, &path, body).await.ok()?;
            (answer.status == 200).then_some(())
        })
        .await;
    }

    fn request(&self, topic: &str, query: &str, kind: &str, body: &[u8]) -> Vec<u8> {
        let path = format!("/v1/topics/{topic}/partitions/0/records{query}");
        post_as(&self.token, &self.address, &path, kind, body)
    }

    /// Batches per second.
    async fn rate(&self, topic: &str, body: &[u8], effort: Effort) -> Result<f64> {
        let request = self.request(topic, "", KIND, body);
        let start = now();
        let (address, ca) = (&self.address, &self.ca_pem);
        let answers = answers_over_tls(address, ca, request, CONNECTIONS, effort.side).await?;
        Ok(answers as f64 / start.elapsed().as_secs_f64())
    }

    /// The time that half of all records stay below, in microseconds.
    async fn half(&self, topic: &str, effort: Effort) -> Result<f64> {
        let request = self.request(topic, "", "text/plain", &[b'x'; 100]);
        let stream = open_tls(&self.address, &self.ca_pem).await?;
        let mut took = one_after_the_other(stream, request.into(), effort.side).await?;
        Ok(median(&mut took))
    }

    /// How long a follower takes to have so many batches that it did not get, in seconds.
    async fn catch_up(&self, body: &[u8], batches: usize) -> Result<f64> {
        self.cluster.freeze(FOLLOWER);
        let request: Arc<[u8]> = self.request("behind", "?acks=leader", KIND, body).into();
        let written = self.write(request, batches).await;
        self.cluster.thaw(FOLLOWER);
        written?;
        let start = now();
        let path = "/v1/topics/behind/partitions/0/records";
        wait_for("a record that both copies have", async || {
            let body = r#"{"records":[{"value":0}]}"#;
            let answer = self.cluster.post(LEADER, path, body).await.ok()?;
            (answer.status == 200).then_some(())
        })
        .await;
        Ok(start.elapsed().as_secs_f64())
    }

    async fn write(&self, request: Arc<[u8]>, batches: usize) -> Result<()> {
        use tokio::io::AsyncWriteExt as _;
        let mut stream = open_tls(&self.address, &self.ca_pem).await?;
        let mut buffer = Vec::new();
        for _ in 0..batches {
            stream.write_all(&request).await?;
            stream.flush().await?;
            crate::load::answer(&mut stream, &mut buffer).await?;
        }
        Ok(())
    }
}
