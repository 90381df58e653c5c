//! Integration and end-to-end tests: each starts the real program, talks to it over real sockets and
//! judges what a user would see. One file per promise.

mod bad_frames;
mod bad_requests;
mod bench;
mod cli;
mod cluster;
mod cluster_adopt;
mod cluster_changes;
mod cluster_copies;
mod cluster_drain;
mod cluster_moves;
mod cluster_operated;
mod cluster_orphans;
mod cluster_replication;
mod cluster_restarts;
mod cluster_rot;
mod cold_readers;
mod deploy;
mod disk;
mod flights;
mod full;
mod kill;
mod log_files;
mod memory;
mod metrics;
mod openapi;
mod operators;
mod operators_page;
mod page;
mod pages;
mod restart;
mod sc;
mod shutdown;
mod topics;
mod up;
