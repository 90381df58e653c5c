//! Frames of replication.

use uuid::Uuid;

use super::super::replicate::*;
use super::*;
use crate::id::{Incarnation, ReplicaGen};
use crate::limits::INTEGER_MAX;
use crate::position::LogPosition;

/// Any offset that a log can have.
fn offsets() -> impl Strategy<Value = u64> {
    0..=INTEGER_MAX
}

fn position(end: u64, epoch: u64) -> LogPosition {
    LogPosition {
        end: Offset::new(end),
        last_epoch: (epoch != 0).then_some(LeaderEpoch(epoch)),
    }
}

const REFUSALS: [AttachRefusal; 5] = [
    AttachRefusal::Epoch,
    AttachRefusal::NotLeading,
    AttachRefusal::NotReplica,
    AttachRefusal::Incarnation,
    AttachRefusal::Busy,
];
const ENDS: [EndReason; 4] = [
    EndReason::Over,
    EndReason::Behind,
    EndReason::CaughtUp,
    EndReason::Unreadable,
];

proptest! {
    #[test]
    fn what_a_follower_says_reads_back(handle: u32, a in offsets(), b in offsets(), c: u64, d: u64, is_whole: bool) {
        let attach = Wish::Attach {
            handle,
            key: KEY,
            replica_gen: ReplicaGen(Uuid::from_u128(a.into())),
            leader_epoch: LeaderEpoch(b),
            incarnation: Incarnation(c),
            position: position(a, d),
            log_start: Offset::new(b),
            is_whole,
            is_intact: !is_whole,
        };
        for sent in [attach, Wish::Detach { handle }, Wish::Credit { bytes: handle }] {
            let (kind, payload) = encoded(|out| sent.encode(out));
            prop_assert!(payload.len() <= FIXED_PAYLOAD_MAX);
            prop_assert_eq!(Wish::decode(kind, &payload).unwrap(), sent);
        }
    }

    #[test]
    fn what_a_leader_says_reads_back(handle: u32, a: u64, b in offsets(), c in offsets(), d in offsets(), flag: bool, at in 0..20_usize) {
        let (leader_epoch, o) = (LeaderEpoch(a), Offset::new);
        let (reason, end) = (REFUSALS[at % REFUSALS.len()], ENDS[at % ENDS.len()]);
        for sent in [
            Event::Attached { handle, leader_epoch, from: o(b), high_watermark: o(c), log_start: o(d), ships_snapshot: flag },
            Event::Diverged { handle, leader_epoch, epoch: LeaderEpoch(b), end: o(c) },
            Event::Reset { handle, leader_epoch, log_start: o(d) },
            Event::Refused { handle, leader_epoch, reason },
            Event::Moved { handle, high_watermark: o(c), log_start: o(d) },
            Event::Ended { handle, reason: end },
            Event::Heartbeat,
        ] {
            let (kind, payload) = encoded(|out| sent.encode(out));
            prop_assert!(payload.len() <= FIXED_PAYLOAD_MAX);
            prop_assert_eq!(Event::decode(kind, &payload).unwrap(), sent);
        }
    }

    #[test]
    fn acknowledgements_read_back(acks in proptest::collection::vec((any::<u32>(), offsets(), any::<u64>(), proptest::option::of(offsets())), 0..50)) {
        let sent: Vec<Acked> = acks.into_iter().map(|(handle, end, epoch, as_of)| Acked {
            handle,
            position: position(end, epoch),
            ledger_as_of: as_of.map(Offset::new),
        }).collect();
        let (kind, payload) = encoded(|out| encode_acks(&sent, out));
        prop_assert_eq!(kind, ACKS);
        prop_assert_eq!(decode_acks(&payload).unwrap(), sent);
        prop_assert!(decode_acks(&payload[..payload.len() - 1]).is_err());
    }

    #[test]
    fn pushes_and_snapshots_read_back(handle: u32, a in offsets(), b in offsets(), lens in proptest::collection::vec(0..20_000_usize, 0..4), flag: bool) {
        let batches: Vec<Batch> = (0..).zip(&lens).map(|(base, len)| stored(base, *len)).collect();
        let sent = Push { handle, high_watermark: Offset::new(a), log_start: Offset::new(b), batches };
        let bounds = (sent.high_watermark, sent.log_start);
        let (kind, payload) = encoded(|out| { encode_push(handle, bounds, &sent.batches, out); });
        prop_assert_eq!(kind, PUSH);
        prop_assert_eq!(Push::decode(payload).unwrap(), sent);
        let bytes = Bytes::from(vec![7; lens.iter().sum()]);
        let sent = SnapshotPiece { handle, as_of: Offset::new(a), is_last: flag, bytes };
        let (kind, payload) = encoded(|out| { sent.encode(out); });
        prop_assert_eq!(kind, SNAPSHOT);
        prop_assert_eq!(SnapshotPiece::decode(payload).unwrap(), sent);
    }

    #[test]
    fn nothing_that_arrives_makes_a_codec_of_replication_panic(kind: u8, bytes: Vec<u8>) {
        let shared = Bytes::from(bytes);
        let _ = Wish::decode(kind, &shared);
        let _ = Event::decode(kind, &shared);
        let _ = decode_acks(&shared);
        let _ = Push::decode(shared.clone());
        let _ = SnapshotPiece::decode(shared);
    }
}

