//! What the real log has after a crash, against what it may have.
//!
//! Invariant: all replicas stand together at one moment, with the round that was under way or without it.

use tidegate_proto::batch::Batch;
use tidegate_proto::position::{Offset, ReplicaKey};

use crate::disk::{Entry, Image, Images};

/// What a crash may have left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Survives {
    /// The round under way is there or not.
    Maybe,
    /// It was written, and the power stayed on.
    Surely,
}

/// Whether that was found after a crash which may be found.
pub(crate) fn check_found(
    found: &Images,
    before: &Images,
    round: &[(ReplicaKey, Entry)],
    survives: Survives,
) -> Result<(), String> {
    let mut after = before.clone();
    for (key, entry) in round {
        if let Some(image) = after.get_mut(key) {
            image.apply(entry);
        }
    }
    let Err(with) = same(found, &after) else {
        return Ok(());
    };
    if survives == Survives::Surely {
        return Err(with);
    }
    same(found, before).map_err(|without| format!("{with}; {without}"))
}

/// Nothing was written of it in this membership.
fn is_blank(image: &Image) -> bool {
    image.log.is_empty() && image.meta.version == 0 && image.log_start == Offset::ZERO
}

fn same(found: &Images, wanted: &Images) -> Result<(), String> {
    for key in found.keys() {
        if !wanted.contains_key(key) {
            return Err(format!("{key} is there"));
        }
    }
    for (key, image) in wanted {
        let Some(other) = found.get(key) else {
            if is_blank(image) {
                continue; // It was about to be made.
            }
            return Err(format!("{key} is not there"));
        };
        let is_earlier = other.meta.replica_gen != image.meta.replica_gen;
        if is_earlier && is_blank(image) {
            continue; // It was about to be given up.
        }
        let what = if other.meta != image.meta {
            "metadata"
        } else if other.log_start != image.log_start {
            "start"
        } else if !same_batches(&other.log, image) {
            "batches"
        } else if other.snapshot != image.snapshot {
            "snapshot"
        } else if other.committed() < image.committed() {
            "high watermark"
        } else {
            continue;
        };
        let shape = |image: &Image| {
            let batches = image.log.iter();
            let places =
                batches.map(|batch| (batch.placement.base_offset, batch.placement.leader_epoch));
            let bounds = (image.log_start, image.end(), image.committed());
            (image.meta, bounds, as_of(image), places.collect::<Vec<_>>())
        };
        let (other, image) = (shape(other), shape(image));
        return Err(format!(
            "{key} has another {what}: {other:?} instead of {image:?}"
        ));
    }
    Ok(())
}

fn as_of(image: &Image) -> Option<Offset> {
    image.snapshot.as_ref().map(|(as_of, _)| *as_of)
}

/// Whether those are the batches of that image, from its start on.
pub(crate) fn same_batches(found: &[Batch], image: &Image) -> bool {
    let counts = |batch: &&Batch| {
        batch.next_offset() > image.log_start || batch.placement.base_offset >= image.log_start
    };
    let print = |batch: &Batch| (batch.placement, batch.client.crc());
    let found = found.iter().filter(counts).map(print);
    found.eq(image.log.iter().filter(counts).map(print))
}
