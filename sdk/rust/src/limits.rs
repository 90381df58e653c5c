//! The client's own bounds and defaults; those it shares with the servers are in
//! `tidegate_proto::limits`.
//!
//! Every queue, body and wait of this crate is bounded by a constant from here or from there.

use std::time::Duration;

/// How long an open batch waits for company.
pub const LINGER_DEFAULT: Duration = Duration::from_millis(5);
/// An open batch closes at this many bytes of records (before compression): large enough that a
/// request costs little per record, small enough that several are in flight on a slow link.
pub const BATCH_BYTES_DEFAULT: usize = 256 * 1024;
/// An open batch closes at this many records.
pub const BATCH_RECORDS_DEFAULT: u32 = 10_000;
/// Closed batches that wait together travel in one request of at most this many bytes.
pub const REQUEST_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Requests in flight for one partition, by default. Two keep the server busy while an answer
/// travels; what piles up meanwhile goes out as one larger request.
pub const IN_FLIGHT_DEFAULT: usize = 2;
/// The most that the server's duplicate detection can follow.
pub const IN_FLIGHT_MAX: usize = 5;
/// Bytes of records that a producer holds before `send` waits: 8 requests of the largest size.
pub const MEMORY_BYTES_DEFAULT: usize = 8 * REQUEST_BYTES_MAX;
/// Fixed cost that is charged for a record beside its bytes, so that empty records are bounded too.
pub const RECORD_OVERHEAD_BYTES: usize = 64;

/// First and largest pause between two attempts (full jitter below the current ceiling).
pub const BACKOFF_FIRST: Duration = Duration::from_millis(25);
pub const BACKOFF_MAX: Duration = Duration::from_secs(2);
/// A produce request is retried for this long before its records are reported as failed.
pub const DELIVERY_TIMEOUT_DEFAULT: Duration = Duration::from_secs(120);
/// Attempts of a control call or a read of offsets.
pub const CONTROL_ATTEMPTS_MAX: u32 = 4;
/// A control call is given this long.
pub const REQUEST_TIMEOUT_DEFAULT: Duration = Duration::from_secs(15);
/// Added to the server's own deadline before the client gives up waiting for the answer.
pub const DEADLINE_GRACE: Duration = Duration::from_secs(5);
/// TCP connect.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The largest answer the client takes: the largest page, twice, for a last batch and its margin.
pub const ANSWER_BYTES_MAX: usize = 2 * tidegate_proto::limits::READ_BYTES_MAX;
/// The largest backup of a cluster's metadata that is taken over HTTP: that of a million partitions.
pub const BACKUP_BYTES_MAX: usize = 1024 * 1024 * 1024;
/// For a backup to arrive.
pub const BACKUP_TIMEOUT: Duration = Duration::from_secs(300);
/// Asked of the server per page when consuming.
pub const FETCH_BYTES_DEFAULT: usize = 4 * 1024 * 1024;
/// The longest path of a request for a page: 16 KiB of headers is what servers take over HTTP/2,
/// less 2 KiB for the token and the others. A cursor of 8 KiB leaves room for some 1,200 partitions.
pub const FETCH_PATH_BYTES_MAX: usize = 14 * 1024;
/// A long poll of a following consumer.
pub const FETCH_WAIT_DEFAULT: Duration = Duration::from_secs(20);
/// Pages that wait decoded for the reader while the next one travels. With the one being read that
/// is three; a page of well compressed batches may be many times its size on the wire.
pub const PAGES_AHEAD: usize = 1;
/// How long a producer passes by a partition that had no leader when it began: a unit that starts anew is back
/// by then.
pub const OFFLINE_BELIEVED: Duration = Duration::from_secs(10);
/// How often a consumer of all partitions looks whether some were added.
pub const PARTITIONS_REFRESH: Duration = Duration::from_secs(10);
/// How often a consumer tries partitions again that it could not reach when it began.
pub const AWAY_REFRESH: Duration = Duration::from_secs(1);
/// Requests for offsets that run side by side when a consumer starts.
pub const START_LOOKUPS: usize = 16;

/// The largest message of a socket: one batch of the largest size, whatever became of it when it was made
/// anew in another codec.
pub const SOCKET_MESSAGE_BYTES_MAX: usize = ANSWER_BYTES_MAX;
/// One read of a socket: as large as the frames that servers aim at, or four of them.
pub const SOCKET_READ_BYTES: usize = 256 * 1024;
/// A server says every 20 s that a socket lives; one that is silent for longer than this is gone.
pub const SOCKET_SILENCE_MAX: Duration = Duration::from_secs(60);

/// HTTP/2 windows: a window divided by the round trip bounds throughput, so both are generous.
pub const H2_STREAM_WINDOW_BYTES: u32 = 4 * 1024 * 1024;
pub const H2_CONNECTION_WINDOW_BYTES: u32 = 16 * 1024 * 1024;
pub const H2_FRAME_BYTES: u32 = 256 * 1024;
pub const H2_KEEP_ALIVE: Duration = Duration::from_secs(20);
