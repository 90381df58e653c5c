//! The session against a small world that carries its effects out in any order.

mod away;
mod slow;
mod world;

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Map, json};
use tidegate_proto::api::socket::{CloseCode, ServerFrame};
use tidegate_proto::control::Topology;
use tidegate_proto::cursor::Cursor;
use tidegate_proto::error::{ErrorCode, Problem};
use tidegate_proto::id::PartitionId;
use tidegate_proto::position::{Offset, StartPosition};

use self::world::{World, topic};
use crate::encode::codecs::Codecs;
use crate::position::Start;
use crate::ws::effect::{Input, ReadOutcome};
use crate::ws::limits::{AHEAD_BYTES_MAX, CHUNK_BYTES, PRODUCES_IN_FLIGHT_MAX, WINDOW_BYTES};

#[test]
fn a_subscription_sends_all_there_is_and_says_so_once() {
    let mut world = World::new(2, 4, 10);
    world.append(0, 10);
    world.say(json!({"op": "subscribe", "id": 7, "topic": "t", "from": "earliest"}));
    world.run();
    assert_eq!(world.evs(), ["subscribed", "caught_up"]);
    assert_eq!(world.sent[0]["id"], 7);
    assert_eq!(world.sent[0]["partitions"], json!([0, 1]));
    world.append(1, 3);
    world.run();
    assert!(world.caught_up());
    assert_eq!(world.evs(), ["subscribed", "caught_up"]);
}

#[test]
fn without_credit_nothing_is_read() {
    let mut world = World::new(1, 4, 10);
    world.append(0, 10);
    let credit = json!({"records": 0});
    world.say(json!({"op": "subscribe", "topic": "t", "from": "earliest", "credit": credit}));
    world.run();
    world.granted = Some((0, i64::MAX));
    assert!(world.waiting.is_empty());
    world.granted = Some((5, i64::MAX));
    world.say(json!({"op": "credit", "topic": "t", "records": 5}));
    world.run();
    assert_eq!(world.expected[&PartitionId(0)], 8);
}

#[test]
fn a_failed_seek_leaves_the_subscription_where_it_was() {
    let mut world = World::new(1, 4, 10);
    world.append(0, 4);
    world.say(json!({"op": "subscribe", "topic": "t", "from": "earliest"}));
    world.run();
    world.say(json!({"op": "seek", "id": 2, "topic": "t", "from": 9}));
    world.append(0, 4);
    world.run();
    let codes: Vec<_> = world
        .sent
        .iter()
        .filter(|frame| frame["ev"] == "error")
        .collect();
    assert_eq!(codes[0]["id"], 2);
    assert_eq!(codes[0]["error"]["code"], "offset_out_of_range");
    assert!(world.caught_up());
}

#[test]
fn a_gap_is_told_and_passed_over() {
    let mut world = World::new(1, 4, 10);
    world.append(0, 10);
    world.say(json!({"op": "subscribe", "topic": "t", "from": "earliest"}));
    world.deliver(0);
    let Some(Input::Read { of, partition, .. }) = world.waiting.pop_front() else {
        panic!("a read was expected")
    };
    world.expected.insert(partition, 6);
    let outcome = ReadOutcome::Gap {
        to: Offset::new(6),
        reason: "retention",
    };
    world.input(Input::Read {
        of,
        partition,
        outcome,
    });
    let gap = json!({"ev": "gap", "topic": "t", "partition": 0, "from": 0, "to": 6, "reason": "retention"});
    assert_eq!(*world.last(), gap);
    world.run();
    assert!(world.caught_up());
}

#[test]
fn a_read_that_fails_for_now_is_tried_again_and_another_ends_the_subscription() {
    let mut world = World::new(1, 4, 10);
    world.append(0, 4);
    world.say(json!({"op": "subscribe", "topic": "t", "from": "earliest"}));
    world.deliver(0);
    let fail = |world: &mut World, code| {
        let Some(Input::Read { of, partition, .. }) = world.waiting.pop_front() else {
            panic!("a read was expected")
        };
        let outcome = ReadOutcome::Failed(Problem::new(code, "no"));
        world.input(Input::Read {
            of,
            partition,
            outcome,
        });
    };
    fail(&mut world, ErrorCode::Unavailable);
    assert!(matches!(world.waiting.front(), Some(Input::Retry { .. })));
    world.deliver(0);
    fail(&mut world, ErrorCode::Internal);
    assert_eq!(world.last()["error"]["code"], "internal");
    assert_eq!(world.last()["topic"], "t");
    assert_eq!(world.session.subscription_count(), 0);
}

