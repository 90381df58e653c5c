//! The limit on the disk side: a loop that does the I/O that durable streams cost, and nothing else.
//!
//! A round goes to a preallocated, zero-filled journal file with one vectored write and one fdatasync.
//! Behind it a second thread writes the same bytes to segment files, syncs them every 16 MiB, and when
//! a journal file's worth is synced and a small checkpoint replaced, gives that file back to be used
//! again. Segments beyond 1 GiB are deleted. Sizes are those of the log; no checksums, no records.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{IoSlice, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::now;

const JOURNAL_FILE_BYTES: usize = 64 << 20;
const JOURNAL_FILES: usize = 4;
const SEGMENT_BYTES: usize = 256 << 20;
const SEGMENTS_KEPT: usize = 4;
const SYNC_BEHIND_BYTES: usize = 16 << 20;
/// Written to segments at once.
const GROUP_BYTES: usize = 4 << 20;
/// Durable and not yet in segments; more makes rounds wait.
const BEHIND_BYTES: usize = 192 << 20;

/// What the loop reached.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RawLog {
    pub(crate) bytes_per_second: f64,
    /// Journal files that were used again.
    pub(crate) recycled: usize,
}

/// What the writer of segments is told, in order.
enum Durable {
    /// So many bytes of batches are in the journal.
    Round(usize),
    /// This journal file is full.
    Full(File),
}

/// Appends `batch` `a_round` times, durably, and again, for `length`.
pub(crate) fn raw_log(
    folder: &Path,
    batch: &[u8],
    a_round: usize,
    length: Duration,
) -> Result<RawLog> {
    let folder = tempfile::tempdir_in(folder)?;
    let round_bytes = batch.len() * a_round;
    let (free, free_files) = sync_channel(JOURNAL_FILES);
    for number in 0..JOURNAL_FILES {
        free.send(zeroed(&folder.path().join(format!("journal{number}")))?)?;
    }
    let (durable, rounds) = sync_channel(BEHIND_BYTES / round_bytes);
    std::thread::scope(|scope| {
        let path = folder.path();
        let behind = scope.spawn(move || Segments::new(path, batch).run(&rounds, &free));
        let raw = write_rounds(batch, a_round, length, &free_files, &durable);
        drop(durable);
        behind
            .join()
            .map_err(|_| anyhow::anyhow!("it panicked"))??;
        raw
    })
}

fn write_rounds(
    batch: &[u8],
    a_round: usize,
    length: Duration,
    free: &Receiver<File>,
    durable: &SyncSender<Durable>,
) -> Result<RawLog> {
    let mut file = free.recv()?;
    let (mut at, mut written, mut taken) = (0, 0, 1);
    let round = batch.len() * a_round;
    let start = now();
    while start.elapsed() < length {
        if at + round > JOURNAL_FILE_BYTES {
            let next = free.recv().context("the segments failed")?;
            durable.send(Durable::Full(std::mem::replace(&mut file, next)))?;
            file.seek(SeekFrom::Start(0))?;
            (at, taken) = (0, taken + 1);
        }
        write_repeated(&mut file, batch, a_round)?;
        file.sync_data()?;
        durable.send(Durable::Round(round))?;
        at += round;
        written += round;
    }
    Ok(RawLog {
        bytes_per_second: written as f64 / start.elapsed().as_secs_f64(),
        recycled: usize::saturating_sub(taken, JOURNAL_FILES),
    })
}

/// The thread behind.
struct Segments<'a> {
    folder: &'a Path,
    batch: &'a [u8],
    kept: VecDeque<PathBuf>,
    made: usize,
    active: Option<File>,
    active_bytes: usize,
    unsynced: usize,
}

impl<'a> Segments<'a> {
    fn new(folder: &'a Path, batch: &'a [u8]) -> Self {
        Self {
            folder,
            batch,
            kept: VecDeque::new(),
            made: 0,
            active: None,
            active_bytes: 0,
            unsynced: 0,
        }
    }

    fn run(mut self, rounds: &Receiver<Durable>, free: &SyncSender<File>) -> Result<()> {
        let mut waiting = 0;
        while let Ok(first) = rounds.recv() {
            for told in std::iter::once(first).chain(rounds.try_iter()) {
                match told {
                    Durable::Round(bytes) => waiting += bytes,
                    Durable::Full(file) => {
                        self.write(std::mem::take(&mut waiting))?;
                        self.checkpoint()?;
                        // Nobody takes it when the time is up.
                        free.send(file).ok();
                    }
                }
                if waiting >= GROUP_BYTES {
                    self.write(std::mem::take(&mut waiting))?;
                }
            }
        }
        Ok(())
    }

    fn write(&mut self, bytes: usize) -> Result<()> {
        if self.active_bytes >= SEGMENT_BYTES {
            self.sync()?;
            self.active = None;
        }
        let active = match &mut self.active {
            Some(active) => active,
            none => {
                let path = self.folder.join(format!("segment{}", self.made));
                self.made += 1;
                self.active_bytes = 0;
                self.kept.push_back(path.clone());
                while self.kept.len() > SEGMENTS_KEPT + 1 {
                    self.kept.pop_front().map(std::fs::remove_file);
                }
                none.insert(File::create(path)?)
            }
        };
        write_repeated(active, self.batch, bytes / self.batch.len())?;
        self.active_bytes += bytes;
        self.unsynced += bytes;
        if self.unsynced >= SYNC_BEHIND_BYTES {
            self.sync()?;
        }
        Ok(())
    }

    fn sync(&mut self) -> Result<()> {
        if let Some(active) = &self.active
            && std::mem::take(&mut self.unsynced) > 0
        {
            active.sync_data()?;
        }
        Ok(())
    }

    fn checkpoint(&mut self) -> Result<()> {
        self.sync()?;
        let (new, name) = (self.folder.join("ckpt.new"), self.folder.join("ckpt"));
        let mut file = File::create(&new)?;
        file.write_all(&[1; 4096])?;
        file.sync_all()?;
        std::fs::rename(new, name)?;
        File::open(self.folder)?.sync_all()?;
        Ok(())
    }
}

fn zeroed(path: &Path) -> Result<File> {
    let mut file = File::create(path)?;
    for _ in 0..JOURNAL_FILE_BYTES >> 20 {
        file.write_all(&[0; 1 << 20])?;
    }
    file.sync_all()?;
    file.seek(SeekFrom::Start(0))?;
    Ok(file)
}

fn write_repeated(file: &mut File, batch: &[u8], count: usize) -> Result<()> {
    let mut slices = vec![IoSlice::new(batch); count];
    let mut left = &mut slices[..];
    while !left.is_empty() {
        let written = file.write_vectored(left)?;
        IoSlice::advance_slices(&mut left, written);
    }
    Ok(())
}
