//! `tidegate sc ..`: the streaming controller of a cluster, whose metadata is in Postgres.

mod adopt;
pub(crate) mod authority;
mod migrate;
mod place;
mod run;

use clap::Subcommand;

pub(crate) use place::{DatabaseArguments, failure as store_failure};

use crate::config::{Flags, ScRole};
use crate::failure::Failure;
use crate::output::Output;
use crate::process::live;

/// The streaming controller of a cluster.
#[derive(Debug, Subcommand)]
pub(crate) enum ScCommand {
    /// Run a controller of a cluster until it is told to stop.
    Run(Box<Flags<ScRole>>),
    /// Bring the schema of the metadata database up to date.
    Migrate(migrate::MigrateArguments),
    /// Make the authority that issues the certificates of a cluster's nodes.
    Authority(authority::AuthorityArguments),
    /// Go on with a metadata database that is not what it was.
    Adopt(adopt::AdoptArguments),
}

/// Carries the command out. Needs a runtime.
pub(crate) async fn run(command: ScCommand, output: Output) -> Result<(), Failure> {
    match command {
        ScCommand::Run(flags) => {
            let settings = flags.settings()?;
            live(&settings.process, async || {
                run::ScServer::start(&settings).await
            })
            .await
        }
        ScCommand::Authority(arguments) => authority::run(&arguments).await,
        ScCommand::Migrate(arguments) => migrate::run(&arguments, output).await,
        ScCommand::Adopt(arguments) => adopt::run(&arguments, output).await,
    }
}
