//! Bounds that concern the public surface alone; those shared with others are in the protocol crate.
//!
//! Invariant: no buffer of this crate grows with what a client sends beyond one of these.

use std::time::Duration;

use tidegate_proto::limits::BODY_BYTES_MAX;

/// Step of a streamed upload: the batch of one partition is appended when it has grown to this. Large enough that a group-commit round is well filled, small
/// enough that a stream over hundreds of partitions stays within the bound below.
pub(crate) const STREAM_BATCH_BYTES: usize = 512 * 1024;

/// Bytes of unfinished batches that one streamed upload may hold over all its partitions; beyond it
/// the largest is appended early.
pub(crate) const STREAM_BUFFER_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Bytes of batches that one streamed upload may have under way.
pub(crate) const STREAM_UNDER_WAY_BYTES_MAX: usize = 4 * 1024 * 1024;

/// What a streamed upload may hold without taking it from the budget below: most uploads are a few
/// lines, and they must not queue behind the large ones.
pub(crate) const STREAM_FREE_BYTES: usize = 256 * 1024;

/// What a streamed upload takes from the budget when it holds more: the two bounds above.
pub(crate) const STREAM_PERMIT_BYTES: usize = STREAM_BUFFER_BYTES_MAX + STREAM_UNDER_WAY_BYTES_MAX;

/// How long a line of a streamed upload waits for company.
pub(crate) const STREAM_LINGER_MS: u64 = 50;

/// Bodies up to here are bounded by the number of connections and take nothing from the budget.
pub(crate) const BODY_FREE_BYTES: usize = 64 * 1024;

/// How much a body that is read takes from the budget at a time.
pub(crate) const BODY_STEP_BYTES: usize = 1024 * 1024;

/// Bytes that the batches of one binary body may unpack to: twice the largest body. Each batch has its
/// own bounds, but a body of many small ones that unpack a hundredfold would keep a core for seconds.
pub(crate) const BODY_UNPACKED_BYTES_MAX: usize = 2 * BODY_BYTES_MAX;

/// An answer that cannot have this much of the budget is not begun.
pub(crate) const ANSWER_BYTES_MIN: usize = 64 * 1024;

/// One answer takes at most this part of what is left of the budget: those who ask and do not read make
/// the answers of others shorter long before they make them impossible.
pub(crate) const ANSWER_PART_OF_LEFT: usize = 4;

/// Longest `Tidegate-High-Watermark` of several partitions; above it the header is left out. With a
/// cursor of its greatest length it stays below the 16 KiB of headers that most clients take.
pub(crate) const HIGH_WATERMARK_BYTES_MAX: usize = 4 * 1024;

/// Most partitions that one streamed upload may have unfinished batches for. A builder costs little
/// but not nothing.
pub(crate) const STREAM_PARTITIONS_MAX: usize = 1024;

/// Most query parameters that a request may carry: every known one, `cursor` repeated.
pub(crate) const QUERY_PARAMETERS_MAX: usize = 96;

/// Longest JSON pointer of `?key=`, in reference tokens.
pub(crate) const POINTER_TOKENS_MAX: usize = 32;

/// Pages of sealed segments in a list unless the request says otherwise.
pub(crate) const SEALED_PAGES_DEFAULT: u64 = 32;
/// Most pages of sealed segments in a list: some 32 MiB are read to find them.
pub(crate) const SEALED_PAGES_MAX: u64 = 64;
/// Bytes of batches that a list looks at: four times what its pages have on average. A list that ends here
/// says where to go on.
pub(crate) const SEALED_WALK_BYTES_MAX: usize = 128 * 1024 * 1024;

/// Records of one fetch answer unless the request says otherwise.
pub(crate) const FETCH_RECORDS_DEFAULT: usize = 10_000;
/// Most records of one fetch answer.
pub(crate) const FETCH_RECORDS_MAX: usize = 100_000;

/// What a client is told to wait before it connects again to a server that stops.
pub(crate) const DRAIN_RETRY_MS: u64 = 1_000;

/// Most results, one per record, of a request with batches for several partitions.
pub(crate) const RESULTS_MAX: u64 = 100_000;

/// Largest body of `POST /v1/producers`.
pub(crate) const PRODUCER_BODY_BYTES_MAX: usize = 4 * 1024;

/// Partitions of one read that are looked up side by side: one that does not answer holds up so many others
/// at most, and a topic of a thousand is looked up in some dozens of questions' time.
pub(crate) const OPENED_AT_ONCE_MAX: usize = 32;
/// A partition that could not be reached is tried again after so long; the pause doubles.
pub(crate) const JOIN_PAUSE_MIN: Duration = Duration::from_millis(100);
/// The longest pause: what a reader of one that is back waits at most.
pub(crate) const JOIN_PAUSE_MAX: Duration = Duration::from_secs(1);
/// Longest `Tidegate-Away` that names partitions, for the same reason as with the high watermarks.
pub(crate) const AWAY_BYTES_MAX: usize = 2 * 1024;

/// How often a request that waits for records of any copy looks how far copies are: what a person does not
/// notice, and four questions a second for each partition that somebody waits for.
pub(crate) const COPY_LOOK_EVERY: Duration = Duration::from_millis(250);
