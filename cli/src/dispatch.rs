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
    backup, bench, ca, config, consume, disk, gateway, log, openapi, operate, produce, sc, spu,
    topic, up,
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
        Command::Sc(command) => to_its_end(sc::run(command, arguments.output)),
        Command::Backup(command) => {
            let taken = backup::backup(&command, &arguments.connection, arguments.output);
            to_its_end(taken)
        }
        Command::Restore(command) => to_its_end(backup::restore(&command, arguments.output)),
        Command::Spu(SpuCommand::Run(flags)) => to_its_end(spu::run(*flags)),
        Command::Gateway(command) => to_its_end(gateway::run(command)),
        #[cfg(unix)]
        Command::Cluster(command) => {
            let ran = cluster::run(command, &arguments.connection, arguments.output);
            to_its_end(ran)
        }
        Command::Up(command) => to_its_end(up::run(*command, &arguments.connection)),
        command => {
            let connection = Connection::resolve(&arguments.connection)?;
            let runtime = runtime()?;
            let outcome = runtime.block_on(client(command, &connection, arguments.output));
            runtime.shutdown_background();
            outcome
        }
    }
}

/// On a runtime of its own, which waits a little for what it left behind.
fn to_its_end(work: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let runtime = runtime()?;
    let outcome = runtime.block_on(work);
    runtime.shutdown_timeout(RUNTIME_GRACE);
    outcome
}

fn runtime() -> Result<Runtime, Failure> {
    boot::runtime(None).map_err(|error| Failure::failed(format!("cannot start threads: {error}")))
}

async fn client(command: Command, connection: &Connection, output: Output) -> Result<(), Failure> {
    match command {
        Command::Topic(command) => topic::run(command, connection, output).await,
        Command::Status => operate::status(connection, output).await,
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
        | Command::Backup(_)
        | Command::Restore(_)
        | Command::Ca(_)
        | Command::Config(_)
        | Command::Log(_)
        | Command::Disk(_)
        | Command::OpenApi(_) => {
            unreachable!("these commands were carried out before a client was made")
        }
    }
}
