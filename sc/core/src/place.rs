//! Chooses the storage units of a partition: least loaded first, racks apart, leaders spread.
//!
//! Greedy: the leader goes where the fewest are led, the others where the fewest are held. Of units that
//! were at hand throughout, none leads more than one partition more than another. Does not move what is
//! placed.

use tidegate_proto::api::topic::PlacementPolicy;
use tidegate_proto::control::IsrMember;
use tidegate_proto::id::{Incarnation, SpuId};

use crate::model::Model;

#[derive(Debug, Clone)]
struct Unit {
    spu: SpuId,
    incarnation: Incarnation,
    rack: Option<String>,
    replicas: u64,
    leaders: u64,
}

/// The units at hand with their loads; counts what it places.
#[derive(Debug, Clone)]
pub struct Planner {
    units: Vec<Unit>,
}

impl Planner {
    /// The loads as they are in `model`.
    #[must_use]
    pub fn new(model: &Model) -> Self {
        let units = model.spus_at_hand().map(|row| Unit {
            spu: row.spu,
            incarnation: row.incarnation,
            rack: row.rack.clone(),
            replicas: 0,
            leaders: 0,
        });
        let mut planner = Self {
            units: units.collect(),
        };
        for topic in model.topics.values() {
            for partition in &topic.partitions {
                for replica in &partition.replicas {
                    planner.count(replica.spu, partition.leader == Some(replica.spu));
                }
            }
        }
        planner
    }

    /// Number of units at hand.
    #[must_use]
    pub fn at_hand(&self) -> usize {
        self.units.len()
    }

    /// Units for one partition, the leader first, each with its incarnation; `None` when there are
    /// fewer than `copies`.
    pub fn place(&mut self, copies: u16, policy: PlacementPolicy) -> Option<Vec<IsrMember>> {
        let mut chosen: Vec<usize> = Vec::with_capacity(usize::from(copies));
        for _ in 0..copies {
            let leads = chosen.is_empty();
            let free = (0..self.units.len()).filter(|at| !chosen.contains(at));
            let next = free.min_by_key(|&at| {
                let unit = &self.units[at];
                let crowded = match policy {
                    PlacementPolicy::Computed => self.on_same_rack(&chosen, unit),
                    PlacementPolicy::IgnoreRack | PlacementPolicy::Manual => 0,
                };
                // A leader does the work, so leading is what is spread first.
                let leading = if leads { unit.leaders } else { 0 };
                (crowded, leading, unit.replicas, unit.spu)
            })?;
            chosen.push(next);
        }
        let members = chosen.iter().map(|&at| {
            let Unit {
                spu, incarnation, ..
            } = self.units[at];
            IsrMember { spu, incarnation }
        });
        let members: Vec<_> = members.collect();
        for (order, member) in members.iter().enumerate() {
            self.count(member.spu, order == 0);
        }
        Some(members)
    }

    fn on_same_rack(&self, chosen: &[usize], unit: &Unit) -> usize {
        let same = |&&at: &&usize| unit.rack.is_some() && self.units[at].rack == unit.rack;
        chosen.iter().filter(same).count()
    }

    fn count(&mut self, spu: SpuId, leads: bool) {
        if let Some(unit) = self.units.iter_mut().find(|unit| unit.spu == spu) {
            unit.replicas += 1;
            unit.leaders += u64::from(leads);
        }
    }
}
