//! A plan that evens out what units hold and lead, with as few moves as it can.
//!
//! First racks: copies of one partition that share a rack while others are free. Then copies: from the
//! unit that holds the most to the one that holds the least. Then leaders, by changing the order of the
//! copies, along chains of units where no two can swap directly. Moves nothing itself.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use tidegate_proto::api::topic::{PlacementPolicy, WriteResult};
use tidegate_proto::id::SpuId;
use tidegate_proto::position::ReplicaKey;

use crate::decision::{Decision, MoveTerms, Outcome};
use crate::difference::moved;
use crate::draft::{Draft, drafted};
use crate::ids::Ids;
use crate::limits::MOVES_PER_OPERATION_MAX;
use crate::model::Model;
use crate::moves::{begin_moves, is_pinned};
use crate::operation::operation_of;
use crate::refusal::Refusal;
use crate::rows::{OperationKind, PartitionRow};

/// Begins an operation that carries the plan out; nothing when all is even.
pub(crate) fn rebalance(
    model: &Model,
    now_ms: i64,
    ids: &mut Ids,
    terms: &MoveTerms,
) -> Result<Decision, Refusal> {
    let mut plan = Plan::new(model, terms);
    plan.part_racks();
    plan.even_copies();
    plan.even_leaders();
    let mut wishes: Vec<_> = plan.wishes.into_iter().collect();
    wishes.truncate(MOVES_PER_OPERATION_MAX);
    let mut draft = Draft::new(model);
    let kind = OperationKind::Rebalance;
    let operation = begin_moves(&mut draft, now_ms, ids, kind, wishes, terms)?;
    let outcome = operation.map_or(Outcome::None, Outcome::Operation);
    Ok(moved(model, drafted(draft, WriteResult::Updated, outcome)))
}

struct Plan<'a> {
    model: &'a Model,
    terms: &'a MoveTerms,
    /// What units at hand hold, by the plan.
    holds: BTreeMap<SpuId, BTreeSet<ReplicaKey>>,
    /// Partitions whose copies are to be elsewhere, or in another order.
    wishes: BTreeMap<ReplicaKey, Vec<SpuId>>,
}

impl<'a> Plan<'a> {
    fn new(model: &'a Model, terms: &'a MoveTerms) -> Self {
        let at_hand = model.spus_at_hand();
        Self {
            model,
            terms,
            holds: at_hand
                .map(|row| (row.spu, model.held_by(row.spu).collect()))
                .collect(),
            wishes: BTreeMap::new(),
        }
    }

    /// Where the copies are, by the plan.
    fn copies(&self, row: &PartitionRow) -> Vec<SpuId> {
        let held = || row.replicas.iter().map(|replica| replica.spu).collect();
        self.wishes.get(&row.key()).cloned().unwrap_or_else(held)
    }

