//! Bounds of one storage node, with the arithmetic that led to them.

use std::time::Duration;

use tidegate_proto::limits::REPLICA_LAG_MS_DEFAULT;

/// Bytes of produce requests that one partition holds between admission and durability: two bodies of
/// the largest size, so that a partition whose disk is slow leaves room for others.
pub const PARTITION_APPEND_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Appends in a shard's inbox: at 100,000 appends a second this is 80 ms of work, so that a full
/// one means overload and not a burst.
pub const MAILBOX_MAX: usize = 8 * 1024;

/// Turns that somebody who came with a request of their own takes at a shard before the rest is left
/// to the shard's task: each turn takes all that waits, so more than a few mean overload.
pub const PASSING_TURNS_MAX: usize = 4;

/// Bytes of batches after which a shard submits in the midst of a drain: a quarter of a journal
/// round, so that a round is filled without a shard holding everything back.
pub const SUBMISSION_BYTES_TARGET: usize = 1024 * 1024;

/// Reads that may be at the disk, or be encoded, at once by default: one for every two cores, so that
/// readers who catch up leave half of the machine to all else, and at most these.
pub const CATCH_UP_READS_MAX: usize = 16;

/// One read from disk; a batch that is larger is read whole.
pub const COLD_CHUNK_BYTES: usize = 256 * 1024;

/// How far readers may be ahead of their rate, so that a bounded lane is not a jerky one.
pub const COLD_BURST: Duration = Duration::from_millis(250);

/// How long a request waits for a partition that is still being opened, unless its own deadline is
/// nearer.
pub const OPEN_WAIT_MAX: Duration = Duration::from_secs(5);

/// Appends of one stream of a gateway that are under way: at 100,000 a second this is 80 ms of work.
/// More wait in the connection's window.
pub const STREAM_APPENDS_MAX: usize = 8 * 1024;

/// Bytes of answers, or of batches, that wait for a gateway to take them; then its stream gets no more
/// until it has taken some. As much as a fast connection takes in a few milliseconds.
pub const STREAM_QUEUED_BYTES_MAX: usize = 1024 * 1024;

/// Bytes of batches that are put into a stream of tails at once, so that the partitions of a gateway
/// take turns.
pub const TAIL_PUSH_BYTES: usize = 256 * 1024;

/// Partitions that one gateway may follow: all of a large node.
pub const TAIL_FOLLOWED_MAX: usize = 100_000;

/// How often deadlines of waiting appends are looked at: the precision of `timeout_ms`.
pub const DEADLINE_TICK: Duration = Duration::from_millis(50);

/// How often retention, checkpoints and gauges are looked at.
pub const MAINTENANCE_TICK: Duration = Duration::from_secs(1);

/// Replicas that nothing happened to which a shard looks at in one maintenance tick: 5,000 of them
/// are seen within 80 seconds, which is soon enough for retention, and cost some 20 us a second.
pub const TURNS_PER_TICK: usize = 64;

/// How often the trash is emptied.
pub const TRASH_TICK: Duration = Duration::from_secs(60);

/// How long deleted partitions stay in the trash by default: long enough to notice a mistake while
/// looking at it, short enough that deleting makes room.
pub const TRASH_DELAY_DEFAULT: Duration = Duration::from_secs(5 * 60);

/// A wall clock that is further ahead of the steady one than this has leapt. Time services correct
/// less than a second at a time, and an hour more or less is nothing to a retention.
pub const CLOCK_LEAP_MAX: Duration = Duration::from_secs(3600);

/// A wall clock that is further ahead of the newest record than this when a node starts is doubted as
/// well. Nodes are off for a week at times, and rarely for a month.
pub const CLOCK_GAP_MAX: Duration = Duration::from_secs(30 * 24 * 3600);

/// How long a leap is doubted: somebody who is told of it has a day to set the clock right. Then it is
/// believed, for what grew too old must go at last.
pub const CLOCK_DOUBT: Duration = Duration::from_secs(24 * 3600);

