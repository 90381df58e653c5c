//! Several copies of one partition in one process, with links that lose, double and reorder, disks that lose
//! what was not synced, and a row that is changed by compare-and-set only.
//!
//! The world plays shell, journal and controllers; it checks the invariants by their numbers after each step.

mod disk;
mod histories;
mod invariants;
mod losses;
mod memory;
mod named;
mod row;
mod sessions;
mod shortened;
mod storms;

use std::collections::VecDeque;

use tidegate_proto::control::{IsrOutcome, IsrProposal, IsrRefusal};

use self::disk::{Disk, Entry};
use self::invariants::Truth;
use self::row::Row;
use super::*;
use crate::attach::{AttachAnswer, AttachRefusal, AttachRequest, SessionId, Truncation};
use crate::input::Truncated;
use crate::limits::ATTACH_ANSWER_MS_MAX;

const LAG_MS: u64 = 1_000;

/// One process on one node, or none.
struct Node {
    disk: Disk,
    replica: Option<Replica>,
    incarnation: u64,
    /// Counts lives: nothing is delivered to another one than it was sent to.
    life: u64,
    sessions: BTreeMap<SessionId, Sending>,
}

/// A session as the leader's shell sees it.
#[derive(Clone, Copy)]
struct Sending {
    to: Address,
    attempt: u64,
    /// None while no batches are to follow.
    cursor: Option<LogPosition>,
    told: Option<(Offset, Offset)>,
}

/// A life of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Address {
    node: usize,
    life: u64,
}

#[derive(Clone, Debug)]
enum Message {
    Attach {
        from: Address,
        attempt: u64,
        request: AttachRequest,
    },
    Ack {
        from: Address,
        attempt: u64,
        position: LogPosition,
        ledger_as_of: Option<Offset>,
    },
    Hear(Input),
    Propose(IsrProposal),
}

#[derive(Clone, Debug)]
struct Letter {
    to: Address,
    message: Message,
}

struct Cluster {
    nodes: Vec<Node>,
    row: Row,
    now: Now,
    /// By how much the wall clock of each node is ahead.
    ahead_ms: Vec<i64>,
    letters: VecDeque<Letter>,
    next_session: u64,
    next_request: u64,
    wanted: BTreeMap<RequestId, Acks>,
    replies: BTreeMap<RequestId, Outcome>,
    truth: Truth,
    alarms: Vec<&'static str>,
}

impl Cluster {
    /// So many copies; all run, the first leads, and everything is at rest.
    fn new(copies: usize, min_isr: u16) -> Self {
        let mut cluster = Self::cold(copies, min_isr);
        (0..copies).for_each(|node| cluster.start(node));
        cluster.elect(0);
        cluster.settle();
        cluster
    }

    fn cold(copies: usize, min_isr: u16) -> Self {
        let node = |at: usize| Node {
            disk: Disk::empty(Row::first_gen(at)),
            replica: None,
            incarnation: 0,
            life: 0,
            sessions: BTreeMap::new(),
        };
        Self {
            nodes: (0..copies).map(node).collect(),
            row: Row::new(copies, min_isr),
            ahead_ms: vec![0; copies],
            now: Now {
                wall_ms: 1_000_000,
                monotonic_ms: 0,
            },
            letters: VecDeque::new(),
            next_session: 0,
            next_request: 0,
            wanted: BTreeMap::new(),
            replies: BTreeMap::new(),
            truth: Truth::default(),
            alarms: Vec::new(),
        }
    }

    fn address(&self, node: usize) -> Address {
        let life = self.nodes[node].life;
        Address { node, life }
    }

    fn is_up(&self, node: usize) -> bool {
        self.nodes[node].replica.is_some()
    }

    fn status(&self, node: usize) -> Status {
        self.nodes[node].replica.as_ref().unwrap().status()
    }

    fn end(&self, node: usize) -> u64 {
        self.status(node).end.get()
    }

    fn high_watermark(&self, node: usize) -> u64 {
        self.status(node).high_watermark.get()
    }

    fn leads(&self, node: usize) -> bool {
        self.is_up(node) && self.status(node).role == RoleName::Leading
    }

    /// Starts a process on what the disk kept, and registers it.
    fn start(&mut self, node: usize) {
        let incarnation = self.row.register(node, self.nodes[node].disk.is_intact);
        let at = &mut self.nodes[node];
        at.incarnation = incarnation;
        at.life += 1;
        let facts = at.disk.facts(SpuId(node as u32), Incarnation(incarnation));
        at.replica = Some(Replica::new(facts));
        self.tell_rows();
    }

