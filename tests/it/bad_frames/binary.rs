//! Bad binary messages in the batch subprotocol: each gets an error frame with the right code, with the
//! id where it can be read, and the socket stays.

use tidegate_proto::api::binary::ProduceMessage;
use tidegate_proto::api::socket::SUBPROTOCOL_BATCH;
use tidegate_proto::batch::{BatchBuilder, ClientBatch, PLACEMENT_LEN, epoch_marker};
use tidegate_proto::compression::Codec;
use tidegate_proto::record::{Datum, RecordRef};
use tidegate_tests::records::wire;
use tidegate_tests::server::Server;
use tidegate_tests::socket::Socket;
use tokio_tungstenite::tungstenite::Message;

use super::ERRORS;

/// A batch of one record, as a client sends it.
fn good_batch() -> Vec<u8> {
    let mut builder = BatchBuilder::new(Codec::None);
    let record = RecordRef {
        timestamp_ms: 1,
        key: Datum::Absent,
        value: Datum::Utf8("good"),
        headers: &[],
    };
    builder.push(&record).expect("it fits");
    wire(&builder.finish().expect("a record"))
}

/// A produce message with these batches.
fn message(topic: &str, partition: u32, batches: &[u8]) -> Vec<u8> {
    let mut message = ProduceMessage::header(7, topic, partition).expect("a short name");
    message.extend_from_slice(batches);
    message
}

/// A good message, with one thing changed.
fn changed(change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = message("t", 0, &good_batch());
    change(&mut bytes);
    bytes
}

/// A good batch, with its client part changed and both checksums made good again.
fn resealed(change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut part = good_batch().split_off(PLACEMENT_LEN);
    change(&mut part);
    wire(&ClientBatch::from_client_part(part.into()).expect("a header that can be read"))
}

/// Binary messages of the batch subprotocol: what is wrong, the message, the code, whether the answer
/// can name the id.
#[expect(clippy::too_many_lines, reason = "a table")]
fn bad_binary() -> Vec<(&'static str, Vec<u8>, &'static str, bool)> {
    // The batch begins behind kind, id, length, name and partition.
    const BATCH: usize = 12;
    let batch = good_batch();
    vec![
        ("nothing", vec![], "invalid_parameter", false),
        ("a kind and no more", vec![2], "invalid_parameter", false),
        ("half an id", vec![2, 7, 0], "invalid_parameter", false),
        (
            "a server's message",
            changed(|m| m[0] = 1),
            "invalid_parameter",
            false,
        ),
        (
            "an unknown kind",
            changed(|m| m[0] = 9),
            "invalid_parameter",
            false,
        ),
        (
            "JSON as bytes",
            br#"{"op":"pause","topic":"t"}"#.to_vec(),
            "invalid_parameter",
            false,
        ),
        (
            "no name",
            changed(|m| m.truncate(5)),
            "invalid_parameter",
            true,
        ),
        (
            "a name longer than all",
            changed(|m| m[5..7].fill(0xff)),
            "invalid_parameter",
            true,
        ),
        (
            "half a partition",
            changed(|m| m.truncate(BATCH - 2)),
            "invalid_parameter",
            true,
        ),
        (
            "a name that is no text",
            changed(|m| m[7] = 0xff),
            "invalid_parameter",
            true,
        ),
        (
            "an empty name",
            message("", 0, &batch),
            "invalid_name",
            true,
        ),
        (
            "a name with capitals",
            message("T", 0, &batch),
            "invalid_name",
            true,
        ),
        (
            "a path as a name",
            message("../t", 0, &batch),
            "invalid_name",
            true,
        ),
        (
            "an unknown topic",
            message("none", 0, &batch),
            "topic_not_found",
            true,
        ),
        (
            "a system topic",
            message("__groups", 0, &batch),
            "forbidden",
            true,
        ),
        (
            "an unknown partition",
            message("t", 2, &batch),
            "partition_not_found",
            true,
        ),
        (
            "the last partition",
            message("t", u32::MAX, &batch),
            "partition_not_found",
            true,
        ),
        ("no batch", message("t", 0, &[]), "corrupt_batch", true),
        (
            "half a header",
            changed(|m| m.truncate(BATCH + 40)),
            "corrupt_batch",
            true,
        ),
        (
            "half a batch",
            changed(|m| m.truncate(BATCH + 100)),
            "corrupt_batch",
            true,
        ),
        (
            "a wrong magic",
            changed(|m| m[BATCH] = b'X'),
            "corrupt_batch",
            true,
        ),
        (
            "a length without its checksum",
            changed(|m| m[BATCH + 4..BATCH + 8].fill(0xff)),
            "corrupt_batch",
            true,
        ),
        (
            "a header checksum that is off",
            changed(|m| m[BATCH + 68] ^= 1),
            "corrupt_batch",
            true,
        ),
        (
            "a payload checksum that is off",
            changed(|m| *m.last_mut().expect("bytes") ^= 1),
            "corrupt_batch",
            true,
        ),
        (
            "bytes behind the batch",
            changed(|m| m.extend_from_slice(b"TGB")),
            "corrupt_batch",
            true,
        ),
        (
            "a batch and then half of one",
            message("t", 0, &[&batch[..], &batch[..80]].concat()),
            "corrupt_batch",
            true,
        ),
        (
            "a count above the records",
            message("t", 0, &resealed(|part| part[4] = 2)),
            "corrupt_batch",
            true,
        ),
        (
            "a control batch",
            message("t", 0, &wire(&epoch_marker(1))),
            "corrupt_batch",
            true,
        ),
        (
            "a batch that says a server made it",
            message("t", 0, &resealed(|part| part[2] = 16)),
            "corrupt_batch",
            true,
        ),
        (
            "a request key of its own",
            message("t", 0, &resealed(|part| part[2] = 8)),
            "corrupt_batch",
            true,
        ),
        (
            "a producer that skips",
            message(
                "t",
                0,
                &resealed(|part| {
                    part[2] = 2;
                    part[24] = 9;
                }),
            ),
            "unknown_producer",
            true,
        ),
        (
            "a codec that lies",
            message("t", 0, &resealed(|part| part[1] = Codec::Gzip.id())),
            "corrupt_batch",
            true,
        ),
        (
            "a snappy bomb",
            message(
                "t",
                0,
                &resealed(|part| {
                    part[1] = Codec::Snappy.id();
                    part[8..12].copy_from_slice(&(32_u32 << 20).to_le_bytes());
                    part.truncate(64);
                    part.extend_from_slice(&[0x80, 0x80, 0x80, 0x10, 0, b'a']);
                }),
            ),
            "too_large",
            true,
        ),
    ]
}

