//! The consumer over sockets: batches, breaks, refusals, and what must not be taken for records.

use tidegate_proto::api::binary::RecordsMessage;
use tidegate_proto::error::Problem;
use tokio_tungstenite::tungstenite::Message;

use super::*;
use crate::testing::AfterWords;

const BATCHES: &str = "tidegate.v1.batch";

fn subscribed(number: u32) -> Message {
    Message::text(format!(
        r#"{{"ev":"subscribed","topic":"t","partitions":[0],"cursor":"c","topic_number":{number}}}"#
    ))
}

fn records(number: u32, partition: u32, offsets: std::ops::Range<u64>) -> Message {
    let mut message = RecordsMessage::header(number).to_vec();
    for offset in offsets {
        batch(partition, Offset::new(offset)).encode_into(&mut message);
    }
    Message::binary(message)
}

async fn start_with(length: u64, sockets: Vec<Reply>) -> (Server, Arc<Log>, Consumer) {
    let (server, log) = start(&[length]).await;
    log.sockets.lock().unwrap().extend(sockets);
    let config = ConsumerConfig {
        from: StartPosition::Earliest,
        follow: false,
        ..ConsumerConfig::default()
    };
    let consumer = open(&server, config).await.unwrap();
    (server, log, consumer)
}

async fn error_of(consumer: &mut Consumer) -> Error {
    loop {
        match consumer.next_page().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("it came to the end"),
            Err(error) => return error,
        }
    }
}

#[tokio::test]
async fn after_a_break_another_socket_goes_on_where_the_records_ended() {
    let first = vec![subscribed(7), records(7, 0, 0..3)];
    let drain = Message::text(r#"{"ev":"drain","retry_after_ms":0,"cursors":{}}"#);
    let second = vec![subscribed(9), records(9, 0, 3..5), drain];
    let third = vec![
        subscribed(9),
        Message::text(r#"{"ev":"a newer server's word"}"#),
        // A whole frame may begin below what was asked for.
        records(9, 0, 2..12),
    ];
    let sockets = vec![
        Reply::Socket(BATCHES, first, AfterWords::Break),
        Reply::Socket(BATCHES, second, AfterWords::Hold),
        Reply::Socket(BATCHES, third, AfterWords::Hold),
    ];
    let (_server, log, mut consumer) = start_with(10, sockets).await;
    assert_eq!(count_to_end(&mut consumer).await, 10);
    let cursors = log.cursors.lock().unwrap();
    let began: Vec<u64> = cursors
        .iter()
        .map(|cursor| cursor.positions[&PartitionId(0)].offset.get())
        .collect();
    assert_eq!(began, [0, 3, 5]);
    assert_eq!(log.asked.borrow().answered, 0, "no page was asked for");
}

#[tokio::test]
async fn a_server_that_speaks_no_batches_or_ends_for_good_is_read_by_pages() {
    let json = Reply::Socket("tidegate.v1.json", Vec::new(), AfterWords::Hold);
    let (_server, log, mut consumer) = start_with(4, vec![json]).await;
    assert_eq!(count_to_end(&mut consumer).await, 4);
    assert_eq!(log.wanted.lock().unwrap().len(), 4);

    let close = tokio_tungstenite::tungstenite::protocol::CloseFrame {
        code: 3500.into(),
        reason: "protocol".into(),
    };
    let words = vec![
        subscribed(1),
        records(1, 0, 0..3),
        Message::Close(Some(close)),
    ];
    let sockets = vec![Reply::Socket(BATCHES, words, AfterWords::Hold)];
    let (_server, log, mut consumer) = start_with(4, sockets).await;
    assert_eq!(count_to_end(&mut consumer).await, 4);
    assert_eq!(log.wanted.lock().unwrap().len(), 1, "only the rest");
}

#[tokio::test]
async fn what_is_damaged_or_of_another_topic_is_an_error() {
    let mut damaged = records(1, 0, 0..1).into_data().to_vec();
    let last = damaged.len() - 1;
    damaged[last] ^= 1;
    for message in [
        Message::binary(damaged),
        records(2, 0, 0..1),
        Message::binary(&b"\x05"[..]),
        Message::text("no frame"),
    ] {
        let words = vec![subscribed(1), message];
        let sockets = vec![Reply::Socket(BATCHES, words, AfterWords::Hold)];
        let (_server, _log, mut consumer) = start_with(4, sockets).await;
        let error = error_of(&mut consumer).await;
        assert!(matches!(error, Error::Protocol { .. }), "{error}");
    }
}

#[tokio::test]
async fn a_gap_is_an_error_and_never_a_silent_jump() {
    let gap = r#"{"ev":"gap","topic":"t","partition":0,"from":1,"to":3,"reason":"retention"}"#;
    let words = vec![
        subscribed(1),
        records(1, 0, 0..1),
        Message::text(gap),
        records(1, 0, 3..4),
    ];
    let sockets = vec![Reply::Socket(BATCHES, words, AfterWords::Hold)];
    let (_server, _log, mut consumer) = start_with(4, sockets).await;
    let error = error_of(&mut consumer).await;
    assert_eq!(error.code(), Some(ErrorCode::LogTruncated));
}

#[tokio::test]
async fn whoever_wants_an_end_is_told_which_partition_is_away_after_the_others_came() {
    let (server, log) = start(&[2, 1]).await;
    let away = r#"{"ev":"away","topic":"t","partitions":[1],"error":PROBLEM}"#;
    let problem = Problem::new(ErrorCode::Unavailable, "its unit burned down");
    let problem = serde_json::to_string(&problem).unwrap();
    let words = vec![
        subscribed(1),
        Message::text(away.replace("PROBLEM", &problem)),
        records(1, 0, 0..2),
    ];
    let socket = Reply::Socket(BATCHES, words, AfterWords::Hold);
    log.sockets.lock().unwrap().push_back(socket);
    let config = ConsumerConfig {
        from: StartPosition::Earliest,
        follow: false,
        patience: Some(Duration::from_millis(1)),
        ..ConsumerConfig::default()
    };
    let mut consumer = open(&server, config).await.unwrap();
    assert_eq!(consumer.next_page().await.unwrap().unwrap().len(), 2);
    let error = error_of(&mut consumer).await.to_string();
    let why = "partition 1 is away: its unit burned down";
    assert!(error.contains(why), "{error}");
}
