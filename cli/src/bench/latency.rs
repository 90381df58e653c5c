//! `tidegate bench latency`: how long a single record takes, at a steady rate.
//!
//! Two clocks per record, both started when it is due to be sent, so that a stall shows in the
//! figures instead of slowing the sender down: until the acknowledgement, and until a consumer that
//! follows the topic has the record.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::json;
use tidegate_client::{
    Client, Consumer, ConsumerConfig, Error, PartitionId, ProduceAnswer, StartPosition, TopicName,
};
use tidegate_kit::clock;
use tokio::task::JoinSet;

use crate::bench::payload::payload;
use crate::bench::report::{Latencies, Report};
use crate::bench::topic::find_or_create;
use crate::connection::Connection;
use crate::failure::Failure;
use crate::output::Output;
use crate::units;

/// Requests that may be out at once before the sender waits.
const OUTSTANDING_MAX: usize = 256;
/// The last records are waited for this long.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  \
    tidegate bench latency --rate 1000 --records 20000\n  \
    tidegate bench latency --rate 100 --size 100B --output json")]
pub(crate) struct BenchLatencyArguments {
    /// Topic to use; created when it is not there.
    #[arg(long, default_value = "bench-latency")]
    pub(crate) topic: TopicName,

    /// Records to send.
    #[arg(long, default_value_t = 5_000)]
    pub(crate) records: u64,

    /// Records per second.
    #[arg(long, default_value_t = 500)]
    pub(crate) rate: u32,

    /// Size of a value.
    #[arg(long, default_value = "1KiB", value_parser = units::bytes)]
    pub(crate) size: u64,
}

type Place = (PartitionId, u64);

/// Times at which records were due and were seen, until both are known.
struct Clocks {
    due: HashMap<Place, Instant>,
    seen: HashMap<Place, Instant>,
    delivered: u64,
    delivery: Latencies,
}

impl Clocks {
    fn settle(&mut self, place: Place) {
        if let (Some(due), Some(seen)) = (self.due.get(&place), self.seen.get(&place)) {
            self.delivery.record(seen.saturating_duration_since(*due));
            self.delivered += 1;
            self.due.remove(&place);
            self.seen.remove(&place);
        }
    }
}

pub(crate) async fn run(
    arguments: BenchLatencyArguments,
    connection: &Connection,
    output: Output,
) -> Result<(), Failure> {
    if arguments.rate == 0 {
        return Err(Failure::usage("--rate must be at least 1"));
    }
    let client = connection.client()?;
    find_or_create(&client, &arguments.topic, 1).await?;
    let config = ConsumerConfig {
        from: StartPosition::Latest,
        ..ConsumerConfig::default()
    };
    let mut consumer = Consumer::open(client.clone(), arguments.topic.clone(), config).await?;
    let started = clock::monotonic();
    let (ack, clocks) = measure(&arguments, &client, &mut consumer).await?;
    Report {
        name: "latency",
        settings: json!({
            "topic": arguments.topic,
            "size": arguments.size,
            "rate": arguments.rate,
        }),
        records: clocks.delivered,
        bytes: clocks.delivered * arguments.size,
        elapsed: started.elapsed(),
        latencies: vec![("ack", ack), ("delivery", clocks.delivery)],
    }
    .show(output)
}

async fn measure(
    arguments: &BenchLatencyArguments,
    client: &Client,
    consumer: &mut Consumer,
) -> Result<(Latencies, Clocks), Failure> {
    let mut ack = Latencies::new();
    let mut clocks = Clocks {
        due: HashMap::new(),
        seen: HashMap::new(),
        delivered: 0,
        delivery: Latencies::new(),
    };
    let value = payload(usize::try_from(arguments.size).unwrap_or(usize::MAX), 7);
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / arguments.rate);
    let mut requests: JoinSet<(Instant, Instant, Result<ProduceAnswer, Error>)> = JoinSet::new();
    let mut sent = 0;
    while clocks.delivered < arguments.records {
        let may_send = sent < arguments.records && requests.len() < OUTSTANDING_MAX;
        tokio::select! {
            tick = ticks.tick(), if may_send => {
                sent += 1;
                let (client, topic) = (client.clone(), arguments.topic.clone());
                let value = value.clone();
                requests.spawn(async move {
                    let answer = client.append_value(&topic, value, None).await;
                    (tick.into_std(), clock::monotonic(), answer)
                });
            }
            Some(done) = requests.join_next(), if !requests.is_empty() => {
                let (due, at, answer) = done
                    .map_err(|error| Failure::failed(format!("a request gave up: {error}")))?;
                ack.record(at.saturating_duration_since(due));
                if let Some(placed) = answer?.partitions.first() {
                    let place = (PartitionId(placed.partition), placed.base_offset);
                    clocks.due.insert(place, due);
                    clocks.settle(place);
                }
            }
            page = consumer.next_page() => {
                let at = clock::monotonic();
                let Some(page) = page? else { break };
                for received in page.records() {
                    let received = received?;
                    let place = (received.partition, received.offset.get());
                    clocks.seen.insert(place, at);
                    clocks.settle(place);
                }
            }
            () = tokio::time::sleep(PATIENCE), if sent >= arguments.records => break,
        }
    }
    Ok((ack, clocks))
}
