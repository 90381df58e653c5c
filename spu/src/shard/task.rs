//! A shard: takes what it is told, steps machines, carries out effects.
//!
//! It never waits for the disk. All that waits for it is stepped before anything is submitted, so that
//! a busy shard submits rarely and much, and an idle one at once. Who steps it, and when, is the seat's
//! business.

mod completing;
mod following;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use tidegate_kit::clock;
use tidegate_log::{DeadCause, Log, LogDead};
use tidegate_proto::position::{Offset, ReplicaKey};
use tidegate_spu_core::{Append, Input, Now, RoleName};
use tokio::sync::oneshot;

use super::directory::Directory;
use super::effects::Outbox;
use super::hosted::Hosted;
use super::inbox::{Inbox, Waiting};
use super::message::{AppendMessage, Message, Uptime};
use super::peers::{Peers, SessionEvent};
use super::replies::Replies;
use super::surveys::Surveys;
use super::unsettled::Unsettled;
use crate::calendar::Calendar;
use crate::limits::SUBMISSION_BYTES_TARGET;
use crate::traffic::TrafficCounter;

/// What a shard is made of.
#[derive(Debug)]
pub(crate) struct ShardParts {
    pub(crate) number: u16,
    pub(crate) traffic: Arc<TrafficCounter>,
    pub(crate) log: Log,
    pub(crate) directory: Directory,
    pub(crate) uptime: Uptime,
    pub(crate) calendar: Arc<Calendar>,
    pub(crate) peers: Arc<dyn Peers>,
}

/// A shard's state, owned by whoever is at its seat.
#[derive(Debug)]
pub(crate) struct Shard {
    parts: ShardParts,
    /// Boxed: a table of ten thousand has room for sixteen.
    hosted: HashMap<ReplicaKey, Box<Hosted>>,
    replies: Replies,
    outbox: Outbox,
    /// Taken from the inbox; empty between turns.
    taken: Waiting,
    /// The log is dead: whether that is for lack of space.
    dead: Option<bool>,
    stopping: Option<Vec<oneshot::Sender<()>>>,
    /// Whether somebody looks at deadlines from time to time.
    is_timed: bool,
    surveys: Surveys,
    unsettled: Unsettled,
    /// A submission whose time to durability is being measured.
    measured: Option<(ReplicaKey, Offset, Instant)>,
}

impl Shard {
    pub(crate) fn new(parts: ShardParts) -> Self {
        Self {
            outbox: Outbox::new(
                parts.number,
                Arc::clone(&parts.traffic),
                Arc::clone(&parts.peers),
            ),
            parts,
            hosted: HashMap::new(),
            replies: Replies::default(),
            taken: Waiting::default(),
            dead: None,
            stopping: None,
            is_timed: false,
            surveys: Surveys::default(),
            unsettled: Unsettled::default(),
            measured: None,
        }
    }

    /// Steps all that waits.
    pub(crate) fn turn(&mut self, inbox: &Inbox) {
        let mut taken = std::mem::take(&mut self.taken);
        inbox.take(&mut taken);
        let now = self.now();
        self.complete(now, &mut taken);
        for message in taken.appends.drain(..) {
            self.append(now, message);
            if self.outbox.bytes() >= SUBMISSION_BYTES_TARGET {
                self.flush();
            }
        }
        self.flush();
        self.taken = taken;
    }

    /// Takes one message.
    pub(crate) fn tell(&mut self, message: Message) {
        self.take(self.now(), message);
        self.flush();
    }

    /// Whether the task is to be rung: requests wait and nobody looks at their deadlines, or all is
    /// done before the stop.
    pub(crate) fn wants_task(&mut self) -> bool {
        let is_waiting = !self.replies.is_empty() || !self.unsettled.is_empty();
        let is_untimed = !self.is_timed && is_waiting;
        self.is_timed |= is_untimed;
        is_untimed || self.is_settled()
    }

    /// Whether [`Self::tick`] is to be called from time to time.
    pub(crate) fn keeps_time(&self) -> bool {
        self.is_timed
    }

    fn now(&self) -> Now {
        Now {
            wall_ms: clock::now_ms(),
            monotonic_ms: self.parts.uptime.now_ms(),
        }
    }

    /// The same moment by the time that ages are counted by.
    fn dated(&self, now: Now) -> Now {
        let wall_ms = self.parts.calendar.observe(now.wall_ms, now.monotonic_ms);
        Now { wall_ms, ..now }
    }

