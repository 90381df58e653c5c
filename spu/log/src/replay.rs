//! Reads the journal back, round by round, and says how it ended: in order, torn, or rotten.
//!
//! A round counts only with the number after the one before it (J1). When that one is not there
//! but a later one is that was written after it was synced, something that had been durable is gone:
//! rot. Rounds after such a gap are still handed on, so that what can be saved is saved; nobody may
//! call the result intact. Later ones that were written before it was synced prove nothing: a power
//! loss keeps any of them, and the journal ends before the first that it did not keep.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use tidegate_proto::id::StorageId;

use crate::checkpoint::JournalPosition;
use crate::durable;
use crate::entry::KIND_LEN;
use crate::error::{Context as _, DiskError};
use crate::folded::FoldedBatch;
use crate::journal::FileSpan;
use crate::layout;
use crate::limits::{NUMBER_MAX, ROUND_ALIGN, ROUND_BYTES_MAX};
use crate::round::{HEADER_LEN, PlacedItem, RoundHeader};
use crate::vfs::{Place, VfsFile};

/// A round as read.
#[derive(Debug)]
pub(crate) struct ReplayedRound {
    pub(crate) file_seq: u64,
    /// Place of its first body byte in the file.
    pub(crate) body_at: u64,
    pub(crate) items: Vec<PlacedItem>,
}

/// How the journal ended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ReplayEnd {
    /// Number of the last round found, or of the one before the start.
    pub(crate) last_round: u64,
    /// The file that holds it; `None` when none was found.
    pub(crate) last_file: Option<u64>,
    /// A round that had been durable is missing.
    pub(crate) rot: bool,
    /// Where the first missing round belongs, and where the one after it begins.
    pub(crate) gap: Option<(JournalPosition, JournalPosition)>,
    /// Where the round after the last one would be.
    pub(crate) next: JournalPosition,
    pub(crate) rounds: u64,
}

/// The journal's files in order.
pub(crate) fn list_files(place: &Place) -> Result<Vec<FileSpan>, DiskError> {
    let mut files = Vec::new();
    for item in place
        .vfs
        .list_dir(&place.root)
        .during("list", &place.root)?
    {
        let Some(file_seq) = layout::parse_journal(&item.name) else {
            continue;
        };
        let path = place.path(&item.name);
        let file = place.vfs.open_read(&path).during("open", &path)?;
        files.push(FileSpan {
            file_seq,
            len: file.len().during("stat", &path)?,
        });
    }
    files.sort_by_key(|file| file.file_seq);
    Ok(files)
}

/// Reads from `position` on and hands every round to `take`.
pub(crate) fn replay(
    place: &Place,
    storage_id: StorageId,
    files: &[FileSpan],
    position: JournalPosition,
    mut take: impl FnMut(ReplayedRound),
) -> Result<ReplayEnd, DiskError> {
    let mut cursor = Cursor {
        place,
        storage_id,
        files,
        open: None,
    };
    let mut at = position;
    let mut end = ReplayEnd {
        last_round: position.round_seq - 1,
        last_file: None,
        rot: false,
        gap: None,
        next: position,
        rounds: 0,
    };
    loop {
        let next = JournalPosition {
            file_seq: at.file_seq + 1,
            at: 0,
            ..at
        };
        let found = match cursor.round(at)?.filter(|found| found.is(at)) {
            Some(found) => Some((at, found)),
            None => cursor
                .round(next)?
                .filter(|found| found.is(next))
                .map(|found| (next, found)),
        };
        let (place_of, found) = match found {
            Some(found) => found,
            None => match cursor.later(at)? {
                Some((place_of, found)) => {
                    // A round before it was durable.
                    end.rot = true;
                    end.gap.get_or_insert((at, place_of));
                    (place_of, found)
                }
                None => return Ok(end),
            },
        };
        end.last_round = found.header.name.round_seq;
        end.last_file = Some(place_of.file_seq);
        end.rounds += 1;
        at = JournalPosition {
            file_seq: place_of.file_seq,
            at: place_of.at + found.header.padded_len(),
            round_seq: end.last_round + 1,
        };
        end.next = at;
        match found.header.items(found.body) {
            Some(items) => take(ReplayedRound {
                file_seq: place_of.file_seq,
                body_at: place_of.at + HEADER_LEN as u64,
                items,
            }),
            // Its CRC is right, so it was written so: by another version, or by broken memory.
            None => {
                end.rot = true;
                end.gap.get_or_insert((place_of, at));
            }
        }
    }
}

