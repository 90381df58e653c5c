//! The command line as a whole: commands, and the options that all of them share.

use clap::error::{ContextKind, ContextValue};
use clap::{CommandFactory as _, Parser, Subcommand};

use crate::backup::{BackupArguments, RestoreArguments};
use crate::bench::BenchCommand;
use crate::ca::CaCommand;
#[cfg(unix)]
use crate::cluster::ClusterCommand;
use crate::config::ConfigCommand;
use crate::connection::ConnectionArguments;
use crate::consume::ConsumeArguments;
use crate::disk::DiskCommand;
use crate::gateway::GatewayCommand;
use crate::log::LogCommand;
use crate::openapi::OpenApiArguments;
use crate::operate::{OperationCommand, PartitionCommand, SpuGroupCommand};
use crate::output::Output;
use crate::produce::ProduceArguments;
use crate::sc::ScCommand;
use crate::spu::SpuCommand;
use crate::topic::TopicCommand;
use crate::up::UpArguments;

/// Durable streams over plain HTTP and WebSocket.
///
/// `tidegate up` runs everything in one process, `tidegate cluster start` a cluster of them; the other
/// commands speak to what runs, by default to what one of these wrote into the profile `local` last.
#[derive(Debug, Parser)]
#[command(
    name = "tidegate",
    version,
    max_term_width = 100,
    disable_help_subcommand = true,
    after_help = "First steps:\n  \
        tidegate up &                                   # https://127.0.0.1:8443, data in ./tidegate-data\n  \
        tidegate topic create demo --partitions 3\n  \
        echo hello | tidegate produce demo\n  \
        tidegate consume demo --from earliest --no-follow\n\n\
        Data goes to standard output, everything else to standard error.\n\
        Exit codes: 0 done, 1 failed, 2 usage, 3 port taken, 4 data directory in use, 5 disk,\n\
        6 the disk failed before (see `tidegate disk accept`), 7 another process took the place of this\n\
        storage unit."
)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,

    /// How answers are shown.
    #[arg(long, short = 'o', global = true, value_enum, default_value = "table")]
    pub(crate) output: Output,

    #[command(flatten)]
    pub(crate) connection: ConnectionArguments,
}

impl Arguments {
    /// Those of this process, which ends with words about them when they cannot be used.
    pub(crate) fn of_process() -> Self {
        let parsed = Self::try_parse();
        parsed.unwrap_or_else(|error| with_whole_usage(error, std::env::args()).exit())
    }
}

/// An error whose usage is that of the command. Left to itself it shows each option that was given, by a
/// variable too, as one that has to be.
fn with_whole_usage(mut error: clap::Error, words: impl Iterator<Item = String>) -> clap::Error {
    if error.get(ContextKind::Usage).is_none() {
        return error;
    }
    let mut command = Arguments::command();
    command.build();
    for word in words.skip(1) {
        if let Some(found) = command.find_subcommand(&word).cloned() {
            command = found;
        }
    }
    let usage = command.render_usage();
    error.insert(ContextKind::Usage, ContextValue::StyledStr(usage));
    error
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start Tidegate: everything in one process, on one port.
    Up(Box<UpArguments>),
    /// Run a streaming controller of a cluster, or prepare its metadata.
    #[command(subcommand)]
    Sc(ScCommand),
    /// Keep a copy of a cluster's metadata in a file.
    Backup(BackupArguments),
    /// Make a new metadata database of such a file.
    Restore(RestoreArguments),
    /// List, register, drain and remove storage units; run one.
    #[command(subcommand, visible_alias = "spus")]
    Spu(SpuCommand),
    /// Run a gateway of a cluster.
    #[command(subcommand)]
    Gateway(GatewayCommand),
    /// Run a whole cluster of processes on this machine, or let nodes join one.
    #[cfg(unix)]
    #[command(subcommand)]
    Cluster(ClusterCommand),
    /// Show in one look whether storage units are away and copies are missing.
    #[command(
        after_help = "Exit code 1 when nobody leads a partition, or too few of its copies are in sync for \
        acks=quorum."
    )]
    Status,
    /// Create, list, describe, alter and delete topics.
    #[command(subcommand, visible_alias = "topics")]
    Topic(TopicCommand),
    /// List, create and delete groups of storage units.
    #[command(subcommand, visible_alias = "spu-groups")]
    SpuGroup(SpuGroupCommand),
    /// See where copies are and who leads; move them, even them out, recover them.
    #[command(subcommand, visible_alias = "partitions")]
    Partition(PartitionCommand),
    /// List, follow and cancel long work.
    #[command(subcommand, visible_alias = "operations")]
    Operation(OperationCommand),
    /// Write lines of a file or of standard input to a topic.
    Produce(ProduceArguments),
    /// Write the records of a topic to standard output.
    Consume(ConsumeArguments),
    /// Measure a running server.
    #[command(subcommand)]
    Bench(BenchCommand),
    /// Make this machine and its browsers trust a server's certificate authority.
    #[command(subcommand)]
    Ca(CaCommand),
    /// Check, show and mend the files of a server that is stopped.
    #[command(subcommand)]
    Log(LogCommand),
    /// Decide about a disk that failed.
    #[command(subcommand)]
    Disk(DiskCommand),
    /// Check files of settings.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Print the OpenAPI documents.
    #[command(name = "openapi")]
    OpenApi(OpenApiArguments),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usage_of_an_error_demands_nothing_that_may_be_left_out() {
        let words = ["tidegate", "--url", "https://a:1", "topics", "create"];
        let error = Arguments::try_parse_from(words).unwrap_err();
        let shown = with_whole_usage(error, words.map(str::to_owned).into_iter()).to_string();
        assert!(
            shown.contains("Usage: tidegate topic create [OPTIONS] <NAME>"),
            "{shown}"
        );
    }

    fn without_help(command: &clap::Command, found: &mut Vec<String>) {
        let silent = command.get_arguments().filter(|it| it.get_help().is_none());
        let silent = silent.filter(|it| !it.is_hide_set());
        found.extend(silent.map(|it| format!("{} {}", command.get_name(), it.get_id())));
        if command.get_about().is_none() {
            found.push(command.get_name().to_owned());
        }
        for inner in command.get_subcommands() {
            without_help(inner, found);
        }
    }

    #[test]
    fn every_command_and_every_argument_says_what_it_is() {
        let mut found = Vec::new();
        without_help(&Arguments::command(), &mut found);
        assert!(found.is_empty(), "{}", found.join("\n"));
    }

    #[test]
    fn every_command_can_be_asked_for_help() {
        Arguments::command().debug_assert();
    }
}
