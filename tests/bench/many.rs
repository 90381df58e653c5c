//! Ten thousand partitions that do nothing: making and deleting them, starting with them, and the memory
//! that each takes.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tidegate_log::{
    Entry, Log, LogConfig, LogDead, Opened, OsVfs, Replica, RoundListener, Submission,
};
use tidegate_proto::batch::{Batch, BatchBuilder, ClientBatch, Placement};
use tidegate_proto::compression::Codec;
use tidegate_proto::position::{Offset, ReplicaKey};
use tidegate_proto::record::{Datum, RecordRef};
use tidegate_tests::server::Server;

use crate::load::{each_once, post};
use crate::report::Report;
use crate::{Effort, now};

const BATCH_BYTES: usize = 16 * 1024;

pub(crate) async fn measure(effort: Effort, report: &mut Report) -> Result<()> {
    let count = effort.idle;
    let mut server = Server::start_dev();
    server.create_topic("one", 1).await;
    produce(&server, "one", 0).await?;
    server.stop();
    server.launch();
    produce(&server, "one", 0).await?;
    let before = at_rest(&server, effort.rest).await;

    let busy = busy_with_one(effort).await?;

    let start = now();
    server.create_topic("t", count).await;
    produce(&server, "t", count - 1).await?;
    let made = start.elapsed().as_secs_f64();
    each_once(
        &address(&server),
        one_record_each(&server, count, count),
        32,
    )
    .await?;
    let produced = at_rest(&server, effort.rest).await;
    server.stop();

    let clean = restart(&mut server, count).await?;
    let rested = at_rest(&server, effort.rest).await;
    server.stop();
    let folded = leave_journal(&server.data_dir().join("storage"), effort.folded_bytes)?;
    let killed = restart(&mut server, count).await?;
    let start = now();
    delete(&server).await?;
    let deleted = start.elapsed().as_secs_f64();

    let each =
        |after: u64, before: u64| after.saturating_sub(before) as f64 / f64::from(count) / 1024.0;
    let rows = [
        ("topic made and its last partition served", made, 10.0, "s", "one topic, from the request to the answer of a durable produce into its last partition".to_owned()),
        ("restart after a clean stop", clean, 3.0, "s", "from the start of the process to the answers of durable produces into the first and the last partition".to_owned()),
        ("restart after a kill", killed, 10.0, "s", format!("the same, with {} MiB of journal over all partitions to fold", folded >> 20)),
        ("memory each, after a restart", each(rested, before), 4.0, "KiB", format!("resident, whole process, less that with 1 partition; one record in each, and no request for {} s", effort.rest.as_secs())),
        ("memory each, after they were made and written to", each(produced, busy), 4.0, "KiB", "the same, in the process that made them, less that of one that made and was asked as much, all of it of 1 partition".to_owned()),
        ("topic deleted and its replicas closed", deleted, 5.0, "s", "from the request until another topic of the node serves a durable produce".to_owned()),
    ];
    for (what, figure, bound, unit, setting) in rows {
        let what = format!("{count} idle partitions: {what}");
        report.bound(&what, vec![figure], unit, bound, &setting);
    }
    Ok(())
}

fn address(server: &Server) -> String {
    server.url().trim_start_matches("http://").to_owned()
}

/// Resident bytes of a server that took as many requests as there are partitions to be, for a single one.
async fn busy_with_one(effort: Effort) -> Result<u64> {
    let server = Server::start_dev();
    server.create_topic("t", 1).await;
    produce(&server, "t", 0).await?;
    each_once(
        &address(&server),
        one_record_each(&server, effort.idle, 1),
        32,
    )
    .await?;
    Ok(at_rest(&server, effort.rest).await)
}

/// So many requests, in turn to each of `partitions`.
fn one_record_each(server: &Server, count: u32, partitions: u32) -> Arc<Vec<Vec<u8>>> {
    let address = address(server);
    let one = |number| {
        let path = format!("/v1/topics/t/partitions/{}/records", number % partitions);
        post(&address, &path, "text/plain", b"a record")
    };
    Arc::new((0..count).map(one).collect())
}

