//! What operators ask of a running cluster: storage units, groups of them, where copies are, long work.

mod begun;
mod terms;

mod operation;
mod partition;
mod spu;
mod spu_group;
mod status;

pub(crate) use operation::OperationCommand;
pub(crate) use partition::PartitionCommand;
pub(crate) use spu::SpuCommand;
pub(crate) use spu_group::SpuGroupCommand;

use crate::connection::Connection;
use crate::failure::Failure;
use crate::output::Output;

/// `tidegate spu ..`, but for running one.
pub(crate) async fn spu(
    command: SpuCommand,
    connection: &Connection,
    output: Output,
) -> Result<(), Failure> {
    spu::run(command, connection, output).await
}

/// `tidegate status`.
pub(crate) async fn status(connection: &Connection, output: Output) -> Result<(), Failure> {
    status::run(connection, output).await
}

/// `tidegate spu-group ..`.
pub(crate) async fn spu_group(
    command: SpuGroupCommand,
    connection: &Connection,
    output: Output,
) -> Result<(), Failure> {
    spu_group::run(command, connection, output).await
}

/// `tidegate partition ..`.
pub(crate) async fn partition(
    command: PartitionCommand,
    connection: &Connection,
    output: Output,
) -> Result<(), Failure> {
    partition::run(command, connection, output).await
}

/// `tidegate operation ..`.
pub(crate) async fn operation(
    command: OperationCommand,
    connection: &Connection,
    output: Output,
) -> Result<(), Failure> {
    operation::run(command, connection, output).await
}
