//! Checks a history of what clients asked of a cluster and what they were told, against what a log
//! promises.
//!
//! A [`History`] is a list of events in the order in which they happened: a request is noted before it
//! goes out, its outcome after it came in, so two operations of which one is noted to end before the other
//! begins did not overlap. At the end stand one or more [`What::Scan`]s: the log as it is when everything
//! has settled, of one replica or of each. [`check`] takes O(n log n) and gives a [`Verdict`]: findings by
//! [`Class`], and counts of what is allowed and worth knowing. It judges nothing by clock time.
//!
//! | class | what it means |
//! |---|---|
//! | `LostWrite` | acknowledged as replicated, not in the log at the end |
//! | `AbortedRead` | refused for good (`side_effects: none`), seen nevertheless |
//! | `Duplicate` | one value at two offsets (idempotent producers; of others it is counted) |
//! | `InconsistentOffset` | two answers that disagree about what stands at an offset, or where a value stands |
//! | `Reordered` | records of one producer and epoch out of the order of their sequence numbers |
//! | `SequenceGap` | one of them missing between two that are there |
//! | `PollSkipped`, `PollBackwards` | a reader that was given an offset too high or too low |
//! | `BeyondWatermark` | a record at or above the watermark told with it |
//! | `Vanished` | read once, not in the log at the end |
//! | `Phantom` | never sent, sent to another partition, or seen before it was sent |
//! | `RealTimeOrder` | sent after another was acknowledged or read, and placed before it |
//! | `LatestBackwards` | a `latest` below one told before, or below what was acknowledged or read before |
//! | `GroupBackwards` | a committed offset of a group that fell without force |
//! | `ZombieCommit` | a commit taken of an assignment that had a successor |
//! | `TwoOwners` | one assignment epoch of a group given to two members |
//! | `TwoLeaders` | one leader epoch of a partition with two leaders |
//! | `WatchGap`, `WatchBackwards` | a watch that missed a revision, or told one again |

pub mod event;
pub mod verdict;

pub mod lines;

mod facts;

mod contents;
mod groups;
mod order;
mod readers;
mod watches;

pub use event::{Acks, Event, History, Producer, Seen, Send, What};
pub use verdict::{Class, Finding, Malformed, Verdict};

/// Judges a whole history.
///
/// # Errors
/// When the history contradicts itself (an outcome without an operation, a value sent by two operations):
/// then the recorder is wrong, and nothing is judged.
pub fn check(history: &[Event]) -> Result<Verdict, Malformed> {
    let facts = facts::Facts::gather(history)?;
    let mut verdict = Verdict::default();
    let contents = contents::judge(&facts, &mut verdict);
    order::judge(&facts, &contents, &mut verdict);
    readers::judge(history, &mut verdict);
    groups::judge(history, &facts, &mut verdict);
    watches::judge(history, &mut verdict);
    verdict.counts.events = history.len() as u64;
    Ok(verdict)
}
