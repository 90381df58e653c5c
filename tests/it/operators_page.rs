//! The commands of docs/operators.md, one block after the other in one shell, as people copy them.

use std::path::Path;
use std::process::Command;

use tidegate_sc::local_postgres::Scratch;
use tidegate_tests::program::{command, tidegate};

const PAGE: &str = include_str!("../../docs/operators.md");

/// Blocks of shell, with what names them in an error.
fn script() -> String {
    let blocks = PAGE.split("```sh\n").skip(1);
    let blocks = blocks.map(|block| block.split("```").next().expect("the rest of it"));
    let told = blocks.map(|block| format!("cat <<'THE_BLOCK' >&2\n--- {block}THE_BLOCK\n{block}"));
    let told: Vec<String> = told.collect();
    assert!(told.len() > 9, "the page has {} blocks", told.len());
    format!("set -e -o pipefail\n{}", told.join("\n"))
}

/// A folder in which the cluster of the page is ended, whatever became of the page.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().expect("a temporary directory");
        // Postgres runs under another account when we are root and has to walk through here.
        let walkable = std::fs::Permissions::from_mode(0o711);
        std::fs::set_permissions(folder.path(), walkable).expect("an own directory");
        Self(folder)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let mut stop = command(self.path());
        let stop = stop.args(["cluster", "stop"]).current_dir(self.path());
        // Where nothing went wrong, there is nothing to stop.
        stop.output().ok();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_commands_of_the_page_for_operators_do_what_it_says() {
    let folder = Folder::new();
    let server = Scratch::shared().expect("Postgres starts");
    let new = server.database().await.expect("an empty database");
    let program = tidegate();
    let programs = program.parent().expect("a folder").display();
    let path = format!("{programs}:/usr/local/bin:/usr/bin:/bin");
    let home = folder.path().join("home");
    let mut shell = Command::new("bash");
    shell.args(["-c", &script()]).current_dir(folder.path());
    shell.env_clear().env("PATH", path).env("HOME", &home);
    shell.env("XDG_CONFIG_HOME", &home);
    shell.env("NEW_DATABASE", &new.url);
    // Standard output would stay open with whatever it leaves running.
    let (out, error) = (
        folder.path().join("out.txt"),
        folder.path().join("error.txt"),
    );
    let file = |path| std::fs::File::create(path).expect("a file");
    let ended = shell.stdout(file(&out)).stderr(file(&error)).status();
    let said = |path| std::fs::read_to_string(path).expect("text");
    let (out, error) = (said(&out), said(&error));
    let cluster = std::fs::read_to_string(folder.path().join("cluster.log"));
    let tail = &error[error.ceil_char_boundary(error.len().saturating_sub(4_000))..];
    assert!(
        ended.expect("bash runs").success(),
        "{tail}\n--- cluster.log\n{}",
        cluster.unwrap_or_default()
    );
    // All records are read back through the restored metadata.
    assert!(out.lines().any(|line| line.trim() == "10000"), "{out}");
    assert!(
        out.contains("tidegate-diagnose/nodes/spu-1/settings.toml"),
        "{out}"
    );
}
