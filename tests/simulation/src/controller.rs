//! A controller: the shell around the topology machine, without a database, sockets or tasks.
//!
//! It decides on the state that it knows last and commits conditionally; who loses reads again and decides
//! again. Whoever holds the lease shuts out the silent, elects and moves on. Invariants: one commit is
//! under way at a time, and one whose answer is lost is looked up before anything else is done.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use tidegate_proto::id::{Incarnation, RunId, SpuId};
use tidegate_sc_core::decide::decide;
use tidegate_sc_core::decision::{Outcome, Request};
use tidegate_sc_core::holdings::Untold;
use tidegate_sc_core::liveness::{Liveness, standing};
use tidegate_sc_core::model::Model;
use tidegate_sc_core::refusal::Refusal;
use tidegate_sc_core::tick::{Clocks, tick};

use crate::message::{Context, Message, StoreCall, Timer, Told};
use crate::network::Node;
use crate::options::CONTROLLERS;
use crate::queue::{MS, Time};
use crate::store::{Commit, Fate};

/// How often it looks whether something is due.
const BEAT: Time = 100 * MS;
/// How long it waits for the store before it asks again.
const PATIENCE: Time = 600 * MS;
/// How long it holds the lease without renewing it.
pub(crate) const LEASE: Time = 2_000 * MS;
const RENEWAL: Time = 500 * MS;
/// Attempts at a request, each on a newer state.
const TRIES_MAX: u32 = 8;
/// How old a registration may be when it is decided: units begin anew no sooner after one that failed.
const REGISTER_AGE_MAX: Time = 40 * MS;
/// Requests that wait.
const WORK_MAX: usize = 64;

#[derive(Debug)]
struct Work {
    from: Node,
    call: u64,
    request: Request,
    tries: u32,
    asked_at: Time,
    /// The run that the unit's row named when this was decided first; for registrations.
    run: Option<Option<RunId>>,
}

impl Work {
    /// A registration whose process gave it up, or that another process of that unit overtook: decided now,
    /// its disk would look as if it had gone back in time (S2).
    fn is_overtaken(&mut self, now: Time, model: &Model) -> bool {
        let Request::Register(report) = &self.request else {
            return false;
        };
        let run = model.spu(report.spu_id).and_then(|row| row.run_id);
        let first = *self.run.get_or_insert(run);
        now > self.asked_at + REGISTER_AGE_MAX || (run != first && run != Some(report.run_id))
    }
}

#[derive(Debug)]
struct Current {
    /// None for what it does by itself.
    work: Option<Work>,
    outcome: Outcome,
    commit: u64,
    asked_at: Time,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Controller {
    id: u32,
    model: Option<Arc<Model>>,
    spu_timeout_ms: u64,
    lease: Option<(u64, Time)>,
    controls: Option<u64>,
    liveness: Liveness,
    work: VecDeque<Work>,
    current: Option<Current>,
    is_behind: bool,
    looked_at: Time,
    renewed_at: Time,
    /// Who follows it, until when.
    followers: BTreeMap<Node, Time>,
}

impl Controller {
    pub(crate) fn new(id: u32, spu_timeout_ms: u64) -> Self {
        Self {
            id,
            model: None,
            spu_timeout_ms,
            lease: None,
            controls: None,
            liveness: Liveness::new(0, spu_timeout_ms),
            work: VecDeque::new(),
            current: None,
            is_behind: true,
            looked_at: 0,
            renewed_at: 0,
            followers: BTreeMap::new(),
        }
    }

    pub(crate) fn start(&mut self, cx: &mut Context) {
        self.look(cx);
        cx.after(BEAT, Timer::Beat);
    }

    pub(crate) const fn is_holder(&self) -> bool {
        self.lease.is_some()
    }

    pub(crate) fn beat(&mut self, cx: &mut Context) {
        cx.after(BEAT, Timer::Beat);
        if self.lease.is_some_and(|(_, until)| until <= cx.now) {
            self.lease = None;
            self.controls = None;
        }
        if cx.now >= self.renewed_at + RENEWAL {
            self.renewed_at = cx.now;
            let holder = self.id;
            cx.send(Node::Store, Message::Ask(StoreCall::Lease { holder }));
        }
        if let Some(current) = &mut self.current
            && cx.now >= current.asked_at + PATIENCE
        {
            current.asked_at = cx.now;
            let id = current.commit;
            cx.send(Node::Store, Message::Ask(StoreCall::LookUp { id }));
        }
        // Bells get lost.
        if cx.now >= self.looked_at + 10 * BEAT
            || (self.is_behind && cx.now >= self.looked_at + PATIENCE)
        {
            self.look(cx);
        }
        self.advance(cx);
    }

    fn look(&mut self, cx: &mut Context) {
        self.looked_at = cx.now;
        cx.send(Node::Store, Message::Ask(StoreCall::Look));
    }

    /// A node follows, and a unit is heard of.
    pub(crate) fn hello(
        &mut self,
        cx: &mut Context,
        from: Node,
        unit: Option<(SpuId, Incarnation)>,
        revision: u64,
    ) {
        self.followers.insert(from, cx.now + 2_000 * MS);
        if let Some((spu, incarnation)) = unit {
            self.hear(cx, spu, incarnation);
            for other in (0..CONTROLLERS).filter(|other| *other != self.id) {
                cx.send(Node::Controller(other), Message::Relay { spu, incarnation });
            }
        }
        let Some(model) = &self.model else { return };
        let standing = unit.map(|(spu, incarnation)| standing(model, spu, incarnation));
        let news = (model.revision > revision).then(|| Arc::clone(model));
        cx.send(
            from,
            Message::News {
                model: news,
                standing,
            },
        );
    }

