//! Bounds of the controller process, with the reasons for them.

use std::time::Duration;

/// Commands that may wait for the controller's loop; one commit is a few milliseconds, so a full
/// queue is about a second of work and later callers are better told to come back.
pub const COMMANDS_MAX: usize = 256;
/// With so many partitions a command is carried out on a thread of its own, which ends and gives back what it
/// took: the rows and the topology of a thousand are 300 KiB, those of a hundred thousand 30 MiB. With fewer
/// that is not worth a thread.
pub const APART_PARTITIONS_MIN: u64 = 1_000;
/// How often a decision is made anew after somebody else changed what it was made on.
pub const DECISION_ATTEMPTS_MAX: u32 = 8;
/// Revisions whose events are kept for followers that were away.
pub const EVENT_REVISIONS_KEPT: u64 = 100_000;
/// Events kept: about 100 MiB at 500 bytes each. A restart of a unit with ten thousand partitions is
/// one revision and ten thousand events.
pub const EVENT_ROWS_KEPT: u64 = 200_000;
/// Events are compacted at the start and once per this many, so that no single commit pays for much.
pub const COMPACTION_INTERVAL_ROWS: u64 = 10_000;
/// Producer ids handed out at a time: an SPU that restarts often wastes ids, of which 2^53 exist.
pub const PRODUCER_IDS_PER_LEASE: u64 = 1_000;
/// Producer ids that an adoption passes over: those leased after the point that the store went back to
/// may be in use. Four million leases are more than a cluster takes between a backup and its loss, and
/// two million adoptions fit into the 53 bits of an id.
pub const PRODUCER_IDS_PER_ADOPTION: u64 = 1 << 32;
/// Revisions that an adoption passes over, so that none that was handed out before the store went back comes
/// again: at a thousand a second they last for seven weeks between a backup and its loss, and two million
/// adoptions fit into the 53 bits of a revision.
pub const REVISIONS_PER_ADOPTION: u64 = 1 << 32;
/// An adoption also passes over this many revisions per millisecond since 1970, so that of two copies of a
/// store that were adopted one after the other the later is ahead of the earlier. No store makes 16,000
/// commits a second; until 2300 it is less than a hundredth of 2^53.
pub const REVISIONS_PER_MS: u64 = 16;
/// How long to wait for a store that is in use before saying so.
pub const STORE_BUSY_TIMEOUT: Duration = Duration::from_millis(250);
/// Longest `If-Match` header: room for 32 versions.
pub const IF_MATCH_BYTES_MAX: usize = 1024;
/// How long the answer to a request with an `Idempotency-Key` is kept: a day, in which whoever sent it
/// will have tried again.
pub const RECEIPT_KEPT_MS: i64 = 24 * 60 * 60 * 1000;