    /// Power loss: what was not synced is gone.
    fn crash(&mut self, node: usize) {
        let at = &mut self.nodes[node];
        at.replica = None;
        at.sessions.clear();
        at.disk.lose_unsynced();
    }

    /// The disk is gone; the node comes back with an empty one under the same number.
    fn lose_disk(&mut self, node: usize) {
        self.crash(node);
        let replica_gen = self.row.replace(node);
        self.nodes[node].disk = Disk::empty(replica_gen);
        self.tell_rows();
    }

    /// The controllers take a node for dead, rightly or not, and elect another leader if it was that (L1).
    fn fence(&mut self, node: usize) {
        self.row.fence(node);
        self.tell_rows();
    }

    fn elect(&mut self, node: usize) {
        self.row.elect(node);
        self.tell_rows();
    }

    /// The row goes to everybody; it may arrive late.
    fn tell_rows(&mut self) {
        for node in 0..self.nodes.len() {
            let input = Input::Assigned(self.row.assignment(node));
            self.post(self.address(node), Message::Hear(input));
        }
    }

    fn post(&mut self, to: Address, message: Message) {
        if self.nodes[to.node].life == to.life && self.is_up(to.node) {
            self.letters.push_back(Letter { to, message });
        }
    }

    fn deliver(&mut self, letter: Letter) {
        let Letter { to, message } = letter;
        if let Message::Propose(proposal) = message {
            let outcome = self
                .row
                .change_isr(to.node, self.nodes[to.node].incarnation, &proposal);
            let version = proposal.version;
            let answer = Input::IsrAnswered { version, outcome };
            self.post(to, Message::Hear(answer));
            if matches!(outcome, IsrOutcome::Accepted { .. }) {
                self.tell_rows();
            }
            return;
        }
        if self.address(to.node) != to || !self.is_up(to.node) {
            return;
        }
        match message {
            Message::Attach {
                from,
                attempt,
                request,
            } => {
                self.next_session += 1;
                let session = SessionId(self.next_session);
                let sending = Sending {
                    to: from,
                    attempt,
                    cursor: None,
                    told: None,
                };
                self.nodes[to.node].sessions.insert(session, sending);
                let readable_from = self.nodes[to.node].disk.log.readable_from();
                let input = Input::Attach {
                    session,
                    request,
                    readable_from,
                };
                self.step(to.node, input);
            }
            Message::Ack {
                from,
                attempt,
                position,
                ledger_as_of,
            } => {
                let sessions = self.nodes[to.node].sessions.iter();
                let mut of = sessions.filter(|(_, at)| (at.to, at.attempt) == (from, attempt));
                if let Some(session) = of.next_back().map(|(session, _)| *session) {
                    let input = Input::Acked {
                        session,
                        position,
                        ledger_as_of,
                    };
                    self.step(to.node, input);
                }
            }
            Message::Hear(input) => self.step(to.node, input),
            Message::Propose(_) => {}
        }
    }

    fn step(&mut self, node: usize, input: Input) {
        let mut now = self.now;
        now.wall_ms += self.ahead_ms[node];
        let Some(replica) = &mut self.nodes[node].replica else {
            return;
        };
        let effects = replica.step(now, input);
        for effect in effects {
            self.carry_out(node, effect);
        }
        self.check(node);
    }

