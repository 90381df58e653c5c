//! A storage unit: its disk, and the process that carries out what the real machine asks for.
//!
//! The process is the shell of `tidegate_spu_core::Replica` in small: it journals, keeps sessions, reads
//! rows. It decides nothing. What leaves it goes to an [`Outbox`].

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};

use tidegate_proto::control::{Durability, IsrMember, PartitionSpec, Register, ReplicaReport};
use tidegate_proto::id::{Incarnation, SpuId, StorageId};
use tidegate_proto::position::{LogPosition, Offset, ReplicaKey};
use tidegate_spu_core::{
    Assignment, AttachAnswer, Effect, Facts, Input, Now, Replica, ReplicaConfig, RequestId,
    RoleName, SessionId, Truncated, Truncation,
};
use uuid::Uuid;

use crate::disk::{Disk, Entry, Stored};
use crate::message::{Link, Message};
use crate::store::{attempt, blank};

/// How long a follower may lag.
pub const LAG_MS: u64 = 10_000;

/// A unit.
#[derive(Debug, Clone)]
pub struct Node {
    pub own: usize,
    pub disk: Disk,
    /// Its registrations: each is attempted under a number of its own, which the disk remembers.
    pub attempts: u8,
    pub process: Option<Process>,
}

/// A running unit.
#[derive(Debug, Clone)]
pub struct Process {
    pub incarnation: Incarnation,
    pub replica: Option<Replica>,
    /// The log as it was submitted.
    pub live: Option<Stored>,
    /// Submitted and not durable.
    pub pending: Vec<Entry>,
    /// The next row to read.
    pub cursor: usize,
    pub sessions: BTreeMap<SessionId, Session>,
    /// The last attach to a leader.
    pub link: Option<Link>,
    next_session: u64,
    is_truncating: bool,
    clock_ms: u64,
}

/// One attach, at the leader.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Session {
    pub link: Link,
    /// How far it was sent.
    pub sent: (Offset, Option<u64>),
    pub sent_high_watermark: Offset,
    pub is_open: bool,
}

/// What a step brings to the outside.
#[derive(Debug, Default)]
pub struct Outbox {
    pub messages: Vec<Message>,
    pub acked: Vec<(u64, Offset)>,
    /// Requests that ended otherwise.
    pub failed: Vec<u64>,
    pub cuts: Vec<Offset>,
    pub alarms: Vec<&'static str>,
    pub panic: Option<String>,
}

impl Node {
    /// A unit whose disk was never used.
    #[must_use]
    pub const fn new(own: usize) -> Self {
        Self {
            own,
            disk: Disk::blank(0),
            attempts: 0,
            process: None,
        }
    }

    /// The unit's number.
    #[must_use]
    pub fn spu(&self) -> SpuId {
        spu(self.own)
    }

    /// The report that it would register with.
    #[must_use]
    pub fn report(&self, key: ReplicaKey) -> Register {
        let held = self.disk.replica.iter().map(|stored| ReplicaReport {
            key,
            replica_gen: stored.meta.replica_gen,
            intact: stored.is_intact,
            end: stored.position().end,
            leader_epoch: stored.meta.leader_epoch,
        });
        let blank = blank(self.spu());
        let moved = u128::from(self.disk.storage) * 100;
        Register {
            storage_id: StorageId(Uuid::from_u128(blank.storage_id.0.as_u128() + moved)),
            last_incarnation: self.disk.last_incarnation,
            attempt: Some(attempt(self.spu(), self.attempts + 1)),
            granted: self.disk.granted.map(|number| attempt(self.spu(), number)),
            replicas: held.collect(),
            ..blank
        }
    }

    /// The process runs, as the controllers admitted it.
    pub fn start(&mut self, incarnation: Incarnation, cursor: usize) {
        self.attempts += 1;
        self.disk.last_incarnation = Some(incarnation);
        self.disk.granted = Some(self.attempts);
        self.disk.is_tampered = false;
        self.process = Some(Process {
            incarnation,
            replica: None,
            live: None,
            pending: Vec::new(),
            cursor,
            sessions: BTreeMap::new(),
            link: None,
            next_session: 0,
            is_truncating: false,
            clock_ms: 0,
        });
    }

