//! Processes of a cluster: started, looked at, told to stop.
//!
//! Invariant: only our own children are signalled, and processes that tell of themselves that they have a
//! directory of this cluster, for a number may be another process's by now.

use std::fs::{self, File};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::failure::Failure;
use crate::up::directory::disk;

/// A process that was started. It ends with this, asked to stop before or not: a start that fails or is
/// broken off leaves nothing behind that holds ports and directories.
#[derive(Debug)]
pub(super) struct Started(Child);

impl Started {
    pub(super) fn id(&self) -> u32 {
        self.0.id()
    }

    /// How it ended, if it did.
    pub(super) fn ending(&mut self) -> Option<String> {
        let status = self.0.try_wait().ok().flatten();
        status.map(|status| status.to_string())
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        // It may have ended by itself; either way it is waited for.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a process in a group of its own: an interrupt at the terminal is for its starter, who stops
/// the processes in order.
pub(super) fn spawn(
    argv: &[String],
    environment: &[(&str, String)],
    log: &Path,
) -> Result<Started, Failure> {
    let file = File::options().create(true).append(true).open(log);
    let file = file.map_err(|error| disk(log, "cannot be written", &error))?;
    let [program, arguments @ ..] = argv else {
        return Err(Failure::failed("there is no program to start"));
    };
    let mut command = Command::new(program);
    command.args(arguments);
    // Settings come from its file; what this process was told is not for it.
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("TIDEGATE_") {
            command.env_remove(name);
        }
    }
    for (name, value) in environment {
        command.env(name, value);
    }
    let started = command
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(file)
        .spawn();
    let started = started.map(Started);
    started.map_err(|error| Failure::failed(format!("cannot start {program}: {error}")))
}

/// Asks a process to stop, or ends it.
pub(super) fn signal(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    if let Some(pid) = pid {
        // It may have ended meanwhile.
        let _ = kill_process(pid, signal);
    }
}

/// The end of a log, for somebody who wonders why.
pub(super) fn tail(log: &Path) -> String {
    const LINES: usize = 12;
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    let from = lines.len().saturating_sub(LINES);
    lines[from..].join("\n")
}
