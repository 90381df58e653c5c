//! What operators do with a cluster beside running it: keep its metadata, and pass on what is wrong.

use std::fs::Metadata;
use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Output;

use flate2::read::GzDecoder;
use serde_json::Value;
use tidegate_sc::local_postgres::Scratch;
use tidegate_tests::cluster::Cluster;
use tidegate_tests::program::{command, words};

fn tidegate(home: &Path, arguments: &[&str]) -> Output {
    command(home).args(arguments).output().expect("it runs")
}

fn done(output: &Output) -> String {
    assert!(output.status.success(), "{}", words(output));
    String::from_utf8(output.stdout.clone()).expect("text")
}

/// What is there, or nothing if it went away meanwhile: the cluster runs, and renames and removes files.
fn unless_gone<T>(found: std::io::Result<T>, path: &Path) -> Option<T> {
    match found {
        Ok(found) => Some(found),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => panic!("{}: {error}", path.display()),
    }
}

/// Everything below a directory, with its facts; of `but` only the directory itself.
fn everything(directory: &Path, but: &Path) -> Vec<(PathBuf, Metadata)> {
    let mut found = Vec::new();
    let Some(entries) = unless_gone(std::fs::read_dir(directory), directory) else {
        return found;
    };
    for entry in entries {
        let Some(entry) = unless_gone(entry, directory) else {
            continue;
        };
        let path = entry.path();
        let Some(facts) = unless_gone(std::fs::symlink_metadata(&path), &path) else {
            continue;
        };
        if facts.is_dir() && path != but {
            found.extend(everything(&path, but));
        }
        found.push((path, facts));
    }
    found
}

fn files_are_for_their_owner_alone(cluster: &Cluster) {
    let dir = cluster.data_dir();
    let owner = std::fs::metadata(&dir).expect("a directory").uid();
    // What Postgres makes is its own business, in a directory that only its account enters.
    let found = everything(&dir, &dir.join("postgres"));
    for (path, facts) in found {
        let mode = facts.permissions().mode() & 0o777;
        assert!(mode & 0o077 == 0, "{} has mode {mode:o}", path.display());
    }
    let mode = std::fs::metadata(&dir)
        .expect("a directory")
        .permissions()
        .mode()
        & 0o777;
    // Postgres under an account of its own has to walk through.
    assert_eq!(mode, if owner == 0 { 0o711 } else { 0o700 });
}

#[expect(
    clippy::too_many_lines,
    reason = "a straight script: one command after the other"
)]
fn a_bundle_tells_what_it_could_not_have_and_no_secret(cluster: &mut Cluster, home: &Path) {
    let manifest = cluster.manifest().clone();
    cluster.kill("spu-1");
    let data_dir = cluster.data_dir();
    let file = home.join("bundle.tar.gz");
    let arguments = [
        "cluster",
        "diagnose",
        "--data-dir",
        data_dir.to_str().expect("what was asked for"),
        "--file",
    ];
    let mut diagnose = command(home);
    let output = diagnose
        .args(arguments)
        .arg(&file)
        .args(["-o", "json"])
        .output();
    let told: Value = serde_json::from_str(&done(&output.expect("what was asked for")))
        .expect("what was asked for");
    let missing = told["summary"]["missing"]
        .as_array()
        .expect("what was asked for");
    let parts: Vec<&str> = missing
        .iter()
        .filter_map(|it| it["part"].as_str())
        .collect();
    assert_eq!(parts, ["nodes/spu-1/livez.txt"], "{told}");
    assert!(
        missing[0]["reason"]
            .as_str()
            .expect("what was asked for")
            .len()
            > 10,
        "{told}"
    );

    let mut archive = Vec::new();
    let packed = std::fs::File::open(&file).expect("what was asked for");
    assert_eq!(
        packed
            .metadata()
            .expect("what was asked for")
            .permissions()
            .mode()
            & 0o777,
        0o600
    );
    GzDecoder::new(packed)
        .read_to_end(&mut archive)
        .expect("what was asked for");
    let text = String::from_utf8_lossy(&archive);
    for part in [
        "summary.json",
        "store.json",
        "disk.json",
        "control/cluster.json",
        "control/spus.json",
        "control/topics.json",
        "control/partitions/orders.json",
        "nodes/sc-1/metrics.txt",
        "nodes/sc-1/log.txt",
        "nodes/sc-1/settings.toml",
        "nodes/spu-1/log.txt",
        "nodes/gateway-1/readyz.txt",
    ] {
        assert!(
            text.contains(&format!("tidegate-diagnose/{part}")),
            "{part}"
        );
    }
    assert!(text.contains("tidegate_sc_"), "metrics are there");
    let (_, rest) = manifest
        .database_url
        .split_once("://")
        .expect("what was asked for");
    let password = rest.split(['@', ':']).nth(1).expect("what was asked for");
    let digest = tidegate_kit::secret::SecretDigest::of(&manifest.token).to_hex();
    for secret in [&manifest.token, password, &digest, "PRIVATE KEY"] {
        assert!(
            secret.len() > 8 && !text.contains(secret),
            "a secret is in the bundle"
        );
    }
}

