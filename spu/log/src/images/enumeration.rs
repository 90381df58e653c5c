//! Every image of one moment: the choices for names and files, combined. Pure, and the same for the
//! same seed.
//!
//! Invariant: each image is one that the rules of [`Volatile`] allow.

use std::collections::HashMap;
use std::sync::Arc;

use super::kind::Kind;
use super::variation::{Variation, variations};
use super::volatile::Volatile;
use crate::testing::Dice;
use crate::testing::trace::{FileBytes, Tree};

/// Up to so many changes of names every allowed subset is tried.
const NAMES_EXHAUSTIVE_MAX: usize = 5;

/// How much to try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Effort {
    /// Images of one moment, at most; a sample when there are more.
    pub per_moment: usize,
    /// Random subsets of one file's writes, and random combinations.
    pub random: usize,
    /// Every so many moments the recovery of two images is crashed, too; 0 for none.
    pub second_crash_every: usize,
    /// Images of one moment of a recovery.
    pub per_second_moment: usize,
}

/// Combines what may have become of names and files. Keeps the variations of files that did not
/// change since it was last asked.
#[derive(Debug, Default)]
pub(super) struct Enumeration {
    seed: u64,
    by_file: HashMap<u32, (usize, Arc<Vec<Variation>>)>,
}

/// A file with what may have become of it.
struct File {
    node: u32,
    live: Arc<FileBytes>,
    variations: Arc<Vec<Variation>>,
}

/// One image, not built yet.
#[derive(Debug, Clone)]
struct Plan {
    kind: Kind,
    /// Number of the choice of names.
    names: usize,
    /// What of the files that are not picked: all that was written, or what was synced.
    rest_is_live: bool,
    /// Files and their variations.
    picks: Vec<(usize, usize)>,
}

impl Enumeration {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            seed,
            by_file: HashMap::new(),
        }
    }

    pub(super) fn seed(&self) -> u64 {
        self.seed
    }

    /// A file was written to, or synced.
    pub(super) fn forget(&mut self, node: u32) {
        self.by_file.remove(&node);
    }

    /// Images of this moment, at most `limit`. `number` is the moment's.
    pub(super) fn images(
        &mut self,
        volatile: &Volatile,
        number: usize,
        (limit, random): (usize, usize),
    ) -> Vec<(Kind, Tree)> {
        let mut dice = Dice::new(self.seed ^ (number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let live = volatile.live();
        let files: Vec<File> = volatile
            .file_changes()
            .map(|(node, _)| File {
                node,
                live: live.shared_content(node),
                variations: self.variations(volatile, node, random),
            })
            .collect();
        let names = name_choices(volatile, random, &mut dice);
        let mut plans = plans(names.len(), &files);
        plans.extend((0..random).map(|_| random_plan(names.len(), &files, &mut dice)));
        // The first two are the crash that happens most and the one that takes most.
        while plans.len() > limit.max(2) {
            let at = 2 + dice.below(plans.len() as u64 - 2) as usize;
            plans.swap_remove(at);
        }
        let build = |plan: &Plan| (plan.kind, build(volatile, &names, &files, plan));
        plans.iter().map(build).collect()
    }

    fn variations(&mut self, volatile: &Volatile, node: u32, random: usize) -> Arc<Vec<Variation>> {
        let changes = volatile.file_changes().find(|(file, _)| *file == node);
        let changes = changes.map_or(&[][..], |(_, changes)| changes);
        if let Some((count, known)) = self.by_file.get(&node)
            && *count == changes.len()
        {
            return Arc::clone(known);
        }
        let mut dice = Dice::new(self.seed ^ u64::from(node) << 32 ^ changes.len() as u64);
        let found = variations(volatile.durable(), node, changes, random, &mut dice);
        let found = Arc::new(found);
        self.by_file
            .insert(node, (changes.len(), Arc::clone(&found)));
        found
    }
}

/// Choices of unsynced changes of names: all, none, then the others.
fn name_choices(volatile: &Volatile, random: usize, dice: &mut Dice) -> Vec<Vec<bool>> {
    let count = volatile.name_changes();
    let mut found = vec![vec![true; count], vec![false; count]];
    let mut add = |kept: Vec<bool>| {
        if !found.contains(&kept) {
            found.push(kept);
        }
    };
    let from = |keeps: &dyn Fn(usize) -> bool| (0..count).map(keeps).collect::<Vec<bool>>();
    if count <= NAMES_EXHAUSTIVE_MAX {
        for mask in 0..1_u64 << count {
            let mut kept = from(&|number| mask >> number & 1 == 1);
            volatile.close_downwards(&mut kept);
            add(kept);
        }
        return found;
    }
    for at in 0..count {
        let mut alone = from(&|number| number == at);
        volatile.close_downwards(&mut alone);
        add(alone);
        let mut others = from(&|number| number != at);
        volatile.close_upwards(&mut others);
        add(others);
        add(from(&|number| number < at));
    }
    for _ in 0..random {
        let mask = dice.below(u64::MAX);
        let mut kept = from(&|number| mask >> (number % 64) & 1 == 1);
        volatile.close_downwards(&mut kept);
        add(kept);
    }
    found
}

fn plans(names: usize, files: &[File]) -> Vec<Plan> {
    let plan = |kind, names, rest_is_live, picks| Plan {
        kind,
        names,
        rest_is_live,
        picks,
    };
    let mut found = vec![
        plan(Kind::Kill, 0, true, Vec::new()),
        plan(Kind::Lost, 1, false, Vec::new()),
    ];
    for choice in 0..names {
        for rest_is_live in [true, false] {
            found.push(plan(Kind::Names, choice, rest_is_live, Vec::new()));
        }
    }
    for (file, variations) in files.iter().map(|file| &file.variations).enumerate() {
        for (number, variation) in variations.iter().enumerate() {
            for choice in 0..names.min(2) {
                for rest_is_live in [true, false] {
                    let picks = vec![(file, number)];
                    found.push(plan(variation.kind, choice, rest_is_live, picks));
                }
            }
        }
    }
    found
}

fn random_plan(names: usize, files: &[File], dice: &mut Dice) -> Plan {
    let mut picks = Vec::new();
    for (file, variations) in files.iter().map(|file| &file.variations).enumerate() {
        // Often as if nothing had happened to it, so that the damage of few meets.
        if dice.below(2) == 0 {
            picks.push((file, dice.below(variations.len() as u64) as usize));
        }
    }
    Plan {
        kind: Kind::Mixed,
        names: dice.below(names as u64) as usize,
        rest_is_live: dice.below(2) == 0,
        picks,
    }
}

fn build(volatile: &Volatile, names: &[Vec<bool>], files: &[File], plan: &Plan) -> Tree {
    let mut tree = volatile.with_names(&names[plan.names]);
    if plan.rest_is_live {
        for file in files {
            tree.set_content(file.node, Arc::clone(&file.live));
        }
    }
    for (file, variation) in &plan.picks {
        let file = &files[*file];
        tree.set_content(file.node, Arc::clone(&file.variations[*variation].bytes));
    }
    tree
}
