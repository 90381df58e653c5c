//! `/metrics` agrees with counts taken from outside.

use tidegate_tests::http::Connection;
use tidegate_tests::records::read_all;
use tidegate_tests::server::Server;
use tidegate_tests::socket::Socket;

/// The sum over all labels of a metric; nothing when it is not there.
async fn metric(connection: &mut Connection, name: &str) -> Option<f64> {
    let text = connection.get("/metrics").await.expect("an answer").text();
    let values = text.lines().filter_map(|line| {
        let (series, value) = line.rsplit_once(' ')?;
        let of_name = series == name || series.strip_prefix(name)?.starts_with('{');
        of_name.then(|| value.parse::<f64>().expect("a number"))
    });
    let values: Vec<f64> = values.collect();
    (!values.is_empty()).then(|| values.iter().sum())
}

async fn must(connection: &mut Connection, name: &str) -> f64 {
    metric(connection, name)
        .await
        .unwrap_or_else(|| panic!("no metric {name}"))
}

#[tokio::test]
async fn counters_agree_with_counts_from_outside() {
    let server = Server::start();
    server.create_topic("t", 2).await;
    let mut connection = server.connect().await.expect("a connection");
    let mut bytes = 0;
    for n in 0..100 {
        let value = format!("value {n}");
        bytes += value.len();
        let answer = connection
            .post("/v1/topics/t/records", "text/plain", value)
            .await;
        assert_eq!(answer.expect("an answer").status, 200);
    }
    let lines: String = (0..50).map(|n| format!("{n}\n")).collect();
    connection
        .post("/v1/topics/t/records", "application/x-ndjson", lines)
        .await
        .expect("an answer");
    for _ in 0..7 {
        connection
            .post("/v1/topics/t/records", "application/json", "{")
            .await
            .expect("an answer");
    }
    assert_eq!(
        must(&mut connection, "tidegate_produce_records_total").await,
        150.0
    );
    assert_eq!(
        must(&mut connection, "tidegate_append_records_total").await,
        150.0
    );
    assert!(must(&mut connection, "tidegate_produce_bytes_total").await >= bytes as f64);
    assert_eq!(
        must(&mut connection, "tidegate_produce_requests_total").await,
        108.0
    );

    let mut read = 0;
    for partition in 0..2 {
        read += read_all(&mut connection, "t", partition, 0)
            .await
            .expect("records")
            .len();
    }
    assert_eq!(read, 150);
    assert_eq!(
        must(&mut connection, "tidegate_fetch_records_total").await,
        150.0
    );

    let mut socket = Socket::open(&server.target(), "/v1/topics/t/ws?from=earliest")
        .await
        .expect("a socket");
    let mut pushed = 0;
    while pushed < 150 {
        let frame = socket.next_of("records").await.expect("records");
        pushed += frame["records"].as_array().expect("records").len();
    }
    assert_eq!(
        must(&mut connection, "tidegate_ws_records_sent_total").await,
        150.0
    );
    assert_eq!(must(&mut connection, "tidegate_ws_sockets").await, 1.0);
    drop(socket);
    tidegate_tests::wait::wait_for("the socket to be counted out", async || {
        (must(&mut connection, "tidegate_ws_sockets").await == 0.0).then_some(())
    })
    .await;
}

/// How many batches were made into frames of this form.
async fn encoded(connection: &mut Connection, form: &str) -> u64 {
    let text = connection.get("/metrics").await.expect("an answer").text();
    let series = format!("tidegate_ws_batches_encoded_total{{form=\"{form}\"}} ");
    let value = text.lines().find_map(|line| line.strip_prefix(&series));
    value.map_or(0, |value| value.parse().expect("a whole number"))
}

#[tokio::test]
async fn a_batch_is_encoded_once_in_each_form_however_many_read_it() {
    const READERS: usize = 6;
    const BATCHES: u64 = 10;
    let server = Server::start();
    server.create_topic("t", 1).await;
    let mut connection = server.connect().await.expect("a connection");
    let for_batches = [("sec-websocket-protocol", "tidegate.v1.batch")];
    let open = async |path: &str| {
        let (mut json, mut batches) = (Vec::new(), Vec::new());
        for _ in 0..READERS {
            json.push(
                Socket::open(&server.target(), path)
                    .await
                    .expect("a socket"),
            );
            let socket = Socket::open_with(&server.target(), path, &for_batches).await;
            batches.push(socket.expect("a socket"));
        }
        (json, batches)
    };
    let (mut json, mut batches) = open("/v1/topics/t/ws").await;
    for socket in json.iter_mut().chain(&mut batches) {
        socket.next_of("caught_up").await.expect("nothing is there");
    }
    for number in 0..BATCHES {
        let path = "/v1/topics/t/records";
        let answer = connection
            .post(path, "text/plain", format!("{number}"))
            .await;
        assert_eq!(answer.expect("an answer").status, 200);
        // Each is read by all before the next: several at once might come in one message.
        for socket in &mut json {
            socket.next_of("records").await.expect("the record");
        }
        for socket in &mut batches {
            socket.next_binary().await;
        }
    }
    assert_eq!(encoded(&mut connection, "json").await, BATCHES);
    assert_eq!(encoded(&mut connection, "batch").await, BATCHES);

    // Those who catch up find the text of each batch, and share one message of all of them.
    let (mut json, mut batches) = open("/v1/topics/t/ws?from=earliest").await;
    for socket in &mut json {
        for _ in 0..BATCHES {
            socket.next_of("records").await.expect("the record");
        }
    }
    let mut messages = Vec::new();
    for socket in &mut batches {
        messages.push(socket.next_binary().await);
    }
    assert!(messages.windows(2).all(|pair| pair[0] == pair[1]));
    assert_eq!(encoded(&mut connection, "json").await, BATCHES);
    assert_eq!(encoded(&mut connection, "batch").await, 2 * BATCHES);
    assert_eq!(encoded(&mut connection, "recompressed").await, 0);
}
