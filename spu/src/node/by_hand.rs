//! The node of a simulation: no thread of its own, and whatever file system it is given.
//!
//! Programs open a node by [`Node::open`]. Invariant: nothing else tells the two apart.

use std::sync::Arc;

use tidegate_log::{Log, LogConfig, Vfs};

use super::{Node, NodeError};
use crate::config::SpuConfig;

impl Node {
    /// Opens a node whose log has no threads: whoever opened it runs its rounds and the writer's steps, by
    /// the second. `size` changes how large the log's files and caches are.
    pub fn open_by_hand(
        vfs: Arc<dyn Vfs>,
        config: SpuConfig,
        size: impl FnOnce(LogConfig) -> LogConfig,
    ) -> Result<(Self, Log), NodeError> {
        let log = size(config.log());
        let node = Self::open_with(vfs, config, log)?;
        let log = node.log.clone();
        let by_hand = Self {
            has_threads: false,
            ..node
        };
        Ok((by_hand, log))
    }

    /// Opens a node over any file system.
    pub(super) fn open_on(vfs: Arc<dyn Vfs>, config: SpuConfig) -> Result<Self, NodeError> {
        let log = config.log();
        Self::open_with(vfs, config, log)
    }

    pub(super) fn start_threads(&self) -> Result<(), NodeError> {
        if self.has_threads {
            self.log.start_threads()?;
        }
        Ok(())
    }
}
