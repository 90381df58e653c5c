//! What is asked often, kept beside the rows: which partitions a unit holds and leads, and which
//! partitions wait for something.
//!
//! Follows from the rows alone: building it anew gives the same. Changed by [`Index::put`] and
//! [`Index::take_out`] only.

use std::collections::BTreeMap;

use tidegate_proto::id::SpuId;
use tidegate_proto::position::ReplicaKey;

use crate::rows::{PartitionRow, SpuRow};
use crate::shared::SharedMap;

/// Partitions by unit.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Holding {
    /// What it has a copy of, and whether it leads that.
    partitions: SharedMap<ReplicaKey, bool>,
    leads: u64,
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Index {
    by_spu: BTreeMap<SpuId, Holding>,
    /// Partitions that are not as they should be, or on their way somewhere.
    waiting: SharedMap<ReplicaKey, ()>,
}

impl Index {
    pub(super) fn held(&self, spu: SpuId) -> impl Iterator<Item = ReplicaKey> {
        let holding = self.by_spu.get(&spu);
        holding
            .into_iter()
            .flat_map(|holding| holding.partitions.keys().copied())
    }

    pub(super) fn led(&self, spu: SpuId) -> impl Iterator<Item = ReplicaKey> {
        let holding = self.by_spu.get(&spu).into_iter();
        let partitions = holding.flat_map(|holding| holding.partitions.iter());
        partitions.filter(|(_, leads)| **leads).map(|(key, _)| *key)
    }

    /// Partitions that the unit holds, and how many of them it leads.
    pub(super) fn counts(&self, spu: SpuId) -> (u64, u64) {
        let holding = self.by_spu.get(&spu);
        holding.map_or((0, 0), |holding| {
            (holding.partitions.len() as u64, holding.leads)
        })
    }

    pub(super) fn waiting(&self) -> impl Iterator<Item = ReplicaKey> {
        self.waiting.keys().copied()
    }

    pub(super) fn is_waiting(&self, key: ReplicaKey) -> bool {
        self.waiting.contains_key(&key)
    }

    /// Takes in a row, instead of the one before.
    pub(super) fn put(
        &mut self,
        spus: &BTreeMap<SpuId, SpuRow>,
        before: Option<&PartitionRow>,
        row: &PartitionRow,
    ) {
        let key = row.key();
        let same = |old: &PartitionRow| {
            old.leader == row.leader
                && old.replicas.len() == row.replicas.len()
                && old
                    .replicas
                    .iter()
                    .zip(&row.replicas)
                    .all(|(a, b)| a.spu == b.spu)
        };
        if !before.is_some_and(same) {
            if let Some(before) = before {
                self.let_go(before);
            }
            for replica in &row.replicas {
                let leads = row.leader == Some(replica.spu);
                let holding = self.by_spu.entry(replica.spu).or_default();
                holding.partitions.insert(key, leads);
                holding.leads += u64::from(leads);
            }
        }
        self.wait_or_not(spus, row);
    }

    /// Notes anew whether a partition waits; for when a unit of it changed.
    pub(super) fn wait_or_not(&mut self, spus: &BTreeMap<SpuId, SpuRow>, row: &PartitionRow) {
        let key = row.key();
        if is_waiting(spus, row) {
            if !self.waiting.contains_key(&key) {
                self.waiting.insert(key, ());
            }
        } else {
            self.waiting.remove(&key);
        }
    }

    pub(super) fn take_out(&mut self, row: &PartitionRow) {
        self.let_go(row);
        self.waiting.remove(&row.key());
    }

    fn let_go(&mut self, row: &PartitionRow) {
        let key = row.key();
        for replica in &row.replicas {
            let Some(holding) = self.by_spu.get_mut(&replica.spu) else {
                continue;
            };
            if let Some(leads) = holding.partitions.remove(&key) {
                holding.leads -= u64::from(leads);
            }
            if holding.partitions.is_empty() {
                self.by_spu.remove(&replica.spu);
            }
        }
    }
}

/// No leader, one that is not the unit it was elected as, or something to be done.
fn is_waiting(spus: &BTreeMap<SpuId, SpuRow>, row: &PartitionRow) -> bool {
    let Some(leader) = row.leader else {
        return true;
    };
    let current = spus.get(&leader).filter(|unit| !unit.fenced);
    let member = row.isr.iter().find(|member| member.spu == leader);
    row.moving.is_some()
        || row.seal.is_some()
        || current.map(|unit| unit.incarnation) != member.map(|member| member.incarnation)
}
