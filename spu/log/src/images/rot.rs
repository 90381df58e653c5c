//! The rot sweep: one bit of each byte of a log flipped in turn; each flip is found or harmless.
//!
//! The log is one that crashed, or one that was closed in order, with batches in synced segments and
//! in the journal alone, the last round closed by an empty one. Without that closing round rot in the
//! last round looks like a tear, and nothing can tell them apart.
//!
//! Of each flip must hold: what can be read is what was written; what cannot be read is named by an
//! error or lies beyond the end of a replica that is called damaged; an end below the high watermark is
//! called damage; whatever batch the flip did not hit is still on the disk, in its place or aside. An
//! opening that refuses names the file and changes nothing.

use std::sync::Arc;

use tidegate_proto::batch::Batch;
use tidegate_proto::position::Offset;

use super::boot::open;
use super::model::{Model, ReplicaModel};
use super::script::Script;
use super::setting::tiny;
use crate::testing::Dice;
use crate::testing::trace::{FileBytes, TraceVfs, Tree};
use crate::{LogConfig, Opened, Replica, ReplicaFacts};

/// Bytes of one read: several batches, to be quick.
const READ_BYTES: usize = 16 << 10;

/// A log to be damaged.
#[derive(Debug)]
pub struct Rot {
    tree: Tree,
    config: LogConfig,
    model: Model,
    /// The same at the checkpoint: what is in it is in segments, and its journal may be used again.
    covered: Model,
    seed: u64,
    /// Files with their nodes and where each begins in the count of bytes.
    files: Vec<(String, u32, usize)>,
    len: usize,
}

/// What became of flips.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RotReport {
    /// Flips.
    pub flips: u64,
    /// Nothing was lost.
    pub harmless: u64,
    /// The log did not open, and said which file is damaged.
    pub refused: u64,
    /// A replica was called damaged.
    pub told_at_opening: u64,
    /// A read failed.
    pub told_by_reads: u64,
    /// A producer snapshot was given up.
    pub snapshots: u64,
    /// File, byte and bit of flips that were neither found nor harmless, and what is wrong.
    pub failures: Vec<(String, usize, u8, String)>,
}

enum Outcome {
    Harmless,
    Refused,
    ToldAtOpening,
    ToldByReads,
    Snapshot,
}

impl Rot {
    /// A log of about so many bytes in all its files.
    #[must_use]
    pub fn new(bytes: usize, is_closed: bool, seed: u64) -> Self {
        let mut config = tiny(seed);
        let journal = (bytes as u64 / 4).next_multiple_of(4096);
        config.journal_file_bytes_first = journal;
        config.journal_file_bytes = journal;
        config.journal_bytes_max = 8 * journal;
        config.segment.segment_bytes = (bytes as u64 / 16).max(1500);
        config.unflushed_bytes_max = 4 * bytes as u64;
        config.unflushed_bytes_soft = 4 * bytes as u64;
        config.flush_bytes = 4 * bytes as u64;
        let mut script = Script::new(TraceVfs::of(Tree::default()), config.clone(), seed);
        script.create(0, 1);
        script.create(1, 1);
        script.round();
        let size = |script: &Script| -> usize {
            let replicas = [script.expected(0), script.expected(1)];
            let batches = replicas.iter().flat_map(|replica| &replica.batches);
            batches.map(Batch::encoded_len).sum()
        };
        let mut covered = Model::default();
        let mut partition = 0;
        while size(&script) < bytes / 4 {
            script.append(partition, 1 + partition, 2, 400);
            script.round();
            partition = 1 - partition;
            if size(&script) >= bytes / 6 && script.expected(0).snapshot.is_none() {
                // The rest is in the journal alone.
                script.snapshot(0, 50);
                script.commit(0);
                script.accept(0, 3);
                script.round();
                script.checkpoint();
                covered = script.model().clone();
            }
        }
        script.closing_round();
        if is_closed {
            script.close();
        }
        let (tree, model) = script.into_tree();
        let mut len = 0;
        let mut files = Vec::new();
        for (path, node) in tree.files() {
            files.push((path, node, len));
            len += tree.content(node).len();
        }
        Self {
            tree,
            config,
            model,
            covered,
            seed,
            files,
            len,
        }
    }

    /// Bytes of all files.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// True when there is nothing to damage.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Flips one bit of that byte, counted through all files, and adds what became of it.
    pub fn flip(&self, number: usize, report: &mut RotReport) {
        let at = self.files.partition_point(|(_, _, start)| *start <= number) - 1;
        let (path, node, start) = &self.files[at];
        let byte = number - start;
        let bit = Dice::new(self.seed ^ number as u64).below(8) as u8;
        let mut bytes = self.tree.content(*node).to_vec();
        bytes[byte] ^= 1 << bit;
        let mut tree = self.tree.clone();
        tree.set_content(*node, Arc::new(FileBytes::new(bytes)));
        report.flips += 1;
        match self.open(tree, path) {
            Ok(Outcome::Harmless) => report.harmless += 1,
            Ok(Outcome::Refused) => report.refused += 1,
            Ok(Outcome::ToldAtOpening) => report.told_at_opening += 1,
            Ok(Outcome::ToldByReads) => report.told_by_reads += 1,
            Ok(Outcome::Snapshot) => report.snapshots += 1,
            Err(what) => report.failures.push((path.clone(), byte, bit, what)),
        }
    }

