//! Under which account the server runs: ours, or another when we are root, which Postgres refuses.

use std::os::unix::fs::{MetadataExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use super::error::LocalPostgresError;

/// The account of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// `None`: ours.
    other: Option<Other>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Other {
    name: &'static str,
    user: u32,
    group: u32,
}

impl Account {
    pub(super) fn for_server() -> Result<Self, LocalPostgresError> {
        if id(&["-u"]) != Some(0) {
            return Ok(Self { other: None });
        }
        let found = ["postgres", "nobody"].into_iter().find_map(|name| {
            let (user, group) = (id(&["-u", name])?, id(&["-g", name])?);
            Some(Other { name, user, group })
        });
        found
            .map(|other| Self { other: Some(other) })
            .ok_or(LocalPostgresError::NoAccount)
    }

    /// Runs the command under it.
    pub(super) fn become_it(&self, command: &mut Command) {
        if let Some(other) = &self.other {
            command.uid(other.user).gid(other.group);
        }
    }

    /// Gives it a file or a directory.
    pub(super) fn take_over(&self, path: &Path) -> Result<(), LocalPostgresError> {
        let Some(other) = &self.other else {
            return Ok(());
        };
        let io = |error| LocalPostgresError::io(path, error);
        if path.metadata().map_err(io)?.uid() == other.user {
            return Ok(());
        }
        chown(path, Some(other.user), Some(other.group)).map_err(io)
    }

    /// Checks that it can walk down to the directory, to say so in words that help.
    pub(super) fn can_enter(&self, dir: &Path) -> Result<(), LocalPostgresError> {
        let Some(other) = &self.other else {
            return Ok(());
        };
        let mut probe = Command::new("/bin/sh");
        self.become_it(&mut probe);
        let entered = probe
            .args(["-c", "cd -- \"$0\""])
            .arg(dir)
            .current_dir("/")
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .status();
        if entered.is_ok_and(|status| status.success()) {
            return Ok(());
        }
        Err(LocalPostgresError::NoEntry {
            account: other.name.to_owned(),
            dir: dir.to_path_buf(),
        })
    }
}

fn id(arguments: &[&str]) -> Option<u32> {
    let answer = Command::new("id")
        .args(arguments)
        .stderr(Stdio::null())
        .output()
        .ok()?;
    String::from_utf8(answer.stdout).ok()?.trim().parse().ok()
}