#[test]
fn produces_in_flight_are_bounded_and_answered_before_a_drain_ends() {
    let mut world = World::new(1, 4, 10);
    for id in 0..PRODUCES_IN_FLIGHT_MAX {
        assert!(world.session.accepts_input());
        world.say(json!({"op": "produce", "id": id, "topic": "t", "records": [{"value": 1}]}));
    }
    assert!(!world.session.accepts_input());
    world.input(Input::Drain { retry_after_ms: 5 });
    assert_eq!(
        *world.last(),
        json!({"ev": "drain", "retry_after_ms": 5, "cursors": {}})
    );
    let bytes = r#"[{"value":1}]"#.len();
    for id in 0..PRODUCES_IN_FLIGHT_MAX {
        assert_eq!(world.closed, None);
        let id = u32::try_from(id).ok();
        world.input(Input::Produced {
            id,
            bytes,
            outcome: Ok(Map::new()),
        });
    }
    assert_eq!(world.closed, Some(CloseCode::Drain));
}

#[test]
fn a_drain_carries_the_cursor_of_what_was_sent() {
    let mut world = World::new(1, 4, 10);
    world.append(0, 10);
    world.say(json!({"op": "subscribe", "topic": "t", "from": "earliest"}));
    world.run();
    world.append(0, 5);
    world.input(Input::Drain { retry_after_ms: 5 });
    let cursor = Cursor::parse(world.last()["cursors"]["t"].as_str().unwrap()).unwrap();
    let at = world.expected[&PartitionId(0)];
    assert_eq!(cursor.positions[&PartitionId(0)].offset.get(), at);
    assert_eq!(world.closed, Some(CloseCode::Drain));
}

#[test]
fn silence_ends_a_socket_and_a_pong_keeps_it() {
    let seconds = Duration::from_secs;
    let mut world = World::new(1, 4, 10);
    world.say(json!({"op": "subscribe", "topic": "t"}));
    world.run();
    world.input_at(seconds(20), Input::Tick);
    assert_eq!(
        *world.last(),
        json!({"ev": "ping", "tails": {"t": {"0": 0}}})
    );
    world.input_at(seconds(30), Input::Alive);
    world.input_at(seconds(74), Input::Tick);
    assert_eq!(world.closed, None);
    world.input_at(seconds(75), Input::Tick);
    assert_eq!(world.closed, Some(CloseCode::Idle));
}

#[test]
fn a_long_catch_up_is_not_silence() {
    let mut world = World::new(1, 1, 70_000);
    world.append(0, 500);
    world.say(json!({"op": "subscribe", "topic": "t", "from": "earliest"}));
    for second in 0..120 {
        world.deliver(0);
        world.unflushed = 0;
        world.input_at(Duration::from_secs(second), Input::Flushed);
        world.input_at(Duration::from_secs(second), Input::Tick);
        assert_eq!(world.closed, None);
    }
}

#[test]
fn a_deleted_topic_closes_the_socket_of_its_path_and_no_other() {
    let gone = Arc::new(Topology::default());
    let mut world = World::new(1, 4, 10);
    world.say(json!({"op": "subscribe", "topic": "t"}));
    world.run();
    world.input(Input::Topology(Arc::clone(&gone)));
    assert_eq!(world.last()["error"]["code"], "topic_not_found");
    assert_eq!(world.closed, None);

    let mut world = World::new(1, 4, 10);
    let start = Start::At(StartPosition::Latest);
    let resolution = world.resolve(&start).unwrap();
    let (_, effects) = world
        .session
        .open_home(topic(), None, Codecs::ANY, resolution);
    effects
        .into_iter()
        .for_each(|effect| world.carry_out(effect));
    world.input(Input::Topology(gone));
    assert_eq!(world.closed, Some(CloseCode::TopicDeleted));
}

#[test]
fn a_credential_that_lost_its_right_ends_the_subscription() {
    let mut world = World::new(1, 4, 10);
    world.say(json!({"op": "subscribe", "topic": "t"}));
    world.run();
    world.input(Input::Reauthenticated {
        id: Some(4),
        outcome: Ok(vec![topic()]),
    });
    assert_eq!(world.evs(), ["subscribed", "caught_up", "ack", "error"]);
    assert_eq!(world.last()["error"]["code"], "forbidden");
    assert_eq!(world.session.subscription_count(), 0);
}

#[test]
fn results_of_positions_that_were_left_are_dropped() {
    let mut world = World::new(1, 4, 10);
    world.append(0, 8);
    world.say(json!({"op": "subscribe", "topic": "t", "from": "earliest"}));
    world.deliver(0);
    world.say(json!({"op": "unsubscribe", "topic": "t"}));
    world.say(json!({"op": "subscribe", "topic": "t", "from": "latest"}));
    world.run();
    assert_eq!(world.evs(), ["subscribed", "subscribed", "caught_up"]);
    assert!(world.caught_up());
}

