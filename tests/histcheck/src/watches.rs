//! Watches: every revision once, in order.
//!
//! A watch with a filter is held against the others with the same one: what any of them saw between two
//! events of this one, this one missed.

use std::collections::{BTreeMap, BTreeSet};

use crate::event::{Event, What};
use crate::verdict::{Class, Verdict};

/// One watch from a beginning to the next: what it was told after `after`.
struct Stretch {
    watch: u64,
    filter: Option<u32>,
    after: u64,
    told: Vec<u64>,
}

pub(crate) fn judge(history: &[Event], verdict: &mut Verdict) {
    let stretches = gather(history);
    let mut by_filter: BTreeMap<u32, BTreeSet<u64>> = BTreeMap::new();
    for stretch in &stretches {
        if let Some(filter) = stretch.filter {
            by_filter.entry(filter).or_default().extend(&stretch.told);
        }
    }
    for stretch in &stretches {
        let watch = stretch.watch;
        let mut last = stretch.after;
        for revision in &stretch.told {
            if *revision <= last {
                verdict.add(Class::WatchBackwards, || {
                    format!("watch {watch}: {revision} after {last}")
                });
                continue;
            }
            let missed = match stretch.filter {
                None => Some(last + 1),
                Some(filter) => by_filter.get(&filter).and_then(|all| {
                    let mut later = all.range(last + 1..);
                    later.next().copied()
                }),
            };
            if let Some(missed) = missed.filter(|missed| missed < revision) {
                verdict.add(Class::WatchGap, || {
                    format!("watch {watch}: {revision} after {last}, without {missed}")
                });
            }
            last = *revision;
        }
    }
}

fn gather(history: &[Event]) -> Vec<Stretch> {
    let mut stretches: Vec<Stretch> = Vec::new();
    let mut open: BTreeMap<u64, usize> = BTreeMap::new();
    for event in history {
        match event.what {
            What::Watched {
                watch,
                filter,
                after,
            } => {
                open.insert(watch, stretches.len());
                stretches.push(Stretch {
                    watch,
                    filter,
                    after,
                    told: Vec::new(),
                });
            }
            What::Compacted { watch, revision } => {
                if let Some(filter) = open.get(&watch).map(|at| stretches[*at].filter) {
                    open.insert(watch, stretches.len());
                    stretches.push(Stretch {
                        watch,
                        filter,
                        after: revision,
                        told: Vec::new(),
                    });
                }
            }
            What::Revision { watch, revision } => {
                if let Some(at) = open.get(&watch) {
                    stretches[*at].told.push(revision);
                }
            }
            _ => {}
        }
    }
    stretches
}
