//! What stands in a data directory, for those who want to see it: state files, batches, rounds.
//!
//! Handed out one by one as it is read; what fails its checks is named as such and passed over.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use tidegate_proto::batch::Batch;
use tidegate_proto::id::{Incarnation, ReplicaGen, StorageId};
use tidegate_proto::position::{LeaderEpoch, Offset, ReplicaKey};

use super::lock::{self, InspectError};
use super::segment::{Checked, SegmentCheck};
use crate::checkpoint::Checkpoint;
use crate::entry::{Entry, Item, ReplicaMeta};
use crate::error::Context as _;
use crate::identity::Identity;
use crate::limits::ROUND_ALIGN;
use crate::round::{self, RoundHeader};
use crate::stored::{BatchScanner, Scanned};
use crate::vfs::{Place, Vfs, VfsFile};
use crate::{durable, index, layout, replay};

/// The small files of a directory, and the names in it.
#[derive(Debug, Clone)]
pub struct Overview {
    /// Who it is; what is wrong with the file when it cannot be used; `None` without one.
    pub identity: Result<Option<IdentityFacts>, String>,
    /// What was applied; likewise.
    pub checkpoint: Result<Option<CheckpointFacts>, String>,
    /// Journal files, by number, with their lengths in bytes.
    pub journal: Vec<(u64, u64)>,
    /// Directories of replicas, by name.
    pub replicas: Vec<(ReplicaKey, ReplicaGen)>,
}

/// The identity of a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdentityFacts {
    /// Its id.
    pub storage_id: StorageId,
    /// Last registration it served under.
    pub last_incarnation: Option<Incarnation>,
    /// The checkpoint that was the last word of an orderly close; `None` when it was not closed so.
    pub clean_checkpoint: Option<u64>,
}

/// A checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckpointFacts {
    /// Whose it is.
    pub storage_id: StorageId,
    /// Counts checkpoints.
    pub generation: u64,
    /// Where the journal goes on: file, byte, number of the round.
    pub position: (u64, u64, u64),
    /// Replicas, by key.
    pub replicas: Vec<ReplicaFigures>,
}

/// A replica as a checkpoint knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplicaFigures {
    /// Which partition.
    pub key: ReplicaKey,
    /// What it accepted.
    pub meta: ReplicaMeta,
    /// Exclusive end of what is committed.
    pub high_watermark: Offset,
    /// First offset kept.
    pub log_start: Offset,
    /// Next offset.
    pub end: Offset,
    /// Base of the last segment.
    pub tail_base: Offset,
    /// Its length then, in bytes.
    pub tail_len: u64,
    /// Append time of the newest batch, in epoch milliseconds.
    pub last_append_ms: Option<i64>,
    /// False once damage was seen.
    pub intact: bool,
}

/// What stands in a segment.
#[derive(Debug)]
pub enum Stored<'a> {
    /// A batch that passed its checks.
    Batch {
        /// Base of the segment.
        segment: Offset,
        /// Byte in it.
        position: u64,
        /// The batch.
        batch: &'a Batch,
    },
    /// Bytes that hold none.
    Bad {
        /// Base of the segment.
        segment: Offset,
        /// Bytes in it.
        bytes: Range<u64>,
        /// Offset that should be there.
        from: Offset,
        /// What is wrong.
        what: String,
    },
}

/// What stands in the journal.
#[derive(Debug)]
pub enum Journaled<'a> {
    /// A round; its entries follow.
    Round {
        /// Number of the file.
        file_seq: u64,
        /// Byte in it.
        at: u64,
        /// Length with padding.
        bytes: u64,
        /// Number of the round.
        round_seq: u64,
        /// A checkpoint covers it: a start does not read it.
        is_covered: bool,
    },
    /// An entry of the round before it.
    Entry(&'a Entry),
    /// A replica was made.
    Created(ReplicaKey, ReplicaGen),
    /// A replica was given up.
    Retired(ReplicaKey, ReplicaGen),
    /// A round of this file that fails its checks: torn, or rotten.
    Bad {
        /// Number of the file.
        file_seq: u64,
        /// Byte in it.
        at: u64,
        /// What is wrong.
        what: &'static str,
    },
}

