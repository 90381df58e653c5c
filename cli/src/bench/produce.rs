//! `tidegate bench produce`: how many records a second are acknowledged, and how soon.
//!
//! Each connection sends one request at a time and waits for its answer; the clock of a request
//! runs from the moment of sending to the acknowledgement. A batch of one is a plain HTTP POST of
//! the value, larger ones are binary batches.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use serde_json::json;
use tidegate_client::{
    Acks, BatchBuilder, Client, ClientBatch, Codec, Datum, PartitionId, RecordRef, TopicName,
};
use tidegate_kit::clock;
use tokio::task::JoinSet;

use crate::bench::payload::payload;
use crate::bench::report::{Latencies, Report};
use crate::bench::topic::find_or_create;
use crate::connection::Connection;
use crate::failure::Failure;
use crate::output::Output;
use crate::produce::{CodecChoice, acks};
use crate::topic::AcksChoice;
use crate::units;

#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  \
    tidegate bench produce --connections 64                        # single records\n  \
    tidegate bench produce --records 5000000 --batch 1000 --connections 8\n  \
    tidegate bench produce --output json > produce.json")]
pub(crate) struct BenchProduceArguments {
    /// Topic to write to; created when it is not there.
    #[arg(long, default_value = "bench")]
    pub(crate) topic: TopicName,

    /// Partitions of the topic, if it has to be created.
    #[arg(long, default_value_t = 1)]
    pub(crate) partitions: u32,

    /// Records to send in all.
    #[arg(long, default_value_t = 100_000)]
    pub(crate) records: u64,

    /// Size of a value.
    #[arg(long, default_value = "1KiB", value_parser = units::bytes)]
    pub(crate) size: u64,

    /// Connections, each with one request in flight.
    #[arg(long, default_value_t = 64)]
    pub(crate) connections: u32,

    /// Records per request.
    #[arg(long, default_value_t = 1)]
    pub(crate) batch: u32,

    /// What an acknowledgement waits for [default: as the topic says].
    #[arg(long, value_enum)]
    pub(crate) acks: Option<AcksChoice>,

    /// Compression of batches.
    #[arg(long, value_enum, default_value = "none")]
    pub(crate) compression: CodecChoice,
}

/// What is sent again and again.
#[derive(Clone, Debug)]
enum Request {
    Value(Bytes),
    Batch(ClientBatch),
}

/// What all connections share.
struct Plan {
    topic: TopicName,
    partitions: u32,
    batch: u64,
    request: Request,
    acks: Option<Acks>,
    left: AtomicU64,
}

pub(crate) async fn run(
    arguments: BenchProduceArguments,
    connection: &Connection,
    output: Output,
) -> Result<(), Failure> {
    if arguments.batch == 0 || arguments.connections == 0 {
        return Err(Failure::usage(
            "--batch and --connections must be at least 1",
        ));
    }
    let facts = find_or_create(
        &connection.client()?,
        &arguments.topic,
        arguments.partitions,
    )
    .await?;
    let plan = Arc::new(plan(&arguments, facts.partitions)?);
    let mut clients = Vec::new();
    for _ in 0..arguments.connections {
        clients.push(connection.separate_client()?);
    }
    // Connections are opened outside of the measured time.
    for client in &clients {
        client.topic_facts(&arguments.topic).await?;
    }
    let started = clock::monotonic();
    let mut workers = JoinSet::new();
    for (number, client) in (0u32..).zip(clients) {
        let first = PartitionId(number % facts.partitions);
        workers.spawn(work(client, plan.clone(), first));
    }
    let mut latencies = Latencies::new();
    let mut records = 0;
    while let Some(worker) = workers.join_next().await {
        let (sent, found) =
            worker.map_err(|error| Failure::failed(format!("a connection gave up: {error}")))??;
        records += sent;
        latencies.add(&found);
    }
    let elapsed = started.elapsed();
    Report {
        name: "produce",
        settings: settings(&arguments, facts.partitions),
        records,
        bytes: records * arguments.size,
        elapsed,
        latencies: vec![("ack", latencies)],
    }
    .show(output)
}

fn settings(arguments: &BenchProduceArguments, partitions: u32) -> serde_json::Value {
    json!({
        "topic": arguments.topic,
        "partitions": partitions,
        "size": arguments.size,
        "connections": arguments.connections,
        "batch": arguments.batch,
        "acks": arguments.acks.map(AcksChoice::as_str),
        "compression": format!("{:?}", arguments.compression).to_lowercase(),
    })
}

fn plan(arguments: &BenchProduceArguments, partitions: u32) -> Result<Plan, Failure> {
    let size = usize::try_from(arguments.size).unwrap_or(usize::MAX);
    let request = if arguments.batch == 1 {
        Request::Value(payload(size, 1))
    } else {
        Request::Batch(batch(arguments.batch, size, arguments.compression.codec())?)
    };
    Ok(Plan {
        topic: arguments.topic.clone(),
        partitions,
        batch: u64::from(arguments.batch),
        request,
        acks: arguments.acks.map(acks),
        left: AtomicU64::new(arguments.records.div_ceil(u64::from(arguments.batch))),
    })
}

fn batch(records: u32, size: usize, codec: Codec) -> Result<ClientBatch, Failure> {
    let mut builder = BatchBuilder::new(codec);
    let timestamp_ms = clock::now_ms();
    for seed in 0..records {
        let value = payload(size, seed.into());
        let record = RecordRef {
            timestamp_ms,
            key: Datum::Absent,
            value: Datum::Bytes(&value),
            headers: &[],
        };
        let full = |error| Failure::usage(format!("--batch and --size are too large: {error}"));
        builder.push(&record).map_err(full)?;
    }
    builder
        .finish()
        .map_err(|error| Failure::failed(error.to_string()))
}

async fn work(
    client: Client,
    plan: Arc<Plan>,
    first: PartitionId,
) -> Result<(u64, Latencies), Failure> {
    let mut latencies = Latencies::new();
    let mut sent = 0;
    let mut partition = first;
    let take = |left: u64| left.checked_sub(1);
    while plan
        .left
        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take)
        .is_ok()
    {
        let latency = send(&client, &plan, partition).await?;
        latencies.record(latency);
        sent += plan.batch;
        partition = PartitionId((partition.0 + 1) % plan.partitions);
    }
    Ok((sent, latencies))
}

async fn send(client: &Client, plan: &Plan, partition: PartitionId) -> Result<Duration, Failure> {
    let started = clock::monotonic();
    match &plan.request {
        Request::Value(value) => {
            client
                .append_value(&plan.topic, value.clone(), plan.acks)
                .await?;
        }
        Request::Batch(batch) => {
            let batches = std::slice::from_ref(batch);
            client
                .append_batches(&plan.topic, partition, batches, plan.acks)
                .await?;
        }
    }
    Ok(started.elapsed())
}
