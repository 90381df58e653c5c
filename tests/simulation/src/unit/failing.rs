//! Replicas whose log fails while their unit runs on, and what the controllers are told of them (S1, L1).

use tidegate_proto::control::FailedReplica;
use tidegate_proto::position::ReplicaKey;
use tidegate_sc_core::decision::Request;
use tidegate_spu_core::{Input, RoleName};

use super::{BEATS_PER_HELLO, Unit};
use crate::message::{Context, Message};
use crate::network::Node;

impl Unit {
    /// The log of one of the replicas takes nothing any more; which one, if there is any.
    pub(crate) fn fail_one(&mut self, cx: &mut Context, which: u32) -> Option<ReplicaKey> {
        let keys = self.keys();
        let key = keys.get(which as usize % keys.len().max(1)).copied()?;
        self.step(cx, key, Input::LogFailed { no_space: false });
        Some(key)
    }

    pub(crate) fn has_failed(&self, key: ReplicaKey) -> bool {
        let hosted = self.replicas.get(&key);
        hosted.is_some_and(|hosted| hosted.machine.role() == RoleName::Failed)
    }

    /// Tells which failed, again and again while rows rely on them.
    pub(super) fn tell_failed(&mut self, cx: &mut Context) {
        let (Some(model), Some(own)) = (self.model.clone(), self.member()) else {
            return;
        };
        if !self.beats.is_multiple_of(BEATS_PER_HELLO) {
            return;
        }
        let failed = self.replicas.iter().filter(|(key, _)| {
            let row = model.partition(**key);
            let relies =
                row.is_some_and(|row| row.leader == Some(own.spu) || row.has_in_sync(own.spu));
            relies && self.has_failed(**key)
        });
        let replicas: Vec<FailedReplica> = failed
            .map(|(key, hosted)| FailedReplica {
                key: *key,
                replica_gen: hosted.replica_gen,
                leader_epoch: hosted.machine.status().meta.leader_epoch,
                intact: true,
            })
            .collect();
        if !replicas.is_empty() {
            let call = cx.random.next();
            let request = Box::new(Request::Failed {
                spu: own.spu,
                incarnation: own.incarnation,
                replicas,
            });
            cx.send(
                Node::Controller(self.controller),
                Message::Call { call, request },
            );
        }
    }
}