/// A directory at rest, kept from servers for as long as it is held.
#[derive(Debug)]
pub struct Contents {
    root: Place,
    _lock: lock::Lock,
}

impl Contents {
    /// Takes the directory for looking at it.
    pub fn open(vfs: Arc<dyn Vfs>, dir: &Path) -> Result<Self, InspectError> {
        let root = Place::new(vfs, dir);
        let _lock = lock::shared(&root)?;
        Ok(Self { root, _lock })
    }

    /// State files and names.
    pub fn overview(&self) -> Overview {
        let journal = self.journal_files().unwrap_or_default();
        let replicas = self.root.vfs.list_dir(&self.root.path(layout::REPLICAS));
        let mut replicas: Vec<_> = replicas
            .unwrap_or_default()
            .iter()
            .filter_map(|item| layout::parse_replica_dir(&item.name))
            .collect();
        replicas.sort_unstable();
        Overview {
            identity: match Identity::load(&self.root) {
                Ok(identity) => Ok(identity.map(|identity| IdentityFacts {
                    storage_id: identity.storage_id,
                    last_incarnation: identity.last_incarnation,
                    clean_checkpoint: identity.clean.map(|clean| clean.checkpoint),
                })),
                Err(error) => Err(error.to_string()),
            },
            checkpoint: match Checkpoint::load(&self.root) {
                Ok(checkpoint) => Ok(checkpoint.as_ref().map(figures)),
                Err(error) => Err(error.to_string()),
            },
            journal,
            replicas,
        }
    }

