//! Why there is no server, in words for whoever wanted one.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// A server that could not be started or stopped.
#[derive(Debug, Error)]
pub enum LocalPostgresError {
    /// Postgres is not on this machine.
    #[error(
        "Postgres is not installed (no initdb was found); on Debian or Ubuntu: sudo apt-get install \
         postgresql"
    )]
    NotInstalled,
    /// Postgres refuses to run as root, and there is nobody else.
    #[error("Postgres does not run as root, and there is no account `postgres` or `nobody` for it")]
    NoAccount,
    /// The account may not walk down to the directory.
    #[error(
        "the account {account} under which Postgres runs cannot enter {}: choose a directory elsewhere",
        .dir.display()
    )]
    NoEntry { account: String, dir: PathBuf },
    /// A file or a program.
    #[error("{}", .path.display())]
    Io {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// The server's own words.
    #[error("Postgres did not start:\n{0}")]
    Refused(String),
    /// It did not end in time and was killed.
    #[error("Postgres did not stop in time")]
    NeverStopped,
    /// A database could not be made on it.
    #[error("Postgres did not make a database")]
    Database(#[source] sqlx::Error),
}

impl LocalPostgresError {
    pub(super) fn io(path: &Path, source: io::Error) -> Self {
        let path = path.to_path_buf();
        Self::Io { path, source }
    }
}
