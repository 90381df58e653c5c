//! The one interpreter of effects.
//!
//! Effects of a whole drain are collected: first everything goes to the log in one submission, then
//! readers are told and requests answered, in the order in which the machines said so. So nothing is
//! seen or promised that is not in the journal's queue, and a drain costs one submission.

use std::sync::Arc;

use tidegate_data_plane::partitions::Tail;
use tidegate_log::{Entry, Log, LogDead, ReplicaMeta as LogMeta, SubmitError};
use tidegate_proto::position::{Offset, ReplicaKey};
use tidegate_spu_core::{
    Acknowledged, AttachAnswer, Effect, Effects, Input, Now, Refusal, ReplicaMeta, RoleName,
    Truncation,
};
use tokio::sync::oneshot;

use super::directory::Directory;
use super::hosted::Hosted;
use super::peers::{PeerCall, Peers, Session, SessionEvent};
use super::reader::{Reader, tail_of};
use super::replies::{Outcome, Pending, Replies};
use super::rota::Rota;
use crate::metrics::ShardCounters;
use crate::traffic::TrafficCounter;

/// What happens after the submission.
#[derive(Debug)]
enum Delivery {
    Publish {
        reader: Arc<Reader>,
        tail: Tail,
        is_latest_known: bool,
    },
    Became {
        reader: Arc<Reader>,
        role: RoleName,
    },
    /// A follower's stream has something to send.
    Stir(Arc<Session>),
    Tell(Arc<Session>, SessionEvent),
    Peer(ReplicaKey, PeerCall),
    Reply {
        reply: oneshot::Sender<Outcome>,
        outcome: Outcome,
        rests_on_submission: bool,
    },
}

/// Collected effects of one drain.
#[derive(Debug)]
pub(crate) struct Outbox {
    shard: u16,
    pub(crate) peers: Arc<dyn Peers>,
    /// Of one step; empty in between.
    effects: Effects,
    entries: Vec<Entry>,
    deliveries: Vec<Delivery>,
    /// Who was stepped, for the next look by the clock.
    pub(crate) rota: Rota,
    pub(crate) counters: ShardCounters,
    batches: u64,
    records: u64,
    bytes: usize,
    submitted: Submitted,
}

/// What was submitted and not counted yet: counters are shared by all threads, so they are told once for
/// many submissions, before the first of these is answered.
#[derive(Debug, Default)]
struct Submitted {
    batches: u64,
    records: u64,
    bytes: u64,
}

impl Outbox {
    pub(crate) fn new(shard: u16, traffic: Arc<TrafficCounter>, peers: Arc<dyn Peers>) -> Self {
        Self {
            shard,
            peers,
            effects: Effects::new(),
            entries: Vec::new(),
            deliveries: Vec::new(),
            rota: Rota::default(),
            counters: ShardCounters::new(traffic),
            batches: 0,
            records: 0,
            bytes: 0,
            submitted: Submitted::default(),
        }
    }

    /// Bytes of batches that wait for submission.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Steps a replica and takes the effects.
    pub(crate) fn step(
        &mut self,
        hosted: &mut Hosted,
        replies: &mut Replies,
        now: Now,
        input: Input,
    ) {
        self.rota.stir(&mut hosted.is_stirred, hosted.reader.key);
        let mut effects = std::mem::take(&mut self.effects);
        hosted.machine.step_into(now, input, &mut effects);
        self.collect(hosted, replies, &mut effects);
        self.effects = effects;
    }

