//! Opens one image and holds what is found against what may be there.
//!
//! Invariant: an error is a defect of the log or of this model, never of the image.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use tidegate_proto::batch::{Batch, BatchBuilder, ClientBatch, Placement, epoch_marker};
use tidegate_proto::compression::Codec;
use tidegate_proto::position::ReplicaKey;
use tidegate_proto::record::{Datum, RecordRef};

use super::found::Found;
use super::model::Model;
use super::script::Moment;
use super::setting::{COMPACTION, DIR, deaf};
use super::surviving;
use crate::testing::trace::{TraceVfs, Tree};
use crate::{Entry, Log, LogConfig, LogDead, Opened, Submission};

/// When what is appended after recovery is: after everything.
const AFTERWARDS_MS: i64 = 1 << 40;

/// What is known at a moment about what a crash must leave.
#[derive(Debug, Clone, Default)]
pub struct Expectation {
    /// Last entry of the history that is acknowledged.
    pub acknowledged: usize,
    /// Last entry of the history that survives the end of the process.
    pub written: usize,
    /// Last entry of the history.
    pub submitted: usize,
    /// The log was closed in order and not opened since.
    pub is_clean: bool,
    /// The last registration that was durable.
    pub incarnation: Option<u64>,
    /// Files of others that must not be lost.
    pub foreign: Vec<Arc<[u8]>>,
    /// So many of the retired replicas may be gone for good.
    pub purged: usize,
}

/// What an image turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Observed {
    /// The last entry of the history that it equals.
    pub entry: usize,
    /// It was closed in order.
    pub is_clean: bool,
    /// Its last registration.
    pub incarnation: Option<u64>,
    /// Files of others that were looked for.
    pub foreign: usize,
}

impl Expectation {
    /// Takes note of what became known.
    pub fn note(&mut self, moment: &Moment) {
        match moment {
            Moment::Submitted(entry) => self.submitted = *entry,
            Moment::Durable(entry) => {
                self.acknowledged = *entry;
                self.submitted = self.submitted.max(*entry);
            }
            Moment::Written(entry) => self.written = *entry,
            Moment::Closed => self.is_clean = true,
            Moment::Opening => self.is_clean = false,
            Moment::Incarnation(number) => self.incarnation = Some(*number),
            Moment::Foreign(bytes) => self.foreign.push(Arc::clone(bytes)),
            Moment::Purged(count) => self.purged = *count,
        }
    }

    /// What the end of the process must leave, if the system goes on.
    #[must_use]
    pub fn of_kill(&self) -> Self {
        Self {
            acknowledged: self.acknowledged.max(self.written),
            ..self.clone()
        }
    }

    /// True when an image seen before is all right at this moment, too.
    #[must_use]
    pub fn is_met_by(&self, observed: &Observed) -> bool {
        observed.entry >= self.acknowledged
            && observed.entry <= self.submitted
            && (observed.is_clean || !self.is_clean)
            && observed.incarnation >= self.incarnation
            && observed.foreign >= self.foreign.len()
    }
}

/// Opens an image, compares, goes on writing, closes, opens again. What is wrong, in words.
pub fn boot(
    image: Tree,
    config: &LogConfig,
    history: &[Model],
    expected: &Expectation,
) -> Result<Observed, String> {
    let vfs = TraceVfs::of(image);
    let opened = open(&vfs, config)?;
    let observed = observe(&vfs, &opened, history, expected)?;
    go_on(&vfs, opened, config, &history[observed.entry])?;
    Ok(observed)
}

pub(super) fn open(vfs: &TraceVfs, config: &LogConfig) -> Result<Opened, String> {
    Log::open(
        Arc::new(vfs.clone()),
        Path::new(DIR),
        config.clone(),
        deaf(),
    )
    .map_err(|error| format!("it does not open: {error}"))
}

/// Compares an opened log with what may be there.
pub(super) fn observe(
    vfs: &TraceVfs,
    opened: &Opened,
    history: &[Model],
    expected: &Expectation,
) -> Result<Observed, String> {
    if opened.journal_rot {
        return Err("it speaks of rot in the journal, and there is none".to_owned());
    }
    if let Some(missing) = opened.missing.first() {
        return Err(format!("it misses the directory of {}", missing.key));
    }
    let incarnation = opened.last_incarnation.map(|number| number.0);
    if incarnation < expected.incarnation {
        return Err(format!("the registration is {incarnation:?}"));
    }
    if expected.is_clean && !opened.clean {
        return Err("it was closed in order, and says it was not".to_owned());
    }
    let found = Found::read(&opened.log, &opened.replicas)?;
    let mut why = String::new();
    let candidates = (expected.acknowledged..=expected.submitted).rev();
    let entry = candidates
        .map(|entry| (entry, found.difference(&history[entry])))
        .find_map(|(entry, difference)| match difference {
            Ok(()) => Some(entry),
            Err(what) => {
                why = what;
                None
            }
        });
    // The last one tried is what was acknowledged: its difference says most.
    let entry = entry.ok_or(why)?;
    check_intact(opened, &history[entry])?;
    let tree = vfs.tree();
    find_retired(&tree, &history[entry], expected.purged)?;
    for foreign in &expected.foreign {
        let is_it = |(_, node): &(String, u32)| tree.content(*node) == &foreign[..];
        if !tree.files().iter().any(is_it) {
            return Err("a file that is not the log's is gone".to_owned());
        }
    }
    Ok(Observed {
        entry,
        is_clean: opened.clean,
        incarnation,
        foreign: expected.foreign.len(),
    })
}

