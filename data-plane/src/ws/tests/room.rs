//! Slow readers and a fast writer with little room: memory stays within its bounds, and everybody who
//! reads gets everything.

use std::time::Duration;

use futures_util::StreamExt as _;
use serde_json::json;
use tidegate_kit::budget::ByteBudget;
use tidegate_kit::memory::{Memory, by_principal};
use tokio::net::TcpSocket;
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

use super::super::door::SocketTimes;
use super::server::{Client, Server, TOKEN};

const KIB: usize = 1024;
/// Four frames, and room for the records of one more batch.
const FRAMES_BYTES: usize = 512 * KIB;
const BUFFERS_BYTES: usize = 1024 * KIB;
const RECORDS: u64 = 1_600;
const RECORD_BYTES: usize = 10_000;
const SLOW: usize = 6;

fn little() -> Memory {
    Memory {
        frames: ByteBudget::named("frames", FRAMES_BYTES),
        sockets: by_principal(ByteBudget::named("sockets", BUFFERS_BYTES)),
        ..Memory::default()
    }
}

/// Appends, again and again while there is no room for the message.
async fn append(producer: &mut Client, partition: u32, values: &[String]) {
    let records: Vec<_> = values
        .iter()
        .map(|value| json!({ "value": value }))
        .collect();
    let op = json!({"op": "produce", "id": 1, "topic": "orders", "partition": partition, "records": records});
    loop {
        producer.say(op.clone()).await;
        let answer = producer.frame().await;
        if answer["ev"] == "ack" {
            return;
        }
        assert_eq!(answer["error"]["code"], "overloaded", "{answer}");
    }
}

/// Reads to the last record and checks that none is missing or comes twice. `pause` comes after each
/// message.
async fn read_all(server: &Server, subprotocol: &str, first: u64, pause: Option<Duration>) -> u64 {
    let path = format!("/v1/topics/orders/ws?partitions=0&from={first}");
    let mut request = format!("ws://{}{path}", server.address)
        .into_client_request()
        .unwrap();
    let headers = request.headers_mut();
    headers.insert("authorization", format!("Bearer {TOKEN}").parse().unwrap());
    headers.insert("sec-websocket-protocol", subprotocol.parse().unwrap());
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(8 * KIB as u32).unwrap();
    let stream = socket
        .connect(server.address.parse().unwrap())
        .await
        .unwrap();
    let (mut socket, _) = client_async(request, stream).await.unwrap();
    let mut next = first;
    while next < RECORDS {
        let message = socket.next().await.expect("an open socket").unwrap();
        next = match message {
            Message::Text(text) => super::server::follow(&text, next),
            Message::Binary(bytes) => super::server::follow_batches(&bytes, next),
            Message::Close(close) => panic!("closed at {next}: {close:?}"),
            _ => next,
        };
        if let Some(pause) = pause {
            tokio::time::timeout(pause, std::future::pending::<()>())
                .await
                .unwrap_err();
        }
    }
    next
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_readers_lose_their_place_in_memory_and_no_record() {
    let server = Server::start_in(SocketTimes::STANDARD, little()).await;
    let mut producer = server.connect("/v1/ws").await;
    let value = "x".repeat(RECORD_BYTES);
    let values = vec![value; 40];
    let write = async {
        for _ in 0..RECORDS / 40 {
            append(&mut producer, 0, &values).await;
            let memory = &server.memory;
            assert!(memory.frames.held() <= FRAMES_BYTES);
            assert!(memory.sockets.parent().held() <= BUFFERS_BYTES);
        }
    };
    let pause = Duration::from_millis(10);
    let slow = (0..SLOW).map(|number| {
        let subprotocol = ["tidegate.v1.json", "tidegate.v1.batch"][number % 2];
        read_all(
            &server,
            subprotocol,
            0,
            Some(pause * (1 + number as u32 % 3)),
        )
    });
    let slow = futures_util::future::join_all(slow);
    let fast = read_all(&server, "tidegate.v1.json", 0, None);
    let ((), fast, slow) = tokio::join!(write, fast, slow);
    assert_eq!(fast, RECORDS);
    assert_eq!(slow, [RECORDS; SLOW]);
    assert!(server.memory.frames.held() <= FRAMES_BYTES);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn those_who_take_nothing_hold_no_frame_and_leave_when_their_room_is_needed() {
    let server = Server::start_in(SocketTimes::STANDARD, little()).await;
    let mut producer = server.connect("/v1/ws").await;
    let values = vec!["x".repeat(100_000); 2];
    for _ in 0..200 {
        append(&mut producer, 1, &values).await;
    }
    // Each fills its connection, then stands with two frames of 100 kB: more than the buffers have.
    let mut stuck = Vec::new();
    for number in 0..10 {
        let path = format!("/v1/topics/orders/ws?partitions=1&from={}", number * 3);
        stuck.push(server.connect(&path).await);
    }
    let small = vec!["x".repeat(RECORD_BYTES); 40];
    for _ in 0..RECORDS / 40 {
        append(&mut producer, 0, &small).await;
    }
    let read = read_all(&server, "tidegate.v1.json", 0, None).await;
    assert_eq!(read, RECORDS);
    assert!(server.memory.frames.held() <= FRAMES_BYTES);
    assert!(server.memory.sockets.parent().held() <= BUFFERS_BYTES);
    drop(stuck);
}
