//! `tidegate spu ..`: a storage unit of a cluster.

mod serve;

use clap::Subcommand;

use crate::config::{Flags, SpuRole};
use crate::failure::Failure;
use crate::process::live;
use serve::SpuServer;

/// A storage unit of a cluster.
#[derive(Debug, Subcommand)]
pub(crate) enum SpuCommand {
    /// Run a storage unit until it is told to stop. Exit code 7: another process took its place.
    Run(Box<Flags<SpuRole>>),
}

/// Carries the command out. Needs a runtime.
pub(crate) async fn run(command: SpuCommand) -> Result<(), Failure> {
    let SpuCommand::Run(flags) = command;
    let settings = flags.settings()?;
    live(&settings.process, async || {
        SpuServer::start(&settings).await
    })
    .await
}
