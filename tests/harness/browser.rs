//! Scripts for Node and for Chromium, run with the installed packages.

use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::input::node_folder;
use crate::program::words;

/// Runs `tests/node/<script>` with JSON arguments; its last line of output is JSON.
///
/// # Panics
/// When it fails or does not answer in JSON.
#[must_use]
pub fn run_script(script: &str, arguments: &Value) -> Value {
    let folder = node_folder();
    let output: Output = Command::new("node")
        .arg(folder.join(script))
        .arg(arguments.to_string())
        .current_dir(&folder)
        .stdin(Stdio::null())
        .output()
        .expect("node is installed");
    assert!(output.status.success(), "{script}: {}", words(&output));
    let text = String::from_utf8(output.stdout.clone()).expect("UTF-8");
    let last = text.lines().last().unwrap_or_default();
    serde_json::from_str(last).unwrap_or_else(|error| panic!("{error}: {}", words(&output)))
}
