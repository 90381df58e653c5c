//! The storage node: shards over the log, behind the data plane.
