//! A cluster in a test: a model, a clock that counts up and seeds that follow from a number.
//!
//! Every commit is checked against the versions it expects and against all invariants.

use std::collections::{BTreeMap, BTreeSet};

use tidegate_proto::api::topic::{Setting, TopicConfigRequest, TopicRequest};
use tidegate_proto::control::{
    IsrCandidate, IsrMember, IsrOutcome, IsrProposal, NodeSite, Register, ReplicaReport, SealAnswer,
};
use tidegate_proto::id::{ClusterId, Incarnation, OperationId, RunId, SpuId, StorageId};
use tidegate_proto::name::{SpuGroupName, TopicName};
use tidegate_proto::position::{LeaderEpoch, Offset, ReplicaKey};
use uuid::Uuid;

use crate::change::{Change, Guard};
use crate::decide::decide;
use crate::decision::{Decision, IfMatch, Outcome, Request, TopicWrite};
use crate::holdings::Holdings;
use crate::invariant::{check_state, check_step};
use crate::liveness::Liveness;
use crate::model::{Model, Topic};
use crate::refusal::Refusal;
use crate::rows::{OperationRow, PartitionRow};
use crate::tick::{Clocks, Tick, tick};

pub(super) struct World {
    pub(super) model: Model,
    /// Units whose process runs and sends heartbeats.
    pub(super) alive: BTreeSet<SpuId>,
    pub(super) liveness: Liveness,
    pub(super) monotonic_ms: u64,
    /// Where logs begin and end; those that are not named are empty from the start.
    pub(super) logs: BTreeMap<ReplicaKey, (u64, u64)>,
    /// Partitions whose leaders know what producers sent lately.
    pub(super) remembers: BTreeSet<ReplicaKey>,
    /// For how long they say that they do.
    pub(super) remembers_ms: u64,
    step: u128,
}

/// What leaders would say of their logs.
struct Logs<'a>(&'a BTreeMap<ReplicaKey, (u64, u64)>);

impl Holdings for Logs<'_> {
    fn is_empty(&self, row: &PartitionRow) -> Option<bool> {
        let log = self.0.get(&row.key());
        row.leader
            .map(|_| log.is_none_or(|(start, end)| start == end))
    }
}

pub(super) fn name(text: &str) -> TopicName {
    TopicName::parse(text).unwrap()
}

pub(super) fn asking(partitions: u32, copies: u16) -> TopicRequest {
    TopicRequest {
        partitions: partitions.into(),
        replication_factor: copies.into(),
        ..TopicRequest::default()
    }
}

pub(super) fn with_config(config: TopicConfigRequest) -> TopicRequest {
    TopicRequest {
        config: Setting::Value(config),
        ..TopicRequest::default()
    }
}

/// The report of a unit whose disk was never used.
pub(super) fn blank(spu: u32) -> Register {
    Register {
        spu_id: SpuId(spu),
        storage_id: StorageId(Uuid::from_u128(1_000 + u128::from(spu))),
        run_id: RunId(Uuid::from_u128(2_000 + u128::from(spu))),
        last_incarnation: None,
        attempt: None,
        granted: None,
        same_boot: true,
        replicas: Vec::new(),
        group: Some(SpuGroupName::default()),
        site: NodeSite::default(),
    }
}

impl World {
    pub(super) fn new(spus: u32) -> Self {
        let mut world = Self {
            model: Model::empty(ClusterId(Uuid::from_u128(1))),
            alive: BTreeSet::new(),
            liveness: Liveness::with_default(0),
            monotonic_ms: 0,
            logs: BTreeMap::new(),
            remembers: BTreeSet::new(),
            remembers_ms: 0,
            step: 0,
        };
        for spu in 0..spus {
            world.register(&blank(spu));
        }
        world
    }

    fn wall_ms(&self) -> i64 {
        i64::try_from(self.step + u128::from(self.monotonic_ms)).unwrap()
    }

    pub(super) fn decide(&mut self, request: &Request) -> Result<Decision, Refusal> {
        self.step += 1;
        let now_ms = self.wall_ms();
        decide(
            &self.model,
            now_ms,
            Uuid::from_u128(self.step << 64 | 7),
            request,
        )
    }

    /// Decides and commits.
    pub(super) fn ask(&mut self, request: &Request) -> Result<Decision, Refusal> {
        let decision = self.decide(request)?;
        self.commit(&decision.changes, &decision.guards);
        Ok(decision)
    }

    /// Makes changes that were decided on the state as it is.
    pub(super) fn commit(&mut self, changes: &[Change], guards: &[Guard]) {
        assert!(self.model.accepts(changes, guards));
        let before = self.model.clone();
        if !changes.is_empty() {
            self.model.commit(self.model.revision + 1, changes);
        }
        check_state(&self.model).unwrap();
        check_step(&before, &self.model).unwrap();
    }

    /// What the controller would do by itself now.
    pub(super) fn due(&mut self) -> Tick {
        self.step += 1;
        for spu in self.alive.clone() {
            let incarnation = self.model.spus[&spu].incarnation;
            self.liveness.hear(spu, incarnation, self.monotonic_ms);
        }
        let clocks = Clocks {
            wall_ms: self.wall_ms(),
            monotonic_ms: self.monotonic_ms,
        };
        let seed = Uuid::from_u128(self.step << 64 | 9);
        let holdings = Logs(&self.logs);
        tick(&self.model, clocks, seed, &self.liveness, &holdings)
    }

    /// Lets time pass and the controller work until it has nothing to do. The data side does nothing.
    pub(super) fn pass(&mut self, ms: u64) {
        self.monotonic_ms += ms;
        for _ in 0..10_000 {
            let due = self.due();
            if due.changes.is_empty() {
                return;
            }
            self.commit(&due.changes, &due.guards);
        }
        panic!("the controller never comes to rest");
    }