#[test]
fn a_reason_that_nobody_knows_is_refused() {
    for event in [
        Event::Ended {
            handle: 1,
            reason: EndReason::Over,
        },
        Event::Refused {
            handle: 1,
            leader_epoch: LeaderEpoch(2),
            reason: AttachRefusal::Busy,
        },
    ] {
        let (kind, payload) = encoded(|out| event.encode(out));
        let mut bytes = payload.to_vec();
        *bytes.last_mut().unwrap() = 200;
        assert!(Event::decode(kind, &bytes).is_err());
    }
}

#[test]
fn lanes_are_named_as_they_are_read() {
    for lane in [Lane::Tail, Lane::CatchUp] {
        assert_eq!(lane.to_string().parse(), Ok(lane));
    }
    assert!("Tail".parse::<Lane>().is_err());
}

#[test]
fn a_follower_that_names_an_offset_that_no_log_can_have_is_refused() {
    let (out, fine) = (Offset::new(INTEGER_MAX + 1), Offset::ZERO);
    let leader_epoch = LeaderEpoch(1);
    let attach = |end, log_start| Wish::Attach {
        handle: 1,
        key: KEY,
        replica_gen: ReplicaGen(Uuid::nil()),
        leader_epoch,
        incarnation: Incarnation(1),
        position: LogPosition {
            end,
            last_epoch: None,
        },
        log_start,
        is_whole: true,
        is_intact: true,
    };
    for wish in [attach(out, fine), attach(fine, out)] {
        let (kind, payload) = encoded(|pieces| wish.encode(pieces));
        assert!(Wish::decode(kind, &payload).is_err(), "{wish:?}");
    }
    for (end, as_of) in [(out, None), (fine, Some(out))] {
        let acked = Acked {
            handle: 1,
            position: position(end.get(), 1),
            ledger_as_of: as_of,
        };
        let (_, payload) = encoded(|pieces| encode_acks(&[acked], pieces));
        assert!(decode_acks(&payload).is_err(), "{acked:?}");
    }
}

#[test]
fn a_leader_that_names_an_offset_that_no_log_can_have_is_refused() {
    let (out, fine) = (Offset::new(INTEGER_MAX + 1), Offset::ZERO);
    let leader_epoch = LeaderEpoch(1);
    let attached = |from, high_watermark, log_start| Event::Attached {
        handle: 1,
        leader_epoch,
        from,
        high_watermark,
        log_start,
        ships_snapshot: false,
    };
    let moved = |high_watermark, log_start| Event::Moved {
        handle: 1,
        high_watermark,
        log_start,
    };
    let (handle, epoch) = (1, leader_epoch);
    for event in [
        attached(out, fine, fine),
        attached(fine, out, fine),
        attached(fine, fine, out),
        moved(out, fine),
        moved(fine, out),
        Event::Reset {
            handle,
            leader_epoch,
            log_start: out,
        },
        Event::Diverged {
            handle,
            leader_epoch,
            epoch,
            end: out,
        },
    ] {
        let (kind, payload) = encoded(|pieces| event.encode(pieces));
        assert!(Event::decode(kind, &payload).is_err(), "{event:?}");
    }
    for bounds in [(out, fine), (fine, out)] {
        let (_, payload) = encoded(|pieces| {
            encode_push(handle, bounds, &[], pieces);
        });
        assert!(Push::decode(payload).is_err(), "{bounds:?}");
    }
    let piece = SnapshotPiece {
        handle,
        as_of: out,
        is_last: true,
        bytes: Bytes::new(),
    };
    let (_, payload) = encoded(|pieces| {
        piece.encode(pieces);
    });
    assert!(SnapshotPiece::decode(payload).is_err());
}
