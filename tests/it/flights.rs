//! Real input, end to end: what goes in by the command line and by curl comes out of every door with
//! the same count, the same bytes, in order per partition.

use std::collections::BTreeMap;
use std::process::Command;

use bytes::Bytes;
use digest::sha256_lines;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tidegate_tests::browser::run_script;
use tidegate_tests::input::{FLIGHTS, flights, lines};
use tidegate_tests::program::{run_with_input, words};
use tidegate_tests::records::{read_all, value_text};
use tidegate_tests::server::Server;

/// Values per partition, in order.
type Contents = BTreeMap<u32, Vec<Bytes>>;

#[tokio::test]
async fn flights_come_out_of_every_door_as_they_went_in() {
    let rows = flights();
    let text = lines(&rows);
    let server = Server::start();
    server.create_topic("by-cli", 3).await;
    server.create_topic("by-curl", 1).await;

    produce_by_cli(&server, &text);
    produce_by_curl(&server, &text);

    let by_cli = contents(&server, "by-cli", 3).await;
    assert_holds_input(&by_cli, &rows);
    let by_curl = contents(&server, "by-curl", 1).await;
    assert!(
        by_curl[&0] == rows,
        "curl's topic holds the rows in their order"
    );

    let expected = report(&by_cli);
    assert_eq!(
        by_node(&server, "by-cli"),
        expected,
        "a Node WebSocket client"
    );
    assert_eq!(by_browser(&server, "by-cli"), expected, "headless Chromium");
    assert_eq!(
        by_events(&server, "by-cli").await,
        expected,
        "server-sent events"
    );
    for partition in by_cli.keys() {
        let got = by_command(&server, "by-cli", *partition);
        assert!(
            got == lines(&by_cli[partition]),
            "tidegate consume of partition {partition}"
        );
    }
    assert!(
        by_command(&server, "by-curl", 0) == text,
        "tidegate consume of curl's topic"
    );
}

fn produce_by_cli(server: &Server, text: &Bytes) {
    let command = server.command(&["produce", "by-cli", "--format", "ndjson"]);
    let output = run_with_input(command, text);
    assert!(output.status.success(), "{}", words(&output));
}

fn produce_by_curl(server: &Server, text: &Bytes) {
    let target = server.target();
    let mut command = Command::new("curl");
    command.args([
        "--silent",
        "--show-error",
        "--fail-with-body",
        "--data-binary",
        "@-",
    ]);
    command
        .args(["--cacert"])
        .arg(server.data_dir().join("ca.pem"));
    let token = target.token.expect("a token");
    command.args(["-H", &format!("Authorization: Bearer {token}")]);
    command.args(["-H", "Content-Type: application/x-ndjson"]);
    command.arg(format!("{}/v1/topics/by-curl/records", target.url));
    command
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped());
    let output = run_with_input(command, text);
    assert!(output.status.success(), "{}", words(&output));
    let answer: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(answer["partitions"][0]["count"], FLIGHTS, "{answer}");
}

async fn contents(server: &Server, topic: &str, partitions: u32) -> Contents {
    let mut connection = server.connect().await.expect("a connection");
    let mut contents = Contents::new();
    for partition in 0..partitions {
        let records = read_all(&mut connection, topic, partition, 0)
            .await
            .expect("dense records");
        contents.insert(partition, records.iter().map(value_text).collect());
    }
    contents
}

/// The partitions hold each row as often as the input, each in the input's order.
fn assert_holds_input(contents: &Contents, rows: &[Bytes]) {
    let mut all: Vec<&Bytes> = contents.values().flatten().collect();
    assert_eq!(all.len(), rows.len(), "the count");
    for (partition, values) in contents {
        let mut input = rows.iter();
        let ordered = values.iter().all(|value| input.any(|row| row == value));
        assert!(
            ordered,
            "partition {partition} keeps the order of the input"
        );
    }
    let mut input: Vec<&Bytes> = rows.iter().collect();
    all.sort();
    input.sort();
    assert!(all == input, "the same rows");
}

