//! One state of the whole: store, units, messages, and what was promised.
//!
//! [`World::actions`] says what could happen next, [`World::act`] lets it happen. Both are functions of the
//! state and the scope alone.

use tidegate_proto::batch::{BatchBuilder, ClientBatch};
use tidegate_proto::compression::Codec;
use tidegate_proto::control::{Register, SealAnswer};
use tidegate_proto::id::SpuId;
use tidegate_proto::position::Offset;
use tidegate_proto::produce::Acks;
use tidegate_proto::record::{Datum, RecordRef};
use tidegate_sc_core::decision::Request;
use tidegate_spu_core::limits::{ATTACH_RETRY_MS, PROPOSAL_RETRY_MS};
use tidegate_spu_core::{Append, Input, Now, RequestId, SessionId};

use crate::disk::Disk;
use crate::kept::Kept;
use crate::message::Message;
use crate::node::{LAG_MS, Node, Outbox, spu};
use crate::scope::{Budget, Scope};
use crate::store::{Answer, Store, reassign, topic};
use crate::witness::{self, Witness};

/// After this everything is tried again that went wrong.
const MOMENT_MS: u64 = if PROPOSAL_RETRY_MS > ATTACH_RETRY_MS {
    PROPOSAL_RETRY_MS
} else {
    ATTACH_RETRY_MS
};

/// Units there are.
pub const UNITS: usize = 3;

/// One state.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct World {
    pub store: Kept<Store>,
    pub nodes: [Kept<Node>; UNITS],
    /// On their way, in order of their sending; equal ones stand there once.
    pub wire: Vec<Kept<Message>>,
    pub witness: Kept<Witness>,
    pub left: Budget,
    /// What does not hold any more: nothing happens after that.
    pub broken: Option<&'static str>,
}

/// One thing that may happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// A client appends a record.
    Append(usize),
    /// A journal round ends.
    Sync(usize),
    /// A process ends.
    Crash(usize),
    /// A process starts and registers.
    Start(usize),
    /// It starts, and is told of the rows from an earlier one on.
    StartLate(usize),
    /// A unit reads the next row.
    Row(usize),
    /// A leader sends what a follower has not got.
    Push(usize, SessionId),
    /// A message arrives.
    Deliver(usize),
    /// A message arrives, and will do so again.
    DeliverTwice(usize),
    /// The leader's end of a stream breaks.
    Detach(usize, SessionId),
    /// The follower's end of its stream breaks.
    Unlink(usize),
    /// More time passes than a follower may lag.
    Lag(usize),
    /// A moment passes: what went wrong is tried again.
    Wait(usize),
    /// A moment to note the high watermark.
    Checkpoint(usize),
    /// A moment to take a snapshot.
    Snapshot(usize),
    /// Retention takes what is committed.
    Trim(usize),
    /// A disk loses its last record, and tells at the next start.
    Damage(usize),
    /// A disk is replaced.
    Wipe(usize),
    /// A disk is copied.
    Copy(usize),
    /// The copy is put back.
    PutBack(usize),
    /// The controllers shut a unit out.
    Fence(usize),
    /// They decide to, and carry it out later.
    FenceLate(usize),
    /// They decide on a proposal, and carry it out later.
    DecideLate(usize),
    /// What was decided is carried out.
    CommitLate,
    /// A controller does what is due.
    Tick,
    /// An operator lets the preferred copy lead.
    Elect,
    /// An operator takes a copy away.
    Remove(usize),
    /// An operator adds it again.
    Add(usize),
    /// An operator asks for a survey.
    Recover { accept_loss: bool },
    /// A sealed unit answers.
    Survey(usize),
    /// Commits need so many copies from now on.
    Edit(u16),
    /// The store goes back.
    RollBack(usize),
}

impl World {
    /// Units are registered and have read nothing yet.
    #[must_use]
    pub fn new(scope: &Scope) -> Self {
        let units = u32::try_from(UNITS).expect("three");
        let keeps_earlier = scope.budget.store_rollbacks > 0;
        let store = Store::new(units, scope.copies, scope.min_isr, keeps_earlier);
        let nodes = std::array::from_fn(|own| {
            let mut node = Node::new(own);
            let (incarnation, _) = store.unit(spu(own));
            node.start(incarnation, 0);
            Kept::new(node)
        });
        Self {
            store: Kept::new(store),
            nodes,
            wire: Vec::new(),
            witness: Kept::new(Witness::default()),
            left: scope.budget,
            broken: None,
        }
    }

