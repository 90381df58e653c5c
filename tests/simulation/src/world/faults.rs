//! What goes wrong, and how much of it may.
//!
//! Everything may happen at any time but loss of what was on a disk: a replica may lose that only while
//! another member of its in-sync set has not, since nothing survives the loss of all of them (F). A fault
//! that would go too far is a milder one instead. Invariant: what a fault did, its end undoes.

use tidegate_log::testing::MemVfs;
use tidegate_proto::id::{SpuId, StorageId};
use tidegate_proto::position::ReplicaKey;
use tidegate_sc_core::decision::Request;

use super::clocks::signed;
use super::{Event, World};
use crate::disk::Disk;
use crate::fault::{Fault, FaultKind};
use crate::network::Node;
use crate::options::{CONTROLLERS, GATEWAYS, UNITS};
use crate::queue::MS;

impl World {
    /// A fault begins or ends.
    pub(super) fn fault(&mut self, at: usize, begins: bool) {
        let Some(fault) = self.options.faults.get(at).copied() else {
            return;
        };
        if begins {
            if self.is_calm {
                return;
            }
            let target = self.aim(&fault);
            self.targets.insert(at, target);
            self.account(&fault, target);
            self.say(|| format!("fault {at}: {:?} on {target}", fault.kind));
            self.begin_fault(at, &fault, target);
            let longer_ms = if fault.kind == FaultKind::RollBackDisk {
                2_000
            } else {
                0
            };
            let lasts = (fault.lasts_ms + longer_ms) * MS;
            self.queue.put_in(lasts, Event::Fault { at, begins: false });
        } else if let Some(target) = self.targets.remove(&at) {
            self.say(|| format!("fault {at} ends: {:?} on {target}", fault.kind));
            self.end_fault(at, &fault, target);
        }
    }

    /// Which node it hits: often one that matters for a partition.
    fn aim(&self, fault: &Fault) -> u32 {
        let any = fault.target % UNITS;
        let Some(key) = self.keys.get(fault.other as usize % self.keys.len().max(1)) else {
            return any;
        };
        let Some(row) = self.store.model.partition(*key) else {
            return any;
        };
        let followers = row
            .replicas
            .iter()
            .filter(|copy| Some(copy.spu) != row.leader);
        let found = match fault.target % 5 {
            0 | 1 => row.leader,
            2 | 3 => followers
                .map(|copy| copy.spu)
                .nth(fault.target as usize / 5 % 2),
            _ => None,
        };
        found.map_or(any, |spu| spu.0)
    }

    fn begin_fault(&mut self, at: usize, fault: &Fault, unit: u32) {
        let node = Node::Unit(unit);
        match fault.kind {
            FaultKind::KillUnit => self.crash_unit(unit, false),
            FaultKind::PowerLoss => self.power_loss(unit),
            FaultKind::PowerLossAll => (0..UNITS).for_each(|unit| self.power_loss(unit)),
            FaultKind::LoseDisk => self.lose_disk(unit),
            FaultKind::RollBackDisk => self.back_up(at, fault, unit),
            FaultKind::StopUnit => self.stop_unit(unit),
            FaultKind::PauseUnit => self.pause(node, fault.lasts_ms),
            FaultKind::SlowDisk => self.slow_disk(unit, true),
            FaultKind::CutUnit
            | FaultKind::CutFromControllers
            | FaultKind::CutFromUnits
            | FaultKind::CutFromGateways
            | FaultKind::CutPair
            | FaultKind::CutOneWay
            | FaultKind::CutStore => self.cut(fault, unit, true),
            FaultKind::SlowLinks => self.network.slow_down(true),
            FaultKind::ResetLinks => self.reset_links(fault, unit),
            FaultKind::StepClock => self.step_clock(fault, node),
            FaultKind::KillController => self.kill(Node::Controller(fault.target % CONTROLLERS)),
            FaultKind::PauseController => {
                let holder = self.holder().unwrap_or(fault.target % CONTROLLERS);
                // Long enough, often, for the lease to go to another.
                self.pause(Node::Controller(holder), fault.lasts_ms * 2);
            }
            FaultKind::StoreDown => self.store.down += 1,
            FaultKind::StoreUnknown => self.store.unknown += 1,
            FaultKind::KillGateway => self.kill(Node::Gateway(fault.target % GATEWAYS)),
            FaultKind::FailReplica => self.fail_replica(fault, unit),
            FaultKind::MoveCopy => self.move_copy(fault),
            FaultKind::EditMinInSync => self.edit_min_in_sync(fault),
            FaultKind::Retain => self.retain(fault),
            FaultKind::ElectPreferred => {
                let partitions = Vec::new();
                if let Some(topic) = self.topic_of(fault) {
                    self.operate(Request::ElectPreferred { topic, partitions });
                }
            }
            FaultKind::Recover => self.survey(fault),
        }
        let troubles = self.troubled.entry(node).or_default();
        *troubles += 1;
    }