fn report(contents: &Contents) -> Value {
    let partitions: BTreeMap<String, Value> = contents
        .iter()
        .map(|(partition, values)| {
            let sha256 = sha256_lines(values);
            (
                partition.to_string(),
                json!({"count": values.len(), "first": 0, "sha256": sha256}),
            )
        })
        .collect();
    let total: usize = contents.values().map(Vec::len).sum();
    json!({ "total": total, "partitions": partitions })
}

fn by_node(server: &Server, topic: &str) -> Value {
    run_script("socket.mjs", &script_arguments(server, topic))
}

fn by_browser(server: &Server, topic: &str) -> Value {
    run_script("browser.mjs", &script_arguments(server, topic))
}

fn script_arguments(server: &Server, topic: &str) -> Value {
    let target = server.target();
    let ca = server.data_dir().join("ca.pem");
    json!({"url": target.url, "ca": ca, "token": target.token, "topic": topic, "count": FLIGHTS})
}

/// Server-sent events, read until every record has come.
async fn by_events(server: &Server, topic: &str) -> Value {
    let mut connection = server.connect().await.expect("a connection");
    let path = format!("/v1/topics/{topic}/events?from=earliest");
    let answer = connection
        .stream(&path, &[("accept", "text/event-stream")])
        .await
        .expect("SSE");
    assert_eq!(answer.status(), 200);
    let mut body = answer.into_body();
    let mut contents = Contents::new();
    let mut pending = Vec::new();
    let mut total = 0;
    while total < FLIGHTS {
        let frame = body
            .frame()
            .await
            .expect("the stream goes on")
            .expect("no error");
        pending.extend_from_slice(&frame.into_data().unwrap_or_default());
        while let Some(end) = pending.windows(2).position(|two| two == b"\n\n") {
            let event: Vec<u8> = pending.drain(..end + 2).collect();
            total += take_event(&String::from_utf8(event).expect("UTF-8"), &mut contents);
        }
    }
    report(&contents)
}

/// Adds a `records` event to the contents and says how many records it had.
fn take_event(event: &str, contents: &mut Contents) -> usize {
    let line = |name: &str| event.lines().find_map(|line| line.strip_prefix(name));
    if line("event: ") != Some("records") {
        return 0;
    }
    let data: EventData = serde_json::from_str(line("data: ").expect("data")).expect("JSON");
    let values = contents.entry(data.partition).or_default();
    for record in &data.records {
        assert_eq!(record.offset, values.len() as u64, "dense offsets");
        values.push(Bytes::copy_from_slice(record.value.get().as_bytes()));
    }
    data.records.len()
}

#[derive(serde::Deserialize)]
struct EventData {
    partition: u32,
    records: Vec<EventRecord>,
}

#[derive(serde::Deserialize)]
struct EventRecord {
    offset: u64,
    value: Box<serde_json::value::RawValue>,
}

fn by_command(server: &Server, topic: &str, partition: u32) -> Bytes {
    let partition = partition.to_string();
    let arguments = [
        "consume",
        topic,
        "--from",
        "earliest",
        "--partition",
        &partition,
    ];
    let output = server.run_ok(&[&arguments[..], &["--no-follow", "--format", "value"]].concat());
    output.stdout.into()
}

/// SHA-256 of lines, by the system's own tool, so that the check shares nothing with the product.
mod digest {
    use bytes::Bytes;
    use tidegate_tests::input::lines;
    use tidegate_tests::program::run_with_input;

    pub(super) fn sha256_lines(values: &[Bytes]) -> String {
        let mut command = std::process::Command::new("sha256sum");
        command
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped());
        let output = run_with_input(command, &lines(values));
        let text = String::from_utf8(output.stdout).expect("hex");
        text.split(' ').next().unwrap_or_default().to_owned()
    }
}
