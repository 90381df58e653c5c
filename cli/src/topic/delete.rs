//! `tidegate topic delete`.
//!
//! Asks for the name again when a person is there; a script says `--yes`.

use std::io;

use clap::Args;
use tidegate_client::{TopicName, WriteOptions};

use crate::connection::Connection;
use crate::failure::Failure;
use crate::output::{self, Output};
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
        confirm(&arguments.name, connection.url())?;
    }
    let options = WriteOptions {
        if_version: arguments.if_version,
        dry_run: arguments.dry_run,
    };
    let outcome = client.delete_topic(&arguments.name, options).await?;
    written::show(&arguments.name, &outcome, arguments.dry_run, output)
}

fn confirm(name: &TopicName, url: &str) -> Result<(), Failure> {
    if !(output::is_typed() && output::is_interactive()) {
        return Err(Failure::usage(format!(
            "deleting topic {name} deletes its records; say --yes to do it without being asked"
        )));
    }
    output::say(&format!(
        "This deletes topic {name} and all its records on {url}. Type its name to go on:"
    ));
    let mut line = String::new();
    io::stdin()
        .read_line(&mut line)
        .map_err(|error| Failure::failed(format!("cannot read the answer: {error}")))?;
    if line.trim() == name.as_str() {
        Ok(())
    } else {
        Err(Failure::failed("that is not the name; nothing was deleted"))
    }
}
