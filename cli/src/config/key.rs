//! One setting of a role: its names on the command line, in the environment and in the file.
//!
//! The tables of keys are the one list of what a role can be told: flags, help, the check of a file and
//! its suggestions come from them.

use clap::builder::{ArgAction, StyledStr};
use clap::{Arg, ArgMatches, Command, parser::ValueSource};

/// What may be given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// One value.
    One,
    /// One value that is never shown.
    Secret,
    /// Values: the flag repeated, a list in the file, separated by commas in the environment.
    Many,
    /// True or false; the flag alone means true.
    Switch,
}

/// One setting.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Key {
    /// Without the leading dashes; with underscores it is the name in the file.
    pub(crate) flag: &'static str,
    /// The variable of the environment.
    pub(crate) env: &'static str,
    /// What the value is called in help.
    pub(crate) value: &'static str,
    pub(crate) help: &'static str,
    pub(crate) kind: Kind,
}

impl Key {
    pub(crate) const fn one(
        flag: &'static str,
        env: &'static str,
        value: &'static str,
        help: &'static str,
    ) -> Self {
        Self {
            flag,
            env,
            value,
            help,
            kind: Kind::One,
        }
    }

    pub(crate) const fn of(self, kind: Kind) -> Self {
        Self { kind, ..self }
    }

    /// The name in the file.
    pub(crate) fn field(&self) -> String {
        self.flag.replace('-', "_")
    }

    /// The flag, which takes its value from the environment when it is not given.
    pub(super) fn argument(&self) -> Arg {
        let argument = Arg::new(self.flag)
            .long(self.flag)
            .env(self.env)
            .hide_env_values(true)
            .value_name(self.value)
            .help(StyledStr::from(self.help));
        match self.kind {
            Kind::One | Kind::Secret => argument.action(ArgAction::Set),
            Kind::Many => argument.action(ArgAction::Append),
            Kind::Switch => argument
                .action(ArgAction::Set)
                .num_args(0..=1)
                .require_equals(true)
                .default_missing_value("true"),
        }
    }

    /// What the command line or the environment said.
    pub(super) fn given(&self, matches: &ArgMatches) -> Option<(Vec<String>, bool)> {
        let is_flag = match matches.value_source(self.flag)? {
            ValueSource::CommandLine => true,
            ValueSource::EnvVariable => false,
            _ => return None,
        };
        let texts = matches.get_many::<String>(self.flag)?;
        let texts = texts.flat_map(|text| match self.kind {
            Kind::Many => text.split(',').map(|one| one.trim().to_owned()).collect(),
            Kind::One | Kind::Secret | Kind::Switch => vec![text.clone()],
        });
        Some((texts.filter(|text| !text.is_empty()).collect(), is_flag))
    }
}

/// Adds the flags of all `keys`.
pub(super) fn arguments(command: Command, keys: impl IntoIterator<Item = Key>) -> Command {
    keys.into_iter()
        .fold(command, |command, key| command.arg(key.argument()))
}