/// Rows that one statement reads or writes: enough that its cost does not count, few enough that a
/// start with ten thousand partitions has no peak of memory that stays.
pub const STORE_ROWS_AT_ONCE: usize = 256;
/// Pages that SQLite keeps, as its pragma takes it: 256 KiB. The whole state is in our own memory, so
/// they serve writes only, and what one start with ten thousand partitions reads would stay.
pub const SQLITE_CACHE: &str = "-256";
/// Connections that one controller keeps to Postgres for reading and writing. Commits queue on one
/// row anyway, and each connection costs the server some 10 MiB.
pub const STORE_CONNECTIONS_MAX: u32 = 8;
/// How long a request waits for a connection: longer, and the client is better told to come back.
pub const STORE_CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Longest statement that Postgres carries out for us; a commit of ten thousand rows takes a second.
pub const STORE_STATEMENT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a statement waits for a row that another transaction holds.
pub const STORE_LOCK_TIMEOUT: Duration = Duration::from_secs(2);
/// Postgres ends a transaction of ours that does nothing for so long: its process hangs.
pub const STORE_IDLE_TRANSACTION_TIMEOUT: Duration = Duration::from_secs(10);
/// How long we wait for any answer, whatever the server promised: its machine may be gone without a
/// word. Above the statement's own time-out, so that the server's answer comes first.
pub const STORE_CALL_TIMEOUT: Duration = Duration::from_secs(8);
/// A snapshot of 100,000 partitions takes a second or two; slow disks get ten times that.
pub const STORE_SNAPSHOT_TIMEOUT: Duration = Duration::from_secs(30);
/// Writing everything of a backup: 100,000 partitions take half a minute, slow disks get ten times that.
pub const RESTORE_TIMEOUT: Duration = Duration::from_secs(300);
/// Bytes of a backup that are sent at a time.
pub const BACKUP_CHUNK_BYTES: usize = 64 * 1024;
/// Longest line of a backup: a topic of 10,000 partitions that were placed by hand has 1 MiB.
pub const BACKUP_LINE_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Lines of a backup: fifty times what a large cluster has; a file is read into memory before it is
/// restored.
pub const BACKUP_LINES_MAX: u64 = 10_000_000;
/// Statements about the lease end sooner: a holder renews every 3 s for 10 s.
pub const LEASE_STATEMENT_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a migration waits for locks, and for another that runs.
pub const MIGRATION_LOCK_TIMEOUT: Duration = Duration::from_secs(60);
/// Rows of the ledger that one answer holds: 1 MiB or so.
pub const LEDGER_ROWS_MAX: i64 = 1_000;
/// Before a broken doorbell is tried again; meanwhile its owner polls.
pub const DOORBELL_RETRY: Duration = Duration::from_secs(1);

/// For how long a join token is good unless its maker says otherwise: time to copy it to the machine and
/// to start the process there.
pub const JOIN_TOKEN_TTL: Duration = Duration::from_secs(10 * 60);
/// For how long it may be: a day of rolling out machines. What is good for longer is lost somewhere.
pub const JOIN_TOKEN_TTL_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// Join tokens that wait to be used, at most: fewer than one answer of the ledger holds.
pub const JOIN_TOKENS_MAX: usize = 500;
/// Requests to join that are looked at at a time: strangers may send them, and each holds one of
/// [`STORE_CONNECTIONS_MAX`] connections meanwhile. More are told to come again in a second.
pub const JOINS_AT_ONCE_MAX: usize = 3;
/// Body of a request to join: a token and a signing request are 1 KiB.
pub const JOIN_BODY_BYTES_MAX: usize = 16 * 1024;
/// Life of a node's certificate. It is renewed when half of it is over, so three days of trouble are
/// no harm, and a key that was stolen unnoticed is good for a week at most.
pub const NODE_CERTIFICATE_LIFE: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// Before a controller that could not renew its own certificate tries again.
pub const OWN_CERTIFICATE_RETRY: Duration = Duration::from_secs(60);

