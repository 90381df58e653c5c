//! Runs programs in the workspace's folder, showing what is run.

use std::ffi::OsStr;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// Says something on standard error.
pub(crate) fn say(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// The workspace's folder: the parent of this package's.
pub(crate) fn root() -> PathBuf {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    here.parent().map_or_else(|| here.clone(), PathBuf::from)
}

/// The cargo that runs us, so that the same toolchain builds everything.
pub(crate) fn cargo() -> Command {
    program(option_env!("CARGO").unwrap_or("cargo"))
}

/// A program started in the workspace's folder.
pub(crate) fn program(name: &str) -> Command {
    let mut command = Command::new(name);
    command.current_dir(root());
    command
}

/// Runs it to its end; a failure is an error that names it.
pub(crate) fn finish(command: &mut Command) -> Result<(), String> {
    let shown = show(command);
    say(&format!("$ {shown}"));
    let status = command
        .status()
        .map_err(|error| format!("cannot run {shown}: {error}"))?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("{shown} ended with {status}"))
    }
}

/// Whether the program can be run and succeeds, silently.
pub(crate) fn succeeds(name: &str, arguments: &[&str]) -> bool {
    program(name)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// What a program prints, when it succeeds.
pub(crate) fn output_of(name: &str, arguments: &[&str]) -> Option<String> {
    let output = program(name)
        .args(arguments)
        .stderr(Stdio::null())
        .output()
        .ok()?;
    output
        .status
        .success()
        .then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn show(command: &Command) -> String {
    std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(OsStr::to_string_lossy)
        .collect::<Vec<_>>()
        .join(" ")
}
