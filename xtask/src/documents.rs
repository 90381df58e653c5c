//! The API documents as others see them: linted, and tested against running servers.
//!
//! The tools are pinned in `tests/openapi` and installed below the target directory on first use. What
//! they are told to let pass is written there, each with its reason.

use std::fs;
use std::path::{Path, PathBuf};

use crate::commands::target;
use crate::prepare;
use crate::run::{cargo, finish, program, root, say};

const DOCUMENTS: [&str; 4] = [
    "control-plane.json",
    "data-plane.json",
    "tidegate.json",
    "frames.asyncapi.json",
];

/// Runs spectral and redocly on all documents.
pub(crate) fn lint() -> Result<(), String> {
    let tools = node_tools()?;
    let rules = root().join("tests/openapi");
    // Rule sets are found beside the rules that name them.
    for name in ["spectral.yaml", "redocly.yaml"] {
        copy(&rules.join(name), &tools.join(name))?;
    }
    let paths = DOCUMENTS.map(|name| root().join("openapi").join(name));
    let binaries = tools.join("node_modules/.bin");
    let mut redocly = program(&binaries.join("redocly").to_string_lossy());
    redocly
        .current_dir(&tools)
        .env("REDOCLY_TELEMETRY", "off")
        .env("REDOCLY_SUPPRESS_UPDATE_NOTICE", "true")
        .args(["lint", "--config", "redocly.yaml"])
        .args(&paths);
    finish(&mut redocly)?;
    let mut spectral = program(&binaries.join("spectral").to_string_lossy());
    spectral
        .current_dir(&tools)
        .args(["lint", "--ruleset", "spectral.yaml"])
        .args(["--fail-severity", "hint"])
        .args(&paths);
    finish(&mut spectral)
}

/// Starts servers and tests them with schemathesis.
pub(crate) fn schemathesis(arguments: &[String]) -> Result<(), String> {
    let python = python_tools()?;
    prepare::for_clusters()?;
    finish(cargo().args(["build", "--package", "tidegate-cli"]))?;
    let script = root().join("tests/openapi/live.py");
    let mut run = program(&python.to_string_lossy());
    run.arg(script)
        .arg(target().join("debug/tidegate"))
        .args(arguments);
    finish(&mut run)
}

/// Where the linters are, installed as the lock file says.
fn node_tools() -> Result<PathBuf, String> {
    let from = root().join("tests/openapi");
    let to = target().join("openapi");
    let lock = "package-lock.json";
    if !is_same(&from.join(lock), &to.join(lock)) {
        fs::create_dir_all(&to).map_err(|error| format!("{}: {error}", to.display()))?;
        copy(&from.join("package.json"), &to.join("package.json"))?;
        copy(&from.join(lock), &to.join(lock))?;
        say("installing spectral and redocly");
        let mut install = program("npm");
        install
            .current_dir(&to)
            .args(["ci", "--no-audit", "--no-fund", "--ignore-scripts"]);
        if let Err(error) = finish(&mut install) {
            // Tried anew the next time.
            let _ = fs::remove_file(to.join(lock));
            return Err(format!("{error}; Node 20 or later with npm is needed"));
        }
    }
    Ok(to)
}

/// The Python that has schemathesis.
fn python_tools() -> Result<PathBuf, String> {
    let from = root().join("tests/openapi/requirements.txt");
    let to = target().join("schemathesis");
    let (python, marker) = (to.join("bin/python"), to.join("requirements.txt"));
    if !is_same(&from, &marker) {
        say("installing schemathesis");
        finish(program("python3").args(["-m", "venv"]).arg(&to))
            .map_err(|error| format!("{error}; Python 3.10 or later with venv is needed"))?;
        let mut install = program(&python.to_string_lossy());
        install.args(["-m", "pip", "install", "--quiet", "--requirement"]);
        finish(install.arg(&from))
            .map_err(|error| format!("{error}; its packages come from the Python package index"))?;
        copy(&from, &marker)?;
    }
    Ok(python)
}

fn is_same(left: &Path, right: &Path) -> bool {
    match (fs::read(left), fs::read(right)) {
        (Ok(left), Ok(right)) => left == right,
        _ => false,
    }
}

fn copy(from: &Path, to: &Path) -> Result<(), String> {
    let copied = fs::copy(from, to);
    copied.map_err(|error| format!("{} to {}: {error}", from.display(), to.display()))?;
    Ok(())
}
