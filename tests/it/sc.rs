//! `tidegate sc`: the metadata of a cluster in a real Postgres, prepared by the real program.

use std::process::{Command, Output};
use std::sync::Arc;

use tempfile::TempDir;
use tidegate_sc::local_postgres::{Scratch, ScratchDatabase};
use tidegate_tests::program::{command, words};

struct Place {
    home: TempDir,
    database: ScratchDatabase,
}

impl Place {
    async fn new() -> Self {
        let server: Arc<Scratch> = Scratch::shared().expect("Postgres starts");
        Self {
            home: tempfile::tempdir().expect("a temporary directory"),
            database: server.database().await.expect("a schema"),
        }
    }

    fn migrate(&self) -> Command {
        let mut command = command(self.home.path());
        command.args(["sc", "migrate"]);
        command
    }
}

fn done(output: &Output) -> String {
    assert!(output.status.success(), "{}", words(output));
    String::from_utf8(output.stdout.clone()).expect("text")
}

#[tokio::test]
async fn the_schema_is_brought_up_to_date_once_by_flag_environment_or_file() {
    let place = Place::new().await;
    let url = &place.database.url;
    let mut by_flag = place.migrate();
    let first = by_flag.args(["--database-url", url]).output().unwrap();
    assert_eq!(done(&first), "applied 1 metadata\napplied 2 names\n");
    let mut by_environment = place.migrate();
    by_environment.env("TIDEGATE_DATABASE_URL", url);
    let again = by_environment.output().unwrap();
    assert_eq!(done(&again), "nothing to do: up to date\n");
    let file = place.home.path().join("tidegate.toml");
    std::fs::write(&file, format!("[sc]\ndatabase_url = {url:?}\n\n[spu]\n")).unwrap();
    let mut by_file = place.migrate();
    let by_file = by_file.args(["-o", "json", "--config"]).arg(&file).output();
    let answer: serde_json::Value = serde_json::from_str(&done(&by_file.unwrap())).unwrap();
    assert_eq!(answer, serde_json::json!({ "applied": [] }));
}

#[tokio::test]
async fn what_is_wrong_is_said_without_the_password() {
    let place = Place::new().await;
    let file = place.home.path().join("broken.toml");
    std::fs::write(&file, "[sc]\ndatabase_url = \"postgres://a:hush@h/d\n").unwrap();
    let file = file.to_str().unwrap();
    let cases: [(&[&str], &str); 5] = [
        (&[], "which database?"),
        (&["--database-url", "mysql://a:hush@h/d"], "postgres://"),
        (
            &["--database-url", "postgres://a:hush@h:x/d"],
            "cannot be used",
        ),
        (
            &["--database-url", "postgres://a:hush@127.0.0.1:1/d"],
            "cannot be reached",
        ),
        (&["--config", file], "not as expected"),
    ];
    for (arguments, expected) in cases {
        let output = place.migrate().args(arguments).output().unwrap();
        let said = words(&output);
        assert!(!output.status.success(), "{said}");
        assert!(said.contains(expected), "{expected}: {said}");
        assert!(!said.contains("hush"), "{said}");
    }
}