    /// What may happen next.
    pub fn actions(&self, scope: &Scope, actions: &mut Vec<Action>) {
        if self.broken.is_some() {
            return;
        }
        for at in 0..self.wire.len() {
            actions.push(Action::Deliver(at));
            if self.left.duplicates > 0 {
                actions.push(Action::DeliverTwice(at));
            }
            let is_proposal = matches!(*self.wire[at], Message::Propose { .. });
            if is_proposal && self.left.late_decisions > 0 && !self.store.has_late() {
                actions.push(Action::DecideLate(at));
            }
        }
        for own in 0..UNITS {
            self.actions_of(scope, own, actions);
        }
        if self.store.has_late() {
            actions.push(Action::CommitLate);
        }
        actions.push(Action::Tick);
        if self.left.elections > 0 {
            actions.push(Action::Elect);
        }
        if self.left.recoveries > 0 {
            actions.push(Action::Recover { accept_loss: false });
        }
        if self.left.accepted_losses > 0 {
            actions.push(Action::Recover { accept_loss: true });
        }
        if self.left.edits > 0 {
            actions.push(Action::Edit(if self.store.row().min_isr > 1 {
                1
            } else {
                2
            }));
        }
        if self.left.store_rollbacks > 0 {
            actions.extend((0..self.store.earlier()).map(Action::RollBack));
        }
    }

    fn actions_of(&self, scope: &Scope, own: usize, actions: &mut Vec<Action>) {
        let (node, left) = (&self.nodes[own], &self.left);
        let can_fence = self.store.row().leader_epoch.0 < scope.epochs;
        if can_fence && left.fences > 0 && !self.store.unit(spu(own)).1 {
            actions.push(Action::Fence(own));
            if left.late_decisions > 0 && !self.store.has_late() {
                actions.push(Action::FenceLate(own));
            }
        }
        let is_held = self.store.row().replica(spu(own)).is_some();
        if left.moves > 0 && is_held && self.store.row().leader != Some(spu(own)) {
            actions.push(Action::Remove(own));
        }
        if !is_held && self.store.row().moving.is_none() {
            actions.push(Action::Add(own));
        }
        if node.process.is_some() {
            self.actions_of_process(own, actions);
        } else {
            self.actions_of_disk(scope, own, actions);
        }
    }

    /// While no process looks.
    fn actions_of_disk(&self, scope: &Scope, own: usize, actions: &mut Vec<Action>) {
        let (disk, left) = (&self.nodes[own].disk, &self.left);
        actions.push(Action::Start(own));
        if scope.is_watch_late {
            actions.push(Action::StartLate(own));
        }
        if left.damages > 0 && disk.replica.is_some() {
            actions.push(Action::Damage(own));
        }
        if left.wipes > 0 && disk.replica.is_some() {
            actions.push(Action::Wipe(own));
        }
        let earlier = disk.earlier.as_ref();
        // One of the same registration the store cannot tell: beyond what S2 promises.
        if earlier.is_some_and(|at| at.granted < Some(self.nodes[own].attempts)) {
            actions.push(Action::PutBack(own));
        }
    }

    fn actions_of_process(&self, own: usize, actions: &mut Vec<Action>) {
        let (node, left) = (&self.nodes[own], &self.left);
        let Some(process) = &node.process else {
            return;
        };
        if !process.pending.is_empty() {
            actions.push(Action::Sync(own));
        }
        if process.cursor < self.store.rows().len() {
            actions.push(Action::Row(own));
        }
        if left.crashes > 0 {
            actions.push(Action::Crash(own));
        }
        if left.disk_rollbacks > 0 && node.disk.earlier.is_none() {
            actions.push(Action::Copy(own));
        }
        let Some(replica) = &process.replica else {
            return;
        };
        for session in process.sessions.keys() {
            if node.can_push(*session) {
                actions.push(Action::Push(own, *session));
            }
            if left.breaks > 0 && process.sessions[session].is_open {
                actions.push(Action::Detach(own, *session));
            }
        }
        // No answer is lost here but with its link, and that is told.
        if left.waits > 0 && replica.is_unsettled() && !replica.awaits_answer() {
            actions.push(Action::Wait(own));
        }
        if left.breaks > 0 && process.link.is_some() {
            actions.push(Action::Unlink(own));
        }
        let status = replica.status();
        if node.leads() {
            if left.appends > 0 {
                actions.push(Action::Append(own));
            }
            if left.lags > 0 {
                actions.push(Action::Lag(own));
            }
        }
        if left.trims > 0 && status.high_watermark > status.log_start {
            actions.push(Action::Trim(own));
        }
        if status.high_watermark > self.checkpointed(own) {
            actions.push(Action::Checkpoint(own));
        }
        let seal = self.store.row().seal.as_ref();
        let is_asked = seal.is_some_and(|seal| {
            let mut answers = seal.answers.iter();
            !answers.any(|answer| answer.member.spu == spu(own))
        });
        if is_asked {
            actions.push(Action::Survey(own));
        }
    }