    fn open(&self, tree: Tree, path: &str) -> Result<Outcome, String> {
        let before = tree.clone();
        let vfs = TraceVfs::of(tree);
        let opened = match open(&vfs, &self.config) {
            Ok(opened) => opened,
            Err(what) if what.contains("is damaged") && what.contains(path) => {
                return if vfs.tree().fingerprint() == before.fingerprint() {
                    Ok(Outcome::Refused)
                } else {
                    Err(format!("{what}, and the directory was changed"))
                };
            }
            Err(what) => return Err(what),
        };
        let mut lost: Vec<&Batch> = Vec::new();
        let mut has_failed_reads = false;
        let mut has_lost_snapshot = false;
        for (key, model) in &self.model.replicas {
            let facts = opened.replicas.iter().find(|facts| facts.key == *key);
            let facts = facts.ok_or_else(|| format!("{key} is gone"))?;
            let replica = opened.log.replica(*key);
            let replica = replica.ok_or_else(|| format!("{key} is not served"))?;
            let unread = compare(facts, &replica, model)?;
            has_failed_reads |= !unread.is_empty();
            has_lost_snapshot |= facts.snapshot != model.snapshot;
            lost.extend(unread);
        }
        self.check_kept(&vfs.tree(), &before, &lost)?;
        Ok(match () {
            () if is_told(&opened) => Outcome::ToldAtOpening,
            () if has_failed_reads => Outcome::ToldByReads,
            () if has_lost_snapshot => Outcome::Snapshot,
            () => Outcome::Harmless,
        })
    }

    /// Batches that cannot be read are where they were before, or aside, unless the flip hit the last
    /// copy.
    fn check_kept(&self, tree: &Tree, before: &Tree, lost: &[&Batch]) -> Result<(), String> {
        for batch in lost {
            let covered = self.covered.replicas.get(&batch.placement.key);
            let is_covered = covered.is_some_and(|replica| replica.batches.contains(batch));
            let counts = |path: &str| !is_covered || !path.contains("/journal/");
            if holds(before, batch, counts) && !holds(tree, batch, |_| true) {
                let base = batch.placement.base_offset;
                return Err(format!("the batch at {base} was destroyed"));
            }
        }
        Ok(())
    }
}

fn is_told(opened: &Opened) -> bool {
    opened.journal_rot || opened.replicas.iter().any(|facts| !facts.intact)
}

/// Batches that are not served any more. An error when something else is, or nobody says so.
fn compare<'a>(
    facts: &ReplicaFacts,
    replica: &Replica,
    model: &'a ReplicaModel,
) -> Result<Vec<&'a Batch>, String> {
    let mut lost = Vec::new();
    if facts.end > model.end {
        return Err(format!("it ends at {}, not {}", facts.end, model.end));
    }
    if facts.end < model.end && facts.intact {
        return Err(format!("it ends at {} and is called intact", facts.end));
    }
    let mut rest = &model.batches[..];
    while let Some(first) = rest.first() {
        let base = first.placement.base_offset;
        if base >= facts.end {
            lost.extend(rest);
            break;
        }
        let Ok(read) = replica.read(base, facts.end, READ_BYTES) else {
            lost.push(first);
            rest = &rest[1..];
            continue;
        };
        if read.is_empty() || !rest.starts_with(&read) {
            let found: Vec<Offset> = read.iter().map(|b| b.placement.base_offset).collect();
            return Err(format!("a read at {base} gives other batches: {found:?}"));
        }
        rest = &rest[read.len()..];
    }
    if facts.intact {
        // A replica that is called intact knows all that it accepted.
        if replica.meta() != model.meta || facts.high_watermark < model.high_watermark {
            return Err("it is called intact and its metadata went back".to_owned());
        }
    }
    Ok(lost)
}

/// True when the batch stands, whole, in any of these files.
fn holds(tree: &Tree, batch: &Batch, counts: impl Fn(&str) -> bool) -> bool {
    let mut wanted = Vec::new();
    batch.encode_into(&mut wanted);
    let (first, len) = (&wanted[..8], wanted.len());
    let files = tree.files();
    let mut counted = files.iter().filter(|(path, _)| counts(path));
    counted.any(|(_, node)| {
        let bytes = tree.content(*node);
        let mut places = (0..bytes.len().saturating_sub(len - 1)).filter(|at| {
            // Looked at byte by byte first: most places differ in it.
            bytes[*at] == first[0] && bytes[*at..].starts_with(first)
        });
        places.any(|at| bytes[at..at + len] == wanted[..])
    })
}
