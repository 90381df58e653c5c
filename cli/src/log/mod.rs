//! `tidegate log ..`: looks at the files of a server that does not run. For bad days: works on a
//! damaged directory, and never destroys anything.

mod lines;
mod place;
mod shown;

mod dump;
mod repair;
mod verify;

use clap::Subcommand;

use crate::failure::Failure;
use crate::output::Output;

/// Work on the stored log of a server that is stopped.
#[derive(Debug, Subcommand)]
pub(crate) enum LogCommand {
    /// Check every stored byte. Reads only.
    Verify(verify::VerifyArguments),
    /// Show what is stored: state files, headers of batches, records, the journal. Reads only.
    Dump(Box<dump::DumpArguments>),
    /// Make indexes anew that do not fit their segments. Never touches records.
    RepairIndex(repair::RepairArguments),
}

pub(crate) fn run(command: LogCommand, output: Output) -> Result<(), Failure> {
    match command {
        LogCommand::Verify(arguments) => verify::run(&arguments, output),
        LogCommand::Dump(arguments) => dump::run(&arguments, output),
        LogCommand::RepairIndex(arguments) => repair::run(&arguments, output),
    }
}
