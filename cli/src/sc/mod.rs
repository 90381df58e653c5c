//! `tidegate sc ..`: the streaming controller of a cluster, whose metadata is in Postgres.

mod migrate;
mod place;

use clap::Subcommand;

use crate::failure::Failure;
use crate::output::Output;

/// Prepare the metadata of a cluster.
#[derive(Debug, Subcommand)]
pub(crate) enum ScCommand {
    /// Bring the schema of the metadata database up to date.
    Migrate(migrate::MigrateArguments),
}

/// Carries the command out. Needs a runtime.
pub(crate) async fn run(command: ScCommand, output: Output) -> Result<(), Failure> {
    match command {
        ScCommand::Migrate(arguments) => migrate::run(&arguments, output).await,
    }
}
