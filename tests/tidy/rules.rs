//! Rules about one file at a time.
//!
//! They look at lines of text, not at syntax: a rule that needs more than a line is the compiler's or
//! clippy's business.

use crate::tree::{Complaint, Source};

const CODE_LINES_MAX: usize = 400;
const TEST_LINES_MAX: usize = 150;
const HEADER_LINES_MAX: usize = 25;

/// Crates whose code is a function of its arguments.
const PURE: [&str; 3] = ["proto/src/", "spu/core/src/", "sc/core/src/"];

/// Rooms that may touch files: the log's disk code, key material, a database's directory, programs and
/// tests.
const FILE_ROOMS: [&str; 8] = [
    "spu/log/src/",
    "spu/log/examples/",
    "kit/src/tls",
    "kit/src/metrics",
    "sc/src/local_postgres",
    "cli/",
    "xtask/",
    "fuzz/",
];

pub(crate) fn header(source: &Source) -> Vec<Complaint> {
    let header = source
        .text
        .lines()
        .take_while(|line| line.starts_with("//!"))
        .count();
    // The page of a whole crate may be longer than that of a file.
    if header > 0 && source.path.ends_with("/lib.rs") {
        return Vec::new();
    }
    match header {
        0 => vec![Complaint::new(
            source,
            1,
            "say in `//!` what it does and what it does not",
        )],
        1..=HEADER_LINES_MAX => Vec::new(),
        _ => vec![Complaint::new(
            source,
            1,
            "a header has at most 25 lines: the rest is docs/",
        )],
    }
}

pub(crate) fn size(source: &Source) -> Vec<Complaint> {
    let mut found = Vec::new();
    let code = source.code().count();
    let unit_tests =
        source.path.ends_with("/tests.rs") || source.path.contains("src/") && source.is_test_code();
    if code > CODE_LINES_MAX && !unit_tests {
        found.push(Complaint::new(
            source,
            code,
            format!("{code} lines of code: split it"),
        ));
    }
    let tests = source.tests().count();
    if tests > TEST_LINES_MAX {
        let mend = format!("{tests} lines of unit tests: move them to a tests.rs beside it");
        found.push(Complaint::new(source, code, mend));
    }
    found
}

pub(crate) fn name(source: &Source) -> Vec<Complaint> {
    let file = source.path.rsplit('/').next().unwrap_or_default();
    let banned = [
        "utils.rs",
        "util.rs",
        "common.rs",
        "helpers.rs",
        "helper.rs",
        "manager.rs",
    ];
    let bad = banned.contains(&file);
    bad.then(|| Complaint::new(source, 1, "name it after what it holds"))
        .into_iter()
        .collect()
}

pub(crate) fn exceptions(source: &Source) -> Vec<Complaint> {
    let lines: Vec<&str> = source.text.lines().collect();
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let line = line.trim_start();
        if line.starts_with("#[allow(") || line.starts_with("#![allow(") {
            found.push(Complaint::new(
                source,
                at + 1,
                "use #[expect(.., reason = \"..\")]",
            ));
        }
        if line.starts_with("#[expect(") || line.starts_with("#![expect(") {
            let whole = lines[at..].iter().take(6).copied().collect::<String>();
            let attribute = whole.split(")]").next().unwrap_or_default();
            if !attribute.contains("reason") {
                found.push(Complaint::new(
                    source,
                    at + 1,
                    "give the exception a reason",
                ));
            }
        }
    }
    found
}

pub(crate) fn purity(source: &Source) -> Vec<Complaint> {
    if !PURE.iter().any(|room| source.path.starts_with(room)) || source.is_test_code() {
        return Vec::new();
    }
    let banned = [
        (
            "HashMap",
            "a map with an order (BTreeMap): replays must be equal",
        ),
        (
            "HashSet",
            "a set with an order (BTreeSet): replays must be equal",
        ),
        ("Instant", "time is passed in"),
        ("SystemTime", "time is passed in"),
        ("std::fs", "no files here"),
        ("std::net", "no network here"),
        ("std::env", "no environment here"),
        ("std::thread", "no threads here"),
        (".await", "machines do not wait"),
        ("new_v4(", "ids are passed in"),
        ("now_v7(", "ids are passed in"),
    ];
    let hit = |(line, text): (usize, &str)| {
        let code = text.split("//").next().unwrap_or_default();
        let word = banned.iter().find(|(word, _)| code.contains(word))?;
        Some(Complaint::new(
            source,
            line,
            format!("{}: {}", word.0, word.1),
        ))
    };
    source.code().filter_map(hit).collect()
}

