//! Real sockets over loopback, a real client, partitions in memory.

mod batches;
mod consume;
mod over_http_2;
mod refuse;
mod room;
mod server;
