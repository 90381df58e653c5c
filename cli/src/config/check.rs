//! `tidegate config check`: whether a file would do, before a process is started with it.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};

use super::reader::Reader;
use super::{GatewayRole, Role, ScRole, SpuRole, complaint, keys, take_file};
use crate::failure::Failure;
use crate::output;

/// Look at files of settings.
#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Check the settings of a role in a file; exit code 2 and every error when it is wrong.
    Check(CheckArguments),
}

#[derive(Args, Debug)]
#[command(
    after_help = "Settings that must be given and are not in the file are listed, and are no error: \
    they may come from the environment."
)]
pub(crate) struct CheckArguments {
    /// The role whose section is looked at.
    #[arg(long, value_enum)]
    role: RoleName,

    /// The file.
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum RoleName {
    Sc,
    Spu,
    Gateway,
}

/// Carries the command out.
pub(crate) fn run(command: &ConfigCommand) -> Result<(), Failure> {
    let ConfigCommand::Check(arguments) = command;
    let missing = match arguments.role {
        RoleName::Sc => check::<ScRole>(&arguments.file),
        RoleName::Spu => check::<SpuRole>(&arguments.file),
        RoleName::Gateway => check::<GatewayRole>(&arguments.file),
    }?;
    for words in missing {
        output::print(&format!("still to be given: {words}"))?;
    }
    output::print("ok")
}

/// What the file leaves to the environment.
fn check<R: Role>(path: &Path) -> Result<Vec<String>, Failure> {
    let mut reader = Reader::new(R::SECTION, keys::<R>());
    take_file::<R>(&mut reader, path);
    R::read(&mut reader);
    match reader.verdict() {
        (wrong, missing) if wrong.is_empty() => Ok(missing),
        (wrong, _) => Err(complaint(&wrong)),
    }
}
