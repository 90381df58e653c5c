//! A topic with its partitions, and the form in which every process sees it.
//!
//! Partition rows are shared one by one, so that a change of one copies pointers and one row. The public
//! form is made when it is asked for and kept until the topic changes.

use std::sync::{Arc, OnceLock};

use tidegate_proto::control::TopicSpec;

use crate::rows::{PartitionRow, TopicRow};

/// A topic with its partitions.
#[derive(Debug, Clone)]
pub struct Topic {
    pub row: TopicRow,
    /// In order of their number, without gaps.
    pub partitions: Vec<Arc<PartitionRow>>,
    spec: OnceLock<Arc<TopicSpec>>,
}

impl PartialEq for Topic {
    fn eq(&self, other: &Self) -> bool {
        self.row == other.row && self.partitions == other.partitions
    }
}

impl Topic {
    pub(super) const fn new(row: TopicRow, partitions: Vec<Arc<PartitionRow>>) -> Self {
        Self {
            row,
            partitions,
            spec: OnceLock::new(),
        }
    }

    /// The form in which every process sees it.
    #[must_use]
    pub fn spec(&self) -> &Arc<TopicSpec> {
        self.spec
            .get_or_init(|| Arc::new(self.row.spec(&self.partitions)))
    }

    pub(super) fn set_row(&mut self, row: TopicRow) {
        self.row = row;
        self.spec = OnceLock::new();
    }

    pub(super) fn set_partition(&mut self, row: PartitionRow) {
        let at = row.partition.0 as usize;
        if at == self.partitions.len() {
            self.partitions.push(Arc::new(row));
        } else {
            self.partitions[at] = Arc::new(row);
        }
        self.spec = OnceLock::new();
    }
}
