//! A storage unit: the shell around replica machines, without sockets, files or threads.
//!
//! Here is its life: it opens its disk, registers, follows the topology, opens and closes replicas. What it
//! does with a replica's effects is in `hosted`, what units tell each other in `links`. Invariants: nothing
//! is served before a controller admitted it and the topology says so (S6); what a round has not put on the
//! disk is gone with the process.

mod failing;
mod hosted;
mod journal;
mod links;
mod proposals;
mod reading;
mod registering;
mod rows;
mod seals;
mod states;
mod storage;

use std::collections::BTreeMap;
use std::sync::Arc;

use tidegate_proto::control::{IsrMember, IsrProposal, Standing, TopicConfig};
use tidegate_proto::id::{Incarnation, RunId, SpuId};
use tidegate_proto::position::ReplicaKey;
use tidegate_sc_core::decision::{Outcome, Request};
use tidegate_sc_core::model::Model;
use tidegate_sc_core::refusal::Refusal as ControlRefusal;
use tidegate_sc_core::rows::PartitionRow;
use tidegate_spu_core::{Input, Now};

use crate::disk::{Disk, Image};
use crate::message::{Context, Message, Note, Timer};
use crate::network::Node;
use crate::options::CONTROLLERS;
use crate::plant::Plant;
use crate::queue::{MS, Time};
use crate::stored::Stored;
use hosted::Hosted;
use journal::Journal;
use links::Links;
use rows::{assignment, replica_config, wanted_gen};

/// How often a unit looks around: heartbeats are a multiple of it.
const BEAT: Time = 125 * MS;
const BEATS_PER_HELLO: u64 = 4;
/// Silence after which it tries another controller.
const CONTROLLER_PATIENCE: Time = 1_200 * MS;
/// How long reading the disk takes at a start.
const OPENING: Time = 30 * MS;

/// What does not change while a run lasts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct UnitTerms {
    pub(crate) sync_us: (u64, u64),
    pub(crate) replica_lag_ms: u64,
    /// Batches in one push.
    pub(crate) push_max: usize,
}

/// A process of a unit. Its disk is apart: it outlives the process.
#[derive(Debug)]
pub(crate) struct Unit {
    pub(crate) id: u32,
    terms: UnitTerms,
    run: RunId,
    /// The registration that a controller granted, and the calls that asked for one.
    pub(crate) incarnation: Option<Incarnation>,
    registering: Option<(u64, Time)>,
    controller: u32,
    heard_at: Time,
    beats: u64,
    model: Option<Arc<Model>>,
    /// The topology contains the registration.
    is_confirmed: bool,
    pub(crate) replicas: BTreeMap<ReplicaKey, Hosted>,
    journal: Journal,
    /// The real log, in runs that have one.
    stored: Option<Stored>,
    links: Links,
    /// Tells attempts of this process from those of earlier ones, on the way between units.
    salt: u64,
    proposals: Vec<IsrProposal>,
    proposed: BTreeMap<u64, Vec<(ReplicaKey, u64)>>,
    /// How many faults slow its disk down.
    pub(crate) slow: u32,
    pub(crate) is_stopping: bool,
}

impl Unit {
    pub(crate) fn new(id: u32, run: RunId, terms: UnitTerms, controller: u32) -> Self {
        Self {
            id,
            terms,
            run,
            incarnation: None,
            registering: None,
            controller: controller % CONTROLLERS,
            heard_at: 0,
            beats: 0,
            model: None,
            is_confirmed: false,
            replicas: BTreeMap::new(),
            journal: Journal::default(),
            stored: None,
            links: Links::default(),
            salt: run.0.as_u64_pair().0,
            proposals: Vec::new(),
            proposed: BTreeMap::new(),
            slow: 0,
            is_stopping: false,
        }
    }

    pub(crate) fn start(&mut self, cx: &mut Context) {
        self.heard_at = cx.now;
        cx.after(OPENING, Timer::Opened);
    }

    const fn spu(&self) -> SpuId {
        SpuId(self.id)
    }