    /// The row, when its copies may be moved.
    fn movable(&self, key: ReplicaKey) -> Option<&'a PartitionRow> {
        let row: &PartitionRow = self.model.partition(key)?;
        let moves = !is_pinned(row, self.terms);
        let manual = self.policy(key) == PlacementPolicy::Manual;
        (moves && !manual && operation_of(row).is_none()).then_some(row)
    }

    fn policy(&self, key: ReplicaKey) -> PlacementPolicy {
        let topic = self.model.topic_by_id(key.topic_id);
        topic.map_or_else(PlacementPolicy::default, |topic| topic.row.placement)
    }

    fn racks(&self, copies: &[SpuId]) -> usize {
        let rack = |spu: &SpuId| self.model.spu(*spu).and_then(|row| row.rack.as_ref());
        // A unit without a rack is a rack of its own.
        let named: BTreeSet<_> = copies.iter().filter_map(rack).collect();
        named.len() + copies.iter().filter(|spu| rack(spu).is_none()).count()
    }

    /// Puts `to` in the place of `from`.
    fn replace(&mut self, row: &PartitionRow, from: SpuId, to: SpuId) {
        let mut copies = self.copies(row);
        for spu in copies.iter_mut().filter(|spu| **spu == from) {
            *spu = to;
        }
        let key = row.key();
        self.wishes.insert(key, copies);
        if let Some(held) = self.holds.get_mut(&from) {
            held.remove(&key);
        }
        self.holds.entry(to).or_default().insert(key);
    }

    /// True when the copy can go from one to the other without bringing copies onto one rack.
    fn fits(&self, row: &PartitionRow, from: SpuId, to: SpuId) -> bool {
        let copies = self.copies(row);
        if copies.contains(&to) {
            return false;
        }
        let swap = |spu: &SpuId| if *spu == from { to } else { *spu };
        let after: Vec<SpuId> = copies.iter().map(swap).collect();
        self.policy(row.key()) != PlacementPolicy::Computed
            || self.racks(&after) >= self.racks(&copies)
    }

    fn part_racks(&mut self) {
        let all: BTreeSet<_> = self
            .model
            .spus_at_hand()
            .map(|row| row.rack.as_ref())
            .collect();
        if all.iter().flatten().count() < 2 {
            return;
        }
        let topics = self.model.topics.values();
        let computed = topics.filter(|topic| topic.row.placement == PlacementPolicy::Computed);
        let keys: Vec<_> = computed
            .flat_map(|topic| topic.partitions.iter().map(|row| row.key()))
            .collect();
        for key in keys {
            let Some(row) = self.movable(key) else {
                continue;
            };
            while let Some((from, to)) = self.rack_apart(row) {
                self.replace(row, from, to);
            }
        }
    }

    /// A copy that shares a rack, and the least loaded unit on a rack that has none.
    fn rack_apart(&self, row: &PartitionRow) -> Option<(SpuId, SpuId)> {
        let copies = self.copies(row);
        let before = self.racks(&copies);
        if before == copies.len() {
            return None;
        }
        let better = |from: SpuId, to: SpuId| {
            let swap = |spu: &SpuId| if *spu == from { to } else { *spu };
            let after: Vec<SpuId> = copies.iter().map(swap).collect();
            !copies.contains(&to) && self.racks(&after) > before
        };
        // The preferred leader stays, if another can go.
        let pairs = copies.iter().rev().flat_map(|from| {
            let to = self.holds.iter().filter(|(to, _)| better(*from, **to));
            to.map(|(to, held)| (held.len(), *from, *to))
        });
        pairs
            .min_by_key(|(load, _, to)| (*load, *to))
            .map(|(_, from, to)| (from, to))
    }

    fn even_copies(&mut self) {
        // Units from which nothing more can go, whatever is free elsewhere.
        let mut stuck: BTreeSet<SpuId> = BTreeSet::new();
        while self.wishes.len() < MOVES_PER_OPERATION_MAX {
            let full = self.holds.iter().filter(|(spu, _)| !stuck.contains(spu));
            let full = full.max_by_key(|(spu, held)| (held.len(), std::cmp::Reverse(**spu)));
            let Some((from, most)) = full.map(|(spu, held)| (*spu, held.len())) else {
                return;
            };
            let mut room: Vec<_> = self
                .holds
                .iter()
                .map(|(spu, held)| (held.len(), *spu))
                .collect();
            room.sort_unstable();
            room.retain(|(load, _)| load + 1 < most);
            let step = room
                .iter()
                .find_map(|(_, to)| Some((self.spare(from, *to)?, *to)));
            match step {
                Some((row, to)) => self.replace(row, from, to),
                None => {
                    stuck.insert(from);
                }
            }
        }
    }

    /// A partition that can go from one unit to the other; one that moves anyway, if there is one.
    fn spare(&self, from: SpuId, to: SpuId) -> Option<&'a PartitionRow> {
        let held = self.holds.get(&from)?;
        let good = |key: &ReplicaKey| {
            let row = self.movable(*key)?;
            self.fits(row, from, to).then_some(row)
        };
        held.iter().find_map(good)
    }

    /// Moves leadership along chains of units until none leads two more than another that it reaches.
    fn even_leaders(&mut self) {
        let mut leads: BTreeMap<SpuId, u64> = self.holds.keys().map(|spu| (*spu, 0)).collect();
        // For each pair of units, partitions that the first leads and the second could.
        let mut edges: BTreeMap<SpuId, BTreeMap<SpuId, BTreeSet<ReplicaKey>>> = BTreeMap::new();
        for topic in self.model.topics.values() {
            for row in &topic.partitions {
                let copies = self.copies(row);
                let Some(first) = copies.first() else {
                    continue;
                };
                *leads.entry(*first).or_default() += 1;
                if operation_of(row).is_none() && topic.row.placement != PlacementPolicy::Manual {
                    link(&mut edges, row.key(), &copies);
                }
            }
        }
        leads.retain(|spu, _| self.holds.contains_key(spu));
        for _ in 0..MOVES_PER_OPERATION_MAX {
            let Some(chain) = chain(&leads, &edges) else {
                return;
            };
            for pair in chain.windows(2) {
                self.pass(&mut edges, pair[0], pair[1]);
            }
            let (from, to) = (chain[0], chain[chain.len() - 1]);
            *leads.entry(from).or_default() -= 1;
            *leads.entry(to).or_default() += 1;
        }
    }

    /// Makes `to` the preferred leader of a partition of `from`.
    fn pass(
        &mut self,
        edges: &mut BTreeMap<SpuId, BTreeMap<SpuId, BTreeSet<ReplicaKey>>>,
        from: SpuId,
        to: SpuId,
    ) {
        let shared = edges.get(&from).and_then(|others| others.get(&to));
        // One that is in the plan already costs nothing more.
        let planned = |keys: &BTreeSet<ReplicaKey>| {
            let in_plan = keys.iter().find(|key| self.wishes.contains_key(key));
            in_plan.or_else(|| keys.first()).copied()
        };
        let Some(key) = shared.and_then(planned) else {
            return;
        };
        let Some(row) = self.model.partition(key) else {
            return;
        };
        let mut copies = self.copies(row);
        for others in edges.values_mut() {
            for keys in others.values_mut() {
                keys.remove(&key);
            }
        }
        if let Some(at) = copies.iter().position(|spu| *spu == to) {
            copies.swap(0, at);
        }
        link(edges, key, &copies);
        self.wishes.insert(key, copies);
    }
}

