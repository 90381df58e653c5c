//! Durable produce into one partition and into a thousand in turn, with the same tool, connections and
//! batches; and what it costs to sync a file for each partition, as a raw loop.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Result;
use tidegate_tests::server::Server;

use crate::batch::batch;
use crate::load::{in_turn, post};
use crate::report::Report;
use crate::{Effort, now};

const CONNECTIONS: usize = 16;
const BATCH_BYTES: usize = 16 * 1024;
const RECORD_BYTES: usize = 100;

pub(crate) async fn measure(effort: Effort, report: &mut Report) -> Result<()> {
    let server = Server::start_dev();
    let address = server.url().trim_start_matches("http://").to_owned();
    let (body, records) = batch(RECORD_BYTES, BATCH_BYTES)?;
    server.create_topic("one", 1).await;
    server.create_topic("many", effort.active).await;
    let requests = |topic: &str, partitions: u32| {
        let one = |number| {
            let path = format!("/v1/topics/{topic}/partitions/{number}/records");
            post(&address, &path, "application/vnd.tidegate.batch", &body)
        };
        Arc::new((0..partitions).map(one).collect::<Vec<_>>())
    };
    let (one, many) = (requests("one", 1), requests("many", effort.active));
    // The first records make segments: neither side is measured while it does.
    in_turn(&address, Arc::clone(&many), CONNECTIONS, effort.side).await?;
    let (mut rates, mut delays, mut peers) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..effort.pairs {
        let of_one = in_turn(&address, Arc::clone(&one), CONNECTIONS, effort.side).await?;
        let of_many = in_turn(&address, Arc::clone(&many), CONNECTIONS, effort.side).await?;
        let raw = file_per_partition(server.home(), &body, effort)?;
        rates.push((of_many.0 * records, of_one.0 * records));
        // The bound: three times as long as with one.
        delays.push((of_many.1, of_one.1 * 3.0));
        peers.push((of_many.0 * records, raw * records));
    }
    let active = effort.active;
    let setting = format!(
        "16 KiB batches of {records} records of {RECORD_BYTES} B, {CONNECTIONS} connections, fdatasync before 200; limit: one partition"
    );
    report.pairs(
        &format!("durable produce, {active} active partitions"),
        "records/s",
        &rates,
        &setting,
    );
    report.within(
        &format!("p99 of the same, {active} active partitions"),
        "ms",
        &delays,
        &format!("{setting}, three times its p99"),
    );
    let setting = format!(
        "as above; limit: {CONNECTIONS} threads that append such a batch to the partition's own file and fdatasync it, without a network"
    );
    report.pairs(
        &format!("{active} active partitions against a file and a sync for each"),
        "records/s",
        &peers,
        &setting,
    );
    Ok(())
}

/// What a log does that syncs a file for each partition: batches per second.
fn file_per_partition(folder: &Path, batch: &[u8], effort: Effort) -> Result<f64> {
    let folder = folder.join("raw-partitions");
    std::fs::create_dir(&folder)?;
    let open = |number: u32| File::create(folder.join(number.to_string()));
    let files = (0..effort.active)
        .map(open)
        .collect::<std::io::Result<Vec<File>>>()?;
    let written = AtomicU64::new(0);
    let start = now();
    std::thread::scope(|scope| {
        let writer = |number: usize| {
            let (files, written) = (&files, &written);
            move || append_in_turn(files, number, batch, (start, effort.side), written)
        };
        let threads: Vec<_> = (0..CONNECTIONS)
            .map(|number| scope.spawn(writer(number)))
            .collect();
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().unwrap_or(Ok(())))
    })?;
    let rate = written.load(Ordering::Relaxed) as f64 / start.elapsed().as_secs_f64();
    std::fs::remove_dir_all(folder)?;
    Ok(rate)
}

fn append_in_turn(
    files: &[File],
    first: usize,
    batch: &[u8],
    (start, length): (std::time::Instant, Duration),
    written: &AtomicU64,
) -> Result<()> {
    let turns = (0_u64..).flat_map(|lap| {
        let own = (first..files.len()).step_by(CONNECTIONS);
        own.map(move |number| (lap, number))
    });
    for (lap, number) in turns.take_while(|_| start.elapsed() < length) {
        files[number].write_all_at(batch, lap * batch.len() as u64)?;
        files[number].sync_data()?;
        written.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}
