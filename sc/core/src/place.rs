//! Chooses the storage units of a partition: least loaded first, racks apart, leaders spread.
//!
//! Greedy: the leader goes where the fewest are led, the others where the fewest are held. Of units that
//! were at hand throughout, none leads more than one partition more than another. Does not move what is
//! placed.

use std::collections::BTreeMap;

use tidegate_proto::api::topic::PlacementPolicy;
use tidegate_proto::control::IsrMember;
use tidegate_proto::id::{Incarnation, SpuId};

use crate::draft::Draft;

#[derive(Debug, Clone)]
struct Unit {
    spu: SpuId,
    incarnation: Incarnation,
    replicas: u64,
    leaders: u64,
}

/// The units at hand with their loads; counts what it places.
#[derive(Debug, Clone)]
pub(crate) struct Planner {
    /// By id.
    units: Vec<Unit>,
    /// Of every unit, at hand or not.
    racks: BTreeMap<SpuId, Option<String>>,
}

impl Planner {
    /// The units as the draft has them, with the loads of the model under it.
    pub(crate) fn new(draft: &Draft<'_>) -> Self {
        let model = draft.model();
        let at_hand = draft.spus().filter(|row| row.is_at_hand());
        let units = at_hand.map(|row| {
            let (replicas, leaders) = model.load(row.spu);
            Unit {
                spu: row.spu,
                incarnation: row.incarnation,
                replicas,
                leaders,
            }
        });
        Self {
            units: units.collect(),
            racks: draft
                .spus()
                .map(|row| (row.spu, row.rack.clone()))
                .collect(),
        }
    }

    /// Number of units at hand.
    pub(crate) fn at_hand(&self) -> usize {
        self.units.len()
    }

    /// The unit as a member, when it is at hand.
    pub(crate) fn member(&self, spu: SpuId) -> Option<IsrMember> {
        let Unit {
            spu, incarnation, ..
        } = self.units[self.place_of(spu)?];
        Some(IsrMember { spu, incarnation })
    }

    /// Units for one partition, the leader first, each with its incarnation; `None` when there are
    /// fewer than `copies`.
    pub(crate) fn place(&mut self, copies: u16, policy: PlacementPolicy) -> Option<Vec<IsrMember>> {
        let mut chosen: Vec<SpuId> = Vec::with_capacity(usize::from(copies));
        for _ in 0..copies {
            let next = self.best(&chosen, &chosen, policy)?;
            chosen.push(next);
        }
        let members = chosen.iter().filter_map(|spu| self.member(*spu)).collect();
        for (order, spu) in chosen.into_iter().enumerate() {
            self.count(spu, order == 0);
        }
        Some(members)
    }

    /// One more unit beside those in `keep`, and none of those in `besides`; counted.
    pub(crate) fn one_more(
        &mut self,
        keep: &[SpuId],
        besides: &[SpuId],
        policy: PlacementPolicy,
        leads: bool,
    ) -> Option<SpuId> {
        let taken: Vec<SpuId> = keep.iter().chain(besides).copied().collect();
        let found = self.best(keep, &taken, policy)?;
        self.count(found, leads);
        Some(found)
    }

    /// Counts one more copy on a unit.
    pub(crate) fn count(&mut self, spu: SpuId, leads: bool) {
        if let Some(at) = self.place_of(spu) {
            self.units[at].replicas += 1;
            self.units[at].leaders += u64::from(leads);
        }
    }

    /// The best unit beside `keep` that is none of `taken`.
    fn best(&self, keep: &[SpuId], taken: &[SpuId], policy: PlacementPolicy) -> Option<SpuId> {
        let free = self.units.iter().filter(|unit| !taken.contains(&unit.spu));
        let found = free.min_by_key(|unit| {
            let crowded = match policy {
                PlacementPolicy::Computed | PlacementPolicy::Manual => {
                    self.on_same_rack(keep, unit.spu)
                }
                PlacementPolicy::IgnoreRack => 0,
            };
            // A leader does the work, so leading is what is spread first.
            let leading = if keep.is_empty() { unit.leaders } else { 0 };
            (crowded, leading, unit.replicas, unit.spu)
        });
        found.map(|unit| unit.spu)
    }

    fn on_same_rack(&self, keep: &[SpuId], spu: SpuId) -> usize {
        let Some(Some(rack)) = self.racks.get(&spu) else {
            return 0;
        };
        let same = |kept: &&SpuId| self.racks.get(kept).and_then(Option::as_ref) == Some(rack);
        keep.iter().filter(same).count()
    }

    fn place_of(&self, spu: SpuId) -> Option<usize> {
        self.units.binary_search_by_key(&spu, |unit| unit.spu).ok()
    }
}
