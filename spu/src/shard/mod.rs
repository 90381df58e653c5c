//! Shards: each owns many replicas, with one task, one mailbox and one interpreter of effects.
//!
//! Others hold a [`PartitionHandle`]: appends go into the mailbox, reads go to the log directly,
//! bounded by what the shard published. Only the shard task steps a machine.

mod completions;
mod directory;
mod effects;
mod handle;
mod hosted;
mod reader;
mod replies;
mod rota;
mod task;

pub(crate) use completions::{Completions, Listener};
pub(crate) use directory::Directory;
pub(crate) use handle::{Message, PartitionHandle, ShardHandle, Uptime};
pub(crate) use hosted::{Hosted, Retention};
pub(crate) use reader::{Reader, Service};
pub(crate) use task::{Shard, ShardParts};
