//! Frames read back as they were written, and nothing else is read.

mod replicating;

use bytes::Bytes;
use proptest::prelude::*;

use super::append::{Answer, Append, Goodbye, Refused, Taken};
use super::ask::{Ask, Question, Reply};
use super::tail::{self, Bounds, TailEvent, TailWish};
use super::*;
use crate::batch::{Batch, BatchBuilder, ClientBatch, Placement};
use crate::compression::Codec;
use crate::error::{ErrorCode, Problem};
use crate::id::{PartitionId, TopicId};
use crate::limits::{FRAME_PROBLEM_BYTES_MAX, TIMEOUT_MS_MAX};
use crate::position::{LeaderEpoch, Offset, ReplicaKey};
use crate::produce::{Acks, Durable};
use crate::record::{Datum, RecordRef};

const KEY: ReplicaKey = ReplicaKey {
    topic_id: TopicId::from_bytes([7; 16]),
    partition: PartitionId(3),
};

fn client(value_len: usize) -> ClientBatch {
    let value = vec![b'v'; value_len];
    let mut builder = BatchBuilder::new(Codec::None);
    let record = RecordRef {
        timestamp_ms: 1_700_000_000_000,
        key: Datum::Utf8("k"),
        value: Datum::Bytes(&value),
        headers: &[],
    };
    builder.push(&record).unwrap();
    builder.finish().unwrap()
}

fn stored(base: u64, value_len: usize) -> Batch {
    Batch {
        placement: Placement {
            key: KEY,
            base_offset: Offset::new(base),
            leader_epoch: LeaderEpoch(2),
            high_watermark: Offset::new(base),
            append_time_ms: 5,
            append_timestamps: false,
        },
        client: client(value_len),
    }
}

fn append(id: u64, lens: &[usize]) -> Append {
    Append {
        id,
        key: KEY,
        leader_epoch: LeaderEpoch(9),
        acks: Acks::Quorum,
        timeout_ms: 1_000,
        expected_end: None,
        batches: lens.iter().map(|len| client(*len)).collect(),
    }
}

/// All that waits, in one run.
fn all(mut pieces: Pieces) -> Vec<u8> {
    let mut out = Vec::new();
    while let Some(piece) = pieces.take() {
        out.extend_from_slice(&piece);
    }
    assert!(pieces.is_empty());
    out
}

fn encoded(encode: impl FnOnce(&mut Pieces)) -> (u8, Bytes) {
    let mut pieces = Pieces::default();
    encode(&mut pieces);
    let whole = Bytes::from(all(pieces));
    let header = FrameHeader::parse(*whole.first_chunk().unwrap());
    assert_eq!(header.payload_len, whole.len() - FRAME_HEADER_LEN);
    (header.kind, whole.slice(FRAME_HEADER_LEN..))
}

fn problem() -> Problem {
    Problem::new(ErrorCode::NotLeader, "elsewhere").with("leader", 4)
}

