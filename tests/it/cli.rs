//! The command line as a user meets it: formats, keys, exit codes, clean streams.

use std::io::Write;

use serde_json::Value;
use tidegate_tests::program::{run_with_input, words};
use tidegate_tests::server::Server;

fn produce(server: &Server, arguments: &[&str], input: &[u8]) {
    let command = server.command(&[&["produce"], arguments].concat());
    let output = run_with_input(command, input);
    assert!(output.status.success(), "{arguments:?}: {}", words(&output));
    assert!(
        output.stdout.is_empty(),
        "produce keeps its words off standard output"
    );
}

fn consume(server: &Server, arguments: &[&str]) -> String {
    let output = server.run_ok(&[&["consume"], arguments, &["--no-follow"]].concat());
    String::from_utf8(output.stdout).expect("UTF-8")
}

#[tokio::test]
async fn a_topic_lives_its_life_on_the_command_line() {
    let server = Server::start();
    server.run_ok(&["topic", "create", "orders", "--partitions", "3"]);
    let listed = server.run_ok(&["topic", "list", "--output", "json"]);
    let listed: Value = serde_json::from_slice(&listed.stdout).expect("JSON");
    assert!(listed.to_string().contains("\"orders\""), "{listed}");
    let described = server.run_ok(&["topic", "describe", "orders"]);
    assert!(
        String::from_utf8_lossy(&described.stdout).contains("orders"),
        "{}",
        words(&described)
    );
    server.run_ok(&["topic", "alter", "orders", "--partitions", "4"]);
    let described = server.run_ok(&["topic", "describe", "orders", "--output", "json"]);
    let described: Value = serde_json::from_slice(&described.stdout).expect("JSON");
    assert!(
        described.to_string().contains("\"partitions\""),
        "{described}"
    );
    let unsure = server.run(&["topic", "delete", "orders"]);
    assert!(!unsure.status.success(), "deleting asks first");
    server.run_ok(&["topic", "delete", "orders", "--yes"]);
    let gone = server.run(&["topic", "describe", "orders"]);
    assert!(!gone.status.success());
    assert!(
        String::from_utf8_lossy(&gone.stderr).contains("orders"),
        "{}",
        words(&gone)
    );
}

#[tokio::test]
async fn lines_keys_and_values_come_back_in_every_format() {
    let server = Server::start();
    server.create_topic("t", 1).await;
    produce(
        &server,
        &["t", "--format", "lines", "--key-separator", ":"],
        b"a:one\nb:two:2\n",
    );
    produce(
        &server,
        &["t", "--format", "ndjson", "--key-pointer", "/id"],
        b"{\"id\":\"c\",\"n\":3}\n",
    );
    assert_eq!(
        consume(&server, &["t", "--from", "earliest"]),
        "one\ntwo:2\n{\"id\":\"c\",\"n\":3}\n"
    );
    let pairs = consume(
        &server,
        &["t", "--from", "earliest", "--format", "key-value"],
    );
    for (line, key) in pairs.lines().zip(["a", "b", "c"]) {
        assert!(line.starts_with(key), "{pairs}");
    }
    let json = consume(
        &server,
        &[
            "t",
            "--from",
            "1",
            "--max",
            "1",
            "--partition",
            "0",
            "--format",
            "json",
        ],
    );
    let record: Value = serde_json::from_str(&json).expect("one JSON record");
    assert_eq!(
        (&record["offset"], &record["key"]),
        (&1.into(), &"b".into()),
        "{record}"
    );
    assert_eq!(
        consume(&server, &["t", "--from", "-1"]),
        "{\"id\":\"c\",\"n\":3}\n"
    );
}

#[tokio::test]
async fn files_compression_and_acks_work_and_a_missing_topic_is_named() {
    let server = Server::start();
    server.create_topic("t", 2).await;
    let file = server.home().join("input.txt");
    let mut writer = std::fs::File::create(&file).expect("a file");
    for n in 0..5_000 {
        writeln!(writer, "line {n}").expect("written");
    }
    let file = file.to_str().expect("a path").to_owned();
    for codec in ["none", "lz4", "zstd"] {
        for acks in ["leader", "quorum"] {
            produce(
                &server,
                &["t", &file, "--compression", codec, "--acks", acks],
                b"",
            );
        }
    }
    assert_eq!(
        consume(&server, &["t", "--from", "earliest"])
            .lines()
            .count(),
        30_000
    );
    let output = run_with_input(server.command(&["produce", "none"]), b"x\n");
    assert!(!output.status.success());
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("none"),
        "{}",
        words(&output)
    );
}

#[tokio::test]
async fn bench_reports_in_json() {
    let server = Server::start();
    server.create_topic("bench", 1).await;
    let output = server.run_ok(&[
        "bench",
        "produce",
        "--topic",
        "bench",
        "--records",
        "2000",
        "--output",
        "json",
    ]);
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(report["records"], 2000, "{report}");
}
