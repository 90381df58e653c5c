//! The check that every metadata store makes before it commits, on a model in memory.
//!
//! For stores without a database and for simulations: the same versions, names and guards decide.

use super::Model;
use crate::change::{Change, Guard, Kind};
use crate::rule::{Rule, holds};

impl Model {
    /// True when these changes may be made now: each row is at the version that its change expects, a new
    /// topic's name is free, and each guarded row is at its version.
    #[must_use]
    pub fn accepts(&self, changes: &[Change], guards: &[Guard]) -> bool {
        changes.iter().all(|change| self.fits(change))
            && guards.iter().all(|guard| {
                let found = self.version_of(guard.kind, &guard.row_key);
                found == Some(guard.version)
            })
    }

    fn fits(&self, change: &Change) -> bool {
        let found = self.version_of(change.kind(), &change.row_key());
        if let Change::PutTopic(row) = change {
            let other = self.topics.get(&row.name);
            if other.is_some_and(|other| other.row.id != row.id) {
                return false;
            }
        }
        holds(
            Rule::RowVersion,
            found.unwrap_or(0) == change.expected_version(),
        )
    }

    fn version_of(&self, kind: Kind, row_key: &str) -> Option<u64> {
        match kind {
            Kind::Spu => self.spus.get(&row_key.parse().ok()?).map(|row| row.version),
            Kind::SpuGroup => self.spu_groups.get(row_key).map(|row| row.version),
            Kind::Topic => {
                let topic = self.topic_by_id(row_key.parse().ok()?)?;
                Some(topic.row.version)
            }
            Kind::Partition => {
                let (topic, number) = row_key.split_once('/')?;
                let topic = self.topic_by_id(topic.parse().ok()?)?;
                let number: usize = number.parse().ok()?;
                topic.partitions.get(number).map(|row| row.version)
            }
            Kind::Operation => {
                let row = self.operations.get(&row_key.parse().ok()?)?;
                Some(row.version)
            }
        }
    }
}