proptest! {
    #[test]
    fn appends_read_back(
        id: u64, epoch: u64, acks in 0..3_usize, timeout_ms in 0..=u32::try_from(TIMEOUT_MS_MAX).unwrap(),
        end in proptest::option::of(any::<u64>()), lens in proptest::collection::vec(0..20_000_usize, 1..4),
    ) {
        let sent = Append {
            leader_epoch: LeaderEpoch(epoch),
            acks: [Acks::None, Acks::Leader, Acks::Quorum][acks],
            timeout_ms,
            expected_end: end.map(Offset::new),
            ..append(id, &lens)
        };
        let (kind, payload) = encoded(|out| sent.encode(out));
        prop_assert_eq!(kind, append::APPEND);
        prop_assert_eq!(Append::id_of(&payload), Some(id));
        prop_assert_eq!(Append::decode(payload).unwrap(), sent);
    }

    #[test]
    fn answers_read_back(id: u64, base in 0..u64::MAX / 2, count in 0..u64::MAX / 2, at: i64, durable in 0..3_usize, duplicate: bool) {
        let taken = Taken {
            id,
            base_offset: Offset::new(base),
            count,
            timestamp_ms: at,
            durable: [Durable::Memory, Durable::Leader, Durable::Quorum][durable],
            duplicate,
        };
        for sent in [
            Answer::Taken(taken),
            Answer::Refused(Refused { id, problem: problem() }),
            Answer::Goodbye(Goodbye { first_untaken: id }),
        ] {
            let (kind, payload) = encoded(|out| sent.encode(out));
            prop_assert_eq!(Answer::decode(kind, &payload).unwrap(), sent);
        }
    }

    #[test]
    fn wishes_and_events_of_tails_read_back(handle: u32, epoch: u64, a in 0..u64::MAX, b: u64, bytes: u32) {
        let leader_epoch = LeaderEpoch(epoch);
        for batches_from in [None, Some(Offset::new(a))] {
            let follow = TailWish::Follow { handle, key: KEY, leader_epoch, batches_from };
            for sent in [follow, TailWish::Leave { handle }, TailWish::Credit { bytes }] {
                let (kind, payload) = encoded(|out| sent.encode(out));
                prop_assert_eq!(TailWish::decode(kind, &payload).unwrap(), sent);
            }
        }
        let bounds = Bounds { log_start: Offset::new(a), high_watermark: Offset::new(b), leader_epoch };
        for sent in [
            TailEvent::Moved { handle, bounds },
            TailEvent::Skipped { handle, to: Offset::new(b) },
            TailEvent::Ended { handle, problem: problem() },
        ] {
            let (kind, payload) = encoded(|out| sent.encode(out));
            prop_assert_eq!(TailEvent::decode(kind, &payload).unwrap(), sent);
        }
    }

    #[test]
    fn questions_and_replies_read_back(from: u64, bytes_max: u32, time_ms: i64, lens in proptest::collection::vec(0..20_000_usize, 0..4)) {
        let questions = [
            Question::Read { from: Offset::new(from), bytes_max },
            Question::ReadCopy { from: Offset::new(from), bytes_max },
            Question::Status,
            Question::CopyStatus,
            Question::SealedEnd,
            Question::OffsetAt { time_ms },
        ];
        for question in questions {
            let sent = Ask { key: KEY, leader_epoch: LeaderEpoch(3), question };
            let whole = sent.to_bytes();
            let header = FrameHeader::parse(*whole.first_chunk().unwrap());
            prop_assert!(header.payload_len <= ask::QUESTION_PAYLOAD_MAX);
            prop_assert_eq!(Ask::decode(header.kind, &whole[FRAME_HEADER_LEN..]).unwrap(), sent);
        }
        let bounds = Bounds { log_start: Offset::ZERO, high_watermark: Offset::new(from), leader_epoch: LeaderEpoch(3) };
        let batches: Vec<Batch> = (0..).zip(&lens).map(|(base, len)| stored(base, *len)).collect();
        for sent in [Reply::Chunk { next: Offset::new(from), bounds, batches }, Reply::Offset(Offset::new(from))] {
            let (kind, payload) = encoded(|out| sent.encode(out));
            prop_assert_eq!(Reply::decode(kind, payload).unwrap(), sent);
        }
    }

    #[test]
    fn nothing_that_arrives_makes_a_codec_panic(kind: u8, bytes: Vec<u8>) {
        let shared = Bytes::from(bytes);
        let _ = Append::decode(shared.clone());
        let _ = Answer::decode(kind, &shared);
        let _ = TailWish::decode(kind, &shared);
        let _ = TailEvent::decode(kind, &shared);
        let _ = tail::decode_batches(shared.clone());
        let _ = Ask::decode(kind, &shared);
        let _ = Reply::decode(kind, shared);
    }

    #[test]
    fn a_damaged_append_is_not_taken_for_another_one_of_its_batches(at in 0..2_000_usize, flip in 1..=255_u8) {
        let sent = append(1, &[300, 900]);
        let (_, payload) = encoded(|out| sent.encode(out));
        let mut bytes = payload.to_vec();
        let at = at % bytes.len();
        bytes[at] ^= flip;
        // Damage of the fixed fields is told by the connection's own checks; of batches, by their sums.
        if let Ok(found) = Append::decode(Bytes::from(bytes)) {
            prop_assert_eq!(found.batches, sent.batches);
        }
    }

    #[test]
    fn a_cut_append_is_refused(cut in 1..2_000_usize) {
        let (_, payload) = encoded(|out| append(1, &[300, 900]).encode(out));
        let cut = cut % payload.len();
        let found = Append::decode(payload.slice(..cut));
        // What ends between two batches is whole in itself: the header's length is the judge of that.
        let first = append::APPEND_FIXED_LEN + append::batches_len(&append(1, &[300]).batches);
        prop_assert_eq!(found.is_ok(), cut == first);
    }
}

