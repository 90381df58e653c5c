//! The phases of a run: begin, chaos, heal, quiet, the final reading.
//!
//! After the chaos nothing goes wrong any more, and everything has to come to rest in bounded time (21).
//! Invariant: a run ends, well or with a sentence.

use tidegate_proto::api::topic::{Setting, TopicConfigRequest, TopicRequest};
use tidegate_proto::control::Durability;
use tidegate_proto::id::{ProducerId, SpuId};
use tidegate_proto::name::TopicName;
use tidegate_proto::position::ReplicaKey;
use tidegate_sc_core::decide::decide;
use tidegate_sc_core::decision::{Request, TopicWrite};
use tidegate_spu_core::RoleName;

use super::{Event, World};
use crate::client::{Consumer, WriterClient, values};
use crate::network::Node;
use crate::options::{CHAOS_FROM_MS, CONTROLLERS, GATEWAYS, UNITS};
use crate::queue::{MS, Time};
use crate::store::Commit;
use crate::unit::Unit;

/// Where a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Nodes start, topics are made.
    Begin,
    Chaos,
    /// Nothing goes wrong any more; clients go on.
    Heal,
    /// Clients write nothing new.
    Quiet,
    Over,
}

/// How often it is looked whether a phase is over.
const STEP: Time = 250 * MS;
/// How long clients go on after the chaos.
const HEAL: Time = 1_000 * MS;
/// All has to be at rest by then (21): what clients may wait, a time-out of units, an election.
const QUIET_MAX: Time = 20_000 * MS;
/// Partitions of which a working complete copy is left are led by then (21).
const LED_MAX: Time = 15_000 * MS;
/// Topics have to be made by then.
const BEGIN_MAX: Time = 30_000 * MS;

impl World {
    /// Puts into the queue what is known from the start.
    pub(super) fn plan(&mut self) {
        for at in 0..CONTROLLERS {
            self.queue.put_at(
                0,
                Event::Starts {
                    node: Node::Controller(at),
                },
            );
        }
        for at in 0..UNITS {
            let delay = u64::from(at) * 3 * MS;
            self.queue.put_at(
                delay,
                Event::Starts {
                    node: Node::Unit(at),
                },
            );
        }
        for at in 0..GATEWAYS {
            self.queue.put_at(
                0,
                Event::Starts {
                    node: Node::Gateway(at),
                },
            );
        }
        self.queue.put_at(STEP, Event::Phase);
    }

    pub(super) fn next_phase(&mut self) {
        self.queue.put_in(STEP, Event::Phase);
        let since = self.queue.now().saturating_sub(self.phase_since);
        match self.phase {
            Phase::Begin => {
                if self.all_registered() {
                    self.make_topics();
                    self.begin_chaos();
                } else if since > BEGIN_MAX {
                    self.fail("21 Liveness: units do not register".to_owned());
                }
            }
            Phase::Chaos if since >= self.options.chaos_ms * MS => self.heal(),
            Phase::Heal if since >= HEAL => {
                if !self.goes_on_failing(since) {
                    self.writers.iter_mut().for_each(WriterClient::stop);
                    self.enter(Phase::Quiet);
                }
            }
            Phase::Quiet => {
                self.recover_what_nobody_leads();
                let unrest = self.unrest();
                if unrest.is_none() {
                    self.end();
                } else if since > QUIET_MAX {
                    let what = unrest.unwrap_or_default();
                    self.fail(format!("21 Liveness: {what}"));
                }
            }
            Phase::Chaos | Phase::Heal | Phase::Over => {}
        }
    }

    fn enter(&mut self, phase: Phase) {
        self.say(|| format!("phase {phase:?}"));
        self.phase = phase;
        self.phase_since = self.queue.now();
    }

    fn all_registered(&self) -> bool {
        let mut units = self.units.iter().flatten();
        units.clone().count() == UNITS as usize && units.all(|unit| unit.incarnation.is_some())
    }