    /// The process ends; only what is durable stays.
    pub fn crash(&mut self) {
        self.process = None;
    }

    /// The log as a reader of this unit would find it: of the process, or of the disk.
    #[must_use]
    pub fn log(&self) -> Option<&Stored> {
        let live = self
            .process
            .as_ref()
            .and_then(|process| process.live.as_ref());
        live.or(self.disk.replica.as_ref())
    }

    /// The machine, if it runs.
    #[must_use]
    pub fn replica(&self) -> Option<&Replica> {
        self.process.as_ref()?.replica.as_ref()
    }

    /// Whether it leads.
    #[must_use]
    pub fn leads(&self) -> bool {
        self.replica()
            .is_some_and(|replica| replica.role() == RoleName::Leading)
    }

    /// Reads one row.
    pub fn read_row(&mut self, key: ReplicaKey, spec: &PartitionSpec, out: &mut Outbox) {
        let own = self.spu();
        let Some(process) = &mut self.process else {
            return;
        };
        process.cursor += 1;
        let wanted = spec.replicas.iter().find(|replica| replica.spu == own);
        let held = self.disk.replica.as_ref().map(|held| held.meta.replica_gen);
        if held != wanted.map(|replica| replica.replica_gen) {
            // What it had was of another membership.
            process.close();
            self.disk.replica = None;
        }
        let Some(wanted) = wanted else {
            return;
        };
        let assignment = Assignment {
            leader: spec.leader,
            leader_epoch: spec.leader_epoch,
            version: spec.version,
            recovery_gen: spec.recovery_gen,
            replica_gen: wanted.replica_gen,
            replicas: spec.replicas.clone(),
            isr: spec.isr.clone(),
            min_isr: spec.min_isr,
            begins_at: spec.begins_at,
        };
        if process.replica.is_none() {
            let stored = self
                .disk
                .replica
                .get_or_insert_with(|| Stored::fresh(wanted.replica_gen));
            let facts = facts(own, key, process.incarnation, stored);
            process.live = Some(stored.clone());
            process.replica = Some(Replica::new(facts));
        }
        self.step(Input::Assigned(assignment), out);
    }

    /// The journal synced all that waits.
    pub fn sync(&mut self, out: &mut Outbox) {
        let Some(process) = &mut self.process else {
            return;
        };
        let pending = std::mem::take(&mut process.pending);
        let Some(durable) = &mut self.disk.replica else {
            return;
        };
        let mut epochs = Vec::new();
        for entry in &pending {
            durable.apply(entry);
            if let Entry::Meta(meta) = entry {
                epochs.push(meta.leader_epoch);
            }
        }
        let is_truncated = std::mem::take(&mut process.is_truncating);
        let position = durable.position();
        let snapshot_as_of = durable.snapshot.as_ref().map(|(as_of, _)| *as_of);
        let truncated = is_truncated.then(|| {
            Box::new(Truncated {
                log_start: durable.log_start,
                end: position.end,
                last_append_ms: None,
                intact: true,
                snapshot_as_of,
                bytes_since_snapshot: 0,
                ledger: durable.ledger(),
            })
        });
        for epoch in epochs {
            self.step(Input::Persisted { epoch }, out);
        }
        match truncated {
            Some(truncated) => self.step(Input::Truncated(truncated), out),
            None => self.step(
                Input::Durable {
                    round: 0,
                    position,
                    snapshot_as_of,
                },
                out,
            ),
        }
    }

    /// Time passes.
    pub fn wait(&mut self, ms: u64, out: &mut Outbox) {
        if let Some(process) = &mut self.process {
            process.clock_ms += ms;
        }
        self.step(Input::Tick, out);
    }

    /// A follower's request to attach arrived.
    pub fn attach(
        &mut self,
        link: Link,
        request: tidegate_spu_core::AttachRequest,
        out: &mut Outbox,
    ) {
        let Some(process) = &mut self.process else {
            return;
        };
        let Some(live) = &process.live else {
            return;
        };
        let readable_from = live.readable_from();
        let session = SessionId(process.next_session);
        process.next_session += 1;
        process.sessions.insert(
            session,
            Session {
                link,
                sent: (Offset::ZERO, None),
                sent_high_watermark: Offset::ZERO,
                is_open: false,
            },
        );
        self.step(
            Input::Attach {
                session,
                request,
                readable_from,
            },
            out,
        );
    }

