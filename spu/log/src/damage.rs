//! What is kept of damage to one replica's files: `damage` in its directory, which says what was met
//! first and that the replica is not intact.
//!
//! A read that fails, or bytes that are not what was written, are the trouble of one replica: it goes on
//! beside what cannot be read, and all others go on as if nothing had happened. Invariant: the note is
//! durable before anything that shows the damage is taken away, and stays as long as the replica.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tidegate_proto::position::Offset;

use crate::durable;
use crate::error::DiskError;
use crate::layout;
use crate::note;
use crate::vfs::Vfs;

/// The first damage that was met in a replica's files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileDamage {
    /// The file.
    pub path: PathBuf,
    /// Where in it, in bytes.
    pub position: u64,
    /// First offset that may be lost.
    pub from: Offset,
    /// The next one that is not, as far as is known; `from` when none is known to be lost.
    pub until: Offset,
    /// What is wrong.
    pub what: String,
}

/// Damage by the number of the open replica: few have any.
#[derive(Debug, Default)]
pub(crate) struct Damages {
    known: Mutex<BTreeMap<u64, FileDamage>>,
}

impl Damages {
    pub(crate) fn of(&self, replica: u64) -> Option<FileDamage> {
        self.lock().get(&replica).cloned()
    }

    pub(crate) fn note(&self, replica: u64, damage: FileDamage) {
        self.lock().insert(replica, damage);
    }

    pub(crate) fn forget(&self, replica: u64) {
        self.lock().remove(&replica);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, FileDamage>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl FileDamage {
    /// What the directory of a replica says. What cannot be read of the note itself leaves everything in
    /// doubt.
    pub(crate) fn load(vfs: &dyn Vfs, dir: &Path) -> Option<Self> {
        let path = dir.join(layout::DAMAGE);
        match durable::read_whole(vfs, &path) {
            Ok(found) => found.map(|bytes| Self::parse(&String::from_utf8_lossy(&bytes))),
            Err(error) => Some(Self {
                path,
                position: 0,
                from: Offset::ZERO,
                until: Offset::new(u64::MAX),
                what: error.to_string(),
            }),
        }
    }

    pub(crate) fn save(&self, vfs: &dyn Vfs, dir: &Path) -> Result<(), DiskError> {
        durable::replace(vfs, dir, layout::DAMAGE, self.text().as_bytes())
    }

    fn text(&self) -> String {
        format!(
            "This copy is not intact.\nfile: {}\nposition: {}\nfrom: {}\nuntil: {}\nwhat: {}\n",
            note::line(&self.path.display().to_string()),
            self.position,
            self.from,
            self.until,
            note::line(&self.what)
        )
    }

    fn parse(text: &str) -> Self {
        let number = |name| note::field(text, name).and_then(|number| number.parse().ok());
        Self {
            path: PathBuf::from(note::field(text, "file").unwrap_or_default()),
            position: number("position").unwrap_or(0),
            from: Offset::new(number("from").unwrap_or(0)),
            until: Offset::new(number("until").unwrap_or(u64::MAX)),
            what: note::field(text, "what").unwrap_or("unknown").to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damage_is_read_back_whatever_its_words() {
        let damage = FileDamage {
            path: PathBuf::from("/data/replicas/a/00000000000000000003.log"),
            position: 4096,
            from: Offset::new(7),
            until: Offset::new(9),
            what: "read\nfrom: 0".to_owned(),
        };
        let what = "read from: 0".to_owned();
        assert_eq!(
            FileDamage::parse(&damage.text()),
            FileDamage { what, ..damage }
        );
    }

    #[test]
    fn a_note_without_a_word_in_it_leaves_everything_in_doubt() {
        let damage = FileDamage::parse("");
        assert_eq!(damage.from, Offset::ZERO);
        assert_eq!(damage.until, Offset::new(u64::MAX));
    }
}