    fn make_topics(&mut self) {
        let before = self.store.model.revision;
        for at in 0..self.options.topics.len() {
            let plan = self.options.topics[at].clone();
            let Ok(name) = TopicName::parse(&format!("t{at}")) else {
                continue;
            };
            let durability = if plan.is_interval {
                Durability::Interval
            } else {
                Durability::Ack
            };
            let request = TopicRequest {
                partitions: Setting::Value(plan.partitions),
                replication_factor: Setting::Value(plan.copies),
                min_in_sync: Setting::Value(plan.min_in_sync),
                config: Setting::Value(TopicConfigRequest {
                    durability: Setting::Value(durability),
                    ..TopicConfigRequest::default()
                }),
                ..TopicRequest::default()
            };
            let write = TopicWrite {
                name: name.clone(),
                request,
                if_match: None,
            };
            let seed = self.random.uuid();
            let request = Request::CreateTopic(write);
            let decision = match decide(&self.store.model, 1_700_000_000_000, seed, &request) {
                Ok(decision) => decision,
                Err(refusal) => return self.fail(format!("topic {name} is refused: {refusal:?}")),
            };
            let commit = Commit {
                id: self.random.next(),
                changes: decision.changes,
                guards: decision.guards,
                at_revision: None,
                lease: None,
            };
            let outcome = self.store.apply(&commit).map(drop);
            self.check(outcome);
        }
        let topics = self.store.model.topics.values();
        self.keys = topics
            .flat_map(|topic| topic.partitions.iter().map(|row| row.key()))
            .collect();
        self.ring(before);
    }

    fn keys_of(&self, topic: u32) -> Vec<ReplicaKey> {
        let topic = self.store.model.topics.values().nth(topic as usize);
        let rows = topic.into_iter().flat_map(|topic| topic.partitions.iter());
        rows.map(|row| row.key()).collect()
    }

    fn begin_chaos(&mut self) {
        self.enter(Phase::Chaos);
        for (at, plan) in self.options.writers.clone().into_iter().enumerate() {
            let keys = self.keys_of(plan.topic);
            let id = u32::try_from(at).unwrap_or_default();
            let mut writer = WriterClient::new(id, plan, ProducerId(u64::from(id) + 1));
            let mut cx = self.context(Node::Client(id));
            writer.start(&mut cx, keys);
            self.writers.push(writer);
            self.carry_out(Node::Client(id), cx);
        }
        for at in 0..self.options.consumers {
            let key = self.keys[at as usize % self.keys.len()];
            let id = u32::try_from(self.writers.len()).unwrap_or_default() + at;
            let mut consumer = Consumer::new(id, key, &mut self.history);
            let mut cx = self.context(Node::Client(id));
            consumer.poll(&mut cx);
            self.consumers.push(consumer);
            self.carry_out(Node::Client(id), cx);
        }
        let now_ms = self.queue.now() / MS;
        for (at, fault) in self.options.faults.iter().enumerate() {
            if !self.options.without.contains(&at) {
                let at_ms = now_ms + fault.at_ms.saturating_sub(CHAOS_FROM_MS) + 500;
                self.queue
                    .put_at(at_ms * MS, Event::Fault { at, begins: true });
            }
        }
    }

    /// True while replicas that failed are left as they are, to see who leads instead of them.
    fn goes_on_failing(&mut self, since: Time) -> bool {
        let failing = self.still_failing();
        if failing.is_empty() {
            return false;
        }
        match self.ill_led() {
            Some(what) if since > LED_MAX => self.fail(format!("21 Liveness: {what}")),
            Some(_) => {}
            None => {
                self.coverage
                    .reached("all that can be is led beside what failed");
                failing.into_iter().for_each(|at| self.fault(at, false));
            }
        }
        true
    }

    fn heal(&mut self) {
        self.enter(Phase::Heal);
        self.is_calm = true;
        let failing = self.still_failing();
        let open: Vec<usize> = self.targets.keys().copied().collect();
        for at in open.into_iter().filter(|at| !failing.contains(at)) {
            self.fault(at, false);
        }
        self.network.heal();
        self.store.down = 0;
        self.store.unknown = 0;
        let paused: Vec<Node> = self.paused.keys().copied().collect();
        for node in paused {
            self.queue.put_in(0, Event::Resumes { node });
            self.paused.insert(node, self.queue.now());
        }
        for unit in self.units.iter_mut().flatten() {
            unit.slow = 0;
        }
        let units = (0..UNITS).map(Node::Unit);
        let nodes = units.chain((0..CONTROLLERS).map(Node::Controller));
        for node in nodes
            .chain((0..GATEWAYS).map(Node::Gateway))
            .collect::<Vec<_>>()
        {
            self.start(node);
        }
        self.check_logs();
    }

