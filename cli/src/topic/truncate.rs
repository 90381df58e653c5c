//! `tidegate topic truncate`.
//!
//! Deletes the oldest records of one partition. Asks for the topic's name when a person is there; a
//! script says `--yes`. Repeating it is harmless: what is gone stays gone, and nothing else goes.

use clap::Args;
use serde_json::json;
use tidegate_client::{TopicName, WriteOptions};

use crate::connection::Connection;
use crate::failure::Failure;
use crate::output::Output;
use crate::topic::confirm::confirm;
use crate::topic::written;

#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  \
    tidegate topic truncate flights --partition 2 --before-offset 4711 --dry-run\n  \
    tidegate topic truncate flights --partition 2 --before-offset 4711 --yes")]
pub(crate) struct TruncateArguments {
    /// Topic whose records go.
    pub(crate) name: TopicName,

    /// Partition whose records go, from 0.
    #[arg(long, short = 'p')]
    pub(crate) partition: u32,

    /// Records below this offset go; the one at it stays. At most the high watermark.
    #[arg(long, value_name = "OFFSET")]
    pub(crate) before_offset: u64,

    /// Do not ask.
    #[arg(long, short = 'y')]
    pub(crate) yes: bool,

    /// Only when the topic still has this version (see `topic describe`).
    #[arg(long, value_name = "VERSION")]
    pub(crate) if_version: Option<u64>,

    /// Say what would happen, and do nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
}

pub(crate) async fn run(
    arguments: TruncateArguments,
    connection: &Connection,
    output: Output,
) -> Result<(), Failure> {
    let TruncateArguments {
        name,
        partition,
        before_offset,
        yes,
        if_version,
        dry_run,
    } = arguments;
    let client = connection.client()?;
    if !yes && !dry_run {
        let doing = format!(
            "truncating topic {name} deletes the records of partition {partition} below {before_offset}"
        );
        confirm(&name, &doing, connection.url())?;
    }
    let body = json!({
        "partitions": [{ "partition": partition, "before_offset": before_offset }]
    });
    let options = WriteOptions {
        if_version,
        dry_run,
    };
    let outcome = client.truncate_topic(&name, &body, options).await?;
    written::show(&name, &outcome, dry_run, output)
}
