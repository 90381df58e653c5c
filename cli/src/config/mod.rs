//! What a process of a cluster is told: flags, environment and a TOML file, read once and completely.
//!
//! A role has a table of keys and a function that reads them into a plain struct. Flags win over the
//! environment, which wins over the section of the role in the file; everything that is wrong is said
//! at once, with its place. `tidegate up` has flags of its own.

mod file;
mod key;
mod nearest;

mod reader;

mod parse;

mod process;

mod door;

mod gateway;
mod sc;
mod spu;

mod check;

use std::fmt;
use std::fs;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use clap::{Arg, ArgMatches, Args, Command, FromArgMatches};

use crate::failure::Failure;
pub(crate) use check::{ConfigCommand, run};
pub(crate) use door::Door;
pub(crate) use gateway::{GatewayRole, GatewaySettings};
use key::Key;
pub(crate) use process::{ProcessSettings, SecuritySettings};
use reader::Reader;
pub(crate) use sc::{ScRole, ScSettings};
pub(crate) use spu::{SpuRole, SpuSettings};

const CONFIG: &str = "config";
/// Settings of a file are a few KiB.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// A role of a process.
pub(crate) trait Role {
    /// Its section in the file.
    const SECTION: &'static str;
    /// What it is, for a sentence.
    type Settings;

    /// The keys that only this role has.
    fn keys() -> &'static [Key];

    /// Reads all keys; none when something that is needed is missing.
    fn read(reader: &mut Reader) -> Option<Self::Settings>;
}

/// The flags of a role, as given.
pub(crate) struct Flags<R> {
    file: Option<PathBuf>,
    given: Vec<(Key, Vec<String>, bool)>,
    role: PhantomData<fn() -> R>,
}

impl<R> fmt::Debug for Flags<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.given.iter().map(|(key, ..)| key.flag).collect();
        f.debug_struct("Flags")
            .field("file", &self.file)
            .field("given", &names)
            .finish()
    }
}

impl<R: Role> Flags<R> {
    /// The settings.
    ///
    /// # Errors
    /// Everything that is wrong or missing, in one.
    pub(crate) fn settings(&self) -> Result<R::Settings, Failure> {
        let mut reader = Reader::new(R::SECTION, keys::<R>());
        if let Some(path) = &self.file {
            take_file::<R>(&mut reader, path);
        }
        for (key, texts, is_flag) in &self.given {
            reader.take(key, texts.clone(), *is_flag);
        }
        let settings = R::read(&mut reader);
        let (mut wrong, missing) = reader.verdict();
        wrong.extend(missing);
        match settings {
            Some(settings) if wrong.is_empty() => Ok(settings),
            _ => Err(complaint(&wrong)),
        }
    }
}

impl<R: Role> FromArgMatches for Flags<R> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let given = keys::<R>().into_iter().filter_map(|key| {
            let (texts, is_flag) = key.given(matches)?;
            Some((key, texts, is_flag))
        });
        Ok(Self {
            file: matches.get_one::<String>(CONFIG).map(PathBuf::from),
            given: given.collect(),
            role: PhantomData,
        })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl<R: Role> Args for Flags<R> {
    fn augment_args(command: Command) -> Command {
        let file = Arg::new(CONFIG)
            .long(CONFIG)
            .env("TIDEGATE_CONFIG")
            .hide_env_values(true)
            .value_name("FILE")
            .help(
                "TOML file with the settings below in the section of this role, with underscores.",
            );
        key::arguments(command.arg(file), keys::<R>())
            .after_help("Flags win over variables of the environment, and those over the file.")
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

fn keys<R: Role>() -> Vec<Key> {
    R::keys().iter().chain(process::KEYS).copied().collect()
}

fn take_file<R: Role>(reader: &mut Reader, path: &Path) {
    let size = fs::metadata(path).map_or(0, |facts| facts.len());
    let text = if size > FILE_BYTES_MAX {
        Err("this is too large for a file of settings".to_owned())
    } else {
        fs::read_to_string(path).map_err(|error| error.to_string())
    };
    match text {
        Ok(text) => {
            let found = file::read(path, &text, R::SECTION, &keys::<R>());
            reader.take_file(path, found);
        }
        Err(error) => reader.complain(format!("{}: {error}", path.display())),
    }
}

/// What is wrong, as one failure.
fn complaint(wrong: &[String]) -> Failure {
    let head = match wrong.len() {
        1 => "the configuration has an error:".to_owned(),
        count => format!("the configuration has {count} errors:"),
    };
    Failure::usage(format!("{head}\n  {}", wrong.join("\n  ")))
}

#[cfg(test)]
mod tests;