    /// The session of that link.
    #[must_use]
    pub fn session(&self, link: Link) -> Option<SessionId> {
        let sessions = &self.process.as_ref()?.sessions;
        let mut found = sessions.iter().rev().filter(|(_, at)| at.link == link);
        found.next().map(|(session, _)| *session)
    }

    /// Whether the stream of that link has somebody at this end.
    #[must_use]
    pub fn has_open(&self, link: Link) -> bool {
        let sessions = self.process.iter().flat_map(|at| at.sessions.values());
        let mut open = sessions.filter(|session| session.is_open);
        open.any(|session| session.link == link)
    }

    /// Whether something could be sent in a session.
    #[must_use]
    pub fn can_push(&self, session: SessionId) -> bool {
        let Some(process) = &self.process else {
            return false;
        };
        let (Some(at), Some(live), Some(replica)) = (
            process.sessions.get(&session),
            &process.live,
            &process.replica,
        ) else {
            return false;
        };
        let moved = replica.status().high_watermark != at.sent_high_watermark;
        at.is_open && (moved || !live.read_after(at.position()).is_empty())
    }

    /// Sends what a session has not got yet.
    pub fn push(&mut self, session: SessionId, out: &mut Outbox) {
        let Some(process) = &mut self.process else {
            return;
        };
        let (Some(at), Some(live), Some(replica)) = (
            process.sessions.get_mut(&session),
            &process.live,
            &process.replica,
        ) else {
            return;
        };
        let batches = live.read_after(at.position());
        let status = replica.status();
        let end = live.position();
        at.sent = (end.end, end.last_epoch.map(|epoch| epoch.0));
        at.sent_high_watermark = status.high_watermark;
        out.messages.push(Message::Push {
            link: at.link,
            batches,
            high_watermark: status.high_watermark,
            log_start: status.log_start,
        });
    }

    /// The stream of a session ended.
    pub fn detach(&mut self, session: SessionId, out: &mut Outbox) {
        let process = self.process.as_mut();
        if let Some(at) = process.and_then(|process| process.sessions.get_mut(&session)) {
            at.is_open = false;
        }
        self.step(Input::Detached { session }, out);
    }

    /// One step of the machine, and all that it asks for.
    pub fn step(&mut self, input: Input, out: &mut Outbox) {
        let own = self.own;
        let Some(process) = &mut self.process else {
            return;
        };
        let Some(replica) = &mut process.replica else {
            return;
        };
        let now = Now {
            wall_ms: 0,
            monotonic_ms: process.clock_ms,
        };
        let stepped = catch_unwind(AssertUnwindSafe(|| replica.step(now, input)));
        match stepped {
            Ok(effects) => {
                for effect in effects {
                    process.carry_out(own, effect, out);
                }
            }
            Err(payload) => {
                let text = payload.downcast_ref::<String>().cloned();
                let text = text.or_else(|| payload.downcast_ref::<&str>().map(|s| (*s).to_owned()));
                out.panic = Some(text.unwrap_or_default());
            }
        }
    }
}

impl Session {
    fn position(&self) -> LogPosition {
        LogPosition {
            end: self.sent.0,
            last_epoch: self.sent.1.map(tidegate_proto::position::LeaderEpoch),
        }
    }
}

impl Process {
    fn close(&mut self) {
        self.replica = None;
        self.live = None;
        self.pending.clear();
        self.sessions.clear();
        self.link = None;
        self.is_truncating = false;
    }

    fn journal(&mut self, entry: Entry) {
        if let Some(live) = &mut self.live {
            live.apply(&entry);
        }
        self.pending.push(entry);
    }

