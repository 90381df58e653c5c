//! `tidegate disk ..`: what only an operator can decide about a disk.
//!
//! Works on a directory that no server has; changes nothing but what says that the disk failed.

use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, Subcommand};
use serde_json::json;
use tidegate_log::{AcceptedFailure, OpenError, OsVfs, accept_failure};

use crate::failure::Failure;
use crate::output::{self, Output};

/// Where `tidegate up` keeps the log in its data directory.
const STORAGE: &str = "storage";

/// Decide about a disk that failed.
#[derive(Debug, Subcommand)]
pub(crate) enum DiskCommand {
    /// Go on with the data directory of a disk that failed.
    ///
    /// When writing to a disk or syncing it fails, nobody knows what of the last writes is on it,
    /// whatever it says later. Tidegate then takes no more records, goes on serving reads, and does not
    /// open the directory again (exit code 6) until this command was given.
    ///
    /// Afterwards every partition that was there is served for reading, up to where it is whole, and
    /// refuses records: nobody vouches for its end. New topics are as good as any. Look at the disk
    /// first, and copy what you need to another one.
    Accept(AcceptArguments),
}

#[derive(Args, Debug)]
pub(crate) struct AcceptArguments {
    /// Data directory of the server, as given to `tidegate up`, or the `storage` directory in it.
    #[arg(long, value_name = "DIR", default_value = "./tidegate-data")]
    data_dir: PathBuf,
}

pub(crate) fn run(command: DiskCommand, output: Output) -> Result<(), Failure> {
    let DiskCommand::Accept(arguments) = command;
    let inside = arguments.data_dir.join(STORAGE);
    let dir = if inside.is_dir() {
        inside
    } else {
        arguments.data_dir
    };
    if !dir.is_dir() {
        return Err(Failure::usage(format!(
            "there is no directory {}; --data-dir names that of the server",
            dir.display()
        )));
    }
    match accept_failure(Arc::new(OsVfs), &dir).map_err(|error| failure(&error))? {
        Some(accepted) => show(&accepted, output),
        None if output == Output::Json => output::print_json(&json!({ "accepted": false })),
        None => {
            output::say(&format!(
                "{}: no failure of the disk is kept here; nothing was changed.",
                dir.display()
            ));
            Ok(())
        }
    }
}

fn show(accepted: &AcceptedFailure, output: Output) -> Result<(), Failure> {
    let AcceptedFailure { failure, replicas } = accepted;
    if output == Output::Json {
        let replicas = replicas.iter().map(|(key, start, end)| {
            json!({
                "topic_id": key.topic_id.to_string(),
                "partition": key.partition.0,
                "log_start": start.get(),
                "end_at_checkpoint": end.get(),
            })
        });
        return output::print_json(&json!({
            "accepted": true,
            "failed_at_ms": failure.when_ms,
            "operation": failure.operation,
            "error": failure.message,
            "not_intact": replicas.collect::<Vec<_>>(),
        }));
    }
    output::say(&format!(
        "The disk failed (epoch ms {}): {failure}.\n\
         Accepted. From the next start on these partitions, and any that were made shortly before, \
         are read and not written; records behind the offset of the last checkpoint may be lost:",
        failure.when_ms
    ));
    let row = |(key, start, end): &(_, tidegate_proto::position::Offset, _)| {
        let key: &tidegate_proto::position::ReplicaKey = key;
        let end: &tidegate_proto::position::Offset = end;
        vec![
            key.topic_id.to_string(),
            key.partition.0.to_string(),
            start.get().to_string(),
            end.get().to_string(),
        ]
    };
    let header = ["topic id", "partition", "start", "checkpoint"];
    output::print_table(&header, replicas.iter().map(row).collect())
}

fn failure(error: &OpenError) -> Failure {
    match error {
        OpenError::InUse { .. } => {
            let message = format!("{error}. Stop the server first.");
            Failure::new(Failure::IN_USE, message)
        }
        _ => Failure::new(Failure::DISK, error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_is_not_there_is_told_and_not_made() {
        let folder = tempfile::tempdir().unwrap();
        let data_dir = folder.path().join("nope");
        let command = DiskCommand::Accept(AcceptArguments {
            data_dir: data_dir.clone(),
        });
        let failure = run(command, Output::Table).unwrap_err();
        assert_eq!(failure.exit, Failure::USAGE);
        assert!(failure.message.contains("nope") && !data_dir.exists());
    }
}