/// Makes the last rounds last that replay found. A process that was killed may have written them and
/// not synced them; what is done because of them must not last longer than they do (J4). By J1 those
/// that are not synced are all in the last one's file.
pub(crate) fn sync_last(place: &Place, end: &ReplayEnd) -> Result<(), DiskError> {
    let Some(file_seq) = end.last_file else {
        return Ok(());
    };
    let path = place.path(layout::journal(file_seq));
    let file = place.vfs.open(&path).during("open", &path)?;
    file.sync_data().during("sync", &path)?;
    durable::close(file, &path)
}

/// Reads batches back that replay found. Keeps the journal's files open: there are few, and a
/// thousand replicas may each have batches in all of them.
#[derive(Debug)]
pub(crate) struct Bodies {
    place: Place,
    open: BTreeMap<u64, Arc<dyn VfsFile>>,
}

impl Bodies {
    pub(crate) fn new(place: Place) -> Self {
        Self {
            place,
            open: BTreeMap::new(),
        }
    }

    /// The bytes of the first batch and of those that stand right behind it in its round, up to a
    /// size; one for each, shorter where the file ends.
    pub(crate) fn run(&mut self, batches: &[FoldedBatch]) -> Result<Vec<Bytes>, DiskError> {
        let Some(first) = batches.first() else {
            return Ok(Vec::new());
        };
        let mut end = first.at + first.len as u64;
        let mut lens = vec![first.len];
        for batch in &batches[1..] {
            let len = end - first.at + batch.len as u64;
            let follows = batch.file_seq == first.file_seq && batch.at == end + KIND_LEN as u64;
            if !follows || len > ROUND_BYTES_MAX as u64 {
                break;
            }
            end = batch.at + batch.len as u64;
            lens.push(batch.len);
        }
        let mut bytes = self.read(first.file_seq, first.at, end - first.at)?;
        Ok(lens
            .into_iter()
            .map(|len| {
                let body = bytes.split_to(len.min(bytes.len()));
                let _kind = bytes.split_to(KIND_LEN.min(bytes.len()));
                body
            })
            .collect())
    }

    fn read(&mut self, file_seq: u64, at: u64, len: u64) -> Result<Bytes, DiskError> {
        let path = self.place.path(layout::journal(file_seq));
        let file = match self.open.entry(file_seq) {
            Entry::Occupied(open) => open.into_mut(),
            Entry::Vacant(none) => {
                none.insert(self.place.vfs.open_read(&path).during("open", &path)?)
            }
        };
        let mut bytes = vec![0; usize::try_from(len).unwrap_or(usize::MAX)];
        let read = durable::read_full_at(&**file, &mut bytes, at).during("read", &path)?;
        bytes.truncate(read);
        Ok(bytes.into())
    }
}

struct Found {
    header: RoundHeader,
    body: Bytes,
}

impl Found {
    fn is(&self, position: JournalPosition) -> bool {
        self.header.name.round_seq == position.round_seq
    }

    /// Whether the round that is not at that place had been durable. The same one in another place is
    /// nothing that a crash does.
    fn proves(&self, position: JournalPosition) -> bool {
        self.is(position) || self.header.synced(&self.body) >= position.round_seq
    }
}

