//! `tidegate topic delete`.
//!
//! Asks for the name again when a person is there; a script says `--yes`.

use clap::Args;
use tidegate_client::{TopicName, WriteOptions};

use crate::connection::Connection;
use crate::failure::Failure;
use crate::output::Output;
use crate::topic::confirm::confirm;
use crate::topic::written;

#[derive(Args, Debug)]
pub(crate) struct DeleteArguments {
    /// Topic to delete, with all its records.
    pub(crate) name: TopicName,

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
    arguments: DeleteArguments,
    connection: &Connection,
    output: Output,
) -> Result<(), Failure> {
    let client = connection.client()?;
    if !arguments.yes && !arguments.dry_run {
        // A name that does not exist should fail before anybody types it twice.
        client.topic(&arguments.name).await?;
        let doing = format!("deleting topic {} deletes its records", arguments.name);
        confirm(&arguments.name, &doing, connection.url())?;
    }
    let options = WriteOptions {
        if_version: arguments.if_version,
        dry_run: arguments.dry_run,
    };
    let outcome = client.delete_topic(&arguments.name, options).await?;
    written::show(&arguments.name, &outcome, arguments.dry_run, output)
}
