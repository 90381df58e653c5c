//! What one reader got: every offset from where it began, once, in order, below the watermark.
//!
//! It also sees that a leader epoch has one leader. Where the log ends is asked elsewhere; what stands at the offsets is judged against the log at the end.

use std::collections::{BTreeMap, HashMap};

use crate::event::{Event, What};
use crate::verdict::{Class, Verdict};

pub(crate) fn judge(history: &[Event], verdict: &mut Verdict) {
    let mut next: HashMap<u64, (u32, u64)> = HashMap::new();
    let mut leaders: BTreeMap<(u32, u64), u64> = BTreeMap::new();
    for event in history {
        match &event.what {
            What::ReadFrom {
                reader,
                partition,
                offset,
            } => {
                next.insert(*reader, (*partition, *offset));
            }
            What::Moved { reader, offset } => {
                if let Some((_, expected)) = next.get_mut(reader) {
                    *expected = (*expected).max(*offset);
                }
            }
            What::Read {
                reader,
                records,
                high_watermark,
            } => {
                let Some((partition, expected)) = next.get_mut(reader) else {
                    continue;
                };
                for seen in records {
                    let offset = seen.offset;
                    let skipped = (offset > *expected).then_some(Class::PollSkipped);
                    let back = (offset < *expected).then_some(Class::PollBackwards);
                    if let Some(class) = skipped.or(back) {
                        verdict.add(class, || {
                            format!("partition {partition}, reader {reader}: {offset} after {expected} was due")
                        });
                    }
                    *expected = offset + 1;
                    if let Some(mark) = high_watermark.filter(|mark| offset >= *mark) {
                        verdict.add(Class::BeyondWatermark, || {
                            format!("partition {partition}, reader {reader}: {offset}, with {mark} as the watermark")
                        });
                    }
                }
            }
            What::Led {
                partition,
                leader_epoch,
                leader,
            } => {
                let first = *leaders
                    .entry((*partition, *leader_epoch))
                    .or_insert(*leader);
                if first != *leader {
                    verdict.add(Class::TwoLeaders, || {
                        format!("partition {partition}, epoch {leader_epoch}: {first} and {leader}")
                    });
                }
            }
            _ => {}
        }
    }
}