pub(crate) fn file_access(source: &Source) -> Vec<Complaint> {
    if FILE_ROOMS.iter().any(|room| source.path.starts_with(room)) || source.is_test_code() {
        return Vec::new();
    }
    let touches = |text: &str| text.contains("std::fs") || text.contains("tokio::fs");
    let lines = source
        .code()
        .filter(|(_, text)| touches(text) && !text.trim_start().starts_with("//"));
    lines
        .map(|(line, _)| Complaint::new(source, line, "files belong to the log and to kit::tls"))
        .collect()
}

pub(crate) fn sleep_in_tests(source: &Source) -> Vec<Complaint> {
    // The rule's own samples would break it.
    if source.path.starts_with("tests/tidy/") {
        return Vec::new();
    }
    // `wait.rs` is the one place that polls, bounded; benchmarks pace themselves; on a simulated clock a
    // sleep is an event like others.
    let exempt = source.path == "tests/harness/wait.rs"
        || source.path.starts_with("tests/bench/")
        || source.path.starts_with("tests/net/");
    let all = source.is_test_code() && !exempt;
    let lines: Vec<(usize, &str)> = if all {
        source.code().chain(source.tests()).collect()
    } else {
        source.tests().collect()
    };
    let sleeps = lines.into_iter().filter(|(_, text)| calls_sleep(text));
    sleeps
        .map(|(line, _)| Complaint::new(source, line, "wait for a value, bounded"))
        .collect()
}

/// A call of a function named so; a model's own method of that name is no waiting.
fn calls_sleep(text: &str) -> bool {
    text.match_indices("sleep(").any(|(at, _)| {
        let before = text[..at].chars().next_back();
        before.is_none_or(|before| !before.is_alphanumeric() && !"._".contains(before))
    })
}

pub(crate) fn foreign_words(source: &Source) -> Vec<Complaint> {
    if source.path == "tests/tidy/rules.rs" {
        return Vec::new();
    }
    let hit = |(at, text): (usize, &str)| {
        let bad = text.contains("/root/") || text.contains("/home/");
        bad.then(|| Complaint::new(source, at + 1, "no absolute path of a machine"))
    };
    source.text.lines().enumerate().filter_map(hit).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn breaks(rule: fn(&Source) -> Vec<Complaint>, path: &str, text: &str) {
        assert!(
            !rule(&Source::sample(path, text)).is_empty(),
            "{path} passed: {text}"
        );
    }

    fn keeps(rule: fn(&Source) -> Vec<Complaint>, path: &str, text: &str) {
        let found = rule(&Source::sample(path, text));
        assert!(found.is_empty(), "{}", found[0]);
    }

    #[test]
    fn each_rule_can_fail() {
        breaks(header, "a.rs", "use std;\n");
        breaks(size, "a.rs", &"x\n".repeat(401));
        breaks(
            size,
            "a.rs",
            &format!("#[cfg(test)]\nmod tests {{\n{}}}\n", "x\n".repeat(150)),
        );
        breaks(name, "kit/src/utils.rs", "");
        breaks(exceptions, "a.rs", "#[allow(dead_code)]\n");
        breaks(exceptions, "a.rs", "#[expect(dead_code)]\nfn reason() {}\n");
        breaks(purity, "proto/src/a.rs", "use std::collections::HashMap;\n");
        breaks(purity, "spu/core/src/a.rs", "let now = Instant::now();\n");
        breaks(file_access, "data-plane/src/a.rs", "use std::fs::File;\n");
        breaks(sleep_in_tests, "tests/it/a.rs", "sleep(second).await;\n");
        breaks(
            sleep_in_tests,
            "a.rs",
            "#[cfg(test)]\nmod tests {\nsleep(x);\n}\n",
        );
        breaks(foreign_words, "a.rs", "//! /home/x\n");
    }

    #[test]
    fn each_rule_can_pass() {
        keeps(header, "a.rs", "//! What it does.\n");
        keeps(size, "a.rs", &"x\n".repeat(400));
        keeps(
            exceptions,
            "a.rs",
            "#[expect(\n dead_code,\n reason = \"it is a sample\"\n)]\n",
        );
        keeps(purity, "proto/src/a.rs", "// No HashMap here.\n");
        keeps(purity, "kit/src/clock.rs", "Instant::now()\n");
        keeps(file_access, "spu/log/src/vfs.rs", "use std::fs::File;\n");
        keeps(
            sleep_in_tests,
            "spu/src/task.rs",
            "tokio::time::sleep(tick).await;\n",
        );
    }
}