#[expect(
    clippy::too_many_lines,
    reason = "a straight script: one command after the other"
)]
async fn a_backup_of_the_cluster_makes_another_database(cluster: &Cluster, home: &Path) {
    let target = cluster.target("gateway-1");
    let file = home.join("metadata.ndjson");
    let file = file.to_str().expect("what was asked for");
    let mut backup = command(home);
    backup.args(["backup", file, "-o", "json", "--url", &target.url, "--ca"]);
    backup
        .arg(&cluster.manifest().ca)
        .args(["--token", &cluster.manifest().token]);
    let over_api: Value =
        serde_json::from_str(&done(&backup.output().expect("what was asked for")))
            .expect("what was asked for");
    assert_eq!(over_api["topics"], 1);
    let url = &cluster.manifest().database_url;
    let direct = home.join("direct.ndjson");
    let direct = [
        "backup",
        direct.to_str().expect("what was asked for"),
        "--database-url",
        url,
        "-o",
        "json",
    ];
    let direct: Value =
        serde_json::from_str(&done(&tidegate(home, &direct))).expect("what was asked for");
    assert_eq!(direct["store_id"], over_api["store_id"]);

    let dry: Value = serde_json::from_str(&done(&tidegate(
        home,
        &["restore", file, "--dry-run", "-o", "json"],
    )))
    .expect("what was asked for");
    assert_eq!(dry, over_api);
    let into = |url: &str| {
        tidegate(
            home,
            &["restore", file, "--database-url", url, "-o", "json"],
        )
    };
    let refused = into(url);
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        words(&refused).contains("is not empty"),
        "{}",
        words(&refused)
    );
    let server = Scratch::shared().expect("Postgres starts");
    let new = server.database().await.expect("a schema");
    let restored: Value = serde_json::from_str(&done(&into(&new.url))).expect("what was asked for");
    assert_ne!(restored["restored_as"], over_api["store_id"]);
    let adopt = [
        "sc",
        "adopt",
        "--yes",
        "--database-url",
        &new.url,
        "-o",
        "json",
    ];
    let adopted: Value =
        serde_json::from_str(&done(&tidegate(home, &adopt))).expect("what was asked for");
    // Beyond all that anybody may have seen.
    let revisions = [&adopted, &over_api].map(|told| told["revision"].as_u64());
    assert!(revisions[0] > revisions[1], "{adopted} after {over_api}");
    assert_eq!(adopted["topics"], 1);

    let text = std::fs::read_to_string(file).expect("what was asked for");
    let cut: String = text
        .lines()
        .take(3)
        .map(|line| format!("{line}\n"))
        .collect();
    let damaged = home.join("cut.ndjson");
    std::fs::write(&damaged, cut).expect("what was asked for");
    let refused = tidegate(
        home,
        &[
            "restore",
            damaged.to_str().expect("what was asked for"),
            "--dry-run",
        ],
    );
    assert!(
        words(&refused).contains("it ends after line 3"),
        "{}",
        words(&refused)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operators_keep_the_metadata_and_pass_on_what_is_wrong_without_secrets() {
    let mut cluster = Cluster::start(1, 1, 1);
    let home = tempfile::tempdir().expect("a temporary directory");
    files_are_for_their_owner_alone(&cluster);
    let topic = r#"{"name":"orders","partitions":2,"replication_factor":1}"#;
    let made = cluster
        .post("gateway-1", "/v1/topics", topic)
        .await
        .expect("an answer");
    assert_eq!(made.status, 201, "{}", made.text());
    a_backup_of_the_cluster_makes_another_database(&cluster, home.path()).await;
    a_bundle_tells_what_it_could_not_have_and_no_secret(&mut cluster, home.path());
}