    fn collect(&mut self, hosted: &mut Hosted, replies: &mut Replies, effects: &mut Effects) {
        let key = hosted.reader.key;
        let is_followed = !hosted.sessions.is_empty();
        let mut is_moved = false;
        for effect in effects.drain(..) {
            match effect {
                Effect::Submit(batch) => {
                    is_moved = true;
                    self.batches += 1;
                    self.records += u64::from(batch.client.record_count());
                    let bytes = batch.encoded_len();
                    self.bytes += bytes;
                    hosted.reader.moved_in(bytes as u64);
                    self.entries.push(Entry::Batch(batch));
                }
                Effect::Persist(meta) => {
                    self.entries.push(Entry::Meta {
                        key,
                        meta: log_meta(meta),
                    });
                }
                Effect::Snapshot { as_of, bytes } => {
                    self.bytes += bytes.len();
                    self.entries.push(Entry::Snapshot { key, as_of, bytes });
                }
                Effect::Checkpoint { high_watermark } => {
                    self.entries.push(Entry::HighWatermark {
                        key,
                        offset: high_watermark,
                    });
                }
                Effect::Trim { to } => self.entries.push(Entry::Trim { key, to }),
                Effect::Reply { request, outcome } => {
                    self.collect_reply(hosted, replies.take(request), outcome);
                }
                Effect::Publish => {
                    is_moved = true;
                    let status = hosted.machine.status();
                    self.deliveries.push(Delivery::Publish {
                        reader: Arc::clone(&hosted.reader),
                        tail: tail_of(&status),
                        is_latest_known: status.is_latest_known,
                    });
                }
                Effect::Became(role) => {
                    let reader = Arc::clone(&hosted.reader);
                    self.deliveries.push(Delivery::Became { reader, role });
                }
                Effect::Truncate(truncation) => {
                    hosted.is_truncating = true;
                    let entry = shortening(key, truncation, hosted.reader.log.end());
                    self.entries.push(entry);
                }
                Effect::Attached { .. }
                | Effect::Detach { .. }
                | Effect::ProposeIsr(_)
                | Effect::Attach { .. }
                | Effect::Ack { .. }
                | Effect::StopFollowing => self.collect_for_peers(hosted, effect),
                Effect::Alarm(reason) => {
                    tracing::error!(topic_id = %key.topic_id, partition = %key.partition, reason);
                }
            }
        }
        if is_followed && is_moved {
            let sessions = hosted.sessions.iter();
            let stirred = sessions.map(|session| Delivery::Stir(Arc::clone(session)));
            self.deliveries.extend(stirred);
        }
    }

    fn collect_reply(&mut self, hosted: &mut Hosted, pending: Pending, outcome: Outcome) {
        let durable_end = hosted.machine.durable_end();
        let needs = rests_on(&outcome, hosted.machine.end());
        // One that is unknown was submitted before: it stays unknown.
        let rests_on_submission = matches!(&outcome,
            Ok(answer) if answer.end > hosted.machine.written_end());
        if let Some(end) = needs.filter(|end| *end > durable_end) {
            hosted.inflight.push_back((end, pending.permit));
        }
        let reply = pending.reply;
        self.deliveries.push(Delivery::Reply {
            reply,
            outcome,
            rests_on_submission,
        });
    }

    /// What other nodes are told.
    fn collect_for_peers(&mut self, hosted: &mut Hosted, effect: Effect) {
        let key = hosted.reader.key;
        let call = match effect {
            Effect::Attached { session, answer } => {
                let stays = matches!(answer, AttachAnswer::Attached { .. });
                let event = SessionEvent::Answered(answer);
                let told = hosted.session(session, stays);
                let told = told.map(|session| Delivery::Tell(session, event));
                return self.deliveries.extend(told);
            }
            Effect::Detach { session } => {
                let told = hosted.session(session, false);
                let told = told.map(|session| Delivery::Tell(session, SessionEvent::Over));
                return self.deliveries.extend(told);
            }
            Effect::ProposeIsr(proposal) => PeerCall::Propose(Box::new(proposal)),
            Effect::Attach {
                attempt,
                leader,
                request,
            } => PeerCall::Attach(attempt, leader, Box::new(request)),
            Effect::Ack {
                attempt,
                position,
                ledger_as_of,
            } => PeerCall::Ack(attempt, position, ledger_as_of),
            _ => PeerCall::StopFollowing,
        };
        self.deliveries.push(Delivery::Peer(key, call));
    }

