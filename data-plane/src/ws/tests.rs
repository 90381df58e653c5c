//! Real sockets over loopback, a real client, partitions in memory.
//!
//! The gateway includes this file too, over the same partitions behind a storage unit's door, as it does with
//! the suites of the routes: paths are spelled out, and everything of the crate comes from `door`.

#[path = "tests/away.rs"]
mod away;
#[path = "tests/batches.rs"]
mod batches;
#[path = "tests/consume.rs"]
mod consume;
#[path = "tests/over_http_2.rs"]
mod over_http_2;
#[path = "tests/refuse.rs"]
mod refuse;
#[path = "tests/room.rs"]
mod room;
#[path = "tests/server.rs"]
mod server;