fn link(
    edges: &mut BTreeMap<SpuId, BTreeMap<SpuId, BTreeSet<ReplicaKey>>>,
    key: ReplicaKey,
    copies: &[SpuId],
) {
    if let [first, rest @ ..] = copies {
        let others = edges.entry(*first).or_default();
        for spu in rest {
            others.entry(*spu).or_default().insert(key);
        }
    }
}

/// The shortest chain from a unit that leads the most to one that leads at least two fewer.
fn chain(
    leads: &BTreeMap<SpuId, u64>,
    edges: &BTreeMap<SpuId, BTreeMap<SpuId, BTreeSet<ReplicaKey>>>,
) -> Option<Vec<SpuId>> {
    let mut starts: Vec<_> = leads.iter().map(|(spu, count)| (*count, *spu)).collect();
    starts.sort_unstable_by_key(|(count, spu)| (std::cmp::Reverse(*count), *spu));
    let least = starts.last()?.0;
    for (count, start) in starts {
        if count < least + 2 {
            return None;
        }
        let mut came: BTreeMap<SpuId, SpuId> = BTreeMap::from([(start, start)]);
        let mut queue = VecDeque::from([start]);
        while let Some(at) = queue.pop_front() {
            if leads.get(&at).is_some_and(|other| other + 2 <= count) {
                let mut chain = vec![at];
                while let Some(before) = came.get(&chain[chain.len() - 1])
                    && *before != chain[chain.len() - 1]
                {
                    chain.push(*before);
                }
                chain.reverse();
                return Some(chain);
            }
            let next = edges.get(&at).into_iter().flatten();
            for (spu, _) in next.filter(|(spu, keys)| !keys.is_empty() && leads.contains_key(spu)) {
                if !came.contains_key(spu) {
                    came.insert(*spu, at);
                    queue.push_back(*spu);
                }
            }
        }
    }
    None
}
