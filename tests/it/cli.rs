//! The command line as a user meets it: formats, keys, exit codes, clean streams.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdout, ExitStatus};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tidegate_tests::program::{run_with_input, words};
use tidegate_tests::server::Server;
use tidegate_tests::wait::wait_blocking;

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
async fn null_is_a_tombstone_and_an_offset_outside_of_the_log_is_an_error() {
    let server = Server::start();
    server.create_topic("t", 1).await;
    produce(&server, &["t", "--format", "ndjson"], b"null\n\"null\"\n");
    let json = consume(&server, &["t", "--from", "earliest", "--format", "json"]);
    let values: Vec<Value> = json
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON")["value"].clone())
        .collect();
    assert_eq!(values, [Value::Null, "null".into()]);
    // A tombstone has no bytes; JSON null would have four.
    assert_eq!(
        consume(&server, &["t", "--from", "earliest"]),
        "\n\"null\"\n"
    );
    assert_eq!(consume(&server, &["t", "--from", "2"]), "");
    let output = server.run(&["consume", "t", "--from", "3", "--no-follow"]);
    assert_eq!(output.status.code(), Some(1), "{}", words(&output));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("offset_out_of_range"), "{said}");
}

/// A running `consume`; killed when a test ends before it does.
struct Reading {
    child: Child,
    stdout: BufReader<ChildStdout>,
}

impl Reading {
    fn start(server: &Server, arguments: &[&str]) -> Self {
        let mut command = server.command(&[&["consume"], arguments].concat());
        let mut child = command.spawn().expect("the program starts");
        let stdout = child.stdout.take().expect("standard output is piped");
        Self {
            child,
            // Takes no more than it is asked for.
            stdout: BufReader::with_capacity(1, stdout),
        }
    }

    fn interrupt(&mut self) -> ExitStatus {
        kill_process(Pid::from_child(&self.child), Signal::INT).expect("a child can be signalled");
        wait_blocking("the end of consume", || {
            self.child.try_wait().expect("it can be asked")
        })
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

#[tokio::test]
async fn an_interrupt_ends_a_reading_whether_or_not_anybody_takes_its_output() {
    let server = Server::start();
    server.create_topic("t", 1).await;
    let line = "a line much of which no pipe can hold\n";
    produce(&server, &["t"], line.repeat(20_000).as_bytes());

    let mut blocked = Reading::start(&server, &["t", "--from", "earliest"]);
    let mut first = [0];
    blocked
        .stdout
        .read_exact(&mut first)
        .expect("output begins");
    assert_eq!(blocked.interrupt().code(), Some(130), "output was left");

    let mut healthy = Reading::start(&server, &["t", "--from", "-2"]);
    for _ in 0..2 {
        let mut read = String::new();
        healthy.stdout.read_line(&mut read).expect("a line");
        assert_eq!(read, line);
    }
    assert_eq!(healthy.interrupt().code(), Some(0), "nothing was left");

    let mut unfinished = Reading::start(&server, &["t", "--from", "-1", "--max", "2"]);
    let mut read = String::new();
    unfinished.stdout.read_line(&mut read).expect("a line");
    assert_eq!(unfinished.interrupt().code(), Some(130), "one was left");
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
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
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
        50_000
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