    fn take(&mut self, now: Now, message: Message) {
        match message {
            Message::Open(hosted) => self.open(now, hosted),
            Message::Assign(key, row) => self.step(now, key, Input::Assigned(row)),
            Message::Configure(key, config, retention, row) => {
                if let Some(row) = row {
                    self.step(now, key, Input::Assigned(*row));
                }
                if let Some(hosted) = self.hosted.get_mut(&key) {
                    hosted.retention = retention;
                }
                self.step(now, key, Input::Configure(config));
                // Whoever gave up records looks for them next.
                let hosted = self.hosted.get(&key);
                let now_ms = self.dated(now).wall_ms;
                if let Some(to) = hosted.and_then(|hosted| hosted.expired(now_ms)) {
                    self.step(now, key, Input::Retain { to });
                }
            }
            Message::Survey(key, epoch, reply) => {
                self.surveys.ask(key, epoch, reply);
                self.survey(now, key);
            }
            Message::Close(key, done) => {
                self.step(now, key, Input::Close);
                self.flush();
                if let Some(hosted) = self.hosted.remove(&key) {
                    let left = hosted.sessions.iter();
                    left.for_each(|session| session.tell(SessionEvent::Over));
                }
                self.surveys.forget(key);
                let _ = done.send(());
            }
            Message::Attach(message) => self.attach(now, *message),
            Message::Acked(acks) => self.acked(now, acks),
            Message::Detached(ended) => self.detached(now, ended),
            Message::AttachAnswered(answered) => self.attach_answered(now, *answered),
            Message::Pushed(pushed) => self.pushed(now, *pushed),
            Message::Input(key, input) => self.told(now, key, *input),
            Message::Stop(done) => self.stop(Some(done)),
        }
    }

    /// Answers who asked what a replica holds, if that is known.
    fn survey(&mut self, now: Now, key: ReplicaKey) {
        let now = self.dated(now);
        if let Some(hosted) = self.hosted.get_mut(&key) {
            self.surveys.answer(now, hosted);
        }
    }

    fn open(&mut self, now: Now, mut hosted: Box<Hosted>) {
        let key = hosted.reader.key;
        let first = hosted.first.take();
        self.hosted.insert(key, hosted);
        let failed = self.dead.map(|no_space| Input::LogFailed { no_space });
        for input in first.map(|input| *input).into_iter().chain(failed) {
            self.step(now, key, input);
        }
    }

    fn append(&mut self, now: Now, message: AppendMessage) {
        let AppendMessage {
            key,
            batches,
            acks,
            expected_end,
            deadline_ms,
            pending,
        } = message;
        let Some(hosted) = self.hosted.get_mut(&key) else {
            let _ = pending.reply.send(Err(tidegate_spu_core::Refusal::Closed));
            return;
        };
        let request = self.replies.insert(pending);
        let append = Append {
            request,
            batches,
            acks,
            expected_end,
            deadline_ms,
        };
        let before = hosted.machine.end();
        self.outbox
            .step(hosted, &mut self.replies, now, Input::Append(append));
        let end = hosted.machine.end();
        if end != before {
            hosted.reader.appended(end, now.wall_ms);
            if self.measured.is_none() {
                self.measured = Some((key, end, clock::monotonic()));
            }
        }
    }

    fn step(&mut self, now: Now, key: ReplicaKey, input: Input) {
        if let Some(hosted) = self.hosted.get_mut(&key) {
            self.outbox.step(hosted, &mut self.replies, now, input);
            hosted.release_shipped();
            self.unsettled.note(hosted);
        }
    }

    /// Steps every replica that `input` has something for.
    fn step_all(&mut self, input: impl Fn(&Hosted) -> Option<Input>) {
        let now = self.now();
        for hosted in self.hosted.values_mut() {
            if let Some(input) = input(hosted) {
                self.outbox.step(hosted, &mut self.replies, now, input);
            }
        }
        self.flush();
    }