    pub(crate) fn hear(&mut self, cx: &Context, spu: SpuId, incarnation: Incarnation) {
        self.liveness.hear(spu, incarnation, cx.monotonic_ms);
    }

    pub(crate) fn call(&mut self, cx: &mut Context, from: Node, call: u64, request: Request) {
        if self.work.len() < WORK_MAX {
            let (tries, asked_at, run) = (0, cx.now, None);
            self.work.push_back(Work {
                from,
                call,
                request,
                tries,
                asked_at,
                run,
            });
            self.advance(cx);
        }
    }

    /// The store rang: there is something newer.
    pub(crate) fn rung(&mut self, cx: &mut Context, model: &Arc<Model>) {
        self.take_in(cx, model);
        self.advance(cx);
    }

    pub(crate) fn told(&mut self, cx: &mut Context, told: Told) {
        match told {
            Told::Looked { model } => {
                self.is_behind = false;
                self.take_in(cx, &model);
            }
            Told::Leased { epoch, model } => {
                self.take_in(cx, &model);
                self.lease = epoch.map(|epoch| (epoch, cx.now + LEASE - RENEWAL));
                if epoch.is_some() && self.controls != epoch {
                    // Nobody was heard by this holder yet, and the last one may have committed since.
                    self.controls = epoch;
                    self.liveness = Liveness::new(cx.monotonic_ms, self.spu_timeout_ms);
                    self.is_behind = true;
                    self.look(cx);
                }
            }
            Told::Committed { id, fate, model } => {
                self.take_in(cx, &model);
                self.settled(cx, id, fate);
            }
        }
        self.advance(cx);
    }

    fn settled(&mut self, cx: &mut Context, id: u64, fate: Fate) {
        let Some(current) = self.current.take_if(|current| current.commit == id) else {
            return;
        };
        match (fate, current.work) {
            (Fate::Made, Some(work)) => {
                let outcome = Ok(current.outcome);
                cx.send(
                    work.from,
                    Message::Answer {
                        call: work.call,
                        outcome,
                    },
                );
            }
            (Fate::Made, None) => {}
            (Fate::Fenced, _) => {
                self.lease = None;
                self.controls = None;
            }
            (Fate::Conflict | Fate::NotMade, work) => {
                self.is_behind = true;
                self.look(cx);
                if let Some(mut work) = work {
                    work.tries += 1;
                    if work.tries < TRIES_MAX {
                        self.work.push_front(work);
                    }
                }
            }
        }
    }

    fn take_in(&mut self, cx: &mut Context, model: &Arc<Model>) {
        if self
            .model
            .as_ref()
            .is_some_and(|known| known.revision >= model.revision)
        {
            return;
        }
        self.model = Some(Arc::clone(model));
        self.followers.retain(|_, until| *until > cx.now);
        for node in self.followers.keys() {
            let model = Some(Arc::clone(model));
            cx.send(
                *node,
                Message::News {
                    model,
                    standing: None,
                },
            );
        }
    }

    /// Begins the next piece of work, if there is one and nothing is under way.
    fn advance(&mut self, cx: &mut Context) {
        let Some(model) = self.model.clone() else {
            return;
        };
        while self.current.is_none() && !self.is_behind {
            let Some(mut work) = self.work.pop_front() else {
                break;
            };
            if work.is_overtaken(cx.now, &model) {
                continue;
            }
            let seed = cx.random.uuid();
            match decide(&model, cx.wall_ms, seed, &work.request) {
                Err(refusal) => answer(cx, &work, Err(refusal)),
                Ok(decision) if decision.changes.is_empty() => {
                    answer(cx, &work, Ok(decision.outcome));
                }
                Ok(decision) => {
                    let at_revision = decision.whole_state.then_some(model.revision);
                    let id = cx.random.next();
                    let commit = Commit {
                        id,
                        changes: decision.changes,
                        guards: decision.guards,
                        at_revision,
                        lease: None,
                    };
                    self.commit(cx, commit, Some(work), decision.outcome);
                }
            }
        }
        self.control(cx, &model);
    }

    fn commit(&mut self, cx: &mut Context, commit: Commit, work: Option<Work>, outcome: Outcome) {
        self.current = Some(Current {
            work,
            outcome,
            commit: commit.id,
            asked_at: cx.now,
        });
        cx.send(Node::Store, Message::Ask(StoreCall::Commit(commit)));
    }

    /// What the holder of the lease does by itself.
    fn control(&mut self, cx: &mut Context, model: &Arc<Model>) {
        let Some((epoch, _)) = self.lease else { return };
        if self.current.is_some() || self.is_behind || self.controls != Some(epoch) {
            return;
        }
        self.liveness.observe(model, cx.monotonic_ms);
        let clocks = Clocks {
            wall_ms: cx.wall_ms,
            monotonic_ms: cx.monotonic_ms,
        };
        let due = tick(model, clocks, cx.random.uuid(), &self.liveness, &Untold);
        if due.changes.is_empty() {
            return;
        }
        let commit = Commit {
            id: cx.random.next(),
            changes: due.changes,
            guards: due.guards,
            at_revision: None,
            lease: Some(epoch),
        };
        self.commit(cx, commit, None, Outcome::None);
    }
}

fn answer(cx: &mut Context, work: &Work, outcome: Result<Outcome, Refusal>) {
    let call = work.call;
    cx.send(work.from, Message::Answer { call, outcome });
}
