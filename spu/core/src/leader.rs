//! The role of the replica that leads: judge, append, count what is durable, answer.
//!
//! The order of judgement is rule A1: in-sync set, producer, request key, expected end, and then the
//! journal; nothing waits. An answer leaves only when what it promises is true, and readers are told
//! before the producer is, so that it can read what it wrote.

use tidegate_proto::batch::{ClientBatch, epoch_marker};
use tidegate_proto::position::{LogPosition, Offset};
use tidegate_proto::produce::{Acks, Durable};

use crate::effect::{Acknowledged, Effect, Effects, Refusal};
use crate::guard::{self, Guard};
use crate::input::{Append, Assignment, Now};
use crate::judgement::{Judgement, judge, records_of};
use crate::parking::Parking;
use crate::sessions::Peers;
use crate::standing::Standing;
use crate::waiting::{Waiting, WaitingRequest};
use crate::watermark::InSync;

mod copies;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Leader {
    pub(crate) in_sync: InSync,
    peers: Peers,
    /// The epoch's marker is committed, or there is nobody whose word would be needed for that (H3).
    pub(crate) is_latest_known: bool,
    /// Until the own log is durable so far.
    waiting_leader: Waiting,
    /// Until the high watermark is there.
    waiting_quorum: Waiting,
    parked: Parking,
    /// When time was told last.
    ticked_ms: u64,
}

impl Leader {
    /// E4: where there are other copies the epoch gets its entry in the log at once.
    pub(crate) fn new(
        standing: &mut Standing,
        now: Now,
        row: &Assignment,
        out: &mut Effects,
    ) -> Self {
        let mut leader = Self {
            in_sync: InSync::new(&row.isr, row.min_isr, row.version),
            peers: Peers::new(&row.replicas, standing.own, now.monotonic_ms),
            is_latest_known: !standing.is_replicated,
            waiting_leader: Waiting::default(),
            waiting_quorum: Waiting::default(),
            parked: Parking::default(),
            ticked_ms: now.monotonic_ms,
        };
        if standing.is_replicated {
            standing.append(now, epoch_marker(now.wall_ms), out);
        }
        leader.progress(standing, out);
        leader
    }

    pub(crate) fn append(
        &mut self,
        standing: &mut Standing,
        now: Now,
        append: Append,
        out: &mut Effects,
    ) {
        self.peers.look(now.monotonic_ms, standing.position());
        let producer = append
            .batches
            .first()
            .and_then(ClientBatch::producer)
            .map(|stamp| stamp.id);
        let patience_ms = Parking::patience(now, &append);
        let mut moved = self.admit(standing, now, (patience_ms, append), out);
        // Each append may be what early requests of its producer waited for.
        while let Some(id) = producer.filter(|_| moved && !self.parked.is_empty()) {
            moved = false;
            // In order of sequence; where that wraps, the first go after the last in a second turn.
            for early in self.parked.take(id) {
                moved |= self.admit(standing, now, early, out);
            }
        }
        self.progress(standing, out);
    }

    /// Judges one request and carries it out; whether anything was appended.
    fn admit(
        &mut self,
        standing: &mut Standing,
        now: Now,
        (patience_ms, append): (u64, Append),
        out: &mut Effects,
    ) -> bool {
        let producer = append.batches.first().and_then(ClientBatch::producer);
        if producer.is_some_and(|stamp| standing.ledger.producers.is_full_for(stamp)) {
            standing.make_room(now);
        }
        let shortage = (append.acks == Acks::Quorum)
            .then(|| self.shortage(standing, now))
            .flatten();
        match judge(standing, now, &append, shortage) {
            Judgement::Refuse(refusal) => {
                out.push(Effect::Reply {
                    request: append.request,
                    outcome: Err(refusal),
                });
                false
            }
            Judgement::Park { producer, refusal } => {
                self.parked
                    .park(patience_ms, producer, refusal, append, out);
                false
            }
            Judgement::Duplicate {
                base_offset,
                timestamp_ms,
                end,
            } => {
                let placed = Placed {
                    base_offset,
                    count: records_of(&append.batches),
                    timestamp_ms,
                    end,
                    duplicate: true,
                };
                self.answer(standing, &append, placed, out);
                false
            }
            Judgement::Append { seen, seen_at } => {
                self.submit(standing, now, append, (seen, seen_at), out);
                true
            }
        }
    }

