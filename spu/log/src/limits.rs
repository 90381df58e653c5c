//! Every bound and size of the log, with the reason for the number.
//!
//! Callers may lower some of them through [`crate::LogConfig`] (tests do); none is read from the
//! environment.

/// Offsets, file numbers and round numbers on disk are below this: no log lives to see one that is not,
/// and counting on from it cannot overflow. A file that states a greater one is damaged, whatever its
/// checksum says.
pub const NUMBER_MAX: u64 = u64::MAX >> 1;

/// Journal rounds start at multiples of this, so that writing a round never rewrites a block that
/// holds an older one.
pub const ROUND_ALIGN: u64 = 4096;

/// A round takes waiting submissions up to this size, unless one submission alone is larger.
pub const ROUND_BYTES_MAX: usize = 4 << 20;

/// Entries under way at a time from which on rounds wait for each other's: with fewer, whoever waits
/// pays more than all gain.
pub const GATHERING_MIN: usize = 8;

/// Parts in a hundred of those under way that are enough for a round. The others keep the processor busy
/// while the disk syncs.
pub const GATHERED_PERCENT: usize = 70;

/// Bytes that are enough for a round however few bring them: writing them costs more than the rest
/// of the round.
pub const GATHERED_BYTES: u64 = 256 << 10;

/// How long a round waits for more. Sixty requests take two small cores about as long; those who stay
/// away cost the others this time once.
pub const GATHERING_PATIENCE_US: u64 = 1_000;

/// Rounds of many that pass unwaited after a wait in vain double so often: where bursts never come again,
/// one in sixty-four costs somebody the patience.
pub const GATHERING_REST_DOUBLINGS_MAX: u32 = 6;

/// First journal file, and any file that had to be made while a round waited: zero-filling it
/// costs about 5 ms.
pub const JOURNAL_FILE_BYTES_FIRST: u64 = 4 << 20;

/// Journal files prepared in the background.
pub const JOURNAL_FILE_BYTES: u64 = 64 << 20;

/// All journal files together. At the cap rounds wait for a checkpoint.
pub const JOURNAL_BYTES_MAX: u64 = 1 << 30;

/// Zero-filling goes in pieces of this size, so that it does not hold up flushes.
pub const ZERO_FILL_STEP_BYTES: usize = 4 << 20;

/// Journal written since the last checkpoint that makes another one due. Bounds what a start after
/// a crash has to fold.
pub const CHECKPOINT_BYTES: u64 = 64 << 20;

/// Age of unsaved work, by the times passed to `tick`, that makes a checkpoint due.
pub const CHECKPOINT_INTERVAL_MS: i64 = 30_000;

/// A quiet journal closes its last round with an empty one after this time, so that rot in that
/// round can be told from a torn write.
pub const IDLE_ROUND_MS: u64 = 10;

/// Rounds that hold nothing that waits for a sync are synced so long after the first of them was
/// written: what a crash of the system may take from those who asked for this. Twenty syncs a second
/// are a few hundredths of what a disk can do.
pub const SYNC_INTERVAL_MS: u64 = 50;

/// They are synced at once when they are as many bytes: no more than one round, so that nobody who
/// waits for a sync waits longer than behind a full round.
pub const UNSYNCED_BYTES_MAX: u64 = ROUND_BYTES_MAX as u64;

/// Durable bytes of one replica that make writing them to its segment worth a write.
pub const FLUSH_BYTES: usize = 256 << 10;

/// Durable bytes of all replicas not yet in segments at which the oldest are written whatever
/// their size. A thousand slow partitions would otherwise hold 256 MiB.
pub const UNFLUSHED_BYTES_SOFT: u64 = 32 << 20;

/// The same sum at which rounds wait for the segment writer.
pub const UNFLUSHED_BYTES_MAX: u64 = 192 << 20;

/// Batches kept in memory after they were written, for readers at the tail; one budget per log.
pub const TAIL_CACHE_BYTES: u64 = 64 << 20;

/// A replica to which nothing was appended for so long keeps none of them: whoever still wants them
/// is far behind, and the system has the pages that they were written to.
pub const TAIL_REST_MS: i64 = 10_000;

/// Flushes that one tick looks at for that: some milliseconds of work.
pub const TAIL_LOOKS_PER_TICK: usize = 4096;

/// Bytes of one segment not yet synced at which it is synced ahead of the checkpoint, so that the
/// checkpoint is no burst.
pub const SYNC_BEHIND_BYTES: u64 = 16 << 20;

