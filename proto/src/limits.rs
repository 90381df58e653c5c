//! Every bound that crosses a process or disk border, with the arithmetic that led to it.
//!
//! Bounds that concern one crate alone live in that crate's own `limits.rs`. Nothing here is read
//! from configuration: what an operator may change has its default here and its cap beside it.
//! Invariant: no buffer, queue, list or loop on outside input is without one of these.

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// Largest integer that every JSON reader keeps exact (2^53 - 1); offsets and timestamps stay within.
pub const INTEGER_MAX: u64 = (1 << 53) - 1;

/// Longest topic or group name, in bytes.
pub const NAME_LEN_MAX: usize = 200;
/// Longest name of a node: a label of a host name, which many operators will use.
pub const NODE_NAME_LEN_MAX: usize = 63;
/// Most partitions of one topic.
pub const PARTITIONS_PER_TOPIC_MAX: u32 = 10_000;
/// Highest replication factor; a partition row lists its replicas.
pub const REPLICATION_FACTOR_MAX: u16 = 15;
/// A copy that has not had for so long what its leader had then leaves the in-sync set: longer than any
/// pause of a healthy disk or process, shorter than a caller waits for a quorum.
pub const REPLICA_LAG_MS_DEFAULT: u64 = 10_000;

/// Default of `max_record_bytes`: key, value, header names and header values of one record.
pub const RECORD_BYTES_MAX_DEFAULT: usize = MIB;
/// Highest `max_record_bytes` a topic may ask for: one batch must hold it with room for its headers.
pub const RECORD_BYTES_MAX: usize = 3 * MIB;
/// Largest encoded batch: 72-byte placement header and client part together.
pub const BATCH_BYTES_MAX: usize = 4 * MIB;
/// Largest JSON or batch request body, after `Content-Encoding`; NDJSON has no such bound.
pub const BODY_BYTES_MAX: usize = 32 * MIB;
/// Most records in one JSON produce request.
pub const JSON_RECORDS_MAX: usize = 10_000;
/// Deepest nesting of arrays and objects in any JSON that is taken in.
pub const JSON_DEPTH_MAX: usize = 32;
/// Most headers on one record.
pub const HEADERS_PER_RECORD_MAX: usize = 64;
/// Longest header name of a record, in bytes of UTF-8.
pub const HEADER_NAME_LEN_MAX: usize = 256;

/// Most bytes that one compressed batch may grow to.
pub const DECOMPRESSED_BYTES_MAX: usize = 32 * MIB;
/// Most output bytes per input byte when decompressing, once the output passes the floor below.
pub const DECOMPRESSION_RATIO_MAX: usize = 100;
/// Output up to here is allowed whatever the ratio: small repetitive batches compress very well.
pub const DECOMPRESSION_RATIO_FLOOR_BYTES: usize = 64 * KIB;

/// Deadline of a request that names none.
pub const TIMEOUT_MS_DEFAULT: u64 = 10_000;
/// Longest deadline a request may ask for.
pub const TIMEOUT_MS_MAX: u64 = 60_000;
/// Longest long poll.
pub const WAIT_MS_MAX: u64 = 60_000;
/// Longest text of a cursor, in bytes of base64url.
pub const CURSOR_BYTES_MAX: usize = 8 * KIB;
/// Most cursors that one request may name; they are merged.
pub const CURSORS_PER_REQUEST_MAX: usize = 64;
/// Bytes of records in a fetch answer unless the request says otherwise.
pub const READ_BYTES_DEFAULT: usize = MIB;
/// Most bytes of records in a fetch answer.
pub const READ_BYTES_MAX: usize = 8 * MIB;
/// Items in a list page unless the request says otherwise.
pub const LIST_LIMIT_DEFAULT: usize = 100;
/// Most items in a list page.
pub const LIST_LIMIT_MAX: usize = 1000;

