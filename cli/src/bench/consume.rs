//! `tidegate bench consume`: how fast a topic is read from its start to its end.
//!
//! Every consumer reads the whole topic over a connection of its own; records are decoded and
//! counted, not written anywhere.

use clap::Args;
use serde_json::json;
use tidegate_client::{Client, Consumer, ConsumerConfig, StartPosition, TopicName};
use tidegate_kit::clock;
use tokio::task::JoinSet;

use crate::bench::report::Report;
use crate::connection::Connection;
use crate::failure::Failure;
use crate::output::Output;
use crate::units;

#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  \
    tidegate bench consume --topic flights\n  \
    tidegate bench consume --topic bench --connections 8 --output json")]
pub(crate) struct BenchConsumeArguments {
    /// Topic to read.
    #[arg(long, default_value = "bench")]
    pub(crate) topic: TopicName,

    /// Consumers that read it side by side.
    #[arg(long, default_value_t = 1)]
    pub(crate) connections: u32,

    /// End after this many records per consumer.
    #[arg(long, value_name = "N")]
    pub(crate) records: Option<u64>,

    /// Read by requests for pages, not over a WebSocket.
    #[arg(long)]
    pub(crate) pages: bool,

    /// Bytes asked for per request.
    #[arg(long, default_value = "4MiB", value_parser = units::bytes)]
    pub(crate) page_bytes: u64,
}

pub(crate) async fn run(
    arguments: BenchConsumeArguments,
    connection: &Connection,
    output: Output,
) -> Result<(), Failure> {
    let started = clock::monotonic();
    let mut readers = JoinSet::new();
    for _ in 0..arguments.connections {
        let config = ConsumerConfig {
            from: StartPosition::Earliest,
            follow: false,
            page_bytes: usize::try_from(arguments.page_bytes).unwrap_or(usize::MAX),
            pages_only: arguments.pages,
            ..ConsumerConfig::default()
        };
        let max = arguments.records.unwrap_or(u64::MAX);
        readers.spawn(read(
            connection.client()?,
            arguments.topic.clone(),
            config,
            max,
        ));
    }
    let (mut records, mut bytes) = (0, 0);
    while let Some(reader) = readers.join_next().await {
        let (read_records, read_bytes) =
            reader.map_err(|error| Failure::failed(format!("a consumer gave up: {error}")))??;
        records += read_records;
        bytes += read_bytes;
    }
    Report {
        name: "consume",
        settings: json!({
            "topic": arguments.topic,
            "connections": arguments.connections,
            "page_bytes": arguments.page_bytes,
            "pages": arguments.pages,
        }),
        records,
        bytes,
        elapsed: started.elapsed(),
        latencies: Vec::new(),
    }
    .show(output)
}

/// Records and bytes of keys and values.
async fn read(
    client: Client,
    topic: TopicName,
    config: ConsumerConfig,
    max: u64,
) -> Result<(u64, u64), Failure> {
    let mut consumer = Consumer::open(client, topic, config).await?;
    let (mut records, mut bytes) = (0, 0);
    while let Some(page) = consumer.next_page().await? {
        for received in page.records() {
            if records >= max {
                return Ok((records, bytes));
            }
            let record = received?.record;
            let key = record.key.as_bytes().map_or(0, <[u8]>::len);
            let value = record.value.as_bytes().map_or(0, <[u8]>::len);
            records += 1;
            bytes += (key + value) as u64;
        }
    }
    Ok((records, bytes))
}