    /// The process of a unit is gone; nobody is told.
    pub(super) fn die(&mut self, spu: u32) {
        self.alive.remove(&SpuId(spu));
    }

    /// What the data side would do by now: copies catch up, sealed replicas answer. True when it did any.
    pub(super) fn follow(&mut self) -> bool {
        let before = self.model.revision;
        let rows: Vec<_> = self
            .model
            .topics
            .values()
            .flat_map(|t| t.partitions.clone())
            .collect();
        for row in rows {
            let live = |spu: SpuId| {
                let unit = &self.model.spus[&spu];
                (self.alive.contains(&spu) && !unit.fenced).then_some(IsrMember {
                    spu,
                    incarnation: unit.incarnation,
                })
            };
            if let Some(seal) = &row.seal {
                let (start, end) = self.logs.get(&row.key()).copied().unwrap_or_default();
                let answers = row.replicas.iter().filter_map(|replica| {
                    Some(SealAnswer {
                        key: row.key(),
                        member: live(replica.spu)?,
                        replica_gen: replica.replica_gen,
                        sealed_at: seal.epoch,
                        last_epoch: LeaderEpoch(1),
                        end: Offset::new(end),
                        log_start: Offset::new(start),
                        intact: true,
                        remembers: self.remembers.contains(&row.key()),
                        remembers_ms: self.remembers_ms,
                    })
                });
                let answers = answers.collect();
                self.ask(&Request::SealAnswers(answers)).unwrap();
            } else if let Some(leader) = row.leader.and_then(live) {
                let attached = row.replicas.iter().filter_map(|replica| {
                    let member = live(replica.spu)?;
                    Some(IsrCandidate {
                        member,
                        replica_gen: replica.replica_gen,
                    })
                });
                let isr: Vec<_> = attached.collect();
                let grows = isr.iter().any(|new| !row.isr.contains(&new.member));
                if grows {
                    self.propose(leader, &row, isr).unwrap();
                }
            }
        }
        self.model.revision > before
    }

    pub(super) fn propose(
        &mut self,
        leader: IsrMember,
        row: &PartitionRow,
        isr: Vec<IsrCandidate>,
    ) -> Result<Vec<IsrOutcome>, Refusal> {
        let decision = self.ask(&Request::ChangeIsr {
            leader: leader.spu,
            incarnation: leader.incarnation,
            proposals: vec![IsrProposal {
                key: row.key(),
                leader_epoch: row.leader_epoch,
                version: row.version,
                isr,
            }],
        })?;
        match decision.outcome {
            Outcome::Isr(outcomes) => Ok(outcomes),
            other => panic!("{other:?}"),
        }
    }

    /// Controller and data side by turns, until nothing changes any more.
    pub(super) fn settle(&mut self) {
        for _ in 0..10_000 {
            self.pass(1);
            if !self.follow() {
                return;
            }
        }
        panic!("the cluster never comes to rest");
    }

    pub(super) fn operation(&self, id: OperationId) -> &OperationRow {
        &self.model.operations[&id]
    }

    pub(super) fn create(
        &mut self,
        topic: &str,
        request: TopicRequest,
    ) -> Result<Decision, Refusal> {
        self.ask(&Request::CreateTopic(TopicWrite {
            name: name(topic),
            request,
            if_match: None,
        }))
    }

    pub(super) fn ensure(
        &mut self,
        topic: &str,
        request: TopicRequest,
    ) -> Result<Decision, Refusal> {
        self.ensure_if(topic, request, None)
    }

    pub(super) fn ensure_if(
        &mut self,
        topic: &str,
        request: TopicRequest,
        if_match: Option<IfMatch>,
    ) -> Result<Decision, Refusal> {
        self.ask(&Request::EnsureTopic(TopicWrite {
            name: name(topic),
            request,
            if_match,
        }))
    }

    pub(super) fn delete(
        &mut self,
        topic: &str,
        if_match: Option<IfMatch>,
    ) -> Result<Decision, Refusal> {
        self.ask(&Request::DeleteTopic {
            name: name(topic),
            if_match,
        })
    }

    pub(super) fn register(&mut self, report: &Register) -> Incarnation {
        let decision = self.ask(&Request::Register(report.clone())).unwrap();
        self.alive.insert(report.spu_id);
        decision.incarnation().unwrap()
    }

    pub(super) fn topic(&self, topic: &str) -> &Topic {
        &self.model.topics[&name(topic)]
    }

    pub(super) fn partition(&self, topic: &str, partition: usize) -> &PartitionRow {
        &self.topic(topic).partitions[partition]
    }

    /// The report of a unit that stopped well and remembers its registration.
    pub(super) fn remembered(&self, spu: u32) -> Register {
        let row = &self.model.spus[&SpuId(spu)];
        let rows = self
            .model
            .topics
            .values()
            .flat_map(|topic| &topic.partitions);
        let replicas = rows.filter_map(|row| {
            let replica = row
                .replicas
                .iter()
                .find(|replica| replica.spu == SpuId(spu))?;
            Some(ReplicaReport {
                key: ReplicaKey {
                    topic_id: row.topic_id,
                    partition: row.partition,
                },
                replica_gen: replica.replica_gen,
                intact: true,
                end: Offset::ZERO,
                leader_epoch: row.leader_epoch,
            })
        });
        Register {
            last_incarnation: Some(row.incarnation).filter(|incarnation| incarnation.0 > 0),
            storage_id: row.storage_id.unwrap_or(blank(spu).storage_id),
            replicas: replicas.collect(),
            ..blank(spu)
        }
    }
}