    /// What a replica's segments hold that reaches into `from..to`, in order, until `take` says no.
    pub fn batches(
        &self,
        key: ReplicaKey,
        replica_gen: ReplicaGen,
        offsets: Range<Offset>,
        take: &mut dyn FnMut(Stored<'_>) -> bool,
    ) -> Result<(), InspectError> {
        let dir = self.root.path(layout::replica_path(key, replica_gen));
        let items = self.root.vfs.list_dir(&dir).during("list", &dir)?;
        let mut bases: Vec<Offset> = items
            .iter()
            .filter_map(|item| layout::parse_segment(&item.name))
            .collect();
        bases.sort_unstable();
        let first = bases.partition_point(|base| *base <= offsets.start);
        let mut epoch = LeaderEpoch(0);
        for base in bases.into_iter().skip(first.saturating_sub(1)) {
            if base >= offsets.end {
                break;
            }
            let path = dir.join(layout::segment(base));
            let file = self.root.vfs.open_read(&path).during("open", &path)?;
            let len = file.len().during("stat", &path)?;
            let (at, start) = self.start(&dir, (key, base), &file, len, offsets.start);
            let mut check = SegmentCheck::new(file, key, at..len, start, epoch);
            loop {
                let going = match check.step().during("read", &path)? {
                    Checked::End => break,
                    Checked::Batch { batch, .. } if batch.next_offset() <= offsets.start => true,
                    Checked::Batch { batch, .. } if batch.placement.base_offset >= offsets.end => {
                        return Ok(());
                    }
                    Checked::Batch { batch, at } => take(Stored::Batch {
                        segment: base,
                        position: at,
                        batch: &batch,
                    }),
                    Checked::Bad(bad) => take(Stored::Bad {
                        segment: base,
                        bytes: bad.bytes,
                        from: bad.from,
                        what: bad.what.to_owned(),
                    }),
                };
                if !going {
                    return Ok(());
                }
            }
            epoch = check.epoch;
        }
        Ok(())
    }

    /// Rounds of the journal, oldest file first, until `take` says no.
    pub fn journal(&self, take: &mut dyn FnMut(Journaled<'_>) -> bool) -> Result<(), InspectError> {
        let checkpoint = Checkpoint::load(&self.root).ok().flatten();
        let covered = checkpoint.map_or(0, |checkpoint| checkpoint.position.round_seq);
        let place = self.journal_place();
        for (file_seq, len) in self.journal_files()? {
            let path = place.path(layout::journal(file_seq));
            let file = place.vfs.open_read(&path).during("open", &path)?;
            let mut at = 0;
            while at < len {
                let (step, going) =
                    one_round(&*file, file_seq, at..len, covered, take).during("read", &path)?;
                if !going {
                    return Ok(());
                }
                at = at.saturating_add(step);
            }
        }
        Ok(())
    }

    fn journal_place(&self) -> Place {
        Place::new(Arc::clone(&self.root.vfs), &self.root.path(layout::JOURNAL))
    }

    fn journal_files(&self) -> Result<Vec<(u64, u64)>, InspectError> {
        let files = replay::list_files(&self.journal_place())?;
        Ok(files.iter().map(|file| (file.file_seq, file.len)).collect())
    }

    /// Where to begin in a segment so that `from` is not passed: by the index, if it tells the truth.
    fn start(
        &self,
        dir: &Path,
        (key, base): (ReplicaKey, Offset),
        file: &Arc<dyn VfsFile>,
        len: u64,
        from: Offset,
    ) -> (u64, Offset) {
        let index = self.root.vfs.open_read(&dir.join(layout::index(base)));
        let entry = index.and_then(|index| index::search(&*index, |entry| entry.offset < from));
        if let Ok(Some(entry)) = entry
            && entry.position < len
        {
            let chunk = index::ENTRY_LEN as usize;
            let mut scan = BatchScanner::new(Arc::clone(file), key, entry.position, len, chunk);
            if let Ok(Scanned::Batch { batch, .. }) = scan.step()
                && batch.placement.base_offset == entry.offset
            {
                return (entry.position, entry.offset);
            }
        }
        (0, base)
    }
}

/// Looks at one place of a journal file; gives the way to the next place.
fn one_round(
    file: &dyn VfsFile,
    file_seq: u64,
    place: Range<u64>,
    covered: u64,
    take: &mut dyn FnMut(Journaled<'_>) -> bool,
) -> std::io::Result<(u64, bool)> {
    let at = place.start;
    let mut head = [0; round::HEADER_LEN];
    let read = durable::read_full_at(file, &mut head, at)?;
    // Rounds of an earlier use of the same blocks carry the file's earlier number.
    let header = RoundHeader::decode(&head[..read]).filter(|found| found.name.file_seq == file_seq);
    let Some(header) = header else {
        return Ok((ROUND_ALIGN, true));
    };
    let bad = |what| Journaled::Bad { file_seq, at, what };
    if header.padded_len() > place.end - at {
        return Ok((ROUND_ALIGN, take(bad("the length does not fit the file"))));
    }
    let mut bytes = vec![0; round::HEADER_LEN + header.body_len];
    let read = durable::read_full_at(file, &mut bytes, at)?;
    if !header.verify(&bytes[..read]) {
        return Ok((ROUND_ALIGN, take(bad("the checksum does not match"))));
    }
    let bytes_len = header.padded_len();
    let mut going = take(Journaled::Round {
        file_seq,
        at,
        bytes: bytes_len,
        round_seq: header.name.round_seq,
        is_covered: header.name.round_seq < covered,
    });
    let Some(items) = header.items(Bytes::from(bytes).split_off(round::HEADER_LEN)) else {
        return Ok((bytes_len, take(bad("an entry cannot be read"))));
    };
    for placed in items {
        going = going
            && take(match &placed.item {
                Item::Entry(entry) => Journaled::Entry(entry),
                Item::Created { key, replica_gen } => Journaled::Created(*key, *replica_gen),
                Item::Retired { key, replica_gen } => Journaled::Retired(*key, *replica_gen),
            });
    }
    Ok((bytes_len, going))
}

fn figures(checkpoint: &Checkpoint) -> CheckpointFacts {
    let position = checkpoint.position;
    CheckpointFacts {
        storage_id: checkpoint.storage_id,
        generation: checkpoint.generation,
        position: (position.file_seq, position.at, position.round_seq),
        replicas: checkpoint
            .replicas
            .iter()
            .map(|state| ReplicaFigures {
                key: state.key,
                meta: state.meta,
                high_watermark: state.high_watermark,
                log_start: state.log_start,
                end: state.end,
                tail_base: state.tail_base,
                tail_len: state.tail_len,
                last_append_ms: state.last_append_ms,
                intact: state.intact,
            })
            .collect(),
    }
}