/// Largest incoming WebSocket message.
pub const WS_MESSAGE_BYTES_MAX: usize = 4 * MIB;
/// Largest incoming WebSocket message before the peer has proved who it is.
pub const WS_PREAUTH_BYTES_MAX: usize = 16 * KIB;
/// A records frame is cut here when its batch is larger and the format allows it.
pub const FRAME_BYTES_TARGET: usize = 64 * KIB;
/// Most bytes of batches in one frame between nodes: a body of the largest size, twice, since what is
/// short as JSON may be longer as a batch; what a partition takes at once is bounded by its node.
pub const FRAME_BATCHES_BYTES_MAX: usize = 2 * BODY_BYTES_MAX;
/// Longest problem, or status of a partition, in a frame between nodes, in bytes of JSON.
pub const FRAME_PROBLEM_BYTES_MAX: usize = 64 * KIB;
/// Most topics one socket may be subscribed to.
pub const SUBSCRIPTIONS_PER_SOCKET_MAX: usize = 64;

/// Idempotent producers remembered per partition; new ones beyond it are throttled.
/// Some 100 bytes each.
pub const PRODUCERS_PER_PARTITION_MAX: usize = 8192;
/// Unordered producers remembered per partition: a gateway each, also those that were started again in the
/// last minutes.
pub const UNORDERED_PER_PARTITION_MAX: usize = 64;
/// Runs of sequence numbers remembered of an unordered producer (rule D7), and so the most batches that it
/// may have under way for one partition. Neighbours in the log merge; else some 60 bytes each, so 240 KiB of
/// one and 15 MiB of a partition that as many as above wrote to within three minutes. The leader forgets older
/// ones when it looks at the partition: each second while something happens there, else in its turn.
pub const UNORDERED_RING: usize = 4096;
/// Produce requests in flight per producer and partition.
pub const PRODUCER_IN_FLIGHT_MAX: usize = 5;
/// Request keys remembered per partition.
pub const REQUEST_KEYS_PER_PARTITION_MAX: usize = 64 * 1024;
/// How long a request key is remembered at least, unless the count above pushes it out.
pub const REQUEST_KEY_WINDOW_MS: u64 = 10 * 60 * 1000;
/// Longest `Idempotency-Key`, in bytes.
pub const IDEMPOTENCY_KEY_LEN_MAX: usize = 255;

/// How long a tombstone outlives what it deletes: a day, in which a consumer that reads a compacted
/// topic from its beginning gets from the record to the tombstone.
pub const DELETE_RETENTION_MS_DEFAULT: u64 = 24 * 60 * 60 * 1000;

/// Default retention: seven days.
pub const RETENTION_MS_DEFAULT: u64 = 7 * 24 * 60 * 60 * 1000;
/// Default size at which a segment is closed.
pub const SEGMENT_BYTES_DEFAULT: u64 = 64 * MIB as u64;
/// Smallest segment: one batch of the largest size must fit with room to spare.
pub const SEGMENT_BYTES_MIN: u64 = 8 * MIB as u64;
/// Largest segment: positions inside a segment are 32-bit.
pub const SEGMENT_BYTES_MAX: u64 = 1024 * MIB as u64;
/// Default age at which the active segment is closed: one day.
pub const SEGMENT_MS_DEFAULT: u64 = 24 * 60 * 60 * 1000;

/// What a client is told to wait, in seconds, when the disk is full: somebody has to make space.
pub const RETRY_AFTER_DISK_FULL_S: u64 = 10;

/// How often a storage node shows that it is alive, unless its controller says otherwise: a sixth of the
/// silence after which it is taken for dead.
pub const HEARTBEAT_MS: u64 = 1_000;
/// Partitions that one heartbeat reports on: some 200 bytes each make 200 KiB at most, and a node with
/// 10,000 partitions has told of all of them in ten seconds.
pub const HEARTBEAT_STATUSES_MAX: usize = 1_000;
/// Other copies of one partition that its leader tells of: all, and as many again while they change places.
/// Some 70 bytes each.
pub const REPORTED_COPIES_MAX: usize = 2 * REPLICATION_FACTOR_MAX as usize;
/// Changes in one line of a watch stream: some 400 bytes each, so that a line stays near 100 KiB.
pub const WATCH_CHANGES_PER_LINE_MAX: usize = 256;
/// How often a watch stream says that it is alive when nothing happens.
pub const WATCH_ALIVE_MS: u64 = 5_000;
/// Longest time that a client may ask a stream of changes or events to last: a day. Longer ones name none.
pub const STREAM_TIMEOUT_MS_MAX: u64 = 24 * 60 * 60 * 1000;