    fn checkpointed(&self, own: usize) -> Offset {
        self.nodes[own]
            .log()
            .map_or(Offset::ZERO, |log| log.high_watermark)
    }

    /// Lets it happen; none when it changes nothing.
    #[must_use]
    pub fn act(&self, scope: &Scope, action: Action) -> Option<Self> {
        let mut next = self.clone();
        let is_done = match action {
            Action::Append(own) => next.append(own),
            Action::Sync(own) => next.step(own, |node, out| node.sync(out)),
            Action::Crash(own) => next.crash(own),
            Action::Start(own) => next.start(own, false),
            Action::StartLate(own) => next.start(own, true),
            Action::Row(own) => next.read_row(own),
            Action::Push(own, session) => next.step(own, |node, out| node.push(session, out)),
            Action::Deliver(at) => next.deliver(at, false),
            Action::DeliverTwice(at) => {
                next.left.duplicates -= 1;
                next.deliver(at, true)
            }
            Action::Detach(own, session) => {
                next.left.breaks -= 1;
                next.step(own, |node, out| node.detach(session, out))
            }
            Action::Unlink(own) => {
                next.left.breaks -= 1;
                let attempt = next.link_of(own)?;
                next.step(own, |node, out| node.step(Input::Unlinked { attempt }, out))
            }
            Action::Lag(own) => {
                next.left.lags -= 1;
                next.step(own, |node, out| node.wait(LAG_MS + 1, out))
            }
            Action::Wait(own) => {
                next.left.waits = next.left.waits.saturating_sub(1);
                next.step(own, |node, out| node.wait(MOMENT_MS, out))
            }
            Action::Checkpoint(own) => {
                next.step(own, |node, out| node.step(Input::Checkpoint, out))
            }
            Action::Snapshot(own) => next.step(own, |node, out| node.step(Input::Snapshot, out)),
            Action::Trim(own) => {
                next.left.trims -= 1;
                let to = next.nodes[own].replica()?.status().high_watermark;
                next.step(own, |node, out| node.step(Input::Retain { to }, out))
            }
            other => return next.act_on_disk(scope, other),
        };
        is_done.then(|| next.settled(scope))
    }

    /// What happens to disks.
    fn act_on_disk(mut self, scope: &Scope, action: Action) -> Option<Self> {
        let is_done = match action {
            Action::Damage(own) => {
                self.left.damages -= 1;
                self.tamper(own, lose_last)
            }
            Action::Wipe(own) => {
                self.left.wipes -= 1;
                self.tamper(own, |disk| *disk = Disk::blank(disk.storage + 1))
            }
            Action::Copy(own) => {
                self.left.disk_rollbacks -= 1;
                self.nodes[own].change(|node| {
                    let copy = Box::new(node.disk.clone());
                    node.disk.earlier = Some(copy);
                });
                true
            }
            Action::PutBack(own) => self.tamper(own, |disk| {
                if let Some(earlier) = disk.earlier.take() {
                    *disk = *earlier;
                }
            }),
            other => return self.act_at_store(scope, other),
        };
        is_done.then(|| self.settled(scope))
    }

