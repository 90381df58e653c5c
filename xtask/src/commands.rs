//! The commands, each a script from top to bottom.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::prepare;
use crate::run::{cargo, finish, output_of, program, root, say, succeeds};

/// Topic that `up` makes for the first five minutes.
const DEMO_TOPIC: &str = "demo";

/// Cases of each property in a search: half an hour on one core.
const HISTORIES_CASES: &str = "30000";

/// Where generated inputs meet pure code, a simulated disk or a store in memory, so that more of them cost
/// little.
const GENERATING_PACKAGES: [&str; 5] = [
    "tidegate-proto",
    "tidegate-spu-core",
    "tidegate-sc-core",
    "tidegate-sc",
    "tidegate-log",
];

/// Where the generators of tests begin, unless the environment says otherwise. One tree then has one
/// outcome; new inputs are searched by a command of their own.
const SEED: (&str, &str) = ("PROPTEST_RNG_SEED", "20261123");

/// Builds the release binary and becomes it.
pub(crate) fn up(arguments: &[String]) -> Result<(), String> {
    finish(cargo().args(["build", "--release", "--package", "tidegate-cli"]))?;
    let mut server = program(&target().join("release/tidegate").to_string_lossy());
    // The data directory is relative to where the person is, not to the workspace.
    if let Ok(here) = std::env::current_dir() {
        server.current_dir(here);
    }
    server
        .args(["up", "--demo-topic", DEMO_TOPIC])
        .args(arguments);
    become_program(server)
}

#[cfg(unix)]
fn become_program(mut server: std::process::Command) -> Result<(), String> {
    use std::os::unix::process::CommandExt;
    // Replaced, not started: signals then reach the server itself.
    Err(format!("cannot start the server: {}", server.exec()))
}

#[cfg(not(unix))]
fn become_program(mut server: std::process::Command) -> Result<(), String> {
    finish(&mut server)
}

/// Prepares the machine and runs every test.
pub(crate) fn test(arguments: &[String]) -> Result<(), String> {
    prepare::for_tests()?;
    finish(cargo().args(["build", "--workspace", "--bins"]))?;
    // The runners below do not run examples in documentation.
    if arguments.is_empty() {
        finish(cargo().args(["test", "--workspace", "--doc"]))?;
    }
    if succeeds("cargo", &["nextest", "--version"]) {
        finish(seeded(cargo().args(["nextest", "run", "--workspace"])).args(arguments))
    } else {
        say("cargo-nextest is not installed: cargo test does, one test binary after the other");
        let kinds = ["test", "--workspace", "--bins", "--lib", "--tests"];
        finish(seeded(cargo().args(kinds)).args(arguments))
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "whoever runs the tests may choose another seed"
)]
fn seeded(command: &mut Command) -> &mut Command {
    let (name, value) = SEED;
    match std::env::var_os(name) {
        Some(_) => command,
        None => command.env(name, value),
    }
}

/// Searches what generated inputs find: the tests that make their own, on many and new ones.
pub(crate) fn histories(arguments: &[String]) -> Result<(), String> {
    let (cases, filters) = match arguments.split_first() {
        Some((first, rest)) if first.parse::<u32>().is_ok() => (first.as_str(), rest),
        _ => (HISTORIES_CASES, arguments),
    };
    let mut run = cargo();
    run.args(["test", "--release", "--no-fail-fast", "--lib"]);
    for package in GENERATING_PACKAGES {
        run.args(["--package", package]);
    }
    run.arg("--").args(filters).env("PROPTEST_CASES", cases);
    finish(&mut run)
}

/// What has to pass before a change is taken: the script that the servers run as well.
pub(crate) fn ci() -> Result<(), String> {
    finish(&mut program(&root().join(".ci/run").to_string_lossy()))
}

/// Builds the program and the benchmark as they ship, and runs the second on the first.
pub(crate) fn bench(arguments: &[String]) -> Result<(), String> {
    let packages = ["--package", "tidegate-cli", "--package", "tidegate-tests"];
    finish(
        cargo()
            .args(["build", "--profile", "dist", "--bins"])
            .args(packages),
    )?;
    let benchmark = target().join("dist/tidegate-bench");
    finish(program(&benchmark.to_string_lossy()).args(arguments))
}

/// Boots what crashes may leave of a log's disk.
pub(crate) fn images(arguments: &[String]) -> Result<(), String> {
    finish(cargo().args(["build", "--release", "--package", "tidegate-images"]))?;
    let binary = target().join("release/tidegate-images");
    finish(program(&binary.to_string_lossy()).args(arguments))
}

/// Searches the protocol model of replication.
pub(crate) fn model(arguments: &[String]) -> Result<(), String> {
    finish(cargo().args(["build", "--release", "--package", "tidegate-model"]))?;
    let binary = target().join("release/tidegate-model");
    finish(program(&binary.to_string_lossy()).args(arguments))
}