/// How long a stop waits for what was submitted to become durable.
pub const STOP_WAIT_MAX: Duration = Duration::from_secs(10);

/// Replicas that are opened between two looks at the topology. New ones among them share one sync
/// of their names, which costs as much as opening a hundred.
pub const OPEN_CHUNK: usize = 1024;

/// Most shards of one node; the log numbers them with 16 bits, and cores end long before.
pub const SHARDS_MAX: usize = 256;

/// What a client is told to wait, in seconds, when the node has too much to do.
pub const RETRY_AFTER_S: u64 = 1;

/// Bytes that recovery of a ledger reads at once.
pub const RECOVERY_READ_BYTES: usize = 1024 * 1024;

/// How long until a replica that could not be opened is tried again.
pub const OPEN_RETRY: Duration = Duration::from_secs(5);

/// A full pass of the scrubber takes this long by default: a week, as often as disks are known to
/// need it.
pub const SCRUB_PERIOD_DEFAULT: Duration = Duration::from_secs(7 * 24 * 3600);

/// The scrubber reads at most so many bytes a second by default: 3 TB a week, a hundredth of what a
/// slow SSD gives.
pub const SCRUB_RATE_DEFAULT: u64 = 5_000_000;

/// The scrubber reads so much at a time: one disk read of the log.
pub const SCRUB_CHUNK_BYTES: u64 = 256 * 1024;

/// After a read the scrubber rests this many times as long as it took, so that a disk that is slow
/// for whatever reason gives it a twentieth of its time.
pub const SCRUB_DISK_SHARE: u32 = 20;

/// Submitted bytes that wait for a round, at which acknowledgements go before the scrubber.
pub const SCRUB_BUSY_WAITING_BYTES: u64 = 1024 * 1024;

/// Durable bytes that wait for the segment writer, at which it goes before the scrubber: the mark at
/// which it writes whatever there is.
pub const SCRUB_BUSY_UNFLUSHED_BYTES: u64 = tidegate_log::limits::UNFLUSHED_BYTES_SOFT;

/// How often the scrubber looks whether a busy disk is free.
pub const SCRUB_BUSY_WAIT: Duration = Duration::from_millis(250);

/// How long the scrubber lets others go first before it reads one piece: a disk that is busy day and
/// night rots like any other.
pub const SCRUB_BUSY_WAIT_MAX: Duration = Duration::from_secs(30);

/// The longest the scrubber sleeps before it counts anew.
pub const SCRUB_WAIT_MAX: Duration = Duration::from_secs(60);

/// Findings of one pass that are logged; a dying disk must not fill another with words.
pub const SCRUB_LOGGED_MAX: usize = 100;