    /// Looks at deadlines.
    pub(crate) fn tick(&mut self) {
        self.is_timed = !self.replies.is_empty();
        let now = self.dated(self.now());
        for key in self.unsettled.take() {
            if let Some(hosted) = self.hosted.get_mut(&key) {
                hosted.is_unsettled = false;
                let (outbox, replies) = (&mut self.outbox, &mut self.replies);
                outbox.step(hosted, replies, now, Input::Tick);
                self.unsettled.note(hosted);
            }
        }
        self.is_timed |= !self.unsettled.is_empty();
        // Whatever waits was stepped since the last maintenance, or was found waiting by it.
        let stirred: Vec<ReplicaKey> = self.outbox.rota.stirred().collect();
        for key in stirred {
            if let Some(hosted) = self.hosted.get_mut(&key)
                && hosted.machine.is_waiting()
            {
                self.outbox
                    .step(hosted, &mut self.replies, now, Input::Tick);
            }
        }
        self.flush();
    }

    /// Looks at replicas that something happened to, and at some of the others; says at how many.
    pub(crate) fn maintain(&mut self) -> usize {
        self.maintain_at(self.now())
    }

    fn maintain_at(&mut self, now: Now) -> usize {
        let now = self.dated(now);
        let rota = &mut self.outbox.rota;
        let mut keys = rota.take_stirred();
        for key in rota.take_turns(|| self.hosted.keys().copied()) {
            // Marked, it is among the others already.
            if self.hosted.get(&key).is_some_and(|it| !it.is_stirred) {
                keys.push(key);
            }
        }
        let count = keys.len();
        for key in keys {
            let Some(hosted) = self.hosted.get_mut(&key) else {
                continue;
            };
            hosted.is_stirred = true;
            // At a follower the leader's start decides.
            let leads = hosted.machine.role() == RoleName::Leading;
            let expired = leads.then(|| hosted.expired(now.wall_ms)).flatten();
            let retain = expired.map(|to| Input::Retain { to });
            let wanted = hosted.reader.log.take_snapshot_wanted();
            let snapshot = wanted.then_some(Input::Snapshot);
            let inputs = retain.into_iter().chain(snapshot);
            for input in inputs.chain([Input::Checkpoint, Input::Tick]) {
                self.outbox.step(hosted, &mut self.replies, now, input);
            }
            hosted.is_stirred = false;
            // Deadlines and disks give snapshots up as well.
            hosted.release_shipped();
            hosted.tell_copies(now);
            self.unsettled.note(hosted);
            if hosted.machine.is_waiting() {
                self.outbox.rota.stir(&mut hosted.is_stirred, key);
            }
        }
        self.flush();
        self.outbox.count_submitted();
        count
    }

    fn flush(&mut self) {
        if let Err(dead) = self.outbox.flush(&self.parts.log, &self.parts.directory) {
            self.dead_log(&dead);
        }
    }

    fn dead_log(&mut self, dead: &LogDead) {
        self.fail(dead.cause == DeadCause::NoSpace);
    }

    /// The log is dead: what waits ends, and appends are refused from now on.
    fn fail(&mut self, no_space: bool) {
        if self.dead.replace(no_space).is_none() {
            self.measured = None;
            self.step_all(|_| Some(Input::LogFailed { no_space }));
            self.hosted
                .values_mut()
                .for_each(|hosted| hosted.inflight.clear());
        }
    }

    /// Takes nothing more; `done` is answered when the shard has ended.
    pub(crate) fn stop(&mut self, done: Option<oneshot::Sender<()>>) {
        let first = self.stopping.is_none();
        self.stopping.get_or_insert_default().extend(done);
        if first {
            self.step_all(|_| Some(Input::Stop));
        }
    }

    /// Whether the shard may end: it was told to, and all that was submitted is durable or lost.
    pub(crate) fn is_settled(&self) -> bool {
        let settled = |hosted: &Hosted| {
            hosted.machine.durable_end() == hosted.machine.end() || self.dead.is_some()
        };
        self.stopping.is_some() && self.hosted.values().all(|hosted| settled(hosted))
    }

    /// Ends without a step: a machine is not what it should be. What is committed is still read, nothing
    /// is appended, and requests that wait lose their answer.
    pub(crate) fn abandon(self) {
        for hosted in self.hosted.values() {
            hosted.reader.became(RoleName::Failed);
        }
        self.parts.directory.touch();
    }

    /// Ends. Whoever got an append in before the inbox closed is refused, not left without an answer.
    pub(crate) fn finish(mut self, inbox: &Inbox) {
        self.turn(inbox);
        self.step_all(|_| Some(Input::Checkpoint));
        self.step_all(|_| Some(Input::Close));
        for done in self.stopping.into_iter().flatten() {
            let _ = done.send(());
        }
    }
}

#[cfg(test)]
mod tests;
