//! The files of a server that does not run, as `tidegate log` checks, shows and mends them.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tidegate_tests::program::{run_with_input, words};
use tidegate_tests::server::Server;

const TOPIC: &str = "ledger";

/// Runs `tidegate log ..` on the server's directory; its exit code and JSON lines.
fn log(server: &Server, arguments: &[&str]) -> (Option<i32>, String) {
    let directory = server.data_dir();
    let place = ["--data-dir", directory.to_str().expect("UTF-8")];
    let output = server.run(&[&["log"], arguments, &place[..]].concat());
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    (output.status.code(), text)
}

fn verify(server: &Server) -> (Option<i32>, Value) {
    let (code, text) = log(server, &["verify", "-o", "json"]);
    (
        code,
        serde_json::from_str(&text).expect("one JSON document"),
    )
}

fn produce(server: &Server, lines: std::ops::Range<u32>) {
    let input: String = lines.map(|number| format!("line {number}\n")).collect();
    let command = server.command(&["produce", TOPIC]);
    let output = run_with_input(command, input.as_bytes());
    assert!(output.status.success(), "{}", words(&output));
}

/// The only file of that ending in the replicas' directories.
fn only_file(directory: &Path, ending: &str) -> PathBuf {
    let replicas = directory.join("storage/replicas");
    let dirs = fs::read_dir(replicas).expect("a directory");
    let files = dirs.flat_map(|dir| fs::read_dir(dir.expect("an entry").path()).expect("files"));
    let paths = files.map(|file| file.expect("an entry").path());
    let mut found: Vec<_> = paths
        .filter(|path| path.to_string_lossy().ends_with(ending))
        .collect();
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}

#[tokio::test]
async fn the_files_of_a_stopped_server_are_checked_shown_and_mended() {
    let mut server = Server::start_dev();
    server.create_topic(TOPIC, 1).await;
    produce(&server, 0..10);
    let (code, _) = log(&server, &["verify"]);
    assert_eq!(code, Some(4), "not while a server runs on it");

    server.kill();
    let (code, report) = verify(&server);
    assert_eq!(code, Some(0), "a crash is no damage: {report}");
    assert_eq!(report["clean"], false);
    let (code, rounds) = log(&server, &["dump", "--journal", "-o", "json"]);
    assert_eq!(code, Some(0));
    assert!(
        rounds
            .lines()
            .any(|line| line.contains(r#""kind":"batch""#)),
        "{rounds}"
    );

    server.launch();
    produce(&server, 10..20);
    assert!(server.stop().success());
    let (code, report) = verify(&server);
    assert_eq!((code, &report["clean"]), (Some(0), &Value::Bool(true)));
    assert_eq!(report["records"], 20, "{report}");

    let range = [
        "dump",
        "--partition",
        "0",
        "--from",
        "7",
        "--to",
        "12",
        "--records",
    ];
    let (_, shown) = log(&server, &[&range[..], &["-o", "json"]].concat());
    let lines = shown
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"));
    let values: Vec<String> = lines
        .filter(|line: &Value| line["kind"] == "record")
        .map(|line| line["value"].as_str().unwrap_or_default().to_owned())
        .collect();
    assert_eq!(
        values,
        (7..12).map(|n| format!("line {n}")).collect::<Vec<_>>()
    );

    let index = only_file(&server.data_dir(), ".index");
    let whole = fs::read(&index).expect("an index");
    fs::write(&index, [0; 99]).expect("writable");
    let (code, _) = log(&server, &["repair-index", "--dry-run"]);
    assert_eq!(
        (code, fs::read(&index).expect("an index").len()),
        (Some(0), 99)
    );
    let (code, _) = log(&server, &["repair-index"]);
    assert_eq!(code, Some(0));
    assert_eq!(fs::read(&index).expect("an index"), whole);

    let segment = only_file(&server.data_dir(), ".log");
    let mut bytes = fs::read(&segment).expect("a segment");
    // In the first records: behind the epoch marker.
    bytes[136 + 72 + 64 + 20] ^= 1;
    fs::write(&segment, bytes).expect("writable");
    let (code, report) = verify(&server);
    assert_eq!(code, Some(1), "{report}");
    let found = &report["findings"][0];
    assert_eq!(
        (&found["kind"], &found["offsets"]["from"]),
        (&"rot".into(), &0.into())
    );
    assert_eq!(found["bytes"]["from"], 136, "{found}");
    assert_eq!(found["file"].as_str().map(Path::new), Some(&*segment));
}
