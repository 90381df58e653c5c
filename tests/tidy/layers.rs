//! Rules about who may import whom: crates, outside packages, modules.
//!
//! The table here is the one in ARCHITECTURE.md; a new edge is added in both places, with a reason.

use std::collections::{BTreeMap, BTreeSet};

use crate::tree::{Complaint, Source};

/// Folder, crate, and the crates of ours that it may import.
const EDGES: [(&str, &[&str]); 11] = [
    ("proto", &[]),
    ("spu/core", &["proto"]),
    ("sc/core", &["proto"]),
    ("spu/log", &["proto"]),
    ("kit", &["proto"]),
    ("data-plane", &["proto", "kit"]),
    ("spu", &["proto", "spu-core", "log", "kit", "data-plane"]),
    ("sc", &["proto", "sc-core", "kit"]),
    ("gateway", &["proto", "kit", "data-plane"]),
    ("sdk/rust", &["proto"]),
    ("xtask", &[]),
];

/// An outside package and the only folders that may name it.
const PACKAGES: [(&str, &[&str]); 6] = [
    ("sqlx", &["sc"]),
    (
        "tokio",
        &[
            "kit",
            "data-plane",
            "spu",
            "sc",
            "gateway",
            "sdk/rust",
            "cli",
            "tests",
            "tests/net",
        ],
    ),
    (
        "axum",
        &[
            "kit",
            "data-plane",
            "spu",
            "sc",
            "gateway",
            "cli",
            "tests",
            "tests/net",
        ],
    ),
    ("rustix", &["spu/log", "cli", "tests"]),
    (
        "anyhow",
        &[
            "cli",
            "tests",
            "tests/images",
            "tests/net",
            "tests/simulation",
        ],
    ),
    ("clap", &["cli", "tests"]),
];

fn folder(manifest: &Source) -> &str {
    manifest.path.trim_end_matches("/Cargo.toml")
}

/// Names of the packages under `[dependencies]` (not those of tests), with their lines.
fn dependencies(manifest: &Source) -> Vec<(usize, &str)> {
    let mut inside = false;
    let mut found = Vec::new();
    for (at, line) in manifest.text.lines().enumerate() {
        if line.starts_with('[') {
            inside = line == "[dependencies]";
        } else if inside && let Some(end) = line.find(['.', ' ', '=']) {
            found.push((at + 1, &line[..end]));
        }
    }
    found
}

pub(crate) fn crate_edges(manifests: &[Source]) -> Vec<Complaint> {
    let mut found = Vec::new();
    for (place, allowed) in EDGES {
        let Some(manifest) = manifests.iter().find(|manifest| folder(manifest) == place) else {
            continue;
        };
        for (line, name) in dependencies(manifest) {
            let Some(ours) = name.strip_prefix("tidegate-") else {
                continue;
            };
            if !allowed.contains(&ours) {
                let mend = format!("{place} may not import {ours}: arrows point down");
                found.push(Complaint::new(manifest, line, mend));
            }
        }
    }
    found
}

pub(crate) fn outside_packages(manifests: &[Source]) -> Vec<Complaint> {
    let mut found = Vec::new();
    for manifest in manifests {
        for (line, name) in dependencies(manifest) {
            let rule = PACKAGES.iter().find(|(package, _)| *package == name);
            if let Some((_, rooms)) = rule
                && !rooms.contains(&folder(manifest))
            {
                let mend = format!("{name} belongs to {}", rooms.join(", "));
                found.push(Complaint::new(manifest, line, mend));
            }
        }
    }
    found
}

/// Modules in the order in which a crate root lists them.
fn listed(root: &Source) -> Vec<&str> {
    let module = |(_, line)| {
        let line: &str = line;
        let rest = ["pub mod ", "pub(crate) mod ", "mod "]
            .iter()
            .find_map(|p| line.strip_prefix(p));
        rest?.strip_suffix(';')
    };
    root.code().filter_map(module).collect()
}

/// Words that follow `crate::` in a line.
fn crate_paths(line: &str) -> impl Iterator<Item = &str> {
    let code = if line.trim_start().starts_with("//") {
        ""
    } else {
        line
    };
    code.split("crate::").skip(1).map(|rest| {
        let end = rest
            .find(|c: char| !c.is_alphanumeric() && c != '_')
            .unwrap_or(rest.len());
        &rest[..end]
    })
}

pub(crate) fn module_order(sources: &[Source]) -> Vec<Complaint> {
    let mut found = Vec::new();
    let is_root = |path: &str| path.ends_with("src/lib.rs") || path.ends_with("cli/src/main.rs");
    for root in sources.iter().filter(|source| is_root(&source.path)) {
        let folder = root.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        let modules = listed(root);
        let rank: BTreeMap<&str, usize> =
            modules.iter().enumerate().map(|(at, m)| (*m, at)).collect();
        let mut seen = BTreeSet::new();
        for source in sources {
            let Some(inner) = source.path.strip_prefix(folder) else {
                continue;
            };
            let own = inner
                .trim_start_matches('/')
                .split(['/', '.'])
                .next()
                .unwrap_or_default();
            let Some(own_rank) = rank.get(own) else {
                continue;
            };
            if source.is_test_code() {
                continue;
            }
            for (line, text) in source.code() {
                for target in crate_paths(text) {
                    let higher = rank.get(target).is_some_and(|target| target > own_rank);
                    if higher && seen.insert((source.path.clone(), target)) {
                        let mend = format!("`{own}` imports `{target}`, which is listed below it");
                        found.push(Complaint::new(source, line, mend));
                    }
                }
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_arrow_that_points_up_is_found() {
        let manifest = Source::sample(
            "kit/Cargo.toml",
            "[dependencies]\ntidegate-sc.workspace = true\n",
        );
        assert_eq!(crate_edges(&[manifest]).len(), 1);
        let manifest = Source::sample("kit/Cargo.toml", "[dependencies]\ntidegate-proto = { }\n");
        assert!(crate_edges(&[manifest]).is_empty());
    }

    #[test]
    fn a_database_outside_the_controller_is_found() {
        let text = "[dependencies]\nsqlx.workspace = true\n";
        assert_eq!(
            outside_packages(&[Source::sample("spu/Cargo.toml", text)]).len(),
            1
        );
        assert!(outside_packages(&[Source::sample("sc/Cargo.toml", text)]).is_empty());
    }

    #[test]
    fn a_module_that_looks_up_is_found() {
        let root = Source::sample("kit/src/lib.rs", "//! x\npub mod low;\npub mod high;\n");
        let low = Source::sample("kit/src/low.rs", "use crate::high::Thing;\n");
        let high = Source::sample("kit/src/high/inner.rs", "use crate::low::Thing;\n");
        let found = module_order(&[root, low, high]);
        assert_eq!(found.len(), 1);
        assert!(found[0].to_string().contains("`low` imports `high`"));
    }
}