/// With more dirty files than this a checkpoint syncs the whole file system at once, where the
/// platform can.
pub const SYNC_FILES_MAX: usize = 64;

/// Open segment and index files, where the system allows the process twice as many. Ten thousand
/// replicas share them; two thousand that are written to in turn need no opening, at some 100 bytes
/// here and 1 KiB of the system's for each file.
pub const OPEN_FILES_MAX: usize = 4096;

/// Distance in bytes between entries of the sparse index.
pub const INDEX_INTERVAL_BYTES: u64 = 8 << 10;

/// One disk read of the read path; larger batches take one larger read.
pub const READ_CHUNK_BYTES: usize = 256 << 10;

/// Places of readers that are remembered, 48 bytes each: a thousand catch up without looking anything
/// up, as long as two do not fall on one.
pub const READ_PLACES: usize = 4096;

/// Headers of batches below a reader's place are looked at in pieces of this size, which is what may
/// lie between two entries of an index when batches are small.
pub const PASS_CHUNK_BYTES: usize = INDEX_INTERVAL_BYTES as usize;

/// Behind a damaged batch the next good one is looked for so far, to tell a reader where it can go
/// on: a damaged batch of the largest size and one more.
pub const DAMAGE_LOOK_BYTES: u64 = 8 << 20;

/// Copies to quarantine are made in chunks of this size.
pub const QUARANTINE_CHUNK_BYTES: u64 = 1 << 20;

/// A chunk that cannot be read is read again in pieces of this size: a page, the least that a file system
/// reads.
pub const QUARANTINE_PIECE_BYTES: usize = 4096;

/// Files of trimmed segments deleted in one writer step: deleting a large file takes long on some
/// file systems.
pub const DELETES_PER_STEP: usize = 4;

/// Memory for the keys of one compaction pass, 24 bytes each: three quarters of a million keys at the
/// load where it counts as full. A partition with more takes several passes. One pass runs at a
/// time, and growing to this size takes half as much again for a moment.
pub const COMPACTION_MAP_BYTES: usize = 24 << 20;

/// Bytes that compaction reads in one step, between which it pauses.
pub const COMPACTION_STEP_BYTES: u64 = 1 << 20;

/// What compaction may read a second, so that it does not keep the disk from appends: 64 MiB/s reads
/// a full partition of 1 GiB twice in half a minute.
pub const COMPACTION_BYTES_PER_S: u64 = 64 << 20;

/// How often an idle compactor looks for work. Looking costs a lock per compacted replica.
pub const COMPACTION_IDLE_MS: u64 = 5_000;

/// A partition whose pass could not be finished is left alone for so long.
pub const COMPACTION_RETRY_MS: i64 = 60_000;

/// Parts in a hundred of the closed segments that must be dirty, written since the last pass, to make
/// a pass worth its reads. Bounds what is superseded and still on disk to as much again.
pub const COMPACTION_DIRTY_PERCENT: u64 = 50;

/// A dirty segment is compacted at this age however little it is, so that what was deleted goes.
pub const COMPACTION_LAG_MS: i64 = 24 * 3600 * 1000;

/// Segments that one exchange makes into one.
pub const COMPACTION_MERGE_MAX: usize = 64;

/// Passes remembered for the sake of their tombstones. When there are more, the older of two takes
/// the younger's time: tombstones may stay longer, never shorter.
pub const COMPACTION_PASSES_MAX: usize = 32;

/// Buffers in one `pwritev` call; the least that POSIX systems in use allow (`IOV_MAX`).
pub const IO_SLICES_MAX: usize = 1024;

/// Client parts up to this size are copied into a round's buffer; longer ones are handed to the
/// kernel where they are. A slice costs about as much as copying this.
pub const COPY_BYTES_MAX: usize = 2048;

/// Default size at which a segment is closed.
pub const SEGMENT_BYTES_DEFAULT: u64 = 256 << 20;

/// Default age at which a segment is closed: a week.
pub const SEGMENT_MS_DEFAULT: u64 = 7 * 24 * 3600 * 1000;

/// The ballast grows by as much a second where it must be written: slow enough not to hold up
/// rounds, a GiB in a minute.
pub const BALLAST_STEP_BYTES: usize = 16 << 20;

/// Below this, and full, the ballast is given up at once: a checkpoint, a journal file and the
/// metadata of everything else on the disk must still be written.
pub const SPACE_CRITICAL_BYTES: u64 = 64 << 20;

/// Batches that one read for a follower gives at most: those of a few bytes add up to lists.
pub const FOLLOWER_READ_BATCHES_MAX: usize = 4096;
