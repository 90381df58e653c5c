//! The limit on the disk side: one thread, one preallocated file, one fdatasync a round.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use crate::now;

const FILE_BYTES: u64 = 64 << 20;

/// Writes `batch` `a_round` times, syncs, and again, over a zero-filled file in a circle.
pub(crate) fn raw_bytes_per_second(
    folder: &Path,
    batch: &[u8],
    a_round: usize,
    length: Duration,
) -> Result<f64> {
    let path = folder.join("raw");
    let file = File::create(&path)?;
    for at in 0..FILE_BYTES >> 20 {
        file.write_all_at(&[0; 1 << 20], at << 20)?;
    }
    file.sync_all()?;
    let start = now();
    let (mut at, mut written) = (0, 0);
    while start.elapsed() < length {
        for _ in 0..a_round {
            if at + batch.len() as u64 > FILE_BYTES {
                at = 0;
            }
            file.write_all_at(batch, at)?;
            at += batch.len() as u64;
            written += batch.len();
        }
        file.sync_data()?;
    }
    let rate = written as f64 / start.elapsed().as_secs_f64();
    drop(file);
    std::fs::remove_file(path)?;
    Ok(rate)
}
