//! `tidegate gateway ..`: the public edge of a cluster.

mod serve;

use clap::Subcommand;

use crate::config::{Flags, GatewayRole};
use crate::failure::Failure;
use crate::process::live;
use serve::GatewayServer;

/// A gateway of a cluster.
#[derive(Debug, Subcommand)]
pub(crate) enum GatewayCommand {
    /// Run a gateway until it is told to stop.
    Run(Box<Flags<GatewayRole>>),
}

/// Carries the command out. Needs a runtime.
pub(crate) async fn run(command: GatewayCommand) -> Result<(), Failure> {
    let GatewayCommand::Run(flags) = command;
    let settings = flags.settings()?;
    live(&settings.process, async || {
        GatewayServer::start(&settings).await
    })
    .await
}