    fn member(&self) -> Option<IsrMember> {
        let spu = self.spu();
        self.incarnation
            .map(|incarnation| IsrMember { spu, incarnation })
    }

    pub(crate) fn wakes(&mut self, cx: &mut Context, disk: &mut Disk, timer: Timer) {
        match timer {
            Timer::Opened => {
                if cx.plant == Some(Plant::RestartForgets) {
                    disk.forget_newest();
                }
                self.open_log(cx, disk);
                self.register(cx, disk);
                cx.after(BEAT, Timer::Beat);
            }
            Timer::Beat => self.beat(cx, disk),
            Timer::Written { round } => self.written(cx, round),
            Timer::Synced { round } => self.synced(cx, disk, round),
            Timer::AttachAgain { key, attempt } => self.attach_again(cx, key, attempt),
            Timer::Propose => self.propose(cx),
            Timer::TryAgain { .. } | Timer::GiveUp { .. } | Timer::Turn | Timer::Late { .. } => {}
        }
    }

    fn beat(&mut self, cx: &mut Context, disk: &mut Disk) {
        cx.after(BEAT, Timer::Beat);
        self.beats += 1;
        if cx.now > self.heard_at + CONTROLLER_PATIENCE {
            self.heard_at = cx.now;
            self.controller = (self.controller + 1) % CONTROLLERS;
        }
        if self.incarnation.is_none() {
            let is_late = self
                .registering
                .is_none_or(|(_, at)| cx.now > at + CONTROLLER_PATIENCE);
            if is_late {
                self.register(cx, disk);
            }
            return;
        }
        if self.beats.is_multiple_of(BEATS_PER_HELLO) {
            self.hello(cx);
        }
        self.ask_log(cx, |stored, cx| stored.work(&mut cx.random, cx.wall_ms));
        self.answer_seals(cx);
        self.tell_failed(cx);
        self.watch_links(cx);
        for key in self.keys() {
            self.step(cx, key, Input::Tick);
            if cx.plant == Some(Plant::TrimsAlone) {
                self.trims_alone(cx, key);
            }
            if self.beats.is_multiple_of(8) {
                self.step(cx, key, Input::Checkpoint);
            }
        }
    }

    fn keys(&self) -> Vec<ReplicaKey> {
        self.replicas.keys().copied().collect()
    }

    fn hello(&self, cx: &mut Context) {
        let unit = self
            .incarnation
            .map(|incarnation| (self.spu(), incarnation));
        let revision = self.model.as_ref().map_or(0, |model| model.revision);
        cx.send(
            Node::Controller(self.controller),
            Message::Hello { unit, revision },
        );
    }

    /// A controller answered.
    pub(crate) fn answered(
        &mut self,
        cx: &mut Context,
        disk: &mut Disk,
        call: u64,
        outcome: Result<Outcome, ControlRefusal>,
    ) {
        self.heard_at = cx.now;
        if let Some(proposed) = self.proposed.remove(&call) {
            return self.isr_answered(cx, &proposed, outcome);
        }
        if self.registering.is_some_and(|(asked, _)| asked == call)
            && self.incarnation.is_none()
            && let Ok(Outcome::Registered(incarnation)) = outcome
        {
            self.incarnation = Some(incarnation);
            disk.last_incarnation = Some(incarnation);
            self.keep_registration(cx, incarnation);
            disk.granted = disk.attempt.take().or(disk.granted);
            disk.is_tainted = false;
            disk.lost_power = false;
            cx.say(|| format!("registered as {incarnation}"));
            self.hello(cx);
        }
    }