/// Resident bytes of a server that nobody has asked anything for as long as `rest`.
async fn at_rest(server: &Server, rest: Duration) -> u64 {
    tokio::time::sleep(rest).await;
    server.resident_bytes()
}

/// Seconds from the start of the process until the first and the last partition have taken a record.
async fn restart(server: &mut Server, count: u32) -> Result<f64> {
    let start = now();
    server.launch();
    produce(server, "t", 0).await?;
    produce(server, "t", count - 1).await?;
    Ok(start.elapsed().as_secs_f64())
}

async fn produce(server: &Server, topic: &str, partition: u32) -> Result<()> {
    let mut connection = server.connect().await?;
    let path = format!("/v1/topics/{topic}/partitions/{partition}/records");
    // A node that has many to open may say that this one is not open yet.
    for _ in 0..20 {
        let answer = connection.post(&path, "text/plain", "x").await?;
        if answer.status != 503 {
            ensure!(answer.status == 200, "{}", answer.text());
            return Ok(());
        }
    }
    anyhow::bail!("partition {partition} was not opened")
}

async fn delete(server: &Server) -> Result<()> {
    let mut connection = server.connect().await?;
    let answer = connection
        .send(http::Method::DELETE, "/v1/topics/t", &[], "")
        .await?;
    ensure!(answer.status == 204, "{}", answer.text());
    server.create_topic("after", 1).await;
    produce(server, "after", 0).await
}

#[derive(Debug)]
struct NobodyListens;

impl RoundListener for NobodyListens {
    fn durable(&self, _: u16, _: u64, _: &[(ReplicaKey, Offset)]) {}
    fn failed(&self, _: &LogDead) {}
}

/// Writes rounds into the journal of a stopped server's log, nothing of it into segments, and leaves
/// it as a kill would; gives the bytes.
fn leave_journal(dir: &Path, bytes: u64) -> Result<u64> {
    let config = LogConfig {
        journal_file_bytes_first: 64 << 20,
        journal_bytes_max: 4 << 30,
        checkpoint_bytes: u64::MAX,
        unflushed_bytes_soft: u64::MAX,
        unflushed_bytes_max: u64::MAX,
        ..LogConfig::default()
    };
    let Opened { log, .. } = Log::open(Arc::new(OsVfs), dir, config, Arc::new(NobodyListens))?;
    let client = client_batch()?;
    let replicas = log.replicas();
    ensure!(!replicas.is_empty(), "no replicas");
    let mut left = bytes;
    for chunk in replicas.chunks(64).cycle() {
        let entries: Vec<Entry> = chunk.iter().map(|replica| next(replica, &client)).collect();
        let len = (entries.len() * client.len()) as u64;
        log.submit(Submission { shard: 0, entries })?;
        log.run_round()?;
        left = left.saturating_sub(len);
        if left == 0 {
            break;
        }
    }
    Ok(bytes)
}

fn next(replica: &Replica, client: &ClientBatch) -> Entry {
    let placement = Placement {
        key: replica.key(),
        base_offset: replica.end(),
        leader_epoch: replica.meta().leader_epoch,
        high_watermark: replica.high_watermark(),
        append_time_ms: replica.last_append_ms().unwrap_or(1),
        append_timestamps: false,
    };
    Entry::Batch(Batch {
        placement,
        client: client.clone(),
    })
}

fn client_batch() -> Result<ClientBatch> {
    let value = [b'v'; 100];
    let mut builder = BatchBuilder::new(Codec::None);
    while builder.len_bytes() + value.len() < BATCH_BYTES {
        builder.push(&RecordRef {
            timestamp_ms: 1,
            key: Datum::Absent,
            value: Datum::Bytes(&value),
            headers: &[],
        })?;
    }
    builder.finish().context("a batch")
}
