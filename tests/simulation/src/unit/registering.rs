//! What a process tells of itself when it asks to be let in (S1).
//!
//! Invariant: the attempt is on the disk before anybody is asked.

use tidegate_proto::control::{NodeSite, Register, ReplicaReport};
use tidegate_proto::id::AttemptId;
use tidegate_proto::name::SpuGroupName;
use tidegate_sc_core::decision::Request;

use super::Unit;
use crate::disk::Disk;
use crate::message::{Context, Message};
use crate::network::Node;

impl Unit {
    pub(super) fn register(&mut self, cx: &mut Context, disk: &mut Disk) {
        // On the disk before anybody is asked; one whose answer was not written down is asked for again.
        let new = AttemptId(cx.random.uuid());
        let attempt = *disk.attempt.get_or_insert(new);
        self.keep_attempt(cx, disk, attempt);
        let replicas = disk.images.iter().map(|(key, image)| ReplicaReport {
            key: *key,
            replica_gen: image.meta.replica_gen,
            intact: true,
            end: image.end(),
            leader_epoch: image.meta.leader_epoch,
        });
        let report = Register {
            spu_id: self.spu(),
            storage_id: disk.storage_id,
            run_id: self.run,
            last_incarnation: disk.last_incarnation,
            attempt: Some(attempt),
            granted: disk.granted,
            same_boot: !disk.lost_power,
            replicas: replicas.collect(),
            group: Some(SpuGroupName::default()),
            site: NodeSite::default(),
        };
        let call = cx.random.next();
        cx.say(|| {
            let (last, granted) = (disk.last_incarnation, disk.granted);
            format!("asks to be registered: {attempt:?}, last {last:?} {granted:?}")
        });
        self.registering = Some((call, cx.now));
        let request = Box::new(Request::Register(report));
        cx.send(
            Node::Controller(self.controller),
            Message::Call { call, request },
        );
    }
}