/// Revisions read at a time when following; each may have ten thousand rows of half a KiB.
pub const FOLLOW_REVISIONS_MAX: u64 = 16;
/// Transactions of its own that the holder makes before it lets waiting commands through.
pub const TICKS_AT_ONCE_MAX: usize = 4;
/// A process that did not run for so long has not listened, and shuts nobody out for a whole time-out.
pub const STALL: Duration = Duration::from_secs(2);
/// Before a failed attempt on the lease is repeated.
pub const LEASE_RETRY: Duration = Duration::from_secs(1);
/// How often expired receipts, tokens and certificates are dropped.
pub const LEDGER_SWEEP: Duration = Duration::from_secs(60);
/// Revisions kept in memory for watchers.
pub const HISTORY_REVISIONS_MAX: usize = 10_000;
/// Changes of all those revisions: at some 2 KiB each with their encoded forms, 40 MiB. The newest
/// revision is kept whatever its size.
pub const HISTORY_CHANGES_MAX: usize = 20_000;
/// For how long a controller without others keeps all of that after its newest revision: watchers that are
/// there have read it, and its only unit is in the same process and needs none.
pub const HISTORY_ALONE_REST: Duration = Duration::from_secs(10);
/// Changes that it keeps from then on, for public watchers that come back: a start with ten thousand
/// partitions is one revision that would stay for nobody, at 224 bytes a partition.
pub const HISTORY_CHANGES_ALONE_MAX: usize = 1_000;
/// Largest body of a private request: a registration with 10,000 replicas has 3 MiB.
pub const PRIVATE_BODY_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Watch streams that one controller serves: each is a connection's stream and a place in a list.
pub const WATCHERS_MAX: usize = 20_000;
/// Public watches that one controller serves. Each holds a position, a line or two, and its place on a
/// connection: some 20 KiB, so all of them 200 MiB. The benchmark of a kill has 2,000.
pub const PUBLIC_WATCHES_MAX: usize = 10_000;
/// Topics that one question about deleted ones may name.
pub const DELETED_TOPICS_MAX: usize = 1_000;
/// How often what was heard is passed on to the holder of the lease: twice within the shortest time
/// between heartbeats.
pub const RELAY: Duration = Duration::from_millis(250);
/// How long the holder may take to answer; what was not passed on is said again by the next heartbeats.
pub const RELAY_TIMEOUT: Duration = Duration::from_secs(2);
/// Statuses of partitions in one such request: 4 MiB.
pub const RELAY_STATUSES_MAX: usize = 20_000;
/// How often a controller asks the holder of the lease what he heard: as often as units speak.
pub const REPORTS_PULL: Duration = Duration::from_secs(1);
/// Statuses of partitions in one answer to that: 3 MiB.
pub const REPORTED_STATUSES_MAX: usize = 10_000;
/// Answers asked for at a time; the state of 200,000 partitions comes at once.
pub const REPORTS_PARTS_MAX: usize = 20;
/// What a leader said longer ago is not told any more: units repeat themselves in under two minutes even
/// when nothing changes, so it is silent, or it does not lead any more.
pub const STATUS_AGE_MAX: Duration = Duration::from_secs(180);
/// How long a request waits for word of a leader that is no older than itself: units speak every second,
/// and what they say reaches every controller within another.
pub const STATUS_WAIT_MAX: Duration = Duration::from_millis(3_500);
/// How often it looks.
pub const STATUS_POLL: Duration = Duration::from_millis(100);

/// Length of a bucket in which is counted what went in and out, in milliseconds.
pub const FLOW_BUCKET_MS: i64 = 10_000;
/// Buckets that are kept: 15 minutes.
pub const FLOW_BUCKETS: usize = 90;
/// Whole buckets that a rate is made of: a minute.
pub const FLOW_RATE_BUCKETS: usize = 6;
/// Units with buckets of their own, 2.2 KiB each.
pub const FLOW_SPUS_MAX: usize = 1_000;
/// Topics with buckets of their own; the others are counted together.
pub const FLOW_TOPICS_MAX: usize = 200;

/// How often a controller does what it does by the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// Looking whether the store has something new, doorbell or not.
    pub poll: Duration,
    /// Asking which store it is.
    pub standing: Duration,
    /// Looking for what is to be done, for the holder of the lease.
    pub tick: Duration,
    /// How long the lease holds without being renewed.
    pub lease: Duration,
    /// How often it is renewed; three attempts fit.
    pub renewal: Duration,
}

/// One of several: the tick is a small part of the shortest time-out of a unit, and the lease is worth a
/// failover within seconds.
pub const PACE_IN_CLUSTER: Pace = Pace {
    poll: Duration::from_secs(1),
    standing: Duration::from_secs(5),
    tick: Duration::from_millis(200),
    lease: Duration::from_secs(10),
    renewal: Duration::from_secs(3),
};
/// The only one, on a store that nobody else can open: an idle process should not touch its disk.
pub const PACE_ALONE: Pace = Pace {
    poll: Duration::from_secs(60),
    standing: Duration::from_secs(600),
    tick: Duration::from_secs(1),
    lease: Duration::from_secs(24 * 3600),
    renewal: Duration::from_secs(8 * 3600),
};

/// Partitions that are looked up at a time in what units told: some 200 us in which none of them is heard.
pub const STATUSES_AT_ONCE: usize = 1_000;
