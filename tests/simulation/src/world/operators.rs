//! What operators do to a cluster in trouble: moves, surveys, other settings, retention.
//!
//! Invariant: none of it may lose anything; nobody here accepts a loss.

use tidegate_proto::api::topic::{Setting, TopicRequest};
use tidegate_proto::id::{PartitionId, SpuId};
use tidegate_proto::name::TopicName;
use tidegate_proto::position::ReplicaKey;
use tidegate_sc_core::decision::{MoveTerms, Request, Target, TopicWrite};
use tidegate_spu_core::RoleName;

use super::World;
use crate::fault::Fault;
use crate::message::Message;
use crate::network::Node;
use crate::options::{CONTROLLERS, UNITS};

impl World {
    pub(super) fn topic_of(&self, fault: &Fault) -> Option<TopicName> {
        let count = self.store.model.topics.len().max(1);
        self.store
            .model
            .topics
            .keys()
            .nth(fault.other as usize % count)
            .cloned()
    }

    /// An operator asks some controller.
    pub(super) fn operate(&mut self, request: Request) {
        let operator = Node::Client(u32::MAX);
        let to =
            Node::Controller(u32::try_from(self.random.below(u64::from(CONTROLLERS))).unwrap_or(0));
        let mut cx = self.context(operator);
        let call = cx.random.next();
        cx.send(
            to,
            Message::Call {
                call,
                request: Box::new(request),
            },
        );
        self.carry_out(operator, cx);
    }

    pub(super) fn move_copy(&mut self, fault: &Fault) {
        let Some(name) = self.topic_of(fault) else {
            return;
        };
        let Some(topic) = self.store.model.topics.get(&name) else {
            return;
        };
        let Some(row) = topic
            .partitions
            .get(fault.target as usize % topic.partitions.len().max(1))
        else {
            return;
        };
        let mut replicas: Vec<SpuId> = row.replicas.iter().map(|copy| copy.spu).collect();
        let free = (0..UNITS)
            .map(SpuId)
            .find(|spu| row.replica(*spu).is_none());
        let at = fault.other as usize % replicas.len().max(1);
        if let (Some(free), Some(place)) = (free, replicas.get_mut(at)) {
            *place = free;
        } else {
            replicas.reverse();
        }
        let partition: PartitionId = row.partition;
        let targets = vec![Target {
            topic: name,
            partition,
            replicas,
        }];
        self.operate(Request::Reassign {
            targets,
            terms: MoveTerms::default(),
        });
    }

    pub(super) fn survey(&mut self, fault: &Fault) {
        let Some(key) = self
            .keys
            .get(fault.other as usize % self.keys.len().max(1))
            .copied()
        else {
            return;
        };
        let Some(name) = self
            .store
            .model
            .topic_by_id(key.topic_id)
            .map(|topic| topic.row.name.clone())
        else {
            return;
        };
        self.operate(Request::Recover {
            topic: name,
            partition: key.partition,
            accept_loss: false,
            force: fault.target.is_multiple_of(3),
        });
    }

    /// Not lower while a copy is lost: what an acknowledgement needed then is what may be lost. From when it
    /// is asked for, fewer may be.
    pub(super) fn edit_min_in_sync(&mut self, fault: &Fault) {
        let Some(name) = self.topic_of(fault) else {
            return;
        };
        let Some(topic) = self.store.model.topics.get(&name) else {
            return;
        };
        let wanted = 1 + u16::try_from(fault.target).unwrap_or(0) % topic.row.replication_factor;
        let keys: Vec<ReplicaKey> = topic.partitions.iter().map(|row| row.key()).collect();
        let is_lower = topic.partitions.iter().any(|row| wanted < row.min_isr);
        let is_lost = |unit: u32| {
            let disk = &self.disks[unit as usize];
            let has_lost_power = disk.lost_power && keys.iter().any(|key| self.is_interval(*key));
            disk.is_tainted || has_lost_power
        };
        if is_lower && (0..UNITS).any(is_lost) {
            return;
        }
        for key in keys {
            let least = self.least_min_isr.entry(key).or_insert(wanted);
            *least = (*least).min(wanted);
        }
        let request = TopicRequest {
            min_in_sync: Setting::Value(wanted),
            ..TopicRequest::default()
        };
        self.operate(Request::EnsureTopic(TopicWrite {
            name,
            request,
            if_match: None,
        }));
    }

    /// Retention takes some of what is committed, at the leader.
    pub(super) fn retain(&mut self, fault: &Fault) {
        let Some(key) = self
            .keys
            .get(fault.other as usize % self.keys.len().max(1))
            .copied()
        else {
            return;
        };
        for at in 0..UNITS {
            let node = Node::Unit(at);
            let mut cx = self.context(node);
            let Some(unit) = &mut self.units[at as usize] else {
                continue;
            };
            let hosted = unit.replicas.get(&key);
            let leads = hosted.filter(|hosted| hosted.machine.role() == RoleName::Leading);
            if let Some(status) = leads.map(|hosted| hosted.machine.status()) {
                // Whole batches go; sometimes all that is committed does.
                let span = status.high_watermark.distance_from(status.log_start);
                let keeps = span * u64::from(fault.target % 5) / 5;
                let to = status.high_watermark.minus_or_zero(keeps);
                unit.step(&mut cx, key, tidegate_spu_core::Input::Retain { to });
            }
            self.carry_out(node, cx);
        }
    }
}
