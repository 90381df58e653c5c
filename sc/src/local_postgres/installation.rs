//! Where the machine keeps the programs of a Postgres server.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::error::LocalPostgresError;

/// Debian and its like keep each version's programs here, off the search path.
const DEBIAN: &str = "/usr/lib/postgresql";

/// A folder with `initdb` and `postgres` in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installation {
    programs: PathBuf,
}

impl Installation {
    /// The newest one on this machine.
    ///
    /// # Errors
    /// [`LocalPostgresError::NotInstalled`].
    pub fn find() -> Result<Self, LocalPostgresError> {
        let mut candidates = debian();
        candidates.extend(configured());
        candidates.extend(["/usr/bin", "/usr/local/bin", "/opt/homebrew/bin"].map(PathBuf::from));
        candidates
            .into_iter()
            .find(|folder| {
                ["initdb", "postgres"]
                    .iter()
                    .all(|name| folder.join(name).exists())
            })
            .map(|programs| Self { programs })
            .ok_or(LocalPostgresError::NotInstalled)
    }

    pub(super) fn program(&self, name: &str) -> PathBuf {
        self.programs.join(name)
    }

    /// The folder.
    #[must_use]
    pub fn programs(&self) -> &Path {
        &self.programs
    }
}

fn debian() -> Vec<PathBuf> {
    let versions = fs::read_dir(DEBIAN).into_iter().flatten().flatten();
    let mut versions: Vec<(u32, PathBuf)> = versions
        .filter_map(|entry| {
            let version = entry.file_name().to_str()?.parse().ok()?;
            Some((version, entry.path().join("bin")))
        })
        .collect();
    versions.sort_by(|one, other| other.cmp(one));
    versions.into_iter().map(|(_, folder)| folder).collect()
}

fn configured() -> Option<PathBuf> {
    let answer = Command::new("pg_config").arg("--bindir").output().ok()?;
    let folder = String::from_utf8(answer.stdout).ok()?;
    Some(PathBuf::from(folder.trim()))
}
