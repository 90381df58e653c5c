//! Who a data directory is: its storage id, the last registration it served under, and whether it
//! was left in order.
//!
//! The clean marker is taken away, durably, before anything else in the directory changes: a
//! directory that says clean is clean.

use tidegate_proto::id::{AttemptId, Incarnation, StorageId};
use uuid::Uuid;

use crate::durable;
use crate::error::{DiskError, OpenError};
use crate::layout;
use crate::scalar::{Put as _, Reader, seal, unseal};
use crate::vfs::Place;

const MAGIC: [u8; 4] = *b"TGID";
/// Files of older formats are read: 1 names no boot, 2 no attempts.
const FORMAT: u32 = 3;

/// What the identity file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) storage_id: StorageId,
    pub(crate) last_incarnation: Option<Incarnation>,
    /// That the directory was closed in order.
    pub(crate) clean: Option<Clean>,
    /// The run of the system in which it was last taken into service ([`crate::Vfs::boot_id`]): while
    /// that goes on, what was written and not synced is still there.
    pub(crate) boot: Option<Uuid>,
    /// The attempt to be registered that is being made, or that ended before its answer was written down.
    pub(crate) attempt: Option<AttemptId>,
    /// The one that `last_incarnation` was granted to.
    pub(crate) granted: Option<AttemptId>,
}

/// The marker of an orderly close.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Clean {
    /// The last registration; none while a loss of the system's memory has not been told since.
    pub(crate) incarnation: Option<Incarnation>,
    /// The checkpoint that was the last word.
    pub(crate) checkpoint: u64,
}

impl Identity {
    /// Reads the file; `None` in a directory that has none.
    pub(crate) fn load(place: &Place) -> Result<Option<Self>, OpenError> {
        let path = place.path(layout::IDENTITY);
        let Some(bytes) = durable::read_whole(&*place.vfs, &path)? else {
            return Ok(None);
        };
        let body = unseal(MAGIC, &bytes).map_err(|what| OpenError::corrupt(&path, what))?;
        Self::decode(body)
            .map(Some)
            .ok_or_else(|| OpenError::corrupt(&path, "it is of another format version"))
    }

    pub(crate) fn save(&self, place: &Place) -> Result<(), DiskError> {
        let sealed = seal(MAGIC, &self.encode());
        durable::replace(&*place.vfs, &place.root, layout::IDENTITY, &sealed)
    }

    fn encode(&self) -> Vec<u8> {
        let mut body = Vec::with_capacity(64);
        body.put_u32(FORMAT);
        body.put_uuid(self.storage_id.0);
        body.put_optional_u64(self.last_incarnation.map(|incarnation| incarnation.0));
        body.put_optional_u64(self.clean.map(|clean| clean.checkpoint));
        let clean_incarnation = self.clean.and_then(|clean| clean.incarnation);
        body.put_optional_u64(clean_incarnation.map(|incarnation| incarnation.0));
        body.put_optional_uuid(self.boot);
        body.put_optional_uuid(self.attempt.map(|attempt| attempt.0));
        body.put_optional_uuid(self.granted.map(|granted| granted.0));
        body
    }

    fn decode(body: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(body);
        let format = reader.u32()?;
        if !(1..=FORMAT).contains(&format) {
            return None;
        }
        let storage_id = StorageId(reader.uuid()?);
        let last_incarnation = reader.optional_u64()?.map(Incarnation);
        let checkpoint = reader.optional_u64()?;
        let incarnation = reader.optional_u64()?.map(Incarnation);
        let clean = checkpoint.map(|checkpoint| Clean {
            incarnation,
            checkpoint,
        });
        let mut uuid_since = |since: u32| {
            if format < since {
                Some(None)
            } else {
                reader.optional_uuid()
            }
        };
        let boot = uuid_since(2)?;
        let attempt = uuid_since(3)?.map(AttemptId);
        let granted = uuid_since(3)?.map(AttemptId);
        reader.is_empty().then_some(Self {
            storage_id,
            last_incarnation,
            clean,
            boot,
            attempt,
            granted,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_is_read_back_as_it_was_written() {
        for clean in [
            None,
            Some(Clean {
                incarnation: Some(Incarnation(4)),
                checkpoint: 9,
            }),
        ] {
            let identity = Identity {
                storage_id: StorageId(Uuid::from_u128(3)),
                last_incarnation: Some(Incarnation(5)),
                clean,
                boot: Some(Uuid::from_u128(6)),
                attempt: clean.map(|_| AttemptId(Uuid::from_u128(7))),
                granted: Some(AttemptId(Uuid::from_u128(8))),
            };
            assert_eq!(Identity::decode(&identity.encode()), Some(identity));
        }
    }

    #[test]
    fn an_identity_of_the_first_format_is_read_and_names_no_boot() {
        let mut body = Vec::new();
        body.put_u32(1);
        body.put_uuid(Uuid::from_u128(3));
        body.put_optional_u64(Some(5));
        body.put_optional_u64(None);
        body.put_optional_u64(None);
        let identity = Identity::decode(&body).unwrap();
        assert_eq!(identity.last_incarnation, Some(Incarnation(5)));
        assert_eq!((identity.clean, identity.boot), (None, None));
        assert_eq!((identity.attempt, identity.granted), (None, None));
        body.push(0);
        assert_eq!(Identity::decode(&body), None);
    }
}