    /// Submits, then tells. When the log is dead nothing of the submission happened.
    pub(crate) fn flush(&mut self, log: &Log, directory: &Directory) -> Result<(), LogDead> {
        let submitted = self.submit(log);
        if self.deliveries.is_empty() {
            return submitted;
        }
        self.count_submitted();
        let (mut accepted, mut duplicates, mut refused) = (0, 0, 0);
        let mut touched = false;
        for delivery in self.deliveries.drain(..) {
            match delivery {
                Delivery::Publish {
                    reader,
                    tail,
                    is_latest_known,
                } => {
                    reader.latest_known(is_latest_known);
                    // Of a log that has died nobody sees more than it holds.
                    if submitted.is_ok() || tail.high_watermark <= reader.log.written_end() {
                        reader.publish(tail);
                    }
                }
                Delivery::Became { reader, role } => {
                    reader.became(role);
                    touched = true;
                }
                Delivery::Stir(session) => session.stir(),
                Delivery::Tell(session, event) => session.tell(event),
                Delivery::Peer(key, call) => {
                    if submitted.is_ok() {
                        call.make(key, &*self.peers);
                    }
                }
                Delivery::Reply {
                    reply,
                    outcome,
                    rests_on_submission,
                } => {
                    let outcome = match &submitted {
                        Err(dead) if rests_on_submission => Err(log_failed(dead)),
                        _ => outcome,
                    };
                    match &outcome {
                        Ok(Acknowledged {
                            duplicate: true, ..
                        }) => duplicates += 1,
                        Ok(_) => accepted += 1,
                        Err(_) => refused += 1,
                    }
                    // Whoever asked may have left; what was appended stays appended.
                    let _ = reply.send(outcome);
                }
            }
        }
        if touched {
            directory.touch();
        }
        self.counters.answered(accepted, duplicates, refused);
        submitted
    }

    /// Counts what was submitted since the last time.
    pub(crate) fn count_submitted(&mut self) {
        let Submitted {
            batches,
            records,
            bytes,
        } = std::mem::take(&mut self.submitted);
        if batches > 0 {
            self.counters.submitted(batches, records, bytes);
        }
    }

    fn submit(&mut self, log: &Log) -> Result<(), LogDead> {
        if self.entries.is_empty() {
            return Ok(());
        }
        let (batches, records, bytes) = (self.batches, self.records, self.bytes as u64);
        (self.batches, self.records, self.bytes) = (0, 0, 0);
        match log.submit_from(self.shard, &mut self.entries) {
            Ok(()) => {
                self.submitted.batches += batches;
                self.submitted.records += records;
                self.submitted.bytes += bytes;
                Ok(())
            }
            Err(SubmitError::Dead(dead)) => Err(dead),
            Err(broken) => panic!("the shard and the log disagree about a replica: {broken}"),
        }
    }
}

/// How a log that ends there is shortened. A reset goes below its end only when a loss was accepted: then
/// nothing of it is kept.
const fn shortening(key: ReplicaKey, truncation: Truncation, end: Offset) -> Entry {
    match truncation {
        Truncation::Cut { to } => Entry::Cut { key, to },
        Truncation::Reset { to } if to.get() <= end.get() => Entry::Cut { key, to },
        Truncation::Reset { to } => Entry::Trim { key, to },
    }
}

/// Up to where the log must be durable for this answer to hold no bytes any more.
fn rests_on(outcome: &Outcome, end: Offset) -> Option<Offset> {
    match outcome {
        Ok(answer) => Some(answer.end),
        Err(Refusal::OutcomeUnknown) => Some(end),
        Err(_) => None,
    }
}

fn log_failed(dead: &LogDead) -> Refusal {
    Refusal::LogFailed {
        no_space: dead.cause == tidegate_log::DeadCause::NoSpace,
    }
}

fn log_meta(meta: ReplicaMeta) -> LogMeta {
    LogMeta {
        replica_gen: meta.replica_gen,
        leader_epoch: meta.leader_epoch,
        version: meta.version,
        recovery_gen: meta.recovery_gen,
    }
}