#[test]
fn every_frame_that_is_sent_can_be_read_back() {
    let mut world = World::new(1, 4, 10);
    world.say(json!({"op": "subscribe", "id": 1, "topic": "t"}));
    world.run();
    world.say(json!({"op": "pause", "id": 2, "topic": "t"}));
    world.say(json!({"op": "nonsense", "id": 3}));
    world.input(Input::Drain { retry_after_ms: 1 });
    for frame in &world.sent {
        assert!(ServerFrame::parse(&frame.to_string()).unwrap().is_some());
    }
}

#[derive(Debug, Clone)]
enum Act {
    Append(u32, u64),
    Grant(u64, u64),
    Pause,
    Resume,
    SeekBack(u64),
    SeekNowhere,
    Deliver(usize),
    DeliverStuck(usize, usize),
    Flush,
    FlushStuck,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => (0..3_u32, 1..40_u64).prop_map(|(partition, count)| Act::Append(partition, count)),
        2 => (1..60_u64, 1..400_000_u64).prop_map(|(records, bytes)| Act::Grant(records, bytes)),
        1 => Just(Act::Pause),
        1 => Just(Act::Resume),
        1 => (0..50_u64).prop_map(Act::SeekBack),
        1 => Just(Act::SeekNowhere),
        8 => (0..8_usize).prop_map(Act::Deliver),
        2 => (0..8_usize, 0..3_usize).prop_map(|(index, unread)| Act::DeliverStuck(index, unread)),
        2 => Just(Act::Flush),
        1 => Just(Act::FlushStuck),
    ]
}

proptest! {
    /// The world checks each frame: offsets without a hole or a repeat, credit, the window.
    #[test]
    fn no_record_is_lost_or_repeated_and_no_credit_is_overdrawn_twice(
        with_credit in any::<bool>(),
        frame_records in 1..20_u64,
        frame_bytes in prop_oneof![Just(10_usize), Just(100_000), Just(300_000)],
        acts in proptest::collection::vec(act(), 0..120),
    ) {
        let mut world = World::new(3, frame_records, frame_bytes);
        let mut subscribe = json!({"op": "subscribe", "topic": "t", "from": "earliest"});
        if with_credit {
            subscribe["credit"] = json!({"records": 10, "bytes": 10});
            world.granted = Some((10, 10));
        }
        world.say(subscribe);
        world.deliver(0);
        for act in acts {
            match act {
                Act::Append(partition, count) => world.append(partition, count),
                Act::Grant(records, bytes) => {
                    if let Some((left, left_bytes)) = &mut world.granted {
                        *left += records as i64;
                        *left_bytes += bytes as i64;
                        world.say(json!({"op": "credit", "topic": "t", "records": records, "bytes": bytes}));
                    }
                }
                Act::Pause => world.say(json!({"op": "pause", "topic": "t"})),
                Act::Resume => world.say(json!({"op": "resume", "topic": "t"})),
                Act::SeekBack(count) => {
                    world.say(json!({"op": "seek", "topic": "t", "from": format!("-{count}")}));
                }
                Act::SeekNowhere => world.say(json!({"op": "seek", "topic": "t", "from": 5})),
                Act::Deliver(index) => world.deliver(index),
                Act::DeliverStuck(index, unread) => world.deliver_stuck(index, unread),
                Act::Flush => world.flush(),
                Act::FlushStuck => {
                    world.unflushed = 0;
                    world.input_stuck(Input::Flushed, 1);
                }
            }
        }
        if let Some((records, bytes)) = &mut world.granted {
            (*records, *bytes) = (i64::MAX / 2, i64::MAX / 2);
            let grant = i64::MAX / 2;
            world.say(json!({"op": "credit", "topic": "t", "records": grant, "bytes": grant}));
        }
        world.say(json!({"op": "resume", "topic": "t"}));
        world.run();
        prop_assert!(world.caught_up());
        prop_assert!(world.evs().contains(&"caught_up"));
    }
}

#[test]
fn many_partitions_are_read_a_few_at_a_time_and_all_of_them_in_the_end() {
    const PARTITIONS: u32 = 10;
    let mut world = World::new(PARTITIONS, 1, CHUNK_BYTES / 2);
    for partition in 0..PARTITIONS {
        world.append(partition, 5);
    }
    world.say(json!({"op": "subscribe", "topic": "t", "from": "earliest"}));
    let mut most = 0;
    while !world.waiting.is_empty() || world.unflushed > 0 {
        match world.waiting.pop_front() {
            Some(input) => world.input(input),
            None => world.flush(),
        }
        let is_read = |input: &&Input| matches!(input, Input::Read { .. });
        most = most.max(world.waiting.iter().filter(is_read).count());
    }
    assert!(world.caught_up());
    assert_eq!(most, AHEAD_BYTES_MAX / CHUNK_BYTES, "reads at a time");
}

