//! `tidegate bench ..`: measurements against a running server, from the client's side.

mod payload;
mod report;
mod topic;

mod consume;
mod latency;
mod produce;

use clap::Subcommand;

use crate::connection::Connection;
use crate::failure::Failure;
use crate::output::Output;

#[derive(Debug, Subcommand)]
pub(crate) enum BenchCommand {
    /// Records acknowledged per second, and the latency of acknowledgements.
    Produce(produce::BenchProduceArguments),
    /// Records read per second, from start to end.
    Consume(consume::BenchConsumeArguments),
    /// Latency of single records at a steady rate: to acknowledgement and to a consumer.
    Latency(latency::BenchLatencyArguments),
}

pub(crate) async fn run(
    command: BenchCommand,
    connection: &Connection,
    output: Output,
) -> Result<(), Failure> {
    match command {
        BenchCommand::Produce(arguments) => produce::run(arguments, connection, output).await,
        BenchCommand::Consume(arguments) => consume::run(arguments, connection, output).await,
        BenchCommand::Latency(arguments) => latency::run(arguments, connection, output).await,
    }
}