/// First and longest pause between attempts to register: controllers come back one by one, and all
/// nodes of a cluster want to register then.
pub const REGISTER_RETRY_BASE: Duration = Duration::from_millis(100);
/// See [`REGISTER_RETRY_BASE`].
pub const REGISTER_RETRY_MAX: Duration = Duration::from_secs(2);
/// Partitions whose unchanged state one sign of life tells again: ten thousand take their turn in under
/// two minutes.
pub const HEARTBEAT_TURN: usize = 100;
/// Answers in a row that do not know this node before it takes them for the truth: a controller that
/// just started is behind for a moment.
pub const UNKNOWN_BEATS_MAX: u32 = 10;
/// How long a sealed copy is waited for before the others are told without it: a round of the journal takes
/// a hundredth of it.
pub const SURVEY_WAIT: Duration = Duration::from_millis(200);
/// How long until a controller that took an answer and did not act is told again: it may have been behind,
/// and took it for the answer to another question.
pub const SEAL_TELL_AGAIN: Duration = Duration::from_secs(2);
/// How long until a controller that took which replicas failed is told again, while its rows rely on them: it
/// may have been behind. Each telling is a request and changes nothing.
pub const FAILED_TELL_AGAIN: Duration = Duration::from_secs(10);
/// Failed replicas in one request: some 150 bytes each.
pub const FAILED_PER_REQUEST: usize = 1_000;
/// How long silence of a follower's, or a leader's, stream is borne: as long as a copy may lag.
pub const REPLICATION_SILENCE_MAX: Duration = Duration::from_millis(REPLICA_LAG_MS_DEFAULT);
/// How often both sides give a sign of life: twenty may be lost before the silence counts.
pub const REPLICATION_HEARTBEAT: Duration = Duration::from_millis(500);
/// Bytes of batches and snapshots that a leader may have on the way to one follower, on each of two streams: what a
/// gigabit carries in a round trip of 30 ms.
pub const REPLICATION_CREDIT_BYTES: u32 = 4 * 1024 * 1024;
/// Bytes that one such stream holds at the follower until they are durable; a frame that is larger comes
/// alone.
pub const REPLICATION_HELD_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Bytes of batches in one push, so that the partitions of a stream take turns.
pub const REPLICATION_PUSH_BYTES: usize = 256 * 1024;
/// Partitions that one follower may have attached on one stream: all of a large node.
pub const REPLICATION_SESSIONS_MAX: usize = 100_000;
/// Reads of a leader's disk for followers at once, beside those for clients.
pub const REPLICATION_READS_MAX: usize = 2;
/// Most bytes of a shipped snapshot: some times what a ledger can have.
pub const REPLICATION_SNAPSHOT_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Snapshots of ledgers that are read, or on their way, for one stream at once: others wait in line, so that
/// what a leader holds for a follower that takes nothing is two of them.
pub const REPLICATION_SHIPMENTS_MAX: usize = 2;
/// Bytes of snapshots that a follower has by one stream and whose logs have not come up to them; no further
/// one is read meanwhile. Half of what a follower of usual size has room for, which pays twice for each.
pub const REPLICATION_SHIPPED_BYTES_MAX: usize = 8 * 1024 * 1024;
/// First and longest pause of a follower that had no room for a snapshot: each attempt costs its leader a
/// whole read, and room comes when other logs have caught up.
pub const SHIPPED_REST_BASE: Duration = Duration::from_millis(200);
/// See [`SHIPPED_REST_BASE`].
pub const SHIPPED_REST_MAX: Duration = Duration::from_secs(30);
/// How long a leader is waited for to open a stream.
pub const REPLICATION_OPEN_TIMEOUT: Duration = Duration::from_secs(5);
/// First and longest pause between attempts to reach a leader: one that starts again is back in a second.
pub const REPLICATION_RETRY_BASE: Duration = Duration::from_millis(50);
/// See [`REPLICATION_RETRY_BASE`].
pub const REPLICATION_RETRY_MAX: Duration = Duration::from_secs(1);
/// How long an attach that ended for no reason of its own rests before it is tried again.
pub const ATTACH_REST: Duration = Duration::from_millis(100);
/// How long is rested after each attempt to read a log that was cut, and failed to be read: what a disk or a
/// process is short of for a moment is there again after some seconds.
pub const READ_AGAIN_PAUSES: [Duration; 5] = [
    Duration::from_millis(100),
    Duration::from_millis(300),
    Duration::from_secs(1),
    Duration::from_secs(3),
    Duration::ZERO,
];
/// No two requests with proposals of in-sync sets are closer (I3).
pub const PROPOSAL_PAUSE: Duration = Duration::from_millis(50);
/// How long a controller is given to answer proposals before another one is asked: writes wait for members to
/// leave, and the largest request is a commit of a second or two.
pub const PROPOSAL_PATIENCE: Duration = Duration::from_secs(4);
/// Proposals in one request: some megabytes of JSON, and fewer than a controller takes at once.
pub const PROPOSALS_PER_REQUEST_MAX: usize = 10_000;
