//! Replicas that fail while their units run on, and what is promised of their partitions.
//!
//! Promise: in the heal phase a partition gets a leader that works, though its former one fails on, as long as
//! another complete member of its in-sync set works (21).

use tidegate_proto::control::IsrMember;
use tidegate_proto::position::ReplicaKey;
use tidegate_sc_core::rows::PartitionRow;
use tidegate_spu_core::RoleName;

use super::World;
use crate::fault::{Fault, FaultKind};
use crate::network::Node;
use crate::unit::Unit;

impl World {
    pub(super) fn fail_replica(&mut self, fault: &Fault, unit: u32) {
        let node = Node::Unit(unit);
        let mut cx = self.context(node);
        let Some(found) = &mut self.units[unit as usize] else {
            return;
        };
        let failed = found.fail_one(&mut cx, fault.other);
        self.carry_out(node, cx);
        let led = failed.and_then(|key| self.store.model.partition(key));
        if led.is_some_and(|row| row.leader.is_some_and(|leader| leader.0 == unit)) {
            self.coverage.reached("a leader's log fails");
        }
    }

    /// Faults that go on when all others have ended.
    pub(super) fn still_failing(&self) -> Vec<usize> {
        let open = self.targets.keys().copied();
        open.filter(|at| {
            let fault = self.options.faults.get(*at);
            fault.is_some_and(|fault| fault.kind == FaultKind::FailReplica)
        })
        .collect()
    }

    /// A partition that could have a leader that works, and has none.
    pub(super) fn ill_led(&self) -> Option<String> {
        let rows = self
            .keys
            .iter()
            .filter_map(|key| self.store.model.partition(*key));
        let mut idle = rows.filter(|row| row.seal.is_none() && row.moving.is_none());
        let found = idle.find(|row| {
            let mut members = row.isr.iter();
            members.any(|member| self.works(row, *member)) && !self.is_led(row)
        });
        found.map(|row| format!("{} has no leader that works: {row:?}", row.key()))
    }

    fn works(&self, row: &PartitionRow, member: IsrMember) -> bool {
        let unit = self.hosting(member.spu.0, row.key());
        unit.is_some_and(|unit| {
            unit.incarnation == Some(member.incarnation) && !unit.has_failed(row.key())
        })
    }

    fn is_led(&self, row: &PartitionRow) -> bool {
        let unit = row
            .leader
            .and_then(|leader| self.hosting(leader.0, row.key()));
        let led = unit.and_then(|unit| unit.replicas.get(&row.key()));
        led.is_some_and(|led| led.machine.role() == RoleName::Leading)
    }

    fn hosting(&self, unit: u32, key: ReplicaKey) -> Option<&Unit> {
        let unit = self.units[unit as usize].as_ref();
        unit.filter(|unit| unit.replicas.contains_key(&key))
    }
}
