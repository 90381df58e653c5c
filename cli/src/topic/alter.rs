//! `tidegate topic alter`.
//!
//! Changes only what is given. The write is conditional on the version just read, so that it can
//! neither undo somebody else's change nor create a topic that is not there.

use clap::Args;
use serde_json::Value;
use tidegate_client::{TopicName, WriteOptions};

use crate::connection::Connection;
use crate::failure::Failure;
use crate::output::Output;
use crate::topic::settings::SettingsArguments;
use crate::written;

#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  \
    tidegate topic alter flights --retention 30d\n  \
    tidegate topic alter flights --partitions 12 --dry-run\n  \
    tidegate topic alter flights --config acks=leader --if-version 4")]
pub(crate) struct AlterArguments {
    /// Topic to change.
    pub(crate) name: TopicName,

    #[command(flatten)]
    pub(crate) settings: SettingsArguments,

    /// Only when the topic still has this version (see `topic describe`).
    #[arg(long, value_name = "VERSION")]
    pub(crate) if_version: Option<u64>,

    /// Say what would happen, and do nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
}

pub(crate) async fn run(
    arguments: AlterArguments,
    connection: &Connection,
    output: Output,
) -> Result<(), Failure> {
    let client = connection.client()?;
    let body = arguments.settings.body();
    if body.is_empty() {
        return Err(Failure::usage(
            "nothing to change was given; `tidegate topic alter --help` lists the settings",
        ));
    }
    let current = client.topic(&arguments.name).await?;
    let version = arguments
        .if_version
        .or_else(|| current.get("version").and_then(Value::as_u64));
    let options = WriteOptions {
        if_version: version,
        dry_run: arguments.dry_run,
    };
    let outcome = client
        .ensure_topic(&arguments.name, &Value::Object(body), options)
        .await?;
    written::show(
        "topic",
        &arguments.name,
        &outcome,
        arguments.dry_run,
        output,
    )
}
