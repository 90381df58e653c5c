//! Bounds that only a WebSocket session knows.
//!
//! Each is a promise about memory or time per socket; limits that clients can run into are in
//! `tidegate_proto::limits`.

use std::time::Duration;

use tidegate_proto::limits::WS_MESSAGE_BYTES_MAX;

/// Members of one client message: the longest op has 9, more is no message of ours.
pub(crate) const OP_FIELDS_MAX: usize = 16;
/// Cursors given at once: one per partition that a records frame ever named, for wide topics too.
pub(crate) const CURSORS_MAX: usize = 1_000;
/// Subscriptions of one socket; more topics are for more sockets.
pub(crate) const SUBSCRIPTIONS_MAX: usize = 256;
/// Partitions followed by one socket: each costs about 300 bytes, so 3 MiB at the very most.
pub(crate) const FOLLOWED_PARTITIONS_MAX: usize = 10_000;
/// Sockets of one process. 20,000 idle ones are to fit into 24 KiB each; twice that is refused.
pub(crate) const SOCKETS_MAX: usize = 40_000;

/// Held by each socket for reading, as long as it lives, and the most that one read takes: a message of
/// 4 MiB takes some milliseconds of reads, and an idle socket a third less memory than with 4 KiB.
pub(crate) const READ_BUFFER_BYTES: usize = 1024;
/// Small frames are gathered up to here before they are written.
pub(crate) const WRITE_BUFFER_BYTES: usize = 16 * 1024;
/// One frame may hold one record of 4 MiB whose every byte became a `\u00XX`, behind a full write
/// buffer: 6 x 4 MiB, and room for the rest of the frame. Frames are fed one at a time.
pub(crate) const WRITE_BUFFER_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Messages up to here take nothing from the budget: the number of sockets bounds them.
pub(crate) const SOCKET_FREE_BYTES: usize = 16 * 1024;
/// What one socket may take from it: its produces in flight, the last of which may be the largest.
pub(crate) const SOCKET_BYTES_MAX: usize = PRODUCE_BYTES_IN_FLIGHT_MAX + WS_MESSAGE_BYTES_MAX;
/// Sent between two flushes, over all subscriptions: the window of those that gave no credit.
pub(crate) const WINDOW_BYTES: usize = 256 * 1024;
/// As above, in records.
pub(crate) const WINDOW_RECORDS: u64 = 10_000;
/// One read of one partition: four frames of 64 KiB.
pub(crate) const CHUNK_BYTES: usize = 256 * 1024;
/// Read and not sent yet over all partitions of a socket, reads under way counted as whole chunks: four
/// chunks, so that many partitions keep the disk busy and none of a thousand is held for one that waits.
pub(crate) const AHEAD_BYTES_MAX: usize = 4 * CHUNK_BYTES;
/// Batches that a client sends in a message smaller than this are copied out of the read buffer.
pub(crate) const COPIED_BATCHES_BYTES_MAX: usize = 64 * 1024;
/// Produces of one socket that are not answered yet; then it is not read from until one is.
pub(crate) const PRODUCES_IN_FLIGHT_MAX: usize = 64;
/// As above, in bytes of message: two of the largest.
pub(crate) const PRODUCE_BYTES_IN_FLIGHT_MAX: usize = 8 * 1024 * 1024;
/// Finished reads, tails and answers taken up before the socket is flushed.
pub(crate) const WAKES_PER_FLUSH_MAX: usize = 64;

/// Between two looks at the clock.
pub(crate) const TICK_EVERY: Duration = Duration::from_secs(5);
/// Between two pings.
pub(crate) const PING_EVERY: Duration = Duration::from_secs(20);
/// Nothing heard for so long, two pings unanswered: close 3001.
pub(crate) const IDLE_AFTER: Duration = Duration::from_secs(45);
/// A slow reader of samples gets one frame of so many.
pub(crate) const SAMPLE_OF: u64 = 16;
/// Nothing could be written for so long: close 3000.
pub(crate) const WRITE_STALL: Duration = Duration::from_secs(30);
/// Nothing could be written for so long: what was read for the socket is let go, to be read again.
pub(crate) const LET_GO_AFTER: Duration = Duration::from_secs(1);
/// Nothing could be written for so long while there is no room for the frames of others: close 3000.
pub(crate) const WRITE_STALL_SHORT: Duration = Duration::from_secs(2);
/// How often a socket that waits to write looks whether the room that it holds is needed.
pub(crate) const ROOM_LOOK_EVERY: Duration = Duration::from_millis(100);
/// With less than this part of the frames' room left, sockets that wait let go at once: a quarter.
pub(crate) const ROOM_SHORT_PART: usize = 4;
/// After `drain`, answers of produces in flight are waited for so long.
pub(crate) const DRAIN_WAIT: Duration = Duration::from_secs(5);
/// After our close frame, the peer's is waited for so long.
pub(crate) const CLOSE_WAIT: Duration = Duration::from_secs(1);
/// A read that failed for now is tried again after so long.
pub(crate) const RETRY_AFTER: Duration = Duration::from_millis(250);
/// `retry_after_ms` of drain frames is spread over so long, so that clients do not come back at once.
pub(crate) const DRAIN_SPREAD_MS: u64 = 2_000;
/// A ticket that a client offers is not longer than this.
pub(crate) const TICKET_BYTES_MAX: usize = 256;
