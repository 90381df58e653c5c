//! Cursors as texts: there and back, merged, cut, of each version.

use super::*;
use proptest::prelude::*;

fn position(offset: u64, epoch: u64) -> CursorPosition {
    CursorPosition {
        offset: Offset::new(offset),
        leader_epoch: LeaderEpoch(epoch),
    }
}

fn cursor(positions: BTreeMap<u32, (u64, u64)>, topic: [u8; 16]) -> Cursor {
    let positions = positions
        .into_iter()
        .map(|(p, (o, e))| (PartitionId(p), position(o, e)));
    Cursor {
        positions: positions.collect(),
        ..Cursor::new(TopicId::from_bytes(topic))
    }
}

/// `starts` of those that have no position.
fn with_starts(mut cursor: Cursor, starts: BTreeMap<u32, (i64, u64)>) -> Cursor {
    for (partition, (time_ms, back)) in starts {
        let partition = PartitionId(partition);
        if !cursor.positions.contains_key(&partition) {
            cursor
                .starts
                .insert(partition, CursorStart { time_ms, back });
        }
    }
    cursor
}

proptest! {
    #[test]
    fn cursors_read_back(positions: BTreeMap<u32, (u64, u64)>, topic: [u8; 16]) {
        let cursor = cursor(positions, topic);
        prop_assert_eq!(Cursor::parse(&cursor.encode().unwrap()), Ok(cursor));
    }

    #[test]
    fn cursors_with_starts_read_back(
        positions: BTreeMap<u32, (u64, u64)>,
        starts: BTreeMap<u32, (i64, u64)>,
        few in proptest::collection::btree_map(0_u32..8, any::<(i64, u64)>(), 0..8),
        topic: [u8; 16],
    ) {
        let cursor = with_starts(with_starts(cursor(positions, topic), starts), few);
        prop_assert_eq!(Cursor::parse(&cursor.encode().unwrap()), Ok(cursor));
    }

    #[test]
    fn merged_cursors_have_one_word_for_each_partition(
        first in proptest::collection::btree_map(0_u32..8, any::<(u64, u64)>(), 0..8),
        first_starts in proptest::collection::btree_map(0_u32..8, any::<(i64, u64)>(), 0..8),
        later in proptest::collection::btree_map(0_u32..8, any::<(u64, u64)>(), 0..8),
        later_starts in proptest::collection::btree_map(0_u32..8, any::<(i64, u64)>(), 0..8),
    ) {
        let first = with_starts(cursor(first, [1; 16]), first_starts);
        let later = with_starts(cursor(later, [1; 16]), later_starts);
        let mut merged = first.clone();
        merged.merge(later.clone()).unwrap();
        for partition in (0..8).map(PartitionId) {
            let said = |cursor: &Cursor| {
                let position = cursor.positions.get(&partition).copied();
                (position, cursor.starts.get(&partition).copied())
            };
            let wanted = match said(&later) {
                (None, None) => said(&first),
                said => said,
            };
            prop_assert_eq!(said(&merged), wanted);
        }
    }

    #[test]
    fn any_text_gives_a_cursor_or_an_error(text in "\\PC{0,64}|[A-Za-z0-9_-]{0,64}") {
        if let Ok(cursor) = Cursor::parse(&text) {
            prop_assert_eq!(cursor.encode().unwrap(), text);
        }
    }

    #[test]
    fn bodies_with_a_good_checksum_never_panic(version in 0_u8..4, body: Vec<u8>) {
        let mut bytes = vec![version];
        bytes.extend_from_slice(&[7; 16]);
        bytes.extend_from_slice(&body);
        bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
        let text = URL_SAFE_NO_PAD.encode(&bytes);
        if let Ok(cursor) = Cursor::parse(&text) {
            prop_assert_eq!(cursor.encode().unwrap(), text);
        }
    }
}

#[test]
fn thousands_of_partitions_may_not_fit() {
    let many = |count: u32| {
        cursor(
            (0..count).map(|p| (p, (u64::from(p), 1))).collect(),
            [1; 16],
        )
    };
    assert!(many(1000).encode().unwrap().len() <= CURSOR_BYTES_MAX);
    assert_eq!(
        many(10_000).encode(),
        Err(CursorTooLarge { partitions: 10_000 })
    );
}

#[test]
fn cursors_without_starts_are_those_of_earlier_builds() {
    let mut bytes = vec![1; 17];
    bytes.extend_from_slice(&[2, 3, 18, 2, 0, 2, 0]);
    bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
    let token = URL_SAFE_NO_PAD.encode(&bytes);
    let cursor = cursor(BTreeMap::from([(3, (9, 1)), (4, (10, 1))]), [1; 16]);
    assert_eq!(cursor.encode(), Ok(token.clone()));
    assert_eq!(Cursor::parse(&token), Ok(cursor));
}

#[test]
fn broken_cursors_are_told_apart() {
    let good = cursor(BTreeMap::from([(3, (9, 1))]), [1; 16])
        .encode()
        .unwrap();
    assert_eq!(Cursor::parse(&good[1..]), Err(CursorError::NotBase64));
    assert_eq!(
        Cursor::parse(&good.replacen('A', "B", 1)),
        Err(CursorError::Checksum)
    );
    assert_eq!(Cursor::parse(""), Err(CursorError::Checksum));
    assert_eq!(
        Cursor::parse(&"A".repeat(8193)),
        Err(CursorError::TooLong { len: 8193 })
    );
}

#[test]
fn merging_lets_the_later_given_count() {
    let mut first = cursor(BTreeMap::from([(0, (1, 1)), (1, (1, 1))]), [1; 16]);
    first
        .merge(cursor(BTreeMap::from([(1, (5, 2)), (2, (7, 2))]), [1; 16]))
        .unwrap();
    assert_eq!(
        first,
        cursor(
            BTreeMap::from([(0, (1, 1)), (1, (5, 2)), (2, (7, 2))]),
            [1; 16]
        )
    );
    assert_eq!(
        first.merge(Cursor::new(TopicId::from_bytes([2; 16]))),
        Err(CursorError::OtherTopic)
    );
}