#[test]
fn what_is_let_go_gives_its_credit_back() {
    let mut world = World::new(1, 1, 1_000);
    world.append(0, 6);
    let credit = json!({"records": 2});
    world.say(json!({"op": "subscribe", "topic": "t", "from": "earliest", "credit": credit}));
    world.deliver(0);
    world.deliver_stuck(0, 0);
    assert_eq!(world.expected[&PartitionId(0)], 0);
    world.run();
    assert_eq!(
        world.expected[&PartitionId(0)],
        2,
        "what there is credit for"
    );
}

#[test]
fn a_read_that_brought_nothing_is_not_followed_by_another_before_its_time() {
    let mut world = World::new(1, 4, 10);
    world.append(0, 4);
    world.say(json!({"op": "subscribe", "topic": "t", "from": "earliest"}));
    world.deliver(0);
    let Some(Input::Read { of, partition, .. }) = world.waiting.pop_front() else {
        panic!("a read was expected")
    };
    let outcome = ReadOutcome::Frames {
        frames: Vec::new(),
        next: Offset::ZERO,
        tail: world.tail(partition),
    };
    world.input(Input::Read {
        of,
        partition,
        outcome,
    });
    world.append(0, 4);
    let waiting: Vec<_> = world.waiting.iter().collect();
    assert!(matches!(waiting[..], [Input::Retry { .. }]), "{waiting:?}");
    world.run();
    assert!(world.caught_up());
}

#[test]
fn a_socket_that_is_not_read_from_is_not_found_silent() {
    let mut world = World::new(1, 4, 10);
    for id in 0..PRODUCES_IN_FLIGHT_MAX {
        world.say(json!({"op": "produce", "id": id, "topic": "t", "records": []}));
    }
    assert!(!world.session.accepts_input());
    world.input_at(Duration::from_secs(50), Input::Tick);
    assert_eq!(world.closed, None);
    let produced = |id| Input::Produced {
        id: Some(id),
        bytes: 2,
        outcome: Ok(Map::new()),
    };
    world.input_at(Duration::from_secs(51), produced(0));
    world.input_at(Duration::from_secs(60), Input::Tick);
    assert_eq!(world.closed, None);
    world.input_at(Duration::from_secs(96), Input::Tick);
    assert_eq!(world.closed, Some(CloseCode::Idle));
}

#[test]
fn the_next_chunk_is_read_while_the_last_one_is_sent_and_no_more_is_held() {
    let mut world = World::new(1, 1, CHUNK_BYTES / 4);
    world.append(0, 40);
    world.say(json!({"op": "subscribe", "topic": "t", "from": "earliest"}));
    let mut reads_ahead = 0;
    while let Some(input) = world.waiting.pop_front() {
        let is_read = matches!(input, Input::Read { .. });
        world.input(input);
        // Asked for before anything was flushed: the frames of this read are still in hand.
        let asked = world.waiting.iter();
        let asked = asked
            .filter(|input| matches!(input, Input::Read { .. }))
            .count();
        assert!(asked <= 1, "one read at a time");
        reads_ahead += usize::from(is_read && asked == 1);
        world.flush();
    }
    assert_eq!(world.expected[&PartitionId(0)], 40);
    assert!(reads_ahead >= 5, "{reads_ahead} reads were begun early");
}

#[test]
fn a_gap_that_was_read_ahead_is_told_after_the_frames_before_it() {
    let mut world = World::new(1, 1, WINDOW_BYTES / 4);
    world.append(0, 9);
    world.say(json!({"op": "subscribe", "topic": "t", "from": "earliest"}));
    for _ in 0..3 {
        world.deliver(0);
    }
    // The window is full after four frames; two of the second chunk are in hand, the third is asked for.
    let gap = |world: &mut World| {
        let Some(Input::Read { of, partition, .. }) = world.waiting.pop_front() else {
            panic!("a read was expected")
        };
        let outcome = ReadOutcome::Gap {
            to: Offset::new(8),
            reason: "retention",
        };
        world.input(Input::Read {
            of,
            partition,
            outcome,
        });
    };
    assert_eq!(world.expected[&PartitionId(0)], 4);
    gap(&mut world);
    world.flush();
    assert_eq!(world.expected[&PartitionId(0)], 6);
    assert!(!world.evs().contains(&"gap"));
    gap(&mut world);
    let told = json!({"ev": "gap", "topic": "t", "partition": 0, "from": 6, "to": 8, "reason": "retention"});
    assert_eq!(*world.last(), told);
    world.expected.insert(PartitionId(0), 8);
    world.run();
    assert!(world.caught_up());
}
