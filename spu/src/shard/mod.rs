//! Shards: each owns many replicas, with one seat, one inbox and one interpreter of effects.
//!
//! Others hold a [`PartitionHandle`]: appends are stepped by whoever brings them or whoever is at the
//! seat already, reads go to the log directly, bounded by what the shard published. Only who is at the
//! seat steps a machine.

mod directory;
mod effects;
mod handle;
mod hosted;
mod inbox;
mod message;
mod peers;
mod permit;
mod reader;
mod replies;
mod rota;
mod seat;
mod surveys;
mod task;
mod unsettled;

pub(crate) use directory::{Changes, Directory};
pub(crate) use handle::{PartitionHandle, ShardHandle};
pub(crate) use hosted::{Hosted, Retention};
pub(crate) use message::{Acked, AttachAnswered, AttachMessage, Message, Pushed, Uptime};
pub(crate) use peers::{FollowerQueue, NoPeers, Peers, Session, SessionEvent};
pub(crate) use reader::{Reader, Service};
pub(crate) use seat::{Listener, Seat};
pub(crate) use task::{Shard, ShardParts};
