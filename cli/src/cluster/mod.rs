//! `tidegate cluster ..`: a whole cluster of processes on this machine, and tokens with which nodes join
//! any cluster.
//!
//! For trying things out and for tests: what runs are the same processes as in a data centre, each
//! with its own directory, certificate and file of settings.

mod arguments;
mod layout;
mod manifest;
mod membership;
mod redaction;

mod bundle;
mod evidence;

mod child;
mod requests;

mod local;

mod nodes;

mod change;
mod diagnose;
mod start;
mod status;
mod stop;

mod env;

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
    /// Start processes of it again, one after the other, each in order.
    Restart(change::RestartArguments),
    /// Start one more storage unit of it.
    AddSpu(change::AddSpuArguments),
    /// Print what a shell needs to speak with it: eval "$(tidegate cluster env)".
    Env(PlaceArguments),
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
        ClusterCommand::Start(arguments) => start::run(&arguments, connection).await,
        ClusterCommand::Stop(arguments) => stop::run(&arguments).await,
        ClusterCommand::Status(arguments) => status::run(&arguments, output),
        ClusterCommand::Restart(arguments) => change::restart(&arguments, output).await,
        ClusterCommand::AddSpu(arguments) => change::add_spu(&arguments, output).await,
        ClusterCommand::Env(arguments) => env::run(&arguments, output),
        ClusterCommand::Diagnose(arguments) => diagnose::run(&arguments, connection, output).await,
        ClusterCommand::Token(command) => {
            token::run(command, &Connection::resolve(connection)?, output).await
        }
    }
}
