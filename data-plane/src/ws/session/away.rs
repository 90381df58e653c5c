//! Partitions that cannot be reached: what a client is told of them, and how they come back.

use std::sync::Arc;

use tidegate_proto::api::away::{Away, Back};
use tidegate_proto::api::socket::ServerFrame;
use tidegate_proto::control::{TopicSpec, Topology};
use tidegate_proto::error::Problem;
use tidegate_proto::id::PartitionId;
use tidegate_proto::name::TopicName;

use super::Session;
use crate::opening::{self, Absent};
use crate::ws::effect::{Effect, Effects, Of};
use crate::ws::protocol::encode;
use crate::ws::subscription::{Cause, StartPlace, Subscription};

impl Session {
    /// A partition is there that was absent when its subscription began.
    pub(super) fn joined(&mut self, of: &Of, start: StartPlace, out: &mut Effects) {
        let Some(subscription) = self.current(of) else {
            return;
        };
        if subscription.join(start) {
            out.push(back(&of.topic, start.partition));
            self.serve_one(&of.topic, start.partition, out);
        }
    }
}

/// Tells of the partitions that the topology says to be without any unit, and of those that have one again:
/// a subscription that has caught up would not find out by reading.
pub(super) fn look_at(
    subscription: &mut Subscription,
    topology: &Topology,
    topic: &Arc<TopicSpec>,
    out: &mut Effects,
) {
    for row in &topic.partitions {
        if row.leader.is_some() {
            if subscription.comes_back(row.partition, Cause::Topology) {
                out.push(back(&topic.name, row.partition));
            }
        } else if let Some(problem) = opening::missed(topology, topic, row)
            && subscription.goes(row.partition, Cause::Topology)
        {
            out.push(gone(&topic.name, row.partition, problem));
        }
    }
}

/// Says which partitions are absent, and has them waited for.
pub(super) fn wait_for(of: &Of, absent: Vec<Absent>, out: &mut Effects) {
    if let Some(away) = opening::away(&absent) {
        out.push(Effect::Send(encode(&ServerFrame::Away(Away {
            topic: of.topic.as_str().to_owned(),
            partitions: away.partitions,
            error: away.error,
        }))));
    }
    out.extend(absent.into_iter().map(|absent| Effect::Join {
        of: of.clone(),
        absent,
    }));
}

pub(super) fn gone(topic: &TopicName, partition: PartitionId, error: Problem) -> Effect {
    Effect::Send(encode(&ServerFrame::Away(Away {
        topic: topic.as_str().to_owned(),
        partitions: vec![partition.0],
        error,
    })))
}

pub(super) fn back(topic: &TopicName, partition: PartitionId) -> Effect {
    Effect::Send(encode(&ServerFrame::Back(Back {
        topic: topic.as_str().to_owned(),
        partitions: vec![partition.0],
    })))
}
