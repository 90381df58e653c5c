//! Real sockets over loopback, a real client, partitions in memory.

mod batches;
mod consume;
mod refuse;
mod room;
mod server;
