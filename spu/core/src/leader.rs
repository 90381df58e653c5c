//! The role of the replica that leads: judge, append, count what is durable, answer.
//!
//! The order of judgement is rule A1: in-sync set, producer, request key, expected end, and then the
//! journal; nothing waits. An answer leaves only when what it promises is true, and readers are told
//! before the producer is, so that it can read what it wrote.

use tidegate_proto::batch::{ClientBatch, epoch_marker};
use tidegate_proto::id::ProducerId;
use tidegate_proto::position::Offset;
use tidegate_proto::produce::{Acks, Durable};

use crate::effect::{Acknowledged, Effect, Effects, Refusal};
use crate::input::{Append, Assignment, Now};
use crate::ledger::records_digest;
use crate::parking::Parking;
use crate::producer::{Reached, Verdict};
use crate::request_key::{KeyVerdict, join_digests};
use crate::standing::Standing;
use crate::waiting::{Waiting, WaitingRequest};
use crate::watermark::InSync;

#[derive(Clone, Debug)]
pub(crate) struct Leader {
    in_sync: InSync,
    /// Until the own log is durable so far.
    waiting_leader: Waiting,
    /// Until the high watermark is there.
    waiting_quorum: Waiting,
    parked: Parking,
}

/// What is to be done with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Judgement {
    /// Append all batches but the first `seen`, which stand at `seen_at` already.
    Append {
        seen: usize,
        seen_at: Option<(Offset, i64)>,
    },
    /// All of it stands in the log already.
    Duplicate {
        base_offset: Offset,
        timestamp_ms: i64,
        end: Offset,
    },
    /// A gap before it; hold it for a moment.
    Park {
        producer: ProducerId,
        refusal: Refusal,
    },
    /// Nothing happens.
    Refuse(Refusal),
}

impl Leader {
    pub(crate) fn new(assignment: &Assignment) -> Self {
        Self {
            in_sync: InSync::new(&assignment.isr, assignment.min_isr),
            waiting_leader: Waiting::default(),
            waiting_quorum: Waiting::default(),
            parked: Parking::default(),
        }
    }

    /// A newer row of the same epoch.
    pub(crate) fn reassigned(
        &mut self,
        standing: &mut Standing,
        row: &Assignment,
        out: &mut Effects,
    ) {
        self.in_sync.replace(&row.isr, row.min_isr);
        self.progress(standing, out);
    }

    pub(crate) fn append(
        &mut self,
        standing: &mut Standing,
        now: Now,
        append: Append,
        out: &mut Effects,
    ) {
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
            standing.ledger.producers.expire(now.wall_ms);
        }
        match self.judge(standing, now, &append) {
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
        let own_end = standing.own_end();
        self.in_sync
            .acknowledge(standing.own, standing.incarnation, own_end);
        if let Some(committed) = self.in_sync.committed() {
            standing.commit(committed, out);
        }
        let durable_end = standing.durable_end;
        self.waiting_leader.complete(own_end, durable_end, out);
        self.waiting_quorum
            .complete(standing.high_watermark, durable_end, out);
    }

    pub(crate) fn tick(&mut self, now: Now, out: &mut Effects) {
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

    fn judge(&self, standing: &Standing, now: Now, append: &Append) -> Judgement {
        if append.deadline_ms <= now.monotonic_ms {
            return Judgement::Refuse(Refusal::DeadlinePassed);
        }
        if let (Acks::Quorum, Some((in_sync, required))) = (append.acks, self.in_sync.shortage()) {
            return Judgement::Refuse(Refusal::NotEnoughReplicas { in_sync, required });
        }
        let judgement = judge_producers(standing, &append.batches);
        let Judgement::Append { seen, .. } = judgement else {
            return judgement;
        };
        if seen == 0
            && let Some(judgement) = judge_request_key(standing, now, &append.batches)
        {
            return judgement;
        }
        let before: u64 = records_of(append.batches.get(..seen).unwrap_or_default());
        let matches = append
            .expected_end
            .is_none_or(|at| at.checked_add(before) == Some(standing.end));
        if matches {
            judgement
        } else {
            Judgement::Refuse(Refusal::PreconditionFailed { end: standing.end })
        }
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

fn records_of(batches: &[ClientBatch]) -> u64 {
    batches
        .iter()
        .map(|batch| u64::from(batch.record_count()))
        .sum()
}

/// D1, D2, D7: the batches in line, as if those before them had been appended.
fn judge_producers(standing: &Standing, batches: &[ClientBatch]) -> Judgement {
    let mut reached: Vec<Reached> = Vec::new();
    let (mut seen, mut seen_at, mut seen_end) = (0, None, Offset::ZERO);
    for (at, batch) in batches.iter().enumerate() {
        let Some(stamp) = batch.producer() else {
            continue;
        };
        let count = batch.record_count();
        let out_of_order = |expected| Refusal::OutOfOrder {
            expected,
            received: stamp.seq,
        };
        match standing.ledger.producers.judge(&stamp, count, &reached) {
            // Only what follows asks for it.
            Verdict::New if at + 1 == batches.len() => {}
            Verdict::New => {
                let next_seq = stamp.seq.wrapping_add(count);
                reached.push(Reached {
                    id: stamp.id,
                    epoch: stamp.epoch,
                    next_seq,
                });
            }
            Verdict::Duplicate {
                base_offset,
                timestamp_ms,
            } if seen == at => {
                seen += 1;
                seen_at = seen_at.or(Some((base_offset, timestamp_ms)));
                seen_end = seen_end.max(base_offset.plus(u64::from(count)));
            }
            Verdict::Duplicate { .. } => return Judgement::Refuse(out_of_order(stamp.seq)),
            Verdict::Early { expected, known } => {
                let unknown = Refusal::UnknownProducer { producer: stamp.id };
                let refusal = if known {
                    out_of_order(expected)
                } else {
                    unknown
                };
                // Inside a request nothing can come in between: only the first may wait.
                return if at == 0 {
                    Judgement::Park {
                        producer: stamp.id,
                        refusal,
                    }
                } else {
                    Judgement::Refuse(refusal)
                };
            }
            Verdict::Behind { expected } => return Judgement::Refuse(out_of_order(expected)),
            Verdict::Fenced { current } => return Judgement::Refuse(Refusal::Fenced { current }),
            Verdict::Full if stamp.unordered => return Judgement::Refuse(Refusal::Unordered),
            Verdict::Full => return Judgement::Refuse(Refusal::TooManyProducers),
        }
    }
    match seen_at {
        Some((base_offset, timestamp_ms)) if seen == batches.len() => Judgement::Duplicate {
            base_offset,
            timestamp_ms,
            end: seen_end,
        },
        _ => Judgement::Append { seen, seen_at },
    }
}

/// D6: none when the request has no key or the key is new.
fn judge_request_key(standing: &Standing, now: Now, batches: &[ClientBatch]) -> Option<Judgement> {
    let key = batches.first()?.request_key()?;
    let digest = batches.iter().map(records_digest).reduce(join_digests)?;
    let count = u32::try_from(records_of(batches)).ok()?;
    match standing.ledger.keys.judge(&key, digest, count, now.wall_ms) {
        KeyVerdict::New => None,
        KeyVerdict::Reused => Some(Judgement::Refuse(Refusal::KeyReused)),
        KeyVerdict::Duplicate(seen) => Some(Judgement::Duplicate {
            base_offset: seen.base_offset,
            timestamp_ms: seen.at_ms,
            end: seen.base_offset.plus(u64::from(seen.count)),
        }),
    }
}
