//! `tidegate cluster ..`: a whole cluster of processes on this machine, and tokens with which nodes join
//! any cluster.
//!
//! For trying things out and for tests: what runs are the same processes as in a data centre, each
//! with its own directory, certificate and file of settings.

mod arguments;
mod bundle;
mod layout;
mod manifest;

mod child;

mod local;

mod diagnose;
mod start;
mod status;
mod stop;

mod token;

use clap::Subcommand;

use crate::connection::{Connection, ConnectionArguments};
use crate::failure::Failure;
use crate::output::Output;
use arguments::{PlaceArguments, StartArguments};

/// Run a cluster of processes on this machine, or let nodes join one.
#[derive(Debug, Subcommand)]
pub(crate) enum ClusterCommand {
    /// Start a cluster on this machine, or start it again, until it is told to stop.
    Start(StartArguments),
    /// Stop it.
    Stop(PlaceArguments),
    /// Show its processes.
    Status(PlaceArguments),
    /// Put into one file what somebody needs who is to find out what is wrong with a cluster.
    Diagnose(diagnose::DiagnoseArguments),
    /// One-time tokens with which nodes join a cluster.
    #[command(subcommand)]
    Token(token::TokenCommand),
}

/// Carries the command out. Needs a runtime.
pub(crate) async fn run(
    command: ClusterCommand,
    connection: &ConnectionArguments,
    output: Output,
) -> Result<(), Failure> {
    match command {
        ClusterCommand::Start(arguments) => start::run(&arguments).await,
        ClusterCommand::Stop(arguments) => stop::run(&arguments).await,
        ClusterCommand::Status(arguments) => status::run(&arguments, output),
        ClusterCommand::Diagnose(arguments) => diagnose::run(&arguments, connection, output).await,
        ClusterCommand::Token(command) => {
            token::run(command, &Connection::resolve(connection)?, output).await
        }
    }
}
