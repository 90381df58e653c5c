//! What the tests need beside Rust and Node: curl, strace, a Chromium, a Postgres server, and the
//! packages of `tests/node`.
//!
//! Installed by apt-get when we are root on a Debian-like system; otherwise the error says what to
//! install, and nothing is attempted.

use std::fs;

use crate::run::{finish, output_of, program, root, say, succeeds};

/// A program the tests call: its names, and the Debian package that brings it.
struct Need {
    names: &'static [&'static str],
    package: &'static str,
}

const NEEDS: [Need; 4] = [
    // Lets a sync of the real server fail.
    Need {
        names: &["strace"],
        package: "strace",
    },
    Need {
        names: &["curl"],
        package: "curl",
    },
    Need {
        names: &["chromium", "chromium-browser", "google-chrome"],
        package: "chromium",
    },
    Need {
        names: &["postgres"],
        package: "postgresql",
    },
];

/// Where Debian and its like keep the programs of each version of the Postgres server.
const POSTGRES: &str = "/usr/lib/postgresql";

/// Sees to it that everything is there.
pub(crate) fn for_tests() -> Result<(), String> {
    system_packages(|_| true)?;
    node_packages()
}

/// Sees to it that a cluster of processes can be started.
pub(crate) fn for_clusters() -> Result<(), String> {
    system_packages(|need| need.package == "postgresql")
}

fn system_packages(is_asked: fn(&Need) -> bool) -> Result<(), String> {
    let missing: Vec<&str> = NEEDS
        .iter()
        .filter(|need| is_asked(need) && !need.names.iter().any(|name| is_there(name)))
        .map(|need| need.package)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let is_root = output_of("id", &["-u"]).as_deref() == Some("0");
    if !(is_root && succeeds("apt-get", &["--version"])) {
        return Err(format!(
            "the tests need {0}; on Debian or Ubuntu: sudo apt-get install {0}",
            missing.join(" ")
        ));
    }
    say(&format!("installing {}", missing.join(", ")));
    finish(program("apt-get").args(["-qq", "update"]))?;
    let mut install = program("apt-get");
    install.env("DEBIAN_FRONTEND", "noninteractive");
    install
        .args(["-qq", "-y", "--no-install-recommends", "install"])
        .args(missing);
    finish(&mut install)
}

fn is_there(name: &str) -> bool {
    let off_the_path = name == "postgres"
        && fs::read_dir(POSTGRES)
            .into_iter()
            .flatten()
            .flatten()
            .any(|version| version.path().join("bin/initdb").exists());
    off_the_path || succeeds(name, &["--version"])
}

/// `npm ci` when the lock file has changed since the last time.
fn node_packages() -> Result<(), String> {
    let directory = root().join("tests/node");
    let lock = directory.join("package-lock.json");
    if !lock.exists() {
        return Ok(());
    }
    let marker = directory.join("node_modules/.package-lock.json");
    let modified = |path: &std::path::Path| path.metadata().and_then(|facts| facts.modified()).ok();
    if modified(&marker).is_some_and(|installed| Some(installed) >= modified(&lock)) {
        return Ok(());
    }
    if !succeeds("npm", &["--version"]) {
        return Err("the tests need Node 20 or later with npm: https://nodejs.org".to_owned());
    }
    let mut install = program("npm");
    install
        .current_dir(&directory)
        .args(["ci", "--no-audit", "--no-fund"]);
    finish(&mut install)
}