    fn carry_out(&mut self, own: usize, effect: Effect, out: &mut Outbox) {
        match effect {
            Effect::Persist(meta) => self.journal(Entry::Meta(meta)),
            Effect::Submit(batch) => self.journal(Entry::Batch(batch)),
            Effect::Snapshot { as_of, bytes } => self.journal(Entry::Snapshot(as_of, bytes)),
            Effect::Checkpoint { high_watermark } => {
                self.journal(Entry::Checkpoint(high_watermark));
            }
            Effect::Trim { to } => self.journal(Entry::Trim(to)),
            Effect::Truncate(truncation) => {
                self.is_truncating = true;
                match truncation {
                    Truncation::Cut { to } => {
                        out.cuts.push(to);
                        self.journal(Entry::Cut(to));
                    }
                    Truncation::Reset { to } => self.journal(Entry::Reset(to)),
                }
            }
            Effect::Reply { request, outcome } => {
                let RequestId(number) = request;
                match outcome {
                    Ok(answer) => out.acked.push((number, answer.base_offset)),
                    Err(_) => out.failed.push(number),
                }
            }
            Effect::Attached { session, answer } => self.answer(session, answer, out),
            Effect::Detach { session } => {
                // What was acknowledged in it may still come.
                if let Some(at) = self.sessions.get_mut(&session) {
                    at.is_open = false;
                    out.messages.push(Message::Ended { link: at.link });
                }
            }
            Effect::ProposeIsr(proposal) => out.messages.push(Message::Propose {
                leader: IsrMember {
                    spu: spu(own),
                    incarnation: self.incarnation,
                },
                proposal,
            }),
            Effect::Attach {
                attempt,
                leader,
                request,
            } => {
                let link = Link {
                    follower: own,
                    run: self.incarnation.0,
                    attempt,
                    leader: leader.0 as usize,
                };
                self.link = Some(link);
                out.messages.push(Message::Attach { link, request });
            }
            Effect::Ack {
                attempt,
                position,
                ledger_as_of,
            } => {
                if let Some(link) = self.link.filter(|link| link.attempt == attempt) {
                    out.messages.push(Message::Ack {
                        link,
                        position,
                        ledger_as_of,
                    });
                }
            }
            Effect::Alarm(text) => out.alarms.push(text),
            Effect::StopFollowing => self.link = None,
            Effect::Publish | Effect::Became(_) => {}
        }
    }

    fn answer(&mut self, session: SessionId, answer: AttachAnswer, out: &mut Outbox) {
        let Some(at) = self.sessions.get_mut(&session) else {
            return;
        };
        let link = at.link;
        let mut shipped = None;
        if let AttachAnswer::Attached {
            from,
            ships_snapshot,
            high_watermark,
            ..
        } = &answer
        {
            at.is_open = true;
            at.sent = (from.end, from.last_epoch.map(|epoch| epoch.0));
            at.sent_high_watermark = *high_watermark;
            if *ships_snapshot {
                shipped = self.live.as_ref().and_then(|live| live.snapshot.clone());
            }
        } else {
            self.sessions.remove(&session);
        }
        out.messages.push(Message::Answer {
            link,
            answer,
            snapshot: shipped,
        });
    }
}

/// The number of a unit.
#[must_use]
pub fn spu(own: usize) -> SpuId {
    SpuId(u32::try_from(own).expect("there are three"))
}

fn facts(own: SpuId, key: ReplicaKey, incarnation: Incarnation, stored: &Stored) -> Facts {
    let position = stored.position();
    Facts {
        key,
        own,
        incarnation,
        meta: stored.meta,
        log_start: stored.log_start,
        high_watermark: stored.known_high_watermark(),
        end: position.end,
        durable_end: position.end,
        intact: stored.is_intact,
        last_append_ms: None,
        snapshot_as_of: stored.snapshot.as_ref().map(|(as_of, _)| *as_of),
        bytes_since_snapshot: 0,
        ledger: stored.ledger(),
        attempts_from: 0,
        config: ReplicaConfig {
            durability: Durability::Ack,
            append_timestamps: false,
            replica_lag_ms: LAG_MS,
        },
    }
}

impl Hash for Node {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.own.hash(state);
        self.disk.hash(state);
        let Some(process) = &self.process else {
            return;
        };
        (process.incarnation, &process.live, &process.pending).hash(state);
        (process.cursor, &process.sessions, process.next_session).hash(state);
        (process.is_truncating, process.clock_ms, process.link).hash(state);
        process.replica.hash(state);
    }
}