    fn carry_out(&mut self, node: usize, effect: Effect) {
        let from = self.address(node);
        let at = &mut self.nodes[node];
        match effect {
            Effect::Submit(batch) => at.disk.submit(Entry::Batch(batch)),
            Effect::Persist(meta) => at.disk.submit(Entry::Meta(meta)),
            Effect::Snapshot { as_of, bytes } => {
                let committed = at.replica.as_ref().unwrap().status().high_watermark;
                assert!(as_of <= committed, "a snapshot of what may be cut");
                at.disk.submit(Entry::Snapshot(as_of, bytes));
            }
            Effect::Checkpoint { high_watermark } => {
                at.disk.submit(Entry::HighWatermark(high_watermark));
            }
            Effect::Trim { to } => at.disk.submit(Entry::Trim(to)),
            Effect::Truncate(truncation) => {
                let (Truncation::Cut { to } | Truncation::Reset { to }) = truncation;
                let is_given_up = at.disk.log.meta.recovery_gen < self.row.recovery_gen;
                let keeps = to >= at.disk.log.high_watermark;
                assert!(keeps || is_given_up, "7: {truncation:?}");
                at.disk.submit(Entry::Truncate(truncation));
            }
            Effect::Reply { request, outcome } => self.replied(node, request, outcome),
            Effect::Attached { session, answer } => self.answered(node, session, answer),
            Effect::Detach { session } => {
                at.sessions.remove(&session);
            }
            Effect::ProposeIsr(proposal) => {
                let floor = usize::from(self.row.min_isr).min(self.row.isr.len());
                let is_stale = proposal.version != self.row.version;
                assert!(is_stale || proposal.isr.len() >= floor, "15: {proposal:?}");
                self.letters.push_back(Letter {
                    to: from,
                    message: Message::Propose(proposal),
                });
            }
            Effect::Attach {
                attempt,
                leader,
                request,
            } => {
                assert!(
                    at.disk.durable.meta.leader_epoch >= request.leader_epoch,
                    "E1"
                );
                let message = Message::Attach {
                    from,
                    attempt,
                    request,
                };
                self.post(self.address(leader.0 as usize), message);
            }
            Effect::Ack {
                attempt,
                position,
                ledger_as_of,
            } => {
                self.acknowledge(node, attempt, position, ledger_as_of);
            }
            Effect::Alarm(what) => self.alarms.push(what),
            Effect::StopFollowing | Effect::Publish | Effect::Became(_) => {}
        }
    }

    fn acknowledge(
        &mut self,
        node: usize,
        attempt: u64,
        position: LogPosition,
        ledger_as_of: Option<Offset>,
    ) {
        let durable = &self.nodes[node].disk.durable;
        // Of a log without a batch the ledger remembers the last one that there was.
        let known = durable.position().last_epoch.or(position.last_epoch);
        let is_true = position.end <= durable.end && position.last_epoch <= known;
        assert!(is_true, "R-11: an early ack");
        let epoch = self.status(node).meta.leader_epoch;
        if let Some(leader) = self.row.leaders.get(&epoch) {
            let message = Message::Ack {
                from: self.address(node),
                attempt,
                position,
                ledger_as_of,
            };
            self.post(self.address(*leader), message);
        }
    }

    fn answered(&mut self, node: usize, session: SessionId, answer: AttachAnswer) {
        let at = &mut self.nodes[node];
        let Some(sending) = at.sessions.get_mut(&session) else {
            return;
        };
        let (to, attempt) = (sending.to, sending.attempt);
        let mut snapshot = None;
        if let AttachAnswer::Attached {
            from,
            ships_snapshot,
            ..
        } = answer
        {
            sending.cursor = Some(from);
            snapshot = at.disk.log.snapshot.clone().filter(|_| ships_snapshot);
        } else {
            at.sessions.remove(&session);
        }
        let input = Input::AttachAnswered {
            attempt,
            answer,
            snapshot,
        };
        self.post(to, Message::Hear(input));
    }

    /// The leader's shell sends at most so many batches to each session.
    fn pump(&mut self, node: usize, most: usize) {
        let Some(replica) = &self.nodes[node].replica else {
            return;
        };
        let status = replica.status();
        let told = (status.high_watermark, status.log_start);
        let Node { disk, sessions, .. } = &mut self.nodes[node];
        let mut letters = Vec::new();
        for sending in sessions.values_mut() {
            let Some(cursor) = sending.cursor else {
                continue;
            };
            let batches: Vec<Batch> = disk.log.after(cursor).take(most).cloned().collect();
            if batches.is_empty() && sending.told == Some(told) {
                continue;
            }
            if let Some(last) = batches.last() {
                sending.cursor = Some(LogPosition {
                    end: last.next_offset(),
                    last_epoch: Some(last.placement.leader_epoch),
                });
            }
            sending.told = Some(told);
            let input = Input::Pushed {
                attempt: sending.attempt,
                batches,
                high_watermark: told.0,
                log_start: told.1,
            };
            letters.push((sending.to, Message::Hear(input)));
        }
        for (to, message) in letters {
            self.post(to, message);
        }
    }

    /// The journal syncs so many entries of a node, and says so.
    fn sync(&mut self, node: usize, entries: usize) {
        if !self.is_up(node) {
            return;
        }
        let synced = self.nodes[node].disk.sync(entries);
        if synced.is_empty() {
            return;
        }
        for entry in &synced {
            if let Entry::Truncate(_) = entry {
                let disk = &self.nodes[node].disk;
                let input = if disk.reading == disk::Reading::Impossible {
                    Input::TruncationFailed
                } else {
                    Input::Truncated(Box::new(disk.truncated()))
                };
                self.step(node, input);
            }
        }
        let durable = &self.nodes[node].disk.durable;
        let input = Input::Durable {
            round: 0,
            position: durable.position(),
            snapshot_as_of: durable.snapshot.as_ref().map(|(as_of, _)| *as_of),
        };
        let epoch = durable.meta.leader_epoch;
        self.step(node, input);
        let awaits = self.nodes[node]
            .replica
            .as_ref()
            .is_some_and(Replica::awaits_epoch);
        if awaits {
            self.step(node, Input::Persisted { epoch });
        }
    }

