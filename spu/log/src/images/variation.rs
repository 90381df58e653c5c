//! What a power loss may make of one file: subsets of its unsynced changes, torn writes, lengths that
//! are older or newer than the bytes. Pure.

use std::sync::Arc;

use super::kind::Kind;
use crate::testing::Dice;
use crate::testing::trace::{FileBytes, Op, Tree};

/// Up to so many changes every subset is tried.
const EXHAUSTIVE_MAX: usize = 4;

/// Tears are tried at every sector of a write up to so many, then at the ends and some between.
const SECTORS_MAX: u64 = 12;

/// One thing that may have become of a file.
#[derive(Debug, Clone)]
pub(super) struct Variation {
    /// What was done to it.
    pub(super) kind: Kind,
    /// The result.
    pub(super) bytes: Arc<FileBytes>,
}

/// What is kept of one change.
#[derive(Debug, Clone, Copy)]
enum Take {
    Nothing,
    Whole,
    /// Sectors of that size, counted from the file's beginning, that `Sectors` allows.
    Torn(u64, Sectors),
}

/// Which sectors of a write arrived, counted from its first.
#[derive(Debug, Clone, Copy)]
enum Sectors {
    Before(u64),
    From(u64),
    AllBut(u64),
    Mask(u64),
}

impl Sectors {
    fn has(self, number: u64) -> bool {
        match self {
            Self::Before(end) => number < end,
            Self::From(start) => number >= start,
            Self::AllBut(hole) => number != hole,
            Self::Mask(mask) => mask >> (number % 64) & 1 == 1,
        }
    }
}

/// Everything that may have become of a file with unsynced changes, all of them and none of them
/// included. `random` bounds the random ones.
pub(super) fn variations(
    durable: &Tree,
    node: u32,
    changes: &[Op],
    random: usize,
    dice: &mut Dice,
) -> Vec<Variation> {
    let base = durable.shared_content(node);
    let mut made = Making {
        base: base.as_slice(),
        changes,
        found: Vec::new(),
    };
    made.subsets(random, dice);
    made.tears(random, dice);
    made.lengths();
    made.found
}

struct Making<'a> {
    base: &'a [u8],
    changes: &'a [Op],
    found: Vec<Variation>,
}

impl Making<'_> {
    fn subsets(&mut self, random: usize, dice: &mut Dice) {
        let count = self.changes.len();
        if count <= EXHAUSTIVE_MAX {
            for mask in 0..1_u64 << count {
                self.subset(|number| mask >> number & 1 == 1);
            }
            return;
        }
        for at in 0..=count {
            self.subset(|number| number < at);
            self.subset(|number| number >= at);
        }
        for at in 0..count {
            self.subset(|number| number == at);
            self.subset(|number| number != at);
        }
        for _ in 0..random {
            let mask = dice.below(u64::MAX);
            self.subset(|number| mask >> (number % 64) & 1 == 1);
        }
    }

    fn subset(&mut self, keeps: impl Fn(usize) -> bool) {
        let takes: Vec<Take> = (0..self.changes.len())
            .map(|number| {
                if keeps(number) {
                    Take::Whole
                } else {
                    Take::Nothing
                }
            })
            .collect();
        self.add(Kind::Subset, &takes, None);
    }

    /// Tears the last writes, those before them whole, those after them gone; and whole, too.
    fn tears(&mut self, random: usize, dice: &mut Dice) {
        let count = self.changes.len();
        let first = count.saturating_sub(3);
        for number in first..count {
            let Op::Write(_, at, data) = &self.changes[number] else {
                continue;
            };
            for (size, kind) in [(512, Kind::Tear512), (4096, Kind::Tear4096)] {
                let sectors = (at + data.len() as u64).div_ceil(size) - at / size;
                for torn in tears_of(sectors, random, dice) {
                    for rest in [Take::Nothing, Take::Whole] {
                        let mut takes = vec![Take::Whole; count];
                        takes[number + 1..].fill(rest);
                        takes[number] = Take::Torn(size, torn);
                        self.add(kind, &takes, None);
                        if number + 1 == count {
                            break;
                        }
                    }
                }
            }
        }
    }

    /// Lengths that do not fit the bytes.
    fn lengths(&mut self) {
        let count = self.changes.len();
        let all = vec![Take::Whole; count];
        let mut lens = vec![self.base.len()];
        for number in 0..count {
            let bytes = compose(self.base, &self.changes[..=number], &all[..=number]);
            lens.push(bytes.len());
        }
        let live = lens[count];
        for len in &lens[..count] {
            if *len < live {
                self.add(Kind::StaleLength, &all, Some(*len));
            }
        }
        // The length arrived, the last bytes did not.
        for kept in 0..count {
            let mut takes = all.clone();
            takes[kept..].fill(Take::Nothing);
            if lens[kept] < live {
                self.add(Kind::ZeroTail, &takes, Some(live));
            }
        }
    }

    fn add(&mut self, kind: Kind, takes: &[Take], len: Option<usize>) {
        let mut bytes = compose(self.base, self.changes, takes);
        if let Some(len) = len {
            bytes.resize(len, 0);
        }
        // What is the same as what is there already teaches nothing; its kind is the first one's.
        if self
            .found
            .iter()
            .all(|other| other.bytes.as_slice() != bytes)
        {
            let bytes = Arc::new(FileBytes::new(bytes));
            self.found.push(Variation { kind, bytes });
        }
    }
}