    /// An operator finds leaders for partitions that have no candidate left (L3).
    fn recover_what_nobody_leads(&mut self) {
        let since = self.queue.now() - self.phase_since;
        if since < 3_000 * MS || !since.is_multiple_of(1_000 * MS) {
            return;
        }
        for key in self.keys.clone() {
            let model = self.store.model.clone();
            let (Some(row), Some(topic)) = (model.partition(key), model.topic_by_id(key.topic_id))
            else {
                continue;
            };
            if let Some(moving) = row.moving.as_ref().filter(|_| row.leader.is_none()) {
                // It cannot go on, and is in the way.
                self.operate(Request::CancelOperation {
                    id: moving.operation,
                });
            } else if row.leader.is_none() && row.seal.is_none() {
                self.coverage.reached("an operator recovers a partition");
                self.operate(Request::Recover {
                    topic: topic.row.name.clone(),
                    partition: row.partition,
                    accept_loss: false,
                    force: false,
                });
            }
        }
    }

    /// What is not at rest yet.
    fn unrest(&self) -> Option<String> {
        for key in &self.keys {
            let Some(row) = self.store.model.partition(*key) else {
                return Some(format!("{key} is gone"));
            };
            let Some(leader) = row.leader else {
                return Some(format!("{key} has no leader: {row:?}"));
            };
            if row.isr.len() < row.replicas.len() || row.moving.is_some() {
                return Some(format!(
                    "{key}: only {} of {} are in sync",
                    row.isr.len(),
                    row.replicas.len()
                ));
            }
            let of = |unit: u32| self.units[unit as usize].as_ref()?.replicas.get(key);
            let Some(led) = of(leader.0).filter(|led| led.machine.role() == RoleName::Leading)
            else {
                return Some(format!("unit {leader} does not lead {key}"));
            };
            let end = led.machine.status().end;
            for copy in &row.replicas {
                let Some(status) = of(copy.spu.0).map(|hosted| hosted.machine.status()) else {
                    return Some(format!("{key} is not open on unit {}", copy.spu));
                };
                if status.end != end || status.high_watermark != end {
                    return Some(format!(
                        "{key} on unit {} is at {status:?}, the leader's end is {end}",
                        copy.spu
                    ));
                }
            }
        }
        let mut units = self.units.iter();
        if let Some(unit) = units.position(|unit| unit.as_ref().is_some_and(Unit::is_writing)) {
            return Some(format!("the log of unit {unit} does not come to rest"));
        }
        if let Some(writer) = self.writers.iter().position(WriterClient::is_waiting) {
            return Some(format!("a request of writer {writer} does not end"));
        }
        None
    }

    /// Reads everything, and judges.
    fn end(&mut self) {
        self.enter(Phase::Over);
        self.check_logs();
        for (unit, disk) in self.units.iter().zip(&self.disks) {
            let outcome = unit.as_ref().map_or(Ok(()), |unit| unit.check_log(disk));
            if let Err(what) = outcome {
                self.failure.get_or_insert(format!("log: {what}"));
            }
        }
        for key in self.keys.clone() {
            let leader = self.store.model.partition(key).and_then(|row| row.leader);
            if let Some(leader) = leader {
                self.check_leader(leader.0, key);
            }
            let row = self.store.model.partition(key).cloned();
            for (at, unit) in (0..).zip(&self.units) {
                // A unit may not know yet that its copy went elsewhere.
                if row
                    .as_ref()
                    .is_none_or(|row| row.replica(SpuId(at)).is_none())
                {
                    continue;
                }
                let hosted = unit.as_ref().and_then(|unit| unit.replicas.get(&key));
                if let Some(hosted) = hosted {
                    let all = hosted.log.iter().flat_map(values);
                    let scan: Vec<_> = all.filter(|(at, _)| *at >= hosted.log_start).collect();
                    self.history.scan(at, key, hosted.log_start, &scan);
                }
            }
        }
        let outcome = self.history.judge();
        self.check(outcome);
    }
}