/// Runs a simulated cluster, seed after seed.
pub(crate) fn simulate(arguments: &[String]) -> Result<(), String> {
    finish(cargo().args(["build", "--release", "--package", "tidegate-simulation"]))?;
    let binary = target().join("release/tidegate-simulation");
    finish(program(&binary.to_string_lossy()).args(arguments))
}

/// Runs storage units over a simulated network, seed after seed.
pub(crate) fn net_sim(arguments: &[String]) -> Result<(), String> {
    finish(cargo().args(["build", "--release", "--package", "tidegate-net-sim"]))?;
    let binary = target().join("release/tidegate-net-sim");
    finish(program(&binary.to_string_lossy()).args(arguments))
}

/// The long forms of the tests on a cluster of processes: `--rounds N`, `--seed S`.
pub(crate) fn cluster_trial(arguments: &[String]) -> Result<(), String> {
    let (mut rounds, mut seed) = ("1", None);
    for pair in arguments.chunks(2) {
        match pair {
            [flag, value] if flag == "--rounds" => rounds = value,
            [flag, value] if flag == "--seed" => seed = Some(value),
            _ => return Err("the trial takes --rounds N and --seed S".to_owned()),
        }
    }
    finish(cargo().args(["build", "--release", "--package", "tidegate-cli"]))?;
    let mut trial = cargo();
    trial.args([
        "test",
        "--release",
        "--package",
        "tidegate-tests",
        "--test",
        "it",
        "--",
    ]);
    trial.args([
        "--test-threads",
        "1",
        "--nocapture",
        "cluster_changes",
        "cluster_copies",
        "cluster_replication",
        "cluster_restarts",
        "cluster_rot",
    ]);
    trial.env("TIDEGATE_TRIAL_ROUNDS", rounds);
    if let Some(seed) = seed {
        trial.env("TIDEGATE_TRIAL_SEED", seed);
    }
    finish(&mut trial)
}

/// Builds what ships.
pub(crate) fn dist() -> Result<(), String> {
    finish(cargo().args([
        "build",
        "--locked",
        "--profile",
        "dist",
        "--package",
        "tidegate-cli",
    ]))?;
    let binary = target().join("dist/tidegate");
    let size = fs::metadata(&binary).map_err(|error| format!("{}: {error}", binary.display()))?;
    say(&format!(
        "{} ({:.1} MB)",
        binary.display(),
        size.len() as f64 / 1e6
    ));
    Ok(())
}

/// Writes the OpenAPI documents from the handlers.
pub(crate) fn openapi() -> Result<(), String> {
    finish(cargo().args(["build", "--package", "tidegate-cli"]))?;
    let binary = target().join("debug/tidegate");
    let directory = root().join("openapi");
    fs::create_dir_all(&directory).map_err(|error| error.to_string())?;
    for (plane, file) in [
        ("control", "control-plane.json"),
        ("data", "data-plane.json"),
        ("merged", "tidegate.json"),
        ("frames", "frames.asyncapi.json"),
    ] {
        let document = output_of(&binary.to_string_lossy(), &["openapi", "--plane", plane])
            .ok_or_else(|| format!("tidegate openapi --plane {plane} failed"))?;
        let path = directory.join(file);
        fs::write(&path, document + "\n")
            .map_err(|error| format!("{}: {error}", path.display()))?;
        say(&format!("wrote {}", path.display()));
    }
    Ok(())
}

/// Lists the fuzz targets, or searches with one of them, its committed seeds first.
pub(crate) fn fuzz(arguments: &[String]) -> Result<(), String> {
    if !succeeds("cargo", &["fuzz", "--version"]) {
        return Err("cargo-fuzz is missing: cargo install cargo-fuzz --locked".to_owned());
    }
    let mut fuzz = cargo();
    // The sanitizers are unstable options of the compiler; this makes the stable one take them.
    fuzz.env("RUSTC_BOOTSTRAP", "1").arg("fuzz");
    let Some((name, rest)) = arguments.split_first() else {
        return finish(fuzz.arg("list"));
    };
    let corpus = format!("fuzz/corpus/{name}");
    fs::create_dir_all(root().join(&corpus)).map_err(|error| format!("{corpus}: {error}"))?;
    finish(
        fuzz.args(["run", name, &corpus, &format!("fuzz/seeds/{name}")])
            .args(rest),
    )
}

/// Where cargo puts what it builds.
pub(crate) fn target() -> PathBuf {
    let metadata = output_of("cargo", &["metadata", "--format-version", "1", "--no-deps"]);
    let found = metadata.as_deref().and_then(|text| {
        let (_, rest) = text.split_once("\"target_directory\":\"")?;
        rest.split_once('"')
            .map(|(directory, _)| directory.replace("\\\\", "\\"))
    });
    found.map_or_else(|| root().join("target"), PathBuf::from)
}

/// Checks histories on disk.
pub(crate) fn histcheck(files: &[String]) -> Result<(), String> {
    let checker = [
        "run",
        "--release",
        "--quiet",
        "--package",
        "tidegate-histcheck",
        "--",
    ];
    finish(cargo().args(checker).args(files))
}
