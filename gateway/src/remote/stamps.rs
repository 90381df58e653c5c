//! Stamps for requests that have none (rule D7): with one the leader knows a repetition, so that an append
//! whose answer was lost is sent again.
//!
//! This process is one unordered producer, whose id comes from the controller; until it is there, and
//! where a leader does not know such producers, requests go without. Sequence numbers are given once, in
//! any order, and those of what failed are not used again. Invariant: of what is under way for a partition
//! no batch is further behind the newest than the leader remembers.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use tidegate_data_plane::ProducerIds;
use tidegate_data_plane::partitions::AppendRequest;
use tidegate_kit::backoff::Backoff;
use tidegate_kit::clock;
use tidegate_proto::batch::{ClientBatch, ProducerStamp};
use tidegate_proto::error::{ErrorCode, Problem};
use tidegate_proto::id::ProducerId;
use tidegate_proto::limits::UNORDERED_RING;
use tidegate_proto::position::ReplicaKey;
use tokio::time::sleep;

use super::limits::{
    LEASE_PAUSE_MAX, LEASE_PAUSE_MIN, STAMP_REST, STAMP_SPAN_MAX, STAMPED_PARTITIONS_SPARE,
};
use super::retry::is_idempotent;

/// The stamps of this process.
#[derive(Debug, Default)]
pub(super) struct Stamps {
    own: OnceLock<(ProducerId, u16)>,
    book: Mutex<Book>,
}

#[derive(Debug, Default)]
struct Book {
    lines: HashMap<ReplicaKey, Line>,
    /// With so many lines those of partitions that are no more are looked for.
    prune_at: usize,
}

/// The sequence of one partition.
#[derive(Debug, Default)]
struct Line {
    next_seq: u32,
    /// Counts batches.
    next_number: u64,
    /// The first batch of each request that is under way, and its sequence number.
    under_way: BTreeMap<u64, u32>,
    /// Requests go without a stamp until then.
    rests_until: Option<Instant>,
}

/// A request that has stamps of this process.
#[derive(Debug)]
pub(super) struct Stamped {
    stamps: Arc<Stamps>,
    key: ReplicaKey,
    number: u64,
}

impl Stamps {
    /// Gets the id.
    pub(super) async fn lease(self: Arc<Self>, ids: Arc<dyn ProducerIds>) {
        let mut pauses = Backoff::new(LEASE_PAUSE_MIN, LEASE_PAUSE_MAX, 0);
        loop {
            match ids.lease().await {
                Ok(own) => {
                    let _ = self.own.set(own);
                    return;
                }
                Err(problem) => tracing::debug!(%problem, "no producer id for this gateway yet"),
            }
            sleep(pauses.next_delay()).await;
        }
    }

    /// Stamps a request that has no stamp and may have one. `is_known` tells partitions that there are
    /// from those that are gone.
    pub(super) fn stamp(
        self: &Arc<Self>,
        key: ReplicaKey,
        request: &mut AppendRequest,
        is_known: impl Fn(ReplicaKey) -> bool,
    ) -> Option<Stamped> {
        let (id, epoch) = *self.own.get()?;
        if !request.may_stamp || is_idempotent(&request.batches) {
            return None;
        }
        let (number, mut seq) = self.lock().take(key, &request.batches, is_known)?;
        restamp(request, |batch| {
            let stamp = ProducerStamp {
                id,
                epoch,
                seq,
                unordered: true,
            };
            seq = seq.wrapping_add(batch.record_count());
            Some(stamp)
        });
        let stamps = Arc::clone(self);
        Some(Stamped {
            stamps,
            key,
            number,
        })
    }

    fn lock(&self) -> MutexGuard<'_, Book> {
        // It is whole after every statement.
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stamped {
    /// Whether a leader refused the stamp, not the records.
    pub(super) fn is_refused_by(&self, problem: &Problem) -> bool {
        matches!(
            problem.code(),
            ErrorCode::OutOfOrder | ErrorCode::ProducerFenced | ErrorCode::NotSupported
        )
    }

    /// Takes the stamps off again, and has later requests go without for a while.
    pub(super) fn take_off(self, request: &mut AppendRequest) {
        if let Some(line) = self.stamps.lock().lines.get_mut(&self.key) {
            line.rests_until = Some(clock::monotonic() + STAMP_REST);
        }
        restamp(request, |_| None);
    }
}

impl Drop for Stamped {
    fn drop(&mut self) {
        if let Some(line) = self.stamps.lock().lines.get_mut(&self.key) {
            line.under_way.remove(&self.number);
        }
    }
}

impl Book {
    /// The number and the first sequence number of a request; none when too much is under way.
    fn take(
        &mut self,
        key: ReplicaKey,
        batches: &[ClientBatch],
        is_known: impl Fn(ReplicaKey) -> bool,
    ) -> Option<(u64, u32)> {
        if self.lines.len() >= self.prune_at.max(STAMPED_PARTITIONS_SPARE) {
            // The id of a topic is never given again: what is gone stays gone, and its sequence with it.
            self.lines
                .retain(|key, line| !line.under_way.is_empty() || is_known(*key));
            self.prune_at = self.lines.len() * 2;
        }
        let line = self.lines.entry(key).or_default();
        if line.rests_until.is_some_and(|at| clock::monotonic() < at) {
            return None;
        }
        line.rests_until = None;
        line.take(batches)
    }
}

impl Line {
    fn take(&mut self, batches: &[ClientBatch]) -> Option<(u64, u32)> {
        let (number, seq) = (self.next_number, self.next_seq);
        let next_number = number + batches.len() as u64;
        let next_seq = batches
            .iter()
            .fold(seq, |seq, batch| seq.wrapping_add(batch.record_count()));
        let (oldest, oldest_seq) = self.under_way.first_key_value().unwrap_or((&number, &seq));
        if next_number - oldest > UNORDERED_RING as u64
            || next_seq.wrapping_sub(*oldest_seq) > STAMP_SPAN_MAX
        {
            return None;
        }
        self.under_way.insert(number, seq);
        (self.next_number, self.next_seq) = (next_number, next_seq);
        Some((number, seq))
    }
}

fn restamp(
    request: &mut AppendRequest,
    mut stamp: impl FnMut(&ClientBatch) -> Option<ProducerStamp>,
) {
    let batches = std::mem::take(&mut request.batches);
    let stamped = batches.into_iter().map(|batch| {
        let stamp = stamp(&batch);
        batch.restamped(stamp)
    });
    request.batches = stamped.collect();
}

#[cfg(test)]
mod tests {
    use tidegate_proto::id::{PartitionId, TopicId};
    use uuid::Uuid;

