//! Judges a history of records: what producers sent and were told, what consumers read, and what the
//! partitions hold in the end.
//!
//! Every value is sent for one record only. Pure. Invariant of what it accepts: each acknowledged record
//! stands once, where its acknowledgement said, in the order in which its producer sent it; nothing stands
//! there that nobody sent or that was refused; and every consumer read just that, without a gap.

use std::collections::BTreeMap;

/// Where a record stands: partition and offset.
pub type Place = (u32, u64);

/// What a producer knows of one record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    Acknowledged(Place),
    /// It may be there or not; it was not sent again.
    Unknown,
    /// Refused for good: it is not there.
    Refused,
}

/// One record that was sent. Times are ticks of one counter that all producers share.
#[derive(Debug, Clone)]
pub struct Sent {
    /// Records of one producer are sent one after the other, in the order of this list.
    pub producer: u64,
    pub value: String,
    pub began: u64,
    pub ended: u64,
    pub fate: Fate,
}

/// What one consumer read of one partition, in its order; it was asked for everything from offset 0.
#[derive(Debug, Clone)]
pub struct Read {
    pub consumer: String,
    pub partition: u32,
    pub records: Vec<(u64, String)>,
}

/// Everything that is wrong; `log` has the values of each partition from offset 0.
#[must_use]
pub fn faults(sent: &[Sent], read: &[Read], log: &BTreeMap<u32, Vec<String>>) -> Vec<String> {
    let mut faults = Vec::new();
    let places = places(log, &mut faults);
    check_fates(sent, &places, &mut faults);
    check_order(sent, &places, &mut faults);
    check_real_time(sent, &mut faults);
    for one in read {
        check_read(one, log, &mut faults);
    }
    faults
}

fn places<'a>(
    log: &'a BTreeMap<u32, Vec<String>>,
    faults: &mut Vec<String>,
) -> BTreeMap<&'a str, Place> {
    let mut places = BTreeMap::new();
    for (partition, values) in log {
        for (offset, value) in values.iter().enumerate() {
            let place = (*partition, offset as u64);
            if let Some(other) = places.insert(value.as_str(), place) {
                faults.push(format!("stored twice: {value} at {other:?} and {place:?}"));
            }
        }
    }
    places
}

fn check_fates(sent: &[Sent], places: &BTreeMap<&str, Place>, faults: &mut Vec<String>) {
    let mut strangers = places.clone();
    for one in sent {
        let found = strangers.remove(one.value.as_str());
        match &one.fate {
            Fate::Acknowledged(told) if found != Some(*told) => {
                faults.push(format!("lost: {one:?}, it is at {found:?}"));
            }
            Fate::Refused if found.is_some() => {
                faults.push(format!("refused, and yet stored: {one:?} at {found:?}"));
            }
            Fate::Acknowledged(_) | Fate::Refused | Fate::Unknown => {}
        }
    }
    for (value, place) in strangers {
        faults.push(format!("nobody sent {value} at {place:?}"));
    }
}

/// A producer's records of one partition stand in the order in which it sent them, but for those that it gave
/// up: they may arrive after the next.
fn check_order(sent: &[Sent], places: &BTreeMap<&str, Place>, faults: &mut Vec<String>) {
    let mut newest: BTreeMap<(u64, u32), u64> = BTreeMap::new();
    for one in sent {
        let found = places.get(one.value.as_str());
        let Some((partition, offset)) = found.filter(|_| one.fate != Fate::Unknown) else {
            continue;
        };
        let before = newest.insert((one.producer, *partition), *offset);
        if before.is_some_and(|before| before > *offset) {
            faults.push(format!(
                "out of order: {one:?} at {offset} after {before:?}"
            ));
        }
    }
}

/// What was acknowledged before something else was sent to the partition comes before it.
fn check_real_time(sent: &[Sent], faults: &mut Vec<String>) {
    let mut partitions: BTreeMap<u32, Vec<(u64, &Sent)>> = BTreeMap::new();
    for one in sent {
        if let Fate::Acknowledged((partition, offset)) = one.fate {
            partitions.entry(partition).or_default().push((offset, one));
        }
    }
    for placed in partitions.values_mut() {
        placed.sort_by_key(|(offset, _)| *offset);
        let mut latest = 0;
        for (_, one) in placed {
            if one.ended < latest {
                faults.push(format!("{one:?} stands after what was sent later"));
            }
            latest = latest.max(one.began);
        }
    }
}

/// A consumer read every record from the very first to its last, as the log has them.
fn check_read(read: &Read, log: &BTreeMap<u32, Vec<String>>, faults: &mut Vec<String>) {
    let Read {
        consumer,
        partition,
        records,
    } = read;
    let held = log.get(partition).map_or(&[][..], Vec::as_slice);
    let mut due = 0;
    for (offset, value) in records {
        let at = usize::try_from(*offset).unwrap_or(usize::MAX);
        if *offset != due {
            let what = format!("read {offset} of {partition} where {due} was due");
            faults.push(format!("{consumer} {what}"));
        } else if held.get(at) != Some(value) {
            let what = format!("read {value} at {offset} of {partition}, there is");
            faults.push(format!("{consumer} {what} {:?}", held.get(at)));
        }
        due = *offset + 1;
    }
}

#[cfg(test)]
mod tests;