    fn end_fault(&mut self, at: usize, fault: &Fault, unit: u32) {
        let node = Node::Unit(unit);
        let troubles = self.troubled.entry(node).or_default();
        *troubles = troubles.saturating_sub(1);
        match fault.kind {
            FaultKind::KillUnit
            | FaultKind::PowerLoss
            | FaultKind::LoseDisk
            | FaultKind::StopUnit => self.start(node),
            FaultKind::PowerLossAll => (0..UNITS).for_each(|unit| self.start(Node::Unit(unit))),
            FaultKind::RollBackDisk => self.roll_back(at, unit),
            FaultKind::FailReplica => self.restart_unit(unit),
            FaultKind::SlowDisk => self.slow_disk(unit, false),
            FaultKind::CutUnit
            | FaultKind::CutFromControllers
            | FaultKind::CutFromUnits
            | FaultKind::CutFromGateways
            | FaultKind::CutPair
            | FaultKind::CutOneWay
            | FaultKind::CutStore => self.cut(fault, unit, false),
            FaultKind::SlowLinks => self.network.slow_down(false),
            FaultKind::KillController => self.start(Node::Controller(fault.target % CONTROLLERS)),
            FaultKind::KillGateway => self.start(Node::Gateway(fault.target % GATEWAYS)),
            FaultKind::StoreDown => self.store.down = self.store.down.saturating_sub(1),
            FaultKind::StoreUnknown => self.store.unknown = self.store.unknown.saturating_sub(1),
            FaultKind::PauseUnit
            | FaultKind::PauseController
            | FaultKind::ResetLinks
            | FaultKind::StepClock
            | FaultKind::MoveCopy
            | FaultKind::EditMinInSync
            | FaultKind::Retain
            | FaultKind::ElectPreferred
            | FaultKind::Recover => {}
        }
    }

    /// The process ends, with or without the machine's power.
    pub(super) fn crash_unit(&mut self, at: u32, is_power: bool) {
        let mut cx = self.context(Node::Unit(at));
        let Some(mut unit) = self.units[at as usize].take() else {
            return;
        };
        let disk = &mut self.disks[at as usize];
        let outcome = unit.crash(disk, is_power, &mut cx);
        disk.lost_power |= is_power;
        self.random = cx.random;
        self.check(outcome.map_err(|what| format!("log: unit {at}: {what}")));
    }

    fn power_loss(&mut self, unit: u32) {
        // Topics that do not wait for the disk lose their last round with the power.
        let keys: Vec<ReplicaKey> = self.disks[unit as usize].images.keys().copied().collect();
        let loses: Vec<ReplicaKey> = keys
            .into_iter()
            .filter(|key| self.is_interval(*key))
            .collect();
        let is_power = loses.iter().all(|key| self.may_lose(*key, unit));
        self.crash_unit(unit, is_power);
    }

    fn lose_disk(&mut self, unit: u32) {
        if !self.may_lose_all(unit) {
            return self.power_loss(unit);
        }
        self.crash_unit(unit, true);
        let storage = StorageId(self.random.uuid());
        let files = self.options.is_on_the_log.then(MemVfs::new);
        self.disks[unit as usize] = Disk {
            is_tainted: true,
            files,
            ..Disk::new(storage)
        };
        self.lost_at.insert(unit as usize, self.queue.now());
        self.coverage.reached("a disk is lost");
    }

    /// What will be the disk again later. Until then its unit registers twice, so that what was asked for when
    /// it was copied is not what was granted last: a disk that goes back within one registration is a disk
    /// that lies, and not found (S2).
    fn back_up(&mut self, at: usize, fault: &Fault, unit: u32) {
        let node = Node::Unit(unit);
        if self.options.is_on_the_log {
            // What it holds is known when its process has ended.
            self.crash_unit(unit, false);
        }
        let mut backup = self.disks[unit as usize].clone();
        backup.files = backup.files.map(|files| files.killed());
        self.backups.insert(at, backup);
        self.crash_unit(unit, false);
        self.queue.put_in(50 * MS, Event::Starts { node });
        let (half, life) = ((fault.lasts_ms + 2_000) / 2 * MS, self.life(node) + 1);
        self.queue.put_in(half, Event::Ends { node, life });
        self.queue.put_in(half + 50 * MS, Event::Starts { node });
    }

    fn roll_back(&mut self, at: usize, unit: u32) {
        let Some(backup) = self.backups.remove(&at) else {
            return;
        };
        let is_same = self.disks[unit as usize].storage_id == backup.storage_id;
        let known = self
            .store
            .model
            .spu(SpuId(unit))
            .and_then(|row| row.attempt);
        let is_found = known.is_some() && ![backup.attempt, backup.granted].contains(&known);
        if is_same && is_found && self.may_lose_all(unit) {
            self.crash_unit(unit, true);
            self.disks[unit as usize] = Disk {
                is_tainted: true,
                ..backup
            };
            self.lost_at.insert(unit as usize, self.queue.now());
            self.coverage.reached("a disk goes back in time");
        } else {
            self.crash_unit(unit, false);
        }
        self.start(Node::Unit(unit));
    }