    /// The topology, or the controller's word on the registration.
    pub(crate) fn news(
        &mut self,
        cx: &mut Context,
        disk: &mut Disk,
        model: Option<Arc<Model>>,
        standing: Option<Standing>,
    ) {
        self.heard_at = cx.now;
        if let Some(standing) = standing
            && standing != Standing::Current
        {
            cx.say(|| format!("excluded: {standing:?}"));
            return cx.note(Note::Excluded);
        }
        let Some((model, own)) = model.zip(self.incarnation) else {
            return;
        };
        if self
            .model
            .as_ref()
            .is_some_and(|known| known.revision >= model.revision)
        {
            return;
        }
        let Some(row) = model.spu(self.spu()) else {
            return;
        };
        if row.incarnation > own {
            // Another process acts under this number: its rows are not for us (S5).
            return cx.note(Note::Excluded);
        }
        if row.incarnation < own {
            return; // It would name epochs of an earlier run.
        }
        self.is_confirmed = true;
        let before = self.model.replace(Arc::clone(&model));
        self.apply(cx, disk, &model, before.as_deref());
    }

    /// Opens, reassigns and closes replicas as the rows say.
    fn apply(&mut self, cx: &mut Context, disk: &mut Disk, model: &Model, before: Option<&Model>) {
        let gone: Vec<ReplicaKey> = self
            .replicas
            .iter()
            .filter(|(key, hosted)| {
                wanted_gen(model, **key, self.spu()) != Some(hosted.replica_gen)
            })
            .map(|(key, _)| *key)
            .collect();
        for key in gone {
            self.step(cx, key, Input::Close);
            self.replicas.remove(&key);
            self.forget(key);
        }
        for key in model.held_by(self.spu()) {
            let Some(row) = model.partition(key) else {
                continue;
            };
            let known = before.and_then(|before| before.partition(key));
            if known.is_some_and(|known| known == row) && self.replicas.contains_key(&key) {
                continue;
            }
            let Some(mut assignment) = assignment(row, self.spu()) else {
                continue;
            };
            if cx.plant == Some(Plant::LeadsUnasked) {
                assignment.leader = Some(self.spu());
            }
            if !self.replicas.contains_key(&key) {
                let config = model
                    .topic_by_id(key.topic_id)
                    .map(|topic| &topic.row.config);
                self.open(cx, disk, key, row, config);
            }
            self.step(cx, key, Input::Assigned(assignment));
        }
    }

    fn open(
        &mut self,
        cx: &mut Context,
        disk: &mut Disk,
        key: ReplicaKey,
        row: &PartitionRow,
        config: Option<&TopicConfig>,
    ) {
        let (spu, lag_ms) = (self.spu(), self.terms.replica_lag_ms);
        let Some((replica_gen, incarnation, config)) = row
            .replica(spu)
            .zip(self.incarnation)
            .zip(config)
            .map(|((replica, own), config)| (replica.replica_gen, own, config))
        else {
            return;
        };
        if !disk.images.contains_key(&key) {
            self.make_place(cx, key, replica_gen);
        }
        let image = disk
            .images
            .entry(key)
            .or_insert_with(|| Image::new(replica_gen));
        if image.meta.replica_gen != replica_gen {
            // It changed its place and came back: the copy of before goes, on the word of a newer row.
            let before = image.meta.replica_gen;
            cx.note(Note::GivesUp {
                key,
                replica_gen: before,
            });
            *image = Image::new(replica_gen);
            self.journal.forget(key);
            self.make_place(cx, key, replica_gen);
            cx.note(Note::Reached("a copy of an earlier membership goes"));
        }
        let config = replica_config(config, lag_ms);
        if let Some(stored) = &self.stored {
            stored.defer(key, config.defers_sync());
        }
        let hosted = Hosted::open(key, spu, incarnation, image, config);
        self.replicas.insert(key, hosted);
    }

    /// The process ends in order: it says so, and what waits may still become durable.
    pub(crate) fn stop(&mut self, cx: &mut Context) {
        self.is_stopping = true;
        for key in self.keys() {
            self.step(cx, key, Input::Stop);
        }
        if let Some(incarnation) = self.incarnation {
            let spu = self.spu();
            let call = cx.random.next();
            let request = Box::new(Request::Leave { spu, incarnation });
            cx.send(
                Node::Controller(self.controller),
                Message::Call { call, request },
            );
        }
    }
}

/// The time of a step.
const fn now(cx: &Context) -> Now {
    Now {
        wall_ms: cx.wall_ms,
        monotonic_ms: cx.monotonic_ms,
    }
}
