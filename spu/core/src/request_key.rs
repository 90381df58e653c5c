//! Keys of single requests, for people with curl (D6).
//!
//! A key is 16 bytes that the data plane made of the principal and the `Idempotency-Key`; the batches
//! of the request carry it. The same key with the same records is a duplicate, with others it is a
//! mistake of the caller; with more of which these are the first batches, because a leader ended between the
//! two, the rest is new. Kept for ten minutes or 64 Ki requests, whichever ends first; the minutes are those
//! for which it has been in this log, not those of the clock that gave it its time.

use std::collections::{BTreeMap, VecDeque};

use tidegate_proto::limits::{REQUEST_KEY_WINDOW_MS, REQUEST_KEYS_PER_PARTITION_MAX};
use tidegate_proto::position::Offset;

/// The 16 bytes of a request key.
pub(crate) type RequestKey = [u8; 16];

/// What is remembered of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct KeyedRequest {
    pub(crate) base_offset: Offset,
    /// Behind its last record; others may stand between its batches when it was taken in two steps.
    pub(crate) end: Offset,
    pub(crate) count: u32,
    /// Checksum over the records, without the header: its timestamps are of the moment of arrival,
    /// and a retry arrives later.
    pub(crate) digest: u32,
    pub(crate) at_ms: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum KeyVerdict {
    New,
    Duplicate(KeyedRequest),
    /// So many of its batches are there.
    Begun {
        seen: KeyedRequest,
        batches: usize,
    },
    Reused,
}

/// Requests by key, and the keys in order of age.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct RequestKeys {
    by_key: BTreeMap<RequestKey, KeyedRequest>,
    by_age: VecDeque<RequestKey>,
}

/// Joins the checksums of a request's batches.
pub(crate) fn join_digests(first: u32, next: u32) -> u32 {
    crc32c::crc32c_append(first, &next.to_le_bytes())
}

impl RequestKeys {
    /// Judges a request by the checksums and record counts of its batches.
    pub(crate) fn judge(
        &self,
        key: &RequestKey,
        batches: impl IntoIterator<Item = (u32, u32)>,
        forgotten: Offset,
    ) -> KeyVerdict {
        let seen = self.by_key.get(key);
        let Some(seen) = seen.copied().filter(|seen| seen.end > forgotten) else {
            return KeyVerdict::New;
        };
        let (mut joined, mut records) = (None, 0_u32);
        let mut rest = batches.into_iter().enumerate();
        while let Some((at, (digest, count))) = rest.next() {
            joined = Some(joined.map_or(digest, |before| join_digests(before, digest)));
            records = records.saturating_add(count);
            if (joined, records) == (Some(seen.digest), seen.count) {
                return match rest.next() {
                    None => KeyVerdict::Duplicate(seen),
                    Some(_) => KeyVerdict::Begun {
                        seen,
                        batches: at + 1,
                    },
                };
            }
        }
        KeyVerdict::Reused
    }

    /// Remembers one batch of a request. Those of one request are placed in one step, but for what follows a
    /// part that outlived its leader: as long as a key is remembered, nothing else is taken under it.
    pub(crate) fn observe(&mut self, key: RequestKey, batch: KeyedRequest) {
        if let Some(seen) = self.by_key.get_mut(&key) {
            let goes_on = seen.at_ms.abs_diff(batch.at_ms) <= REQUEST_KEY_WINDOW_MS;
            if let Some(count) = seen.count.checked_add(batch.count).filter(|_| goes_on) {
                seen.count = count;
                seen.end = batch.end;
                seen.digest = join_digests(seen.digest, batch.digest);
                return;
            }
            self.by_age.retain(|other| *other != key);
        }
        self.restore(key, batch);
        if self.by_age.len() > REQUEST_KEYS_PER_PARTITION_MAX {
            self.forget_oldest();
        }
    }

    /// Forgets what ends at or below that: it is too old to be asked for.
    pub(crate) fn expire(&mut self, forgotten: Offset) {
        while self
            .by_age
            .front()
            .is_some_and(|oldest| self.is_expired(oldest, forgotten))
        {
            self.forget_oldest();
        }
    }

    /// How long from now on any of them may be asked for, in milliseconds.
    pub(crate) fn holds_ms(&self, now_ms: i64) -> u64 {
        let newest = self.by_key.values().map(|seen| seen.at_ms).max();
        newest.map_or(0, |at_ms| {
            remaining_ms(at_ms, REQUEST_KEY_WINDOW_MS, now_ms)
        })
    }

    pub(crate) fn restore(&mut self, key: RequestKey, request: KeyedRequest) {
        self.by_key.insert(key, request);
        self.by_age.push_back(key);
    }

    pub(crate) fn len(&self) -> usize {
        self.by_age.len()
    }

