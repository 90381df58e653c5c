//! The built `tidegate` program: where it is, and one-shot runs of its client commands.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// The program built beside this test (`cargo build --workspace --bins` puts it there).
///
/// # Panics
/// When it has not been built.
#[must_use]
pub fn tidegate() -> PathBuf {
    sibling("tidegate")
}

/// A program of this workspace in the same profile folder as the running one.
///
/// # Panics
/// When it has not been built.
#[must_use]
pub fn sibling(name: &str) -> PathBuf {
    let own = std::env::current_exe().expect("a process knows its program");
    let mut folder = own.parent().expect("a program lies in a folder");
    if folder.ends_with("deps") {
        folder = folder.parent().expect("deps lies in the profile folder");
    }
    let program = folder.join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
    assert!(
        program.exists(),
        "{name} is not built: run `cargo build --workspace --bins` first"
    );
    program
}

/// A client command with nothing of this machine's configuration in it.
#[must_use]
pub fn command(config_home: &Path) -> Command {
    let mut command = Command::new(tidegate());
    command.env_clear();
    command.env("PATH", "/usr/bin:/bin");
    command.env("HOME", config_home);
    command.env("XDG_CONFIG_HOME", config_home);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Runs a prepared command with `input` on its standard input.
///
/// # Panics
/// When the program cannot be started.
#[must_use]
pub fn run_with_input(mut command: Command, input: &[u8]) -> Output {
    let mut child = command
        .stdin(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut stdin = child.stdin.take().expect("standard input is piped");
    std::thread::scope(|scope| {
        // A program that stops reading early is judged by its exit code and words, not here.
        scope.spawn(move || stdin.write_all(input).ok());
        child.wait_with_output().expect("the program ends")
    })
}

/// What a program wrote, for the message of a failing assertion.
#[must_use]
pub fn words(output: &Output) -> String {
    let out = String::from_utf8_lossy(&output.stdout);
    let err = String::from_utf8_lossy(&output.stderr);
    let out: String = out.chars().take(2_000).collect();
    format!("{}\n--- stdout\n{out}\n--- stderr\n{err}", output.status)
}
