//! `tidegate topic create`.
//!
//! Creates; with `--if-missing` it makes the topic be as asked and succeeds if it already is.

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
    tidegate topic create flights --partitions 3\n  \
    tidegate topic create audit --retention forever --acks quorum --max-record-bytes 4MiB\n  \
    tidegate topic create flights -p 3 --if-missing   # fine to run again\n  \
    tidegate topic create flights -p 3 --dry-run      # where its copies would be")]
pub(crate) struct CreateArguments {
    /// Name: a-z, 0-9, dot, underscore, dash.
    pub(crate) name: TopicName,

    #[command(flatten)]
    pub(crate) settings: SettingsArguments,

    /// Succeed when the topic exists, changing it to what is asked.
    #[arg(long)]
    pub(crate) if_missing: bool,

    /// Say what would happen, and do nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
}

pub(crate) async fn run(
    arguments: CreateArguments,
    connection: &Connection,
    output: Output,
) -> Result<(), Failure> {
    let client = connection.client()?;
    let options = WriteOptions {
        dry_run: arguments.dry_run,
        if_version: None,
    };
    let mut body = arguments.settings.body();
    let name = arguments.name;
    let outcome = if arguments.if_missing {
        client
            .ensure_topic(&name, &Value::Object(body), options)
            .await?
    } else {
        body.insert("name".to_owned(), Value::from(name.as_str()));
        client.create_topic(&Value::Object(body), options).await?
    };
    written::show("topic", &name, &outcome, arguments.dry_run, output)
}
