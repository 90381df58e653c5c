//! Which database is meant: by flag, environment or file, in this order.

use std::fs;
use std::path::PathBuf;

use clap::Args;
use serde::Deserialize;
use tidegate_sc::store::{DatabaseUrl, StoreError};

use crate::failure::Failure;
use crate::up::chain;

#[derive(Args, Debug)]
pub(crate) struct DatabaseArguments {
    /// Postgres database of the cluster: `postgres://user:password@host/database?sslmode=verify-full`.
    /// In the environment or the file, where other users of the machine do not see the password.
    #[arg(
        long,
        value_name = "URL",
        env = "TIDEGATE_DATABASE_URL",
        hide_env_values = true
    )]
    database_url: Option<String>,

    /// TOML file; `database_url` in its section `[sc]` is used when neither flag nor environment name
    /// one.
    #[arg(long, value_name = "FILE", env = "TIDEGATE_CONFIG")]
    config: Option<PathBuf>,
}

/// The part of the file that is looked at; other sections are other commands'.
#[derive(Deserialize)]
struct File {
    #[serde(default)]
    sc: Section,
}

#[derive(Deserialize, Default)]
struct Section {
    database_url: Option<String>,
}

impl DatabaseArguments {
    /// The address.
    pub(crate) fn url(&self) -> Result<DatabaseUrl, Failure> {
        self.given()?.ok_or_else(|| {
            Failure::usage(
                "which database? Give --database-url, TIDEGATE_DATABASE_URL, or --config with \
                 `database_url` in [sc]",
            )
        })
    }

    /// The address, if any place names one.
    pub(crate) fn given(&self) -> Result<Option<DatabaseUrl>, Failure> {
        let text = match &self.database_url {
            Some(given) => Some(given.clone()),
            None => self.in_file()?,
        };
        let parsed = text.map(|text| DatabaseUrl::parse(&text)).transpose();
        parsed.map_err(|error| Failure::usage(error.to_string()))
    }

    fn in_file(&self) -> Result<Option<String>, Failure> {
        let Some(path) = &self.config else {
            return Ok(None);
        };
        let unusable =
            |reason: String| Failure::usage(format!("--config {}: {reason}", path.display()));
        let text = fs::read_to_string(path).map_err(|error| unusable(error.to_string()))?;
        // The parser's own words quote the line, which may hold the password.
        let file: File = toml::from_str(&text)
            .map_err(|error| unusable(format!("not as expected: {}", error.message())))?;
        Ok(file.sc.database_url)
    }
}

/// A store that cannot be used.
pub(crate) fn failure(error: &StoreError) -> Failure {
    Failure::failed(chain(error))
}