/// A journal file and its length, when it is there.
type OpenFile = Option<(Arc<dyn VfsFile>, u64)>;

struct Cursor<'a> {
    place: &'a Place,
    storage_id: StorageId,
    files: &'a [FileSpan],
    open: Option<(u64, Arc<dyn VfsFile>)>,
}

impl Cursor<'_> {
    fn path(&self, file_seq: u64) -> PathBuf {
        self.place.path(layout::journal(file_seq))
    }

    fn file(&mut self, file_seq: u64) -> Result<OpenFile, DiskError> {
        let Some(span) = self.files.iter().find(|span| span.file_seq == file_seq) else {
            return Ok(None);
        };
        if let Some((open_seq, file)) = &self.open
            && *open_seq == file_seq
        {
            return Ok(Some((Arc::clone(file), span.len)));
        }
        let path = self.path(file_seq);
        let file = self.place.vfs.open_read(&path).during("open", &path)?;
        self.open = Some((file_seq, Arc::clone(&file)));
        Ok(Some((file, span.len)))
    }

    /// The valid round at a place, of whatever number.
    fn round(&mut self, position: JournalPosition) -> Result<Option<Found>, DiskError> {
        let Some((file, len)) = self.file(position.file_seq)? else {
            return Ok(None);
        };
        let path = self.path(position.file_seq);
        if position.at + HEADER_LEN as u64 > len {
            return Ok(None);
        }
        let mut head = [0; HEADER_LEN];
        let read = durable::read_full_at(&*file, &mut head, position.at).during("read", &path)?;
        let Some(header) = RoundHeader::decode(&head[..read]) else {
            return Ok(None);
        };
        let name = header.name;
        // A length that the file cannot hold is not believed, let alone allocated.
        if name.storage_id != self.storage_id
            || name.file_seq != position.file_seq
            || name.round_seq >= NUMBER_MAX
            || position.at + header.padded_len() > len
        {
            return Ok(None);
        }
        let mut round = vec![0; HEADER_LEN + header.body_len];
        let read = durable::read_full_at(&*file, &mut round, position.at).during("read", &path)?;
        if !header.verify(&round[..read]) {
            return Ok(None);
        }
        let body = Bytes::from(round).split_off(HEADER_LEN);
        Ok(Some(Found { header, body }))
    }

    /// The first valid round after a place with at least the number expected there, if it or one behind
    /// it proves that the round expected there had been durable.
    fn later(
        &mut self,
        position: JournalPosition,
    ) -> Result<Option<(JournalPosition, Found)>, DiskError> {
        const STRIDE: u64 = 1 << 20;
        let mut first = None;
        let later_files: Vec<FileSpan> = self
            .files
            .iter()
            .filter(|span| span.file_seq >= position.file_seq)
            .copied()
            .collect();
        for span in later_files {
            let Some((file, len)) = self.file(span.file_seq)? else {
                continue;
            };
            let path = self.path(span.file_seq);
            let mut at = if span.file_seq == position.file_seq {
                position.at
            } else {
                0
            };
            let mut chunk = vec![0; usize::try_from(STRIDE.min(len)).unwrap_or(0)];
            while at < len {
                let read = durable::read_full_at(&*file, &mut chunk, at).during("read", &path)?;
                for step in (0..read).step_by(ROUND_ALIGN as usize) {
                    if !chunk[step..read].starts_with(&crate::round::MAGIC) {
                        continue;
                    }
                    let file_seq = span.file_seq;
                    let here = JournalPosition {
                        file_seq,
                        at: at + step as u64,
                        ..position
                    };
                    if let Some(found) = self.round(here)?
                        && found.header.name.round_seq >= position.round_seq
                    {
                        let is_proof = found.proves(position);
                        first.get_or_insert((here, found));
                        if is_proof {
                            return Ok(first);
                        }
                    }
                }
                at += STRIDE;
            }
        }
        Ok(None)
    }
}