    /// What controllers and operators do.
    fn act_at_store(mut self, scope: &Scope, action: Action) -> Option<Self> {
        let is_done = match action {
            Action::Fence(own) => {
                self.left.fences -= 1;
                let request = self.fence(own);
                self.decide(|store| store.ask(&request))
            }
            Action::FenceLate(own) => {
                self.left.fences -= 1;
                self.left.late_decisions -= 1;
                let request = self.fence(own);
                self.store.change(|store| store.prepare(&request))
            }
            Action::DecideLate(at) => {
                self.left.late_decisions -= 1;
                let message = self.wire.remove(at);
                let request = proposal(&message)?;
                self.store.change(|store| store.prepare(&request))
            }
            Action::CommitLate => {
                self.decide(Store::commit_late);
                true
            }
            Action::Tick => self.decide(Store::tick),
            Action::Remove(own) => {
                self.left.moves -= 1;
                let rest = (0..UNITS).filter(|other| *other != own).map(spu).collect();
                self.decide(|store| store.ask(&reassign(rest)))
            }
            Action::Add(own) => {
                let mut all: Vec<SpuId> = (0..UNITS).filter(|at| *at != own).map(spu).collect();
                all.push(spu(own));
                self.decide(|store| store.ask(&reassign(all)))
            }
            Action::Recover { accept_loss } => {
                let count = if accept_loss {
                    &mut self.left.accepted_losses
                } else {
                    &mut self.left.recoveries
                };
                *count -= 1;
                let request = Request::Recover {
                    topic: topic(),
                    partition: tidegate_proto::id::PartitionId(0),
                    accept_loss,
                    force: true,
                };
                self.decide(|store| store.ask(&request))
            }
            Action::Elect => {
                self.left.elections -= 1;
                let request = Request::ElectPreferred {
                    topic: topic(),
                    partitions: Vec::new(),
                };
                self.decide(|store| store.ask(&request))
            }
            Action::Survey(own) => self.survey(own),
            Action::Edit(min_isr) => {
                self.left.edits -= 1;
                self.decide(|store| store.ask(&crate::store::edit(min_isr)))
            }
            Action::RollBack(to) => {
                self.left.store_rollbacks -= 1;
                self.store
                    .change(|store| store.roll_back(to, scope.notices_rollback));
                true
            }
            _ => false,
        };
        is_done.then(|| self.settled(scope))
    }

    /// Rounds of a quick disk end at once; then the invariants are looked at.
    fn settled(mut self, scope: &Scope) -> Self {
        if scope.is_disk_quick {
            for own in 0..UNITS {
                while self.has_pending(own) && self.step(own, |node, out| node.sync(out)) {}
            }
        }
        if self.broken.is_none() {
            let nodes = self.nodes.each_ref().map(|node| &**node);
            self.broken = self.witness.judge(&self.store, &nodes);
        }
        self
    }

    fn has_pending(&self, own: usize) -> bool {
        let process = self.nodes[own].process.as_ref();
        process.is_some_and(|process| !process.pending.is_empty())
    }

    fn link_of(&self, own: usize) -> Option<u64> {
        let link = self.nodes[own].process.as_ref()?.link?;
        Some(link.attempt)
    }

    /// A unit does something: what it sends goes out, what it promises is noted.
    fn step(&mut self, own: usize, act: impl FnOnce(&mut Node, &mut Outbox)) -> bool {
        let mut out = Outbox::default();
        let epoch = |node: &Node| node.replica().map(|at| at.status().meta.leader_epoch);
        let before = epoch(&self.nodes[own]);
        let watermark = |node: &Node| node.replica().map(|at| at.status().high_watermark);
        let committed = watermark(&self.nodes[own]);
        let was = self.nodes[own].clone();
        self.nodes[own].change(|node| act(node, &mut out));
        if out.panic.is_some() {
            self.broken = Some(witness::ASSERTION);
            return true;
        }
        let before = before.filter(|_| epoch(&self.nodes[own]).is_some());
        if out.cuts.iter().any(|to| Some(*to) < committed) && self.is_same_gen(own) {
            self.broken = Some(witness::NO_CUT);
        }
        // T3 is the last line: where it has to hold, something committed was lost before.
        if out.alarms.iter().any(|text| text.contains("(T3)")) && !self.store.is_frozen {
            self.broken = Some(witness::NO_CUT);
        }
        let is_changed = was != self.nodes[own] || !out.messages.is_empty();
        for message in out.messages {
            self.send(message);
        }
        let min_isr = self.store.row().min_isr;
        let nodes = self.nodes.each_ref().map(|node| &**node);
        let broken = self.witness.change(|witness| {
            let mut broken = witness.see_step(nodes[own], before);
            for (_, base) in out.acked {
                broken = broken.or(witness.see_ack(&nodes, own, base, min_isr));
            }
            broken
        });
        self.broken = self.broken.or(broken);
        is_changed
    }

