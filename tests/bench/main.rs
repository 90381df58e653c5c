//! Benchmarks with ratios: each figure of Tidegate is taken in turn with the same figure of a limit (a
//! bare handler, a raw write loop) in one run, on one machine, with one load tool.
//!
//! `cargo xtask bench` builds the program that ships and runs this; `--quick` is a smoke of every part,
//! `--seconds` shortens or lengthens each side of a pair.
//! Timings are reported and never asserted.

mod backlog;
mod bare;
mod batch;
mod cold_readers;
mod control;
mod crowds;
mod fanout;
mod hop;
mod latency;
mod load;
mod many;
mod partitions;
mod raw_log;
mod replication;
mod report;
mod single;
mod sockets;
mod start;

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use report::Report;

/// How long and how often to measure.
#[derive(Debug, Clone, Copy)]
struct Effort {
    /// One side of one pair.
    side: Duration,
    pairs: usize,
    /// The same where the disk must reach a steady state: journal files used again, segments deleted.
    steady_side: Duration,
    steady_pairs: usize,
    /// Bytes that a fan-out sends to each socket.
    fanout_bytes: usize,
    /// Bytes that one socket reads from the beginning of a log.
    backlog_bytes: usize,
    starts: usize,
    /// Partitions that are written to in turn.
    active: u32,
    /// Partitions that are there and do nothing.
    idle: u32,
    /// Partitions of a cluster whose controller and gateway are started.
    entered: u32,
    /// How long they do nothing before their memory is looked at: a checkpoint comes within 30 seconds.
    rest: Duration,
    /// Journal that a start after a kill has to fold.
    folded_bytes: u64,
    /// Idle sockets whose memory is measured.
    sockets: usize,
    /// Idle sockets that are open at once.
    sockets_open: usize,
    /// What a follower has to catch up with.
    behind_bytes: usize,
    cold_readers: usize,
    /// What a cold reader has to catch up with.
    cold_bytes: usize,
}

const FULL: Effort = Effort {
    side: Duration::from_secs(5),
    pairs: 5,
    steady_side: Duration::from_secs(60),
    steady_pairs: 1,
    fanout_bytes: 64 << 20,
    backlog_bytes: 1 << 30,
    starts: 11,
    active: 1_000,
    idle: 10_000,
    entered: 100_000,
    rest: Duration::from_secs(40),
    folded_bytes: 1 << 30,
    sockets: 10_000,
    sockets_open: 20_000,
    behind_bytes: 512 << 20,
    cold_readers: 1_000,
    cold_bytes: 256 << 20,
};
const QUICK: Effort = Effort {
    side: Duration::from_millis(300),
    pairs: 1,
    steady_side: Duration::from_millis(300),
    steady_pairs: 1,
    fanout_bytes: 1 << 20,
    backlog_bytes: 8 << 20,
    starts: 2,
    active: 40,
    idle: 200,
    entered: 400,
    rest: Duration::from_secs(1),
    folded_bytes: 8 << 20,
    sockets: 300,
    sockets_open: 2_000,
    behind_bytes: 4 << 20,
    cold_readers: 20,
    cold_bytes: 4 << 20,
};

#[tokio::main]
async fn main() -> Result<()> {
    let mut effort = FULL;
    let mut seconds: Option<u64> = None;
    let mut only = None;
    let mut write = None;
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "bare-server" => return bare::serve().await,
            "hop" => return hop::play(arguments.next(), arguments.next()).await,
            "crowd" => return crowds::join(arguments).await,
            "--quick" => effort = QUICK,
            "--seconds" => seconds = arguments.next().map(|text| text.parse()).transpose()?,
            "--only" => only = arguments.next(),
            "--write" => write = arguments.next(),
            other => bail!(
                "unknown argument {other}: [--quick] [--seconds N] [--only single|batch|latency|fanout|backlog|start|partitions|many|sockets|cold-readers|hop|control|replication] [--write FILE]"
            ),
        }
    }
    if let Some(length) = seconds.map(Duration::from_secs) {
        (effort.side, effort.steady_side) = (length, length);
    }
    let wanted = |name: &str| only.as_deref().is_none_or(|only| only == name);
    let mut report = Report::new();
    if wanted("start") {
        start::measure(effort, &mut report).await?;
    }
    if wanted("single") {
        single::measure(effort, &mut report).await?;
    }
    if wanted("batch") {
        batch::measure(effort, &mut report).await?;
    }
    if wanted("latency") {
        latency::measure(effort, &mut report).await?;
    }
    if wanted("fanout") {
        fanout::measure(effort, &mut report).await?;
    }
    if wanted("partitions") {
        partitions::measure(effort, &mut report).await?;
    }
    if wanted("many") {
        many::measure(effort, &mut report).await?;
    }
    if wanted("backlog") {
        backlog::measure(effort, &mut report).await?;
    }
    if wanted("sockets") {
        sockets::measure(effort, &mut report).await?;
    }
    if wanted("cold-readers") {
        cold_readers::measure(effort, &mut report).await?;
    }
    if wanted("hop") {
        hop::measure(effort, &mut report).await?;
    }
    if wanted("control") {
        control::measure(effort, &mut report).await?;
    }
    if wanted("replication") {
        replication::measure(effort, &mut report).await?;
    }
    report.print();
    if let Some(file) = write {
        report.write_into(&file)?;
    }
    Ok(())
}

/// The one clock of the benchmarks.
#[expect(clippy::disallowed_methods, reason = "benchmarks measure time")]
fn now() -> Instant {
    Instant::now()
}
