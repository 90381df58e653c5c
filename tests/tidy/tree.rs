//! The files under judgement: what git tracks or would track, read once per rule.
//!
//! Splits a source into its code and its unit tests, because most rules differ between the two.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A text file of the tree.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    /// Path from the root of the project, with forward slashes.
    pub(crate) path: String,
    pub(crate) text: String,
}

impl Source {
    #[cfg(test)]
    pub(crate) fn sample(path: &str, text: &str) -> Self {
        Self {
            path: path.into(),
            text: text.into(),
        }
    }

    /// Numbered lines (from 1) before the unit tests at the end of the file.
    pub(crate) fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let end = self.tests_start();
        self.text
            .lines()
            .enumerate()
            .map(|(at, line)| (at + 1, line))
            .take(end)
    }

    /// Numbered lines of the unit tests at the end of the file.
    pub(crate) fn tests(&self) -> impl Iterator<Item = (usize, &str)> {
        let start = self.tests_start();
        self.text
            .lines()
            .enumerate()
            .map(|(at, line)| (at + 1, line))
            .skip(start)
    }

    fn tests_start(&self) -> usize {
        let lines: Vec<&str> = self.text.lines().collect();
        let starts = |at: &usize| {
            lines[*at] == "#[cfg(test)]"
                && lines
                    .get(at + 1)
                    .is_some_and(|next| next.starts_with("mod ") && next.ends_with('{'))
        };
        (0..lines.len()).find(starts).unwrap_or(lines.len())
    }

    /// True for files that only tests compile.
    pub(crate) fn is_test_code(&self) -> bool {
        self.path.starts_with("tests/")
            || self.path.contains("/tests/")
            || self.path.ends_with("/tests.rs")
    }
}

/// What is wrong, where, and the mend.
#[derive(Debug)]
pub(crate) struct Complaint {
    path: String,
    line: usize,
    mend: String,
}

impl Complaint {
    pub(crate) fn new(source: &Source, line: usize, mend: impl Into<String>) -> Self {
        Self {
            path: source.path.clone(),
            line,
            mend: mend.into(),
        }
    }
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "  {}:{}: {}", self.path, self.line, self.mend)
    }
}

/// The root of the project.
pub(crate) fn root() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests
        .parent()
        .expect("the tests live one folder below the root")
        .to_path_buf()
}

pub(crate) fn rust_sources() -> Vec<Source> {
    files_ending(".rs")
}

pub(crate) fn manifests() -> Vec<Source> {
    files_ending("/Cargo.toml")
}

/// Files that git tracks, or would track, whose path ends so.
pub(crate) fn files_ending(end: &str) -> Vec<Source> {
    let root = root();
    let listed = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(&root)
        .output()
        .expect("git lists the files");
    assert!(listed.status.success(), "git ls-files failed");
    let listed = String::from_utf8(listed.stdout).expect("paths are UTF-8");
    let mut sources = Vec::new();
    for path in listed.lines().filter(|path| path.ends_with(end)) {
        // A path that is tracked but deleted in the work tree has nothing to judge.
        if let Ok(text) = std::fs::read_to_string(root.join(path)) {
            sources.push(Source {
                path: path.into(),
                text,
            });
        }
    }
    sources
}
