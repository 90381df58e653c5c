//! Makes a new data directory, the identity last, so that one that has an identity is complete.

use tidegate_proto::id::{Incarnation, StorageId};
use uuid::Uuid;

use crate::checkpoint::{Checkpoint, JournalPosition};
use crate::config::LogConfig;
use crate::durable;
use crate::error::{Context as _, DiskError, OpenError};
use crate::identity::Identity;
use crate::layout;
use crate::vfs::Place;

/// The identity; in a new directory, makes everything, the identity last: a directory that has one
/// is complete.
pub(super) fn load_or_make(root: &Place, config: &LogConfig) -> Result<Identity, OpenError> {
    if let Some(identity) = Identity::load(root)? {
        return Ok(identity);
    }
    if let Some(checkpoint) = Checkpoint::load(root)?
        && checkpoint.generation > 0
    {
        let path = root.path(layout::IDENTITY);
        return Err(OpenError::corrupt(
            &path,
            "it is missing, though there is a checkpoint",
        ));
    }
    for name in [
        layout::JOURNAL,
        layout::REPLICAS,
        layout::TRASH,
        layout::QUARANTINE,
    ] {
        durable::create_dir(&*root.vfs, &root.root, name)?;
    }
    let storage_id = config
        .storage_id_if_new
        .unwrap_or_else(|| StorageId(Uuid::new_v4()));
    let position = JournalPosition {
        file_seq: 1,
        at: 0,
        round_seq: 1,
    };
    Checkpoint {
        storage_id,
        generation: 0,
        position,
        replicas: Vec::new(),
    }
    .save(root)?;
    let identity = Identity {
        storage_id,
        last_incarnation: None::<Incarnation>,
        clean: None,
        boot: root.vfs.boot_id(),
        attempt: None,
        granted: None,
    };
    identity.save(root)?;
    sync_names(root)?;
    Ok(identity)
}

/// Makes the names in the directory durable, and its own.
pub(super) fn sync_names(root: &Place) -> Result<(), DiskError> {
    let synced = root.vfs.sync_dir(&root.root);
    synced.during("sync directory", &root.root)?;
    if let Some(parent) = root
        .root
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
    {
        // Not all parents may be opened; the name of the root is then the operator's care.
        let _ = root.vfs.sync_dir(parent);
    }
    Ok(())
}