#[test]
fn batches_of_a_tail_read_back_and_share_the_memory_of_their_frame() {
    let sent = vec![stored(0, 10), stored(1, 20_000), stored(2, 5)];
    let mut len = 0;
    let (kind, payload) = encoded(|out| len = tail::encode_batches(77, &sent, out));
    assert_eq!((kind, payload.len()), (tail::BATCHES, len));
    let (handle, found) = tail::decode_batches(payload.clone()).unwrap();
    assert_eq!((handle, &found), (77, &sent));
    assert!(
        payload
            .as_ptr_range()
            .contains(&found[1].client.as_bytes().as_ptr())
    );
}

#[test]
fn large_batches_are_not_copied_on_their_way_out() {
    let sent = append(1, &[100, 100_000]);
    let mut pieces = Pieces::default();
    sent.encode(&mut pieces);
    sent.encode(&mut pieces);
    assert_eq!(
        pieces.take().unwrap().len(),
        FRAME_HEADER_LEN + append::APPEND_FIXED_LEN + 8 + sent.batches[0].len() + 8
    );
    assert_eq!(
        pieces.take().unwrap().as_ptr(),
        sent.batches[1].as_bytes().as_ptr()
    );
}

#[test]
fn a_problem_that_is_too_long_is_told_without_its_extras() {
    let long = problem().with("much", "x".repeat(FRAME_PROBLEM_BYTES_MAX));
    let sent = Answer::Refused(Refused {
        id: 1,
        problem: long,
    });
    let (kind, payload) = encoded(|out| sent.encode(out));
    let Answer::Refused(found) = Answer::decode(kind, &payload).unwrap() else {
        panic!("another kind");
    };
    assert_eq!(found.problem.code(), ErrorCode::NotLeader);
    assert!(found.problem.is_definite() && found.problem.is_retryable());
}

#[test]
fn two_sides_speak_the_greatest_version_that_both_can() {
    let range = |text: &str| text.parse::<VersionRange>().unwrap();
    assert_eq!(range("1-3").common(range("2-9")), Some(3));
    assert_eq!(range("1-1").common(VERSIONS), Some(1));
    assert_eq!(range("4-5").common(range("1-3")), None);
    assert_eq!(VERSIONS.to_string().parse(), Ok(VERSIONS));
    assert!(VERSIONS.contains(1) && !VERSIONS.contains(2));
    for text in ["", "1", "2-1", "a-b", "-1-2", "1-99999"] {
        assert!(text.parse::<VersionRange>().is_err(), "{text}");
    }
}

#[test]
fn a_payload_is_bounded_before_it_is_waited_for() {
    let header = FrameHeader::parse([0, 0, 0, 1, append::APPEND]);
    assert_eq!(header.payload_len, 1 << 24);
    assert!(header.check(append::APPEND_PAYLOAD_MAX).is_ok());
    assert!(header.check(1 << 20).is_err());
}
