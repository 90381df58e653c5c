//! Stopping: sockets are told, waiting requests end, nothing acknowledged is lost.

use rustix::process::Signal;
use serde_json::json;
use tidegate_tests::records::read_all;
use tidegate_tests::server::Server;
use tidegate_tests::socket::Socket;
use tidegate_tests::wait::within;
use tokio::task::JoinSet;

const IDLE_SOCKETS: usize = 1_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_idle_sockets_are_drained_and_closed_with_1012() {
    let mut server = Server::start_dev();
    server.create_topic("t", 2).await;
    let mut opening = JoinSet::new();
    for _ in 0..IDLE_SOCKETS {
        let target = server.target();
        opening.spawn(async move {
            let mut socket = Socket::open(&target, "/v1/topics/t/ws")
                .await
                .expect("a socket");
            socket.next_of("subscribed").await.expect("subscribed");
            socket
        });
    }
    let sockets = within("a thousand sockets", opening.join_all()).await;
    server.signal(Signal::TERM);
    let mut closing = JoinSet::new();
    for mut socket in sockets {
        closing.spawn(async move {
            let drain = socket.next_of("drain").await.expect("a drain frame");
            assert!(drain["cursors"]["t"].is_string(), "{drain}");
            socket.next_close().await
        });
    }
    for (code, reason) in within("the closes", closing.join_all()).await {
        assert_eq!(code, 1012, "{reason}");
    }
    assert!(server.wait_end().success(), "{}", server.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_under_load_loses_nothing_acknowledged() {
    let mut server = Server::start();
    server.create_topic("t", 1).await;
    let mut producers = JoinSet::new();
    for producer in 0..4 {
        let target = server.target();
        producers.spawn(async move {
            let mut acked = Vec::new();
            let Ok(mut socket) = Socket::open(&target, "/v1/ws").await else {
                return acked;
            };
            for n in 0..1_000_000 {
                let records = json!([{ "value": { "producer": producer, "n": n } }]);
                let frame = json!({"op": "produce", "id": 1, "topic": "t", "records": records});
                if socket.send(frame.to_string()).await.is_err() {
                    break;
                }
                let Ok(answer) = socket.next_json().await else {
                    break;
                };
                match answer["ev"].as_str() {
                    Some("ack") => {
                        let offset = answer["partitions"][0]["base_offset"].as_u64();
                        acked.push((offset.expect("an offset"), producer, n));
                    }
                    Some("drain") => break,
                    _ => {}
                }
            }
            acked
        });
    }
    let mut connection = server.connect().await.expect("a connection");
    tidegate_tests::wait::wait_for("a hundred records", async || {
        let path = "/v1/topics/t/partitions/0/offsets";
        let offsets = connection.get(path).await.expect("an answer").json();
        (offsets["high_watermark"].as_u64()? >= 100).then_some(())
    })
    .await;
    assert!(server.stop().success(), "{}", server.log());
    let acked: Vec<_> = within("the producers", producers.join_all()).await.concat();
    assert!(acked.len() >= 90, "only {} acknowledged", acked.len());

    server.launch();
    let mut connection = server.connect().await.expect("a connection");
    let records = read_all(&mut connection, "t", 0, 0)
        .await
        .expect("dense offsets");
    for (offset, producer, n) in acked {
        let at = usize::try_from(offset).expect("small");
        let value = records[at].value.as_ref().expect("a value").get();
        let value: serde_json::Value = serde_json::from_str(value).expect("JSON");
        assert_eq!(value, json!({"producer": producer, "n": n}), "at {offset}");
    }
}
