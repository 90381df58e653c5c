//! `tidegate spu ..`: storage units of a cluster, and running one.

mod serve;

use clap::Subcommand;

use crate::config::{Flags, SpuRole};
use crate::failure::Failure;
use crate::operate;
use crate::process::live;
use serve::SpuServer;

/// Storage units of a cluster.
#[derive(Debug, Subcommand)]
pub(crate) enum SpuCommand {
    /// Run a storage unit until it is told to stop. Exit code 7: another process took its place.
    Run(Box<Flags<SpuRole>>),
    #[command(flatten)]
    Of(operate::SpuCommand),
}

/// Runs a storage unit. Needs a runtime.
pub(crate) async fn run(flags: Flags<SpuRole>) -> Result<(), Failure> {
    let settings = flags.settings()?;
    live(&settings.process, async || {
        SpuServer::start(&settings).await
    })
    .await
}