/// Nothing rotted: only the want of a snapshot, which a cut took, makes a replica not intact.
fn check_intact(opened: &Opened, model: &Model) -> Result<(), String> {
    let damaged = opened.replicas.iter().filter(|facts| !facts.intact);
    for facts in damaged {
        let replica = &model.replicas[&facts.key];
        if !replica.may_lack_snapshot() {
            return Err(format!("{} is called damaged, and is not", facts.key));
        }
    }
    Ok(())
}

/// Whatever a replica held when it was given up is in the trash, or aside.
fn find_retired(tree: &Tree, model: &Model, purged: usize) -> Result<(), String> {
    if model.retired.len() <= purged {
        return Ok(());
    }
    let mut kept: Vec<Batch> = Vec::new();
    for (path, node) in tree.files() {
        if path.contains("/trash/") || path.contains("/quarantine/") {
            let mut bytes = bytes::Bytes::copy_from_slice(tree.content(node));
            while let Ok(batch) = Batch::decode(&mut bytes) {
                kept.push(batch);
            }
        }
    }
    for (key, replica) in &model.retired[purged..] {
        if let Some(offset) = surviving::missing(&kept, replica) {
            return Err(format!(
                "{key} was given up, and its record at {offset} is not in the trash"
            ));
        }
    }
    Ok(())
}

/// The log must take more, close, and open again with all of it.
fn go_on(vfs: &TraceVfs, opened: Opened, config: &LogConfig, model: &Model) -> Result<(), String> {
    let log = opened.log;
    let mut model = model.clone();
    let mut entries = Vec::new();
    for (key, replica) in &model.replicas {
        let placement = Placement {
            key: *key,
            base_offset: replica.end,
            leader_epoch: replica.meta.leader_epoch,
            high_watermark: replica.high_watermark,
            append_time_ms: AFTERWARDS_MS,
            append_timestamps: false,
        };
        for client in [epoch_marker(AFTERWARDS_MS), a_record()] {
            entries.push(Entry::Batch(Batch { placement, client }));
        }
    }
    entries.iter().for_each(|entry| model.entry(entry));
    let compacted = model.replicas.iter();
    let compacted = compacted.filter(|(_, replica)| replica.removable.is_some());
    let compacted: Vec<_> = compacted
        .map(|(key, replica)| (*key, replica.end))
        .collect();
    for (key, end) in &compacted {
        let (key, as_of, bytes) = (*key, *end, Bytes::from_static(b"producers"));
        let offset = as_of;
        let commit = [
            Entry::HighWatermark { key, offset },
            Entry::Snapshot { key, as_of, bytes },
        ];
        commit.iter().for_each(|entry| model.entry(entry));
        entries.extend(commit);
    }
    let after =
        |what: &str, error: &dyn std::fmt::Display| format!("after recovery {what} fails: {error}");
    log.submit(Submission { shard: 0, entries })
        .map_err(|error| after("an append", &error))?;
    log.run_round().map_err(|error| after("a round", &error))?;
    for (key, end) in compacted {
        compact(&log, key).map_err(|error| after("compaction", &error))?;
        model.compact(key, end);
    }
    log.close().map_err(|error| after("closing", &error))?;
    drop(log);
    let opened = open(vfs, config).map_err(|error| after("opening", &error))?;
    if !opened.clean {
        return Err("after recovery and an orderly close it is not in order".to_owned());
    }
    check_intact(&opened, &model).map_err(|what| format!("after recovery: {what}"))?;
    Found::read(&opened.log, &opened.replicas)
        .and_then(|found| found.difference(&model))
        .map_err(|what| format!("after recovery, an append and a restart: {what}"))
}

/// Compacts a replica as far as it goes.
fn compact(log: &Log, key: ReplicaKey) -> Result<(), LogDead> {
    log.checkpoint()?;
    if let Some(replica) = log.replica(key) {
        replica.set_compaction(Some(COMPACTION));
    }
    while !log.run_compaction_step(AFTERWARDS_MS)?.is_idle {}
    Ok(())
}

fn a_record() -> ClientBatch {
    let mut builder = BatchBuilder::new(Codec::None);
    let record = RecordRef {
        timestamp_ms: AFTERWARDS_MS,
        key: Datum::Absent,
        value: Datum::Bytes(b"after"),
        headers: &[],
    };
    builder.push(&record).expect("the record is small");
    builder.finish().expect("the batch is small")
}