    /// Oldest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&RequestKey, &KeyedRequest)> {
        self.by_age
            .iter()
            .filter_map(|key| self.by_key.get_key_value(key))
    }

    fn is_expired(&self, key: &RequestKey, forgotten: Offset) -> bool {
        let seen = self.by_key.get(key);
        seen.is_none_or(|seen| seen.end <= forgotten)
    }

    fn forget_oldest(&mut self) {
        if let Some(oldest) = self.by_age.pop_front() {
            self.by_key.remove(&oldest);
        }
    }
}

/// What is left of the time for which something of `at_ms` is kept; it is kept through its last moment. What
/// is of a time to come, because clocks were set, has the whole of it at least.
pub(crate) fn remaining_ms(at_ms: i64, kept_ms: u64, now_ms: i64) -> u64 {
    match u64::try_from(now_ms.saturating_sub(at_ms)) {
        Ok(age_ms) => (kept_ms + 1).saturating_sub(age_ms),
        Err(_) => kept_ms + 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(offset: u64, count: u32, digest: u32, at_ms: i64) -> KeyedRequest {
        KeyedRequest {
            base_offset: Offset::new(offset),
            end: Offset::new(offset + u64::from(count)),
            count,
            digest,
            at_ms,
        }
    }

    #[test]
    fn the_same_key_with_other_records_is_refused_until_it_expires() {
        let mut keys = RequestKeys::default();
        keys.observe([1; 16], request(5, 2, 77, 0));
        assert_eq!(
            keys.judge(&[1; 16], [(77, 2)], Offset::ZERO),
            KeyVerdict::Duplicate(request(5, 2, 77, 0))
        );
        assert_eq!(
            keys.judge(&[1; 16], [(78, 2)], Offset::new(6)),
            KeyVerdict::Reused
        );
        assert_eq!(
            keys.judge(&[2; 16], [(78, 2)], Offset::new(6)),
            KeyVerdict::New
        );
        assert_eq!(
            keys.judge(&[1; 16], [(78, 2)], Offset::new(7)),
            KeyVerdict::New
        );
    }

    #[test]
    fn batches_of_one_request_join() {
        let mut keys = RequestKeys::default();
        keys.observe([1; 16], request(5, 2, 77, 0));
        keys.observe([1; 16], request(7, 3, 88, 0));
        let whole = request(5, 5, join_digests(77, 88), 0);
        assert_eq!(
            keys.judge(&[1; 16], [(77, 2), (88, 3)], Offset::ZERO),
            KeyVerdict::Duplicate(whole)
        );
        assert_eq!(keys.len(), 1);
    }

    #[test]
    fn what_follows_a_part_is_asked_for_and_joins_it_wherever_it_stands() {
        let mut keys = RequestKeys::default();
        keys.observe([1; 16], request(5, 2, 77, 0));
        let seen = request(5, 2, 77, 0);
        let whole = [(77, 2), (88, 3)];
        assert_eq!(
            keys.judge(&[1; 16], whole, Offset::ZERO),
            KeyVerdict::Begun { seen, batches: 1 }
        );
        let other = [(76, 2), (88, 3)];
        assert_eq!(
            keys.judge(&[1; 16], other, Offset::ZERO),
            KeyVerdict::Reused
        );
        keys.observe([1; 16], request(20, 3, 88, 9_000));
        let joined = KeyedRequest {
            end: Offset::new(23),
            ..request(5, 5, join_digests(77, 88), 0)
        };
        assert_eq!(
            keys.judge(&[1; 16], whole, Offset::new(22)),
            KeyVerdict::Duplicate(joined)
        );
        // Less than what is there is another request.
        assert_eq!(
            keys.judge(&[1; 16], [(77, 2)], Offset::ZERO),
            KeyVerdict::Reused
        );
    }

    #[test]
    fn two_requests_of_one_key_side_by_side_are_two() {
        let mut keys = RequestKeys::default();
        keys.observe([1; 16], request(5, 1, 77, 0));
        keys.observe([1; 16], request(6, 1, 77, 700_000));
        let second = request(6, 1, 77, 700_000);
        assert_eq!(
            keys.judge(&[1; 16], [(77, 1)], Offset::ZERO),
            KeyVerdict::Duplicate(second)
        );
    }

    #[test]
    fn the_table_is_bounded_and_the_oldest_goes_first() {
        let mut keys = RequestKeys::default();
        for n in 0..=REQUEST_KEYS_PER_PARTITION_MAX as u128 {
            keys.observe(n.to_le_bytes(), request(n as u64 * 2, 1, 0, 0));
        }
        assert_eq!(keys.len(), REQUEST_KEYS_PER_PARTITION_MAX);
        assert_eq!(
            keys.judge(&0u128.to_le_bytes(), [(0, 1)], Offset::ZERO),
            KeyVerdict::New
        );
        assert_ne!(
            keys.judge(&1u128.to_le_bytes(), [(0, 1)], Offset::ZERO),
            KeyVerdict::New
        );
    }
}
