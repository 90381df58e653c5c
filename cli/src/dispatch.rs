//! Which command runs, and on what runtime.
//!
//! Client commands end with the process: a thread that still reads the terminal is not waited for.

use std::time::Duration;

use tidegate_kit::boot;
use tokio::runtime::Runtime;

use crate::arguments::{Arguments, Command};
#[cfg(unix)]
use crate::cluster;
use crate::connection::Connection;
use crate::failure::Failure;
use crate::output::Output;
use crate::spu::SpuCommand;
use crate::{
    bench, ca, config, consume, disk, gateway, log, openapi, operate, produce, sc, spu, topic, up,
};

/// Blocking work that a server leaves behind gets this long.
const RUNTIME_GRACE: Duration = Duration::from_secs(2);

/// Runs the command to its end.
pub(crate) fn run(arguments: Arguments) -> Result<(), Failure> {
    match arguments.command {
        Command::Ca(command) => ca::run(&command, &arguments.connection),
        Command::OpenApi(command) => openapi::run(&command),
        Command::Config(command) => config::run(&command),
        Command::Log(command) => log::run(command, arguments.output),
        Command::Disk(command) => disk::run(command, arguments.output),
        Command::Sc(command) => {
            let runtime = runtime()?;
            let outcome = runtime.block_on(sc::run(command, arguments.output));
            runtime.shutdown_timeout(RUNTIME_GRACE);
            outcome
        }
        Command::Spu(SpuCommand::Run(flags)) => {
            let runtime = runtime()?;
            let outcome = runtime.block_on(spu::run(*flags));
            runtime.shutdown_timeout(RUNTIME_GRACE);
            outcome
        }
        Command::Gateway(command) => {
            let runtime = runtime()?;
            let outcome = runtime.block_on(gateway::run(command));
            runtime.shutdown_timeout(RUNTIME_GRACE);
            outcome
        }
        #[cfg(unix)]
        Command::Cluster(command) => {
            let runtime = runtime()?;
            let ran = cluster::run(command, &arguments.connection, arguments.output);
            let outcome = runtime.block_on(ran);
            runtime.shutdown_timeout(RUNTIME_GRACE);
            outcome
        }
        Command::Up(command) => {
            let runtime = runtime()?;
            let outcome = runtime.block_on(up::run(*command, &arguments.connection));
            runtime.shutdown_timeout(RUNTIME_GRACE);
            outcome
        }
        command => {
            let connection = Connection::resolve(&arguments.connection)?;
            let runtime = runtime()?;
            let outcome = runtime.block_on(client(command, &connection, arguments.output));
            runtime.shutdown_background();
            outcome
        }
    }
}

fn runtime() -> Result<Runtime, Failure> {
    boot::runtime(None).map_err(|error| Failure::failed(format!("cannot start threads: {error}")))
}

async fn client(command: Command, connection: &Connection, output: Output) -> Result<(), Failure> {
    match command {
        Command::Topic(command) => topic::run(command, connection, output).await,
        Command::Spu(SpuCommand::Of(command)) => operate::spu(command, connection, output).await,
        Command::SpuGroup(command) => operate::spu_group(command, connection, output).await,
        Command::Partition(command) => operate::partition(command, connection, output).await,
        Command::Operation(command) => operate::operation(command, connection, output).await,
        Command::Produce(arguments) => produce::run(arguments, connection, output).await,
        Command::Consume(arguments) => consume::run(arguments, connection, output).await,
        Command::Bench(command) => bench::run(command, connection, output).await,
        #[cfg(unix)]
        Command::Cluster(_) => unreachable!("carried out before a client was made"),
        Command::Up(_)
        | Command::Spu(SpuCommand::Run(_))
        | Command::Gateway(_)
        | Command::Sc(_)
        | Command::Ca(_)
        | Command::Config(_)
        | Command::Log(_)
        | Command::Disk(_)
        | Command::OpenApi(_) => {
            unreachable!("these commands were carried out before a client was made")
        }
    }
}
