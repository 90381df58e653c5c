//! What is kept of a disk that failed: `failed`, which keeps the directory from being opened, and
//! `accepted`, which an operator puts in its place.
//!
//! After a failed write or sync nobody knows what of it is on the disk: what reads well now may be
//! the kernel's memory only. So a directory that failed is not opened again by itself, whatever the
//! disk does then. Invariant: `accepted` lasts before `failed` goes, and stays until a checkpoint
//! calls no replica of that time intact.

use std::io;
use std::path::Path;
use std::sync::Arc;

use tidegate_proto::position::{Offset, ReplicaKey};

use crate::checkpoint::{Checkpoint, ReplicaState};
use crate::durable;
use crate::error::{Context as _, DiskError, DiskFailure, LogDead, OpenError};
use crate::layout;
use crate::note;
use crate::vfs::{Place, Vfs};

impl DiskFailure {
    pub(crate) fn new(dead: &LogDead, when_ms: i64) -> Self {
        Self {
            when_ms,
            operation: dead.operation.clone(),
            message: dead.message.clone(),
        }
    }

    /// What is kept of a failure, if there was one and nobody accepted it.
    pub(crate) fn load(place: &Place) -> Result<Option<Self>, OpenError> {
        let found = durable::read_whole(&*place.vfs, &place.path(layout::FAILED))?;
        // Whatever is in it: that it is there is what counts.
        Ok(found.map(|bytes| Self::parse(&String::from_utf8_lossy(&bytes))))
    }

    /// Keeps it. On a disk that has just failed this may not go well either.
    pub(crate) fn save(&self, place: &Place) -> Result<(), DiskError> {
        // In place, not by a second file and a name: half of it says as much, and every operation is
        // one more that may fail.
        let path = place.path(layout::FAILED);
        let file = place.vfs.create(&path).during("create", &path)?;
        durable::write_all_at(&*file, &[self.text().as_bytes()], 0).during("write", &path)?;
        file.sync_all().during("sync", &path)?;
        let root = &*place.root;
        place.vfs.sync_dir(root).during("sync directory", root)
    }

    fn text(&self) -> String {
        format!(
            "This disk failed. Tidegate does not open the directory until an operator accepts it.\n\
             when_ms: {}\noperation: {}\nerror: {}\n",
            self.when_ms,
            note::line(&self.operation),
            note::line(&self.message)
        )
    }

    fn parse(text: &str) -> Self {
        let unknown = || "unknown".to_owned();
        Self {
            when_ms: note::field(text, "when_ms")
                .and_then(|ms| ms.parse().ok())
                .unwrap_or(0),
            operation: note::field(text, "operation").map_or_else(unknown, str::to_owned),
            message: note::field(text, "error").map_or_else(unknown, str::to_owned),
        }
    }
}

/// A failure that was accepted, and what nobody vouches for since.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcceptedFailure {
    /// What was kept of it.
    pub failure: DiskFailure,
    /// Replicas of the last checkpoint, each with where it began and ended then.
    pub replicas: Vec<(ReplicaKey, Offset, Offset)>,
}

/// Takes a directory whose disk failed for usable again, on an operator's word; `None` when there is
/// nothing to accept. What the directory holds is reported as not intact from then on. Blocks; nobody
/// else may have the directory.
pub fn accept_failure(vfs: Arc<dyn Vfs>, dir: &Path) -> Result<Option<AcceptedFailure>, OpenError> {
    let place = Place::new(vfs, dir);
    let lock_path = place.path(layout::LOCK);
    let fault = |source| OpenError::io(&lock_path, source);
    let lock = match place.vfs.open(&lock_path) {
        // Never a data directory: nothing is made here.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(fault)?,
    };
    if !lock.try_lock().map_err(fault)? {
        let dir = dir.to_path_buf();
        return Err(OpenError::InUse { dir });
    }
    let Some(failure) = DiskFailure::load(&place)? else {
        return Ok(None);
    };
    let checkpoint = Checkpoint::load(&place)?;
    let replicas = checkpoint.map_or_else(Vec::new, |checkpoint| checkpoint.replicas);
    let (vfs, root) = (&*place.vfs, &*place.root);
    durable::replace(vfs, root, layout::ACCEPTED, failure.text().as_bytes())?;
    // Kept: it is the directory's history.
    let quarantine = place.path(layout::QUARANTINE);
    durable::create_dir(vfs, root, layout::QUARANTINE)?;
    let failed = place.path(layout::FAILED);
    durable::move_aside(vfs, &failed, &quarantine, layout::FAILED)?;
    vfs.sync_dir(root).during("sync directory", root)?;
    let ends = |state: &ReplicaState| (state.key, state.log_start, state.end);
    let replicas = replicas.iter().map(ends).collect();
    Ok(Some(AcceptedFailure { failure, replicas }))
}

/// Keeps a failure of the disk that ended an opening, as far as the disk lets it.
pub(crate) fn keep(place: &Place, error: &OpenError) {
    let OpenError::Broke {
        operation,
        path,
        source,
    } = error
    else {
        return;
    };
    let failure = DiskFailure {
        when_ms: 0,
        operation: format!("{operation} {}", path.display()),
        message: source.to_string(),
    };
    if let Err(error) = failure.save(place) {
        tracing::warn!(%error, "that the disk failed cannot be written on it");
    }
}

/// Whether an operator accepted a failure since the last opening.
pub(crate) fn is_accepted(place: &Place) -> Result<bool, OpenError> {
    let path = place.path(layout::ACCEPTED);
    let found = place.vfs.exists(&path);
    found.map_err(|source| OpenError::io(&path, source))
}

/// The acceptance has been acted upon, durably.
pub(crate) fn forget_accepted(place: &Place) -> Result<(), DiskError> {
    let path = place.path(layout::ACCEPTED);
    place.vfs.remove_file(&path).during("remove", &path)?;
    let root = &*place.root;
    place.vfs.sync_dir(root).during("sync directory", root)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_read_back_whatever_its_words() {
        let failure = DiskFailure {
            when_ms: 7,
            operation: "sync /data\nerror: none".to_owned(),
            message: "Input/output error (os error 5)".to_owned(),
        };
        let found = DiskFailure::parse(&failure.text());
        assert_eq!(found.operation, "sync /data error: none");
        assert_eq!((found.when_ms, found.message), (7, failure.message));
    }

    #[test]
    fn a_marker_without_a_word_in_it_is_one() {
        let found = DiskFailure::parse("");
        assert_eq!((found.when_ms, &*found.operation), (0, "unknown"));
    }
}