fn tears_of(sectors: u64, random: usize, dice: &mut Dice) -> Vec<Sectors> {
    if sectors < 2 {
        return Vec::new();
    }
    let mut cuts: Vec<u64> = (1..sectors).collect();
    if sectors > SECTORS_MAX {
        cuts.retain(|cut| *cut < 4 || *cut + 4 > sectors);
        cuts.push(1 + dice.below(sectors - 1));
    }
    let mut found = Vec::new();
    for cut in cuts {
        found.extend([
            Sectors::Before(cut),
            Sectors::From(cut),
            Sectors::AllBut(cut),
        ]);
    }
    found.push(Sectors::AllBut(0));
    found.extend((0..random.min(3)).map(|_| Sectors::Mask(dice.below(u64::MAX))));
    found
}

fn compose(base: &[u8], changes: &[Op], takes: &[Take]) -> Vec<u8> {
    let mut tree = Tree::default();
    tree.set_content(1, Arc::new(FileBytes::new(base.to_vec())));
    for (change, take) in changes.iter().zip(takes) {
        match (change, take) {
            (_, Take::Nothing) => {}
            (Op::Write(_, at, data), Take::Torn(size, sectors)) => {
                for (at, part) in parts(*at, data, *size, *sectors) {
                    tree.apply(&Op::Write(1, at, part.into()));
                }
            }
            (Op::Write(_, at, data), _) => tree.apply(&Op::Write(1, *at, Arc::clone(data))),
            (Op::SetLen(_, len), _) => tree.apply(&Op::SetLen(1, *len)),
            _ => {}
        }
    }
    tree.content(1).to_vec()
}

/// The pieces of a write that lie in the sectors that arrived.
fn parts(at: u64, data: &[u8], size: u64, sectors: Sectors) -> Vec<(u64, &[u8])> {
    let end = at + data.len() as u64;
    let first = at / size;
    let mut found = Vec::new();
    for sector in first..end.div_ceil(size) {
        if sectors.has(sector - first) {
            let from = at.max(sector * size);
            let to = end.min((sector + 1) * size);
            let range = (from - at) as usize..(to - at) as usize;
            found.push((from, &data[range]));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(base: &[u8], changes: &[Op]) -> Vec<(Kind, Vec<u8>)> {
        let mut tree = Tree::default();
        tree.set_content(1, Arc::new(FileBytes::new(base.to_vec())));
        variations(&tree, 1, changes, 4, &mut Dice::new(1))
            .into_iter()
            .map(|found| (found.kind, found.bytes.as_slice().to_vec()))
            .collect()
    }

    #[test]
    fn a_write_is_whole_absent_torn_cut_short_or_zeros() {
        let found = of(&[1; 4], &[Op::Write(1, 4, vec![2; 1200].into())]);
        let has = |kind, len: usize, twos: usize| {
            found.iter().any(|(found, bytes)| {
                *found == kind
                    && bytes.len() == len
                    && bytes.iter().filter(|byte| **byte == 2).count() == twos
            })
        };
        assert!(has(Kind::Subset, 4, 0) && has(Kind::Subset, 1204, 1200));
        // Sectors are the file's: the first holds 508 of the write's bytes.
        assert!(has(Kind::Tear512, 512, 508) && has(Kind::Tear512, 1204, 692));
        assert!(has(Kind::Tear512, 1204, 688));
        assert!(has(Kind::ZeroTail, 1204, 0));
        assert!(!found.iter().any(|(kind, _)| *kind == Kind::Tear4096));
    }

    #[test]
    fn the_length_may_be_any_that_the_file_had() {
        let changes = [
            Op::Write(1, 0, vec![2; 10].into()),
            Op::Write(1, 10, vec![3; 10].into()),
        ];
        let found = of(&[], &changes);
        let of_kind = |kind| {
            let bytes = found.iter().filter(move |found| found.0 == kind);
            bytes.map(|found| found.1.len()).collect::<Vec<_>>()
        };
        assert_eq!(of_kind(Kind::ZeroTail), [20, 20]);
        // Without the second write, and with the second alone, which zeros precede.
        assert_eq!(of_kind(Kind::Subset), [0, 10, 20, 20]);
    }
}
