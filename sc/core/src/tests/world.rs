//! A cluster in a test: a model, a clock that counts up and seeds that follow from a number.

use tidegate_proto::api::topic::{Setting, TopicConfigRequest, TopicRequest};
use tidegate_proto::control::{NodeSite, Register, ReplicaReport};
use tidegate_proto::id::{ClusterId, Incarnation, RunId, SpuId, StorageId};
use tidegate_proto::name::{SpuGroupName, TopicName};
use tidegate_proto::position::{Offset, ReplicaKey};
use uuid::Uuid;

use crate::decide::decide;
use crate::decision::{Decision, IfMatch, Request, TopicWrite};
use crate::model::{Model, Topic};
use crate::refusal::Refusal;
use crate::rows::PartitionRow;

pub(super) struct World {
    pub(super) model: Model,
    step: u128,
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
        replicas: Vec::new(),
        group: Some(SpuGroupName::default()),
        site: NodeSite::default(),
    }
}

impl World {
    pub(super) fn new(spus: u32) -> Self {
        let mut world = Self {
            model: Model::empty(ClusterId(Uuid::from_u128(1))),
            step: 0,
        };
        for spu in 0..spus {
            world.register(&blank(spu));
        }
        world
    }

    pub(super) fn decide(&self, request: &Request) -> Result<Decision, Refusal> {
        let now_ms = i64::try_from(self.step).unwrap();
        decide(
            &self.model,
            now_ms,
            Uuid::from_u128(self.step << 64 | 7),
            request,
        )
    }

    /// Decides and commits.
    pub(super) fn ask(&mut self, request: &Request) -> Result<Decision, Refusal> {
        self.step += 1;
        let decision = self.decide(request)?;
        if !decision.changes.is_empty() {
            self.model
                .commit(self.model.revision + 1, &decision.changes);
        }
        Ok(decision)
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
            last_incarnation: Some(row.incarnation),
            replicas: replicas.collect(),
            ..blank(spu)
        }
    }
}