    /// Whether it cuts in the same history as the one that was promised in.
    fn is_same_gen(&self, own: usize) -> bool {
        let log = self.nodes[own].log();
        log.is_none_or(|log| log.meta.recovery_gen == 0)
    }

    fn send(&mut self, message: Message) {
        let message = Kept::new(message);
        if !self.wire.contains(&message) {
            self.wire.push(message);
        }
    }

    fn append(&mut self, own: usize) -> bool {
        let number = u64::from(self.left.appends);
        self.left.appends -= 1;
        let append = Append {
            request: RequestId(number),
            batches: vec![record(number)],
            acks: Acks::Quorum,
            expected_end: None,
            deadline_ms: u64::MAX,
        };
        self.step(own, |node, out| node.step(Input::Append(append), out))
    }

    fn crash(&mut self, own: usize) -> bool {
        self.left.crashes -= 1;
        self.nodes[own].change(Node::crash);
        // Its streams end with it; requests that it sent, or that wait for it, may still be taken.
        self.wire.retain(|message| match message.link() {
            Some(link) if link.follower == own => matches!(**message, Message::Attach { .. }),
            Some(link) if link.leader == own => matches!(**message, Message::Attach { .. }),
            _ => true,
        });
        true
    }

    fn start(&mut self, own: usize, is_late: bool) -> bool {
        let report: Register = self.nodes[own].report(self.store.key());
        let mut answer = Answer::default();
        self.decide(|store| {
            answer = store.ask(&Request::Register(report));
            answer.clone()
        });
        let Some(incarnation) = answer.incarnation else {
            return false;
        };
        let rows = self.store.rows().len();
        let cursor = rows.saturating_sub(if is_late { 3 } else { 1 });
        self.nodes[own].change(|node| node.start(incarnation, cursor));
        true
    }

    fn read_row(&mut self, own: usize) -> bool {
        let cursor = self.nodes[own].process.as_ref().map_or(0, |at| at.cursor);
        let Some(spec) = self.store.rows().get(cursor).cloned() else {
            return false;
        };
        let key = self.store.key();
        self.step(own, |node, out| node.read_row(key, &spec, out))
    }

    fn deliver(&mut self, at: usize, stays: bool) -> bool {
        let message = if stays {
            self.wire[at].clone()
        } else {
            self.wire.remove(at)
        };
        match &*message {
            Message::Attach { link, request } => {
                let request = *request;
                let link = *link;
                self.step(link.leader, |node, out| node.attach(link, request, out));
            }
            Message::Ack {
                link,
                position,
                ledger_as_of,
            } => {
                let Some(session) = self.nodes[link.leader].session(*link) else {
                    return !stays;
                };
                let input = Input::Acked {
                    session,
                    position: *position,
                    ledger_as_of: *ledger_as_of,
                };
                self.step(link.leader, |node, out| node.step(input, out));
            }
            Message::Answer { link, .. } | Message::Push { link, .. } | Message::Ended { link } => {
                let process = self.nodes[link.follower].process.as_ref();
                if process.is_some_and(|process| process.incarnation.0 == link.run) {
                    let input = to_follower(&message);
                    self.step(link.follower, |node, out| node.step(input, out));
                }
            }
            Message::Sealed { answer } => {
                let request = Request::SealAnswers(vec![*answer]);
                self.decide(|store| store.ask(&request));
            }
            Message::Propose { leader, proposal } => {
                let request = proposal_of(*leader, proposal.clone());
                let mut answer = Answer::default();
                self.decide(|store| {
                    answer = store.ask(&request);
                    answer.clone()
                });
                if let Some(outcome) = answer.isr.first() {
                    self.send(Message::Proposed {
                        leader: *leader,
                        version: proposal.version,
                        outcome: *outcome,
                    });
                }
            }
            Message::Proposed {
                leader,
                version,
                outcome,
            } => {
                let own = leader.spu.0 as usize;
                let process = self.nodes[own].process.as_ref();
                if process.is_some_and(|process| process.incarnation == leader.incarnation) {
                    let (version, outcome) = (*version, *outcome);
                    let input = Input::IsrAnswered { version, outcome };
                    self.step(own, |node, out| node.step(input, out));
                }
            }
        }
        true
    }