    fn tick(&mut self, ms: u64) {
        self.now.monotonic_ms += ms;
        self.now.wall_ms += ms as i64;
        self.notice_silence();
        for node in 0..self.nodes.len() {
            self.step(node, Input::Tick);
            self.step(node, Input::Checkpoint);
        }
    }

    /// Sessions of a life that is over end.
    fn notice_silence(&mut self) {
        for node in 0..self.nodes.len() {
            let sessions = self.nodes[node].sessions.iter();
            let silent: Vec<SessionId> = sessions
                .filter(|(_, at)| at.to != self.address(at.to.node) || !self.is_up(at.to.node))
                .map(|(session, _)| *session)
                .collect();
            for session in silent {
                self.nodes[node].sessions.remove(&session);
                self.step(node, Input::Detached { session });
            }
        }
    }

    /// Loses every connection of a node.
    fn unlink(&mut self, node: usize) {
        let life = self.nodes[node].life;
        let of = |at: Address| at.node == node && at.life == life;
        for other in 0..self.nodes.len() {
            let sessions = self.nodes[other].sessions.iter();
            let gone: Vec<SessionId> = sessions
                .filter(|(_, at)| other == node || of(at.to))
                .map(|(session, _)| *session)
                .collect();
            for session in gone {
                self.nodes[other].sessions.remove(&session);
                self.step(other, Input::Detached { session });
            }
        }
        let attempt = self.nodes[node]
            .replica
            .as_ref()
            .map(|replica| replica.standing.attempts);
        if let Some(attempt) = attempt {
            self.step(node, Input::Unlinked { attempt });
        }
    }

    /// Everything goes well and in order until nothing happens any more.
    fn settle(&mut self) {
        for _ in 0..400 {
            while let Some(letter) = self.letters.pop_front() {
                self.deliver(letter);
            }
            for node in 0..self.nodes.len() {
                self.sync(node, usize::MAX);
                self.pump(node, 3);
            }
            if self.letters.is_empty() {
                return;
            }
        }
        panic!("it does not come to rest");
    }

    /// Time passes, and everything goes well.
    fn pass(&mut self, ms: u64) {
        for _ in 0..ms.div_ceil(100) {
            self.tick(100);
            self.settle();
        }
    }

    fn append_as(&mut self, node: usize, batches: Vec<ClientBatch>, acks: Acks) -> RequestId {
        let request = RequestId(self.next_request);
        self.next_request += 1;
        self.wanted.insert(request, acks);
        let append = Append {
            request,
            batches,
            acks,
            expected_end: None,
            deadline_ms: self.now.monotonic_ms + 10_000,
        };
        self.step(node, Input::Append(append));
        request
    }

    /// One batch of that many records, for a quorum.
    fn append(&mut self, node: usize, count: u32) -> RequestId {
        // Contents differ, so that what is lost is not taken for what came in its place.
        let key = u128::from(self.next_request).to_le_bytes();
        self.append_as(node, vec![batch(None, count, Some(key))], Acks::Quorum)
    }

    fn is_acked(&self, request: RequestId) -> bool {
        matches!(self.replies.get(&request), Some(Ok(_)))
    }

    fn isr(&self) -> Vec<usize> {
        self.row
            .isr
            .iter()
            .map(|member| member.spu.0 as usize)
            .collect()
    }
}

impl Cluster {
    /// Delivers what satisfies the test, in order, until there is none; the rest stays under way.
    fn deliver_where(&mut self, is_it: impl Fn(&Letter) -> bool) {
        while let Some(at) = self.letters.iter().position(&is_it) {
            let letter = self.letters.remove(at).unwrap();
            self.deliver(letter);
        }
    }

    fn take_where(&mut self, is_it: impl Fn(&Letter) -> bool) -> Vec<Letter> {
        let (taken, left): (Vec<Letter>, Vec<Letter>) = self.letters.drain(..).partition(is_it);
        self.letters = left.into();
        taken
    }

    /// A node crashes, and the controllers notice.
    fn lose(&mut self, node: usize) {
        self.crash(node);
        self.fence(node);
    }
}