    use super::super::tests::{batch, request};
    use super::*;

    fn key(partition: u32) -> ReplicaKey {
        ReplicaKey {
            topic_id: TopicId(Uuid::nil()),
            partition: PartitionId(partition),
        }
    }

    fn stamps() -> Arc<Stamps> {
        let stamps = Stamps::default();
        stamps.own.set((ProducerId(7), 0)).unwrap();
        Arc::new(stamps)
    }

    fn plain(values: &[&str]) -> AppendRequest {
        AppendRequest {
            may_stamp: true,
            ..request(batch(values, None))
        }
    }

    fn seq(request: &AppendRequest) -> Option<u32> {
        request.batches[0].producer().map(|stamp| stamp.seq)
    }

    #[test]
    fn sequence_numbers_count_records_by_partition_and_go_on_after_what_failed() {
        let stamps = stamps();
        for (partition, values, expected) in [
            (0, &["a", "b"][..], 0),
            (0, &["c"], 2),
            (1, &["d"], 0),
            (0, &["e"], 3),
        ] {
            let mut request = plain(values);
            let stamped = stamps.stamp(key(partition), &mut request, |_| true);
            assert!(stamped.is_some());
            assert_eq!(seq(&request), Some(expected));
            request.batches[0].verify().unwrap();
        }
    }

    #[test]
    fn what_has_a_stamp_or_is_the_clients_own_is_left_as_it_is() {
        let stamps = stamps();
        let mut own = request(batch(&["a"], None));
        assert!(stamps.stamp(key(0), &mut own, |_| true).is_none());
        let mut stamped = plain(&["a"]);
        let stamp = super::super::tests::stamp(3);
        stamped.batches = vec![batch(&["a"], Some(stamp))];
        assert!(stamps.stamp(key(0), &mut stamped, |_| true).is_none());
        assert_eq!(stamped.batches[0].producer(), Some(stamp));
        let early = Arc::new(Stamps::default());
        let mut early_request = plain(&["a"]);
        assert!(early.stamp(key(0), &mut early_request, |_| true).is_none());
        assert_eq!(seq(&early_request), None);
    }

    #[test]
    fn no_more_is_under_way_than_the_leader_remembers() {
        let stamps = stamps();
        let take = || stamps.stamp(key(0), &mut plain(&["a"]), |_| true);
        let oldest = take();
        // That they are done does not help while the oldest is not.
        let given = (0..2 * UNORDERED_RING).filter(|_| take().is_some()).count();
        assert_eq!(given, UNORDERED_RING - 1);
        drop(oldest);
        assert!(take().is_some());
        let many = batch(&vec!["x"; 10_000], None);
        let too_many = vec![many; 1 + STAMP_SPAN_MAX as usize / 10_000];
        assert_eq!(Line::default().take(&too_many), None);
    }

    #[test]
    fn a_leader_that_does_not_know_such_producers_is_not_asked_again_at_once() {
        let stamps = stamps();
        let mut request = plain(&["a"]);
        let stamped = stamps.stamp(key(0), &mut request, |_| true).unwrap();
        let problem = Problem::new(ErrorCode::NotSupported, "unordered producers");
        assert!(stamped.is_refused_by(&problem));
        stamped.take_off(&mut request);
        assert_eq!(seq(&request), None);
        request.batches[0].verify().unwrap();
        assert!(stamps.stamp(key(0), &mut request, |_| true).is_none());
        assert!(stamps.stamp(key(1), &mut request, |_| true).is_some());
    }

    #[test]
    fn partitions_that_are_gone_are_forgotten() {
        let stamps = stamps();
        for partition in 0..10_000 {
            let is_known = |key: ReplicaKey| key.partition.0 >= partition;
            drop(stamps.stamp(key(partition), &mut plain(&["a"]), is_known));
        }
        assert!(stamps.lock().lines.len() <= STAMPED_PARTITIONS_SPARE);
    }
}