    /// Whether the unit may lose all that it has, or is said to have.
    fn may_lose_all(&self, unit: u32) -> bool {
        let images = self.disks[unit as usize].images.keys().copied();
        let mut keys = images.chain(self.store.model.held_by(SpuId(unit)));
        keys.all(|key| self.may_lose(key, unit))
    }

    /// Whether the unit may lose what it has of that partition: another member of the in-sync set has it
    /// all.
    fn may_lose(&self, key: ReplicaKey, unit: u32) -> bool {
        let Some(row) = self.store.model.partition(key) else {
            return true;
        };
        let is_whole = |spu: SpuId| {
            let disk = &self.disks[spu.0 as usize];
            let row = self.store.model.spu(spu);
            let is_known = row.is_some_and(|row| row.storage_id == Some(disk.storage_id));
            spu.0 != unit
                && !disk.is_tainted
                && is_known
                && !(disk.lost_power && self.is_interval(key))
        };
        // At most one fewer than an acknowledgement needs, until they have it all again.
        let least = self
            .least_min_isr
            .get(&key)
            .copied()
            .unwrap_or(row.min_isr)
            .min(row.min_isr);
        let lost = row
            .replicas
            .iter()
            .filter(|copy| copy.spu.0 != unit && !(copy.vouched && is_whole(copy.spu)));
        let others = row
            .isr
            .iter()
            .filter(|member| member.spu.0 != unit && is_whole(member.spu));
        others.count() > 0 && lost.count() + 2 <= usize::from(least)
    }

    pub(super) fn is_interval(&self, key: ReplicaKey) -> bool {
        let topic = self.store.model.topic_by_id(key.topic_id);
        topic.is_some_and(|topic| {
            topic.row.config.durability == tidegate_proto::control::Durability::Interval
        })
    }

    /// A unit that has to begin again.
    pub(super) fn restart_unit(&mut self, unit: u32) {
        self.coverage.reached("a unit begins again");
        // After this event: it is in the middle of one.
        let (node, life) = (Node::Unit(unit), self.life(Node::Unit(unit)));
        self.queue.put_in(0, Event::Ends { node, life });
        self.queue.put_in(120 * MS, Event::Starts { node });
    }

    fn stop_unit(&mut self, unit: u32) {
        let node = Node::Unit(unit);
        let mut cx = self.context(node);
        let life = self.life(node);
        if let Some(unit) = &mut self.units[unit as usize] {
            unit.stop(&mut cx);
        }
        self.carry_out(node, cx);
        self.queue.put_in(150 * MS, Event::Ends { node, life });
        self.queue.put_in(160 * MS, Event::Starts { node });
    }

    fn pause(&mut self, node: Node, ms: u64) {
        let until = self.queue.now() + ms * MS;
        let at = self.paused.entry(node).or_default();
        *at = (*at).max(until);
        self.queue.put_at(*at, Event::Resumes { node });
    }

    fn kill(&mut self, node: Node) {
        match node {
            Node::Controller(at) => self.controllers[at as usize] = None,
            Node::Gateway(at) => self.gateways[at as usize] = None,
            Node::Unit(_) | Node::Client(_) | Node::Store => {}
        }
    }

    fn slow_disk(&mut self, unit: u32, is_slow: bool) {
        if let Some(unit) = &mut self.units[unit as usize] {
            unit.slow = if is_slow {
                unit.slow + 1
            } else {
                unit.slow.saturating_sub(1)
            };
        }
    }

    fn reset_links(&mut self, fault: &Fault, unit: u32) {
        for at in (0..UNITS).filter(|at| *at == unit || fault.other.is_multiple_of(2)) {
            let node = Node::Unit(at);
            let mut cx = self.context(node);
            if let Some(unit) = &mut self.units[at as usize] {
                unit.reset_links(&mut cx);
            }
            self.carry_out(node, cx);
        }
    }

    fn step_clock(&mut self, fault: &Fault, node: Node) {
        // Often by more than request keys and unordered producers are remembered for.
        let step = (signed(u64::from(fault.other)) - (1 << 15)) * 40;
        if let Some(clock) = self.clocks.get_mut(&node) {
            clock.wall_skew_ms = step;
        }
    }

    fn holder(&self) -> Option<u32> {
        let held = |at: &u32| {
            let controller = self.controllers[*at as usize].as_ref();
            controller.is_some_and(|controller| controller.is_holder())
        };
        (0..CONTROLLERS).find(held)
    }

    /// Notes in which states the fault found what it hits.
    fn account(&mut self, fault: &Fault, unit: u32) {
        let mut states = Vec::new();
        if self
            .troubled
            .get(&Node::Unit(unit))
            .is_some_and(|count| *count > 0)
        {
            states.push("other fault on it");
        }
        match &self.units[unit as usize] {
            None => states.push("no process"),
            Some(unit) => {
                for key in unit.replicas.keys() {
                    states.extend(unit.states(*key));
                }
                if unit.replicas.is_empty() {
                    states.push("not assigned yet");
                }
            }
        }
        self.coverage.hit(fault.kind, states);
    }
}