    /// The controllers do something; true when it changed anything.
    fn decide(&mut self, act: impl FnOnce(&mut Store) -> Answer) -> bool {
        let before = self.store.clone();
        let answer = self.store.change(act);
        if let Some(name) = answer.breach {
            self.broken = Some(match name {
                "IncarnationGate" => witness::INCARNATION_GATE,
                "IsrFloor" | "IsrIsWithinReplicas" => witness::ISR_RULE,
                "OneLeaderPerEpoch" => witness::ONE_LEADER,
                _ => witness::CONTROL,
            });
        }
        let store = &self.store;
        if self.witness_differs(store) {
            let store = self.store.clone();
            self.witness.change(|witness| witness.see_row(&store));
        }
        before != self.store
    }

    fn witness_differs(&self, store: &Store) -> bool {
        let mut seen = Witness::clone(&self.witness);
        seen.see_row(store);
        seen != *self.witness
    }

    fn fence(&self, own: usize) -> Request {
        Request::Leave {
            spu: spu(own),
            incarnation: self.store.unit(spu(own)).0,
        }
    }

    fn survey(&mut self, own: usize) -> bool {
        let Some(seal) = self.store.row().seal.clone() else {
            return false;
        };
        let now = Now {
            wall_ms: 0,
            monotonic_ms: 0,
        };
        let key = self.store.key();
        let answer = self.nodes[own].change(|node| {
            let member = tidegate_proto::control::IsrMember {
                spu: node.spu(),
                incarnation: node.process.as_ref()?.incarnation,
            };
            let replica = node.process.as_mut()?.replica.as_mut()?;
            let survey = replica.survey(now, seal.epoch)?;
            Some(SealAnswer {
                key,
                member,
                replica_gen: replica.status().meta.replica_gen,
                sealed_at: survey.epoch,
                last_epoch: survey.last_epoch,
                end: survey.end,
                log_start: survey.log_start,
                intact: survey.intact,
                remembers: false,
                remembers_ms: 0,
            })
        });
        let Some(answer) = answer else {
            return false;
        };
        let sent = self.wire.len();
        self.send(Message::Sealed { answer });
        self.wire.len() > sent
    }

    fn tamper(&mut self, own: usize, change: impl FnOnce(&mut Disk)) -> bool {
        let node = self.nodes[own].clone();
        self.witness
            .change(|witness| witness.see_disk_lost(&node.disk));
        self.nodes[own].change(|node| {
            change(&mut node.disk);
            node.disk.is_tampered = true;
        });
        true
    }
}

/// The last record goes, and whatever stands behind it.
fn lose_last(disk: &mut Disk) {
    if let Some(stored) = &mut disk.replica {
        let records = |batch: &&tidegate_proto::batch::Batch| {
            batch.next_offset() > batch.placement.base_offset
        };
        let last = stored.batches.iter().rev().find(records);
        let to = last.map_or(stored.log_start, |batch| batch.placement.base_offset);
        stored.cut(to);
        stored.is_intact = false;
    }
}

fn proposal(message: &Message) -> Option<Request> {
    match message {
        Message::Propose { leader, proposal } => Some(proposal_of(*leader, proposal.clone())),
        _ => None,
    }
}

fn proposal_of(
    leader: tidegate_proto::control::IsrMember,
    proposal: tidegate_proto::control::IsrProposal,
) -> Request {
    Request::ChangeIsr {
        leader: leader.spu,
        incarnation: leader.incarnation,
        proposals: vec![proposal],
    }
}

fn to_follower(message: &Message) -> Input {
    match message.clone() {
        Message::Answer {
            link,
            answer,
            snapshot,
        } => Input::AttachAnswered {
            attempt: link.attempt,
            answer,
            snapshot,
        },
        Message::Push {
            link,
            batches,
            high_watermark,
            log_start,
        } => Input::Pushed {
            attempt: link.attempt,
            batches,
            high_watermark,
            log_start,
        },
        Message::Ended { link } | Message::Attach { link, .. } | Message::Ack { link, .. } => {
            Input::Unlinked {
                attempt: link.attempt,
            }
        }
        Message::Propose { .. } | Message::Proposed { .. } | Message::Sealed { .. } => Input::Tick,
    }
}

/// A record that is like no other.
fn record(number: u64) -> ClientBatch {
    let mut builder = BatchBuilder::new(Codec::None);
    let value = number.to_le_bytes();
    builder
        .push(&RecordRef {
            timestamp_ms: 0,
            key: Datum::Absent,
            value: Datum::Bytes(&value),
            headers: &[],
        })
        .expect("it is small");
    builder.finish().expect("one record")
}
