//! `tidegate cluster ..`: a whole cluster of processes on this machine.
//!
//! For trying things out and for tests: what runs are the same processes as in a data centre, each
//! with its own directory, certificate and file of settings.

mod arguments;
mod layout;
mod manifest;

mod child;

mod local;

mod start;
mod status;
mod stop;

use clap::Subcommand;

use crate::failure::Failure;
use crate::output::Output;
use arguments::{PlaceArguments, StartArguments};

/// Run a cluster of processes on this machine.
#[derive(Debug, Subcommand)]
pub(crate) enum ClusterCommand {
    /// Start a cluster on this machine, or start it again, until it is told to stop.
    Start(StartArguments),
    /// Stop it.
    Stop(PlaceArguments),
    /// Show its processes.
    Status(PlaceArguments),
}

/// Carries the command out. Needs a runtime.
pub(crate) async fn run(command: ClusterCommand, output: Output) -> Result<(), Failure> {
    match command {
        ClusterCommand::Start(arguments) => start::run(&arguments).await,
        ClusterCommand::Stop(arguments) => stop::run(&arguments).await,
        ClusterCommand::Status(arguments) => status::run(&arguments, output),
    }
}
