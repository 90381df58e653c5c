//! Bounds of the way to the storage units, with the arithmetic that led to them.

use std::time::Duration;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// Connections for appends to one storage unit. Two, so that a body of 32 MiB holds up half of the others
/// at most, and two cores can encrypt; more would share less of each piece.
pub(super) const APPEND_LANES: usize = 2;
/// Appends that wait for one lane: what arrives in a second at 16,000 a second while a leader restarts.
pub(super) const LANE_WAITING_MAX: usize = 16 * 1024;
/// Appends of one lane without an answer; as many as the other side takes at once.
pub(super) const LANE_SENT_MAX: usize = 8 * 1024;
/// A piece of appends that is sent at once is about so long: enough to pay for its way.
pub(super) const PIECE_BYTES_TARGET: usize = 64 * KIB;
/// What a storage unit is given to answer beyond the deadline that it keeps itself: its clock's tick, and
/// the way back.
pub(super) const ANSWER_GRACE: Duration = Duration::from_millis(500);

/// A connection must be there, its handshake done, within this.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// A stream must be open, its versions agreed on, within this.
pub(super) const OPEN_TIMEOUT: Duration = Duration::from_secs(3);
/// The pause after the first failure to connect; it doubles.
pub(super) const CONNECT_PAUSE_MIN: Duration = Duration::from_millis(50);
/// The longest pause between two tries to connect.
pub(super) const CONNECT_PAUSE_MAX: Duration = Duration::from_secs(2);
/// Interval of keep-alive pings: a node that is gone without a word is noticed in twice that.
pub(super) const PING_INTERVAL: Duration = Duration::from_secs(5);
/// A ping must be answered within this.
pub(super) const PING_TIMEOUT: Duration = Duration::from_secs(5);
/// The pause before the first retry of an append or a question whose leader did not take it, unless the
/// topology shows another one before; it doubles.
pub(super) const RETRY_PAUSE_MIN: Duration = Duration::from_millis(20);
/// The longest pause between two tries.
pub(super) const RETRY_PAUSE_MAX: Duration = Duration::from_millis(500);
/// One retry is earned by so many requests: retries are a tenth of the load at most.
pub(super) const RETRY_EARNED_BY: i64 = 10;
/// Retries that may be made on top: all that is under way when the leader of busy partitions goes.
pub(super) const RETRY_RESERVE: i64 = (APPEND_LANES * LANE_SENT_MAX) as i64;

/// The pause after the first failure to get a producer id; it doubles.
pub(super) const LEASE_PAUSE_MIN: Duration = Duration::from_millis(100);
/// The longest pause between two tries. Requests go without stamps meanwhile.
pub(super) const LEASE_PAUSE_MAX: Duration = Duration::from_secs(10);
/// How long requests for a partition go without stamps after its leader refused one: an older unit may be
/// a newer one by then, a partition that remembers too many gateways has forgotten some.
pub(super) const STAMP_REST: Duration = Duration::from_secs(60);
/// Records from the oldest request under way to the newest: far from where sequence numbers begin again.
pub(super) const STAMP_SPAN_MAX: u32 = 1 << 28;
/// Partitions whose sequences are kept before those that are gone are looked for; some 100 bytes each.
pub(super) const STAMPED_PARTITIONS_SPARE: usize = 1024;

/// Questions to one storage unit that are under way; more wait.
pub(super) const ASKS_MAX: usize = 64;
/// A question is asked again of whoever leads by then until this has passed.
pub(super) const ASK_DEADLINE: Duration = Duration::from_secs(10);
/// One read of what is not at the tail.
pub(super) const READ_BYTES: usize = MIB;

/// How long the first reader of a tail waits for its bounds.
pub(super) const FOLLOW_TIMEOUT: Duration = Duration::from_secs(5);
/// Batches of one partition that are kept for readers at its tail.
pub(super) const WINDOW_BYTES_MAX: usize = MIB;
/// Bytes of batches that a storage unit may send ahead on its stream of tails.
pub(super) const TAIL_CREDIT_BYTES: u32 = 4 * MIB as u32;
/// How long a tail is followed after its last reader: longer than a client takes between two polls.
pub(super) const TAIL_LINGER: Duration = Duration::from_secs(10);
/// Batches are sent ahead for so long after a reader last took some.
pub(super) const WINDOW_LINGER: Duration = Duration::from_secs(10);
/// How long a reader who knows that there is more waits for it to come by itself.
pub(super) const EDGE_WAIT: Duration = Duration::from_millis(100);
/// How often tails are looked after.
pub(super) const TAIL_TICK: Duration = Duration::from_millis(250);

/// A unit that could not be reached for so long is not waited for any more: one that stops and starts again is
/// back in one or two seconds, and its clients notice nothing.
pub(super) const AWAY_AFTER: Duration = Duration::from_secs(3);
/// The same where another unit may take over: silence is borne for 6 s before its partitions get other leaders,
/// and every one with a candidate has one within 15 s. Nobody waits longer than their request may take.
pub(super) const SUCCESSION_MAX: Duration = Duration::from_secs(15);
/// How long the copies of a partition have to find its new leader before it is believed that it has too few:
/// they see the change within some milliseconds, and dial for two seconds at most.
pub(super) const GATHER_MAX: Duration = Duration::from_secs(3);
/// Partitions of which is noted since when they have too few copies; some 100 bytes each.
pub(super) const GATHERING_PARTITIONS_MAX: usize = 16 * 1024;
/// How often somebody who waits for a partition looks whether there is still somebody to wait for.
pub(super) const AWAY_LOOK_EVERY: Duration = Duration::from_millis(250);

/// Copies that are asked for a read before the leader is.
pub(super) const COPIES_ASKED_MAX: usize = 2;
/// How long one copy is given to answer: others have the same.
pub(super) const COPY_PATIENCE: Duration = Duration::from_secs(1);