    fn submit(
        &mut self,
        standing: &mut Standing,
        now: Now,
        mut append: Append,
        (seen, seen_at): (usize, Option<(Offset, i64)>),
        out: &mut Effects,
    ) {
        // E4: an epoch has an entry in the log, here before its first client batch.
        if standing.ledger.epochs().last() != Some(standing.meta.leader_epoch) {
            standing.append(now, epoch_marker(now.wall_ms), out);
        }
        let (base_offset, timestamp_ms) = seen_at.unwrap_or((standing.end, now.wall_ms));
        let count = records_of(&append.batches);
        let batches = std::mem::take(&mut append.batches);
        for batch in batches.into_iter().skip(seen) {
            standing.append(now, batch, out);
        }
        let placed = Placed {
            base_offset,
            count,
            timestamp_ms,
            end: standing.end,
            duplicate: false,
        };
        self.answer(standing, &append, placed, out);
    }

    /// Answers now or when the promise of its level holds (A3).
    fn answer(&mut self, standing: &Standing, append: &Append, placed: Placed, out: &mut Effects) {
        let durable = if standing.is_interval() {
            Durable::Memory
        } else {
            append.acks.durable()
        };
        let answer = Acknowledged {
            base_offset: placed.base_offset,
            count: placed.count,
            end: placed.end,
            timestamp_ms: placed.timestamp_ms,
            durable,
            duplicate: placed.duplicate,
        };
        let waiting = WaitingRequest {
            request: append.request,
            deadline_ms: append.deadline_ms,
            answer,
        };
        match append.acks {
            Acks::None => out.push(Effect::Reply {
                request: append.request,
                outcome: Ok(answer),
            }),
            Acks::Leader => self.waiting_leader.insert(waiting),
            Acks::Quorum => self.waiting_quorum.insert(waiting),
        }
    }

    /// Counts what is durable, moves the high watermark and answers what waited for it.
    pub(crate) fn progress(&mut self, standing: &mut Standing, out: &mut Effects) {
        let own = standing.own_position();
        let peers = &self.peers;
        let agreed = self.in_sync.agreed(|member| {
            if member.spu != standing.own {
                peers.acked(member).unwrap_or_default()
            } else if member.incarnation == standing.incarnation {
                own
            } else {
                LogPosition::default()
            }
        });
        if let Some((end, epoch)) = agreed {
            let is_marked = epoch == Some(standing.meta.leader_epoch);
            if !self.is_latest_known && guard::holds(Guard::MarkerBeforeLatest, is_marked) {
                self.is_latest_known = true;
                out.push(Effect::Publish);
            }
            // A follower may be ahead of the own disk; then the own position is the least.
            standing.commit(end.min(own.end), out);
        }
        let durable_end = standing.durable_end;
        self.waiting_leader.complete(own.end, durable_end, out);
        self.waiting_quorum
            .complete(standing.high_watermark, durable_end, out);
    }

    pub(crate) fn tick(&mut self, standing: &Standing, now: Now, out: &mut Effects) {
        let now_ms = now.monotonic_ms;
        self.ticked_ms = now_ms;
        self.peers.look(now_ms, standing.position());
        if self.in_sync.is_due(now_ms) {
            self.say(standing, out);
        }
        self.review(standing, now_ms, out);
        self.waiting_leader.expire(now.monotonic_ms, out);
        self.waiting_quorum.expire(now.monotonic_ms, out);
        self.parked.expire(now.monotonic_ms, out);
        self.waiting_leader.rest();
        self.waiting_quorum.rest();
    }

    /// E3, failure, close: what was submitted ends as unknown, what was not ends as refused.
    pub(crate) fn end(&mut self, refusal: Refusal, out: &mut Effects) {
        self.waiting_leader.end(out);
        self.waiting_quorum.end(out);
        self.parked.end(refusal, out);
        self.peers.end(out);
    }

    /// The node stops: what was submitted may still be answered.
    pub(crate) fn stop(&mut self, out: &mut Effects) {
        self.parked.end(Refusal::Closed, out);
    }

    pub(crate) fn is_waiting(&self) -> bool {
        !(self.waiting_leader.is_empty()
            && self.waiting_quorum.is_empty()
            && self.parked.is_empty())
    }
}

/// Where a request's records stand.
#[derive(Clone, Copy, Debug)]
struct Placed {
    base_offset: Offset,
    count: u64,
    timestamp_ms: i64,
    end: Offset,
    duplicate: bool,
}