const FOR_BATCHES: [(&str, &str); 1] = [("sec-websocket-protocol", SUBPROTOCOL_BATCH)];

#[tokio::test]
async fn bad_binary_messages_get_an_error_frame_and_the_socket_stays() {
    let server = Server::start();
    server.create_topic("t", 2).await;
    let mut socket = Socket::open_with(&server.target(), "/v1/ws", &FOR_BATCHES)
        .await
        .expect("a socket");
    let mut wrong = Vec::new();
    for (what, message, code, has_id) in bad_binary() {
        let message = Message::Binary(message.into());
        socket.send_message(message).await.expect("it is open");
        let answer = socket.next_of("error").await.expect("an error frame");
        let id_is_right = answer["id"].as_u64() == has_id.then_some(7);
        if answer["error"]["code"] != code || !id_is_right {
            wrong.push(format!("{what}: wanted {code}, got {answer}"));
        }
    }
    // The words of the JSON subprotocol are read as before, and refused as before.
    for (frame, code) in ERRORS {
        socket.send(frame).await.expect("the socket is open");
        let answer = socket.next_of("error").await.expect("an error frame");
        if answer["error"]["code"] != code {
            wrong.push(format!("{frame}: wanted {code}, got {answer}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let good = Message::Binary(message("t", 0, &good_batch()).into());
    socket.send_message(good).await.expect("it is open");
    let ack = socket.next_of("ack").await.expect("the socket still works");
    assert_eq!(
        ack["partitions"][0]["base_offset"], 0,
        "nothing refused was stored: {ack}"
    );
    assert!(!server.log().contains("panicked"), "{}", server.log());

    let huge = Message::Binary(vec![2; 5 * 1024 * 1024].into());
    socket.send_message(huge).await.ok();
    let (code, reason) = socket.next_close().await;
    assert_eq!(code, 3504, "{reason}");
}
