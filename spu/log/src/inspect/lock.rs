//! Keeps a server off a directory while it is looked at, and refuses when one runs on it.
//!
//! Looking makes nothing, not even the lock's file: a directory without one is a copy, or damaged,
//! and nobody runs on it.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use thiserror::Error;

use crate::error::{DiskError, OpenError};
use crate::layout;
use crate::vfs::{Place, VfsFile};

/// Why a directory cannot be looked at, or mended.
#[derive(Debug, Error)]
pub enum InspectError {
    /// A server runs on it, or somebody mends it.
    #[error("{} is in use by another process", dir.display())]
    InUse {
        /// The directory.
        dir: PathBuf,
    },
    /// There is no such directory, or it holds nothing of a log.
    #[error("{} is no data directory of a log", dir.display())]
    NotALog {
        /// The directory.
        dir: PathBuf,
    },
    /// The file system's error.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// A file that is needed to go on cannot be read.
    #[error(transparent)]
    Damaged(#[from] OpenError),
}

impl From<DiskError> for InspectError {
    fn from(error: DiskError) -> Self {
        Self::Damaged(error.into())
    }
}

/// The lock of a directory; `None` where there is nothing to lock.
pub(super) type Lock = Option<Arc<dyn VfsFile>>;

/// Takes the lock together with others who look.
pub(super) fn shared(root: &Place) -> Result<Lock, InspectError> {
    take(root, |file| file.try_lock_shared())
}

/// Takes the lock alone, to change something.
pub(super) fn alone(root: &Place) -> Result<Lock, InspectError> {
    take(root, |file| file.try_lock())
}

fn take(
    root: &Place,
    lock: impl FnOnce(&dyn VfsFile) -> io::Result<bool>,
) -> Result<Lock, InspectError> {
    let dir = root.root.to_path_buf();
    let names = root.vfs.list_dir(&root.root).map_err(|source| {
        if source.kind() == io::ErrorKind::NotFound {
            InspectError::NotALog { dir: dir.clone() }
        } else {
            InspectError::Io {
                path: dir.clone(),
                source,
            }
        }
    })?;
    let has = |name: &str| names.iter().any(|item| item.name == name);
    let parts = [
        layout::IDENTITY,
        layout::CHECKPOINT,
        layout::REPLICAS,
        layout::JOURNAL,
    ];
    if !parts.into_iter().any(has) {
        return Err(InspectError::NotALog { dir });
    }
    if !has(layout::LOCK) {
        return Ok(None);
    }
    let path = root.path(layout::LOCK);
    let fault = |source| InspectError::Io {
        path: path.clone(),
        source,
    };
    let file = root.vfs.open_read(&path).map_err(fault)?;
    if lock(&*file).map_err(fault)? {
        Ok(Some(file))
    } else {
        Err(InspectError::InUse { dir })
    }
}
