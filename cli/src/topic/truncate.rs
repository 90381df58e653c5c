//! `tidegate topic truncate`.
//!
//! Deletes the oldest records of one partition. Asks for the topic's name when a person is there; a
//! script says `--yes`. Repeating it is harmless: what is gone stays gone, and nothing else goes.

use clap::Args;
use serde_json::json;
use tidegate_client::TopicName;

use crate::connection::Connection;
use crate::failure::Failure;
use crate::output::Output;
use crate::topic::caution::Caution;
use crate::written;

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

    #[command(flatten)]
    pub(crate) caution: Caution,
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
        caution,
    } = arguments;
    let doing = format!(
        "truncating topic {name} deletes the records of partition {partition} below {before_offset}"
    );
    caution.ask(&name, &doing, connection).await?;
    let body = json!({
        "partitions": [{ "partition": partition, "before_offset": before_offset }]
    });
    let client = connection.client()?;
    let outcome = client
        .truncate_topic(&name, &body, caution.options())
        .await?;
    written::show("topic", &name, &outcome, caution.dry_run, output)
}
