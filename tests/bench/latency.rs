//! From a durable produce over HTTP to a WebSocket consumer at a steady thousand records a second;
//! against an fdatasync into a preallocated file at the same pace.
//!
//! Open loop: records are sent when they are due, whatever became of those before, and their time
//! counts from when they were due. One clock, one process. The bound is a median sync and half a
//! millisecond; of a topic that waits for no sync, what the other took in the same run.

use std::fs::File;
use std::io::Write;
use std::net::TcpStream as BlockingStream;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tidegate_tests::server::Server;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::load::{answer, open_socket, post};
use crate::report::Report;
use crate::{Effort, now};

const PERIOD: Duration = Duration::from_millis(1);
const CONNECTIONS: usize = 16;
const RECORD_BYTES: usize = 100;
/// What stands before the time in a record, and how many digits of microseconds follow.
const MARK: &[u8] = b"due=";
const DIGITS: usize = 16;
/// Half a millisecond for everything but the disk.
const ALLOWED_US: f64 = 500.0;

pub(crate) async fn measure(effort: Effort, report: &mut Report) -> Result<()> {
    let server = Server::start_dev();
    server.create_topic("latency", 1).await;
    let interval = r#"{"durability":"interval"}"#;
    server.create_topic_with("interval", 1, interval).await;
    let count = usize::try_from(effort.side.as_millis() / PERIOD.as_millis())?;
    let (mut halves, mut tails) = (Vec::new(), Vec::new());
    let (mut hasty_halves, mut hasty_tails) = (Vec::new(), Vec::new());
    for _ in 0..effort.pairs {
        let ours = end_to_end(&server, "latency", count).await?;
        let hasty = end_to_end(&server, "interval", count).await?;
        hasty_halves.push((quantile(&hasty, 0.5), quantile(&ours, 0.5)));
        hasty_tails.push((quantile(&hasty, 0.99), quantile(&ours, 0.99)));
        let folder = server.home().to_owned();
        let sync = tokio::task::spawn_blocking(move || syncs(&folder, count)).await??;
        halves.push((quantile(&ours, 0.5), quantile(&sync, 0.5) + ALLOWED_US));
        tails.push((quantile(&ours, 0.99), quantile(&sync, 0.99) + ALLOWED_US));
    }
    let setting = format!(
        "1,000 records/s of {RECORD_BYTES} B, open loop over {CONNECTIONS} connections, plain TCP, from when a record is due to its JSON frame at a WebSocket; bound: that quantile of fdatasync after 4 KiB into a preallocated file in the same run + 0.5 ms"
    );
    report.within("end to end, durable, p50", "us", &halves, &setting);
    report.within("end to end, durable, p99", "us", &tails, &setting);
    let setting = "the same to a topic with durability=interval, whose records wait for the journal's write and not for its sync; bound: that quantile of the durable topic in the same run";
    report.within("end to end, interval, p50", "us", &hasty_halves, setting);
    report.within("end to end, interval, p99", "us", &hasty_tails, setting);
    Ok(())
}

/// Microseconds of each record, sorted.
async fn end_to_end(server: &Server, topic: &'static str, count: usize) -> Result<Vec<f64>> {
    let address = server.url().trim_start_matches("http://").to_owned();
    let path = format!("/v1/topics/{topic}/ws?from=latest");
    let (consumer, _) = open_socket(&address, &path).await?;
    // What the server says at the start, it says at once.
    tokio::time::sleep(Duration::from_millis(50)).await;
    let mut senders = Vec::new();
    let mut answers = JoinSet::new();
    for number in 0..CONNECTIONS {
        let sender = BlockingStream::connect(&address)?;
        sender.set_nodelay(true)?;
        let receiver = sender.try_clone()?;
        receiver.set_nonblocking(true)?;
        let share = (number..count).step_by(CONNECTIONS).count();
        answers.spawn(read_answers(TcpStream::from_std(receiver)?, share));
        senders.push(sender);
    }
    let start = now();
    let mut reader = JoinSet::new();
    reader.spawn(read_frames(consumer, start, count));
    let path = format!("/v1/topics/{topic}/records");
    let way = (address, path);
    let sent = tokio::task::spawn_blocking(move || send_all(&senders, &way, start, count));
    sent.await??;
    while let Some(ended) = answers.join_next().await {
        ended??;
    }
    let times = tokio::time::timeout(Duration::from_secs(10), reader.join_next()).await;
    let times = times.context("records are missing at the consumer")?;
    let mut times = times.context("spawned above")???;
    times.sort_by(f64::total_cmp);
    Ok(times)
}

fn send_all(
    senders: &[BlockingStream],
    (address, path): &(String, String),
    start: Instant,
    count: usize,
) -> Result<()> {
    for number in 0..count {
        let due = PERIOD * u32::try_from(number)?;
        std::thread::sleep((start + due).saturating_duration_since(now()));
        let due = format!("{:016}", due.as_micros());
        let mut body = [MARK, due.as_bytes()].concat();
        body.resize(RECORD_BYTES, b'x');
        let request = post(address, path, "text/plain", &body);
        // A few hundred bytes always find room in the socket's buffer.
        (&senders[number % senders.len()]).write_all(&request)?;
    }
    Ok(())
}

async fn read_answers(mut stream: TcpStream, count: usize) -> Result<()> {
    let mut buffer = Vec::new();
    for _ in 0..count {
        answer(&mut stream, &mut buffer).await?;
    }
    Ok(())
}

async fn read_frames(mut socket: TcpStream, start: Instant, count: usize) -> Result<Vec<f64>> {
    let mut times = Vec::with_capacity(count);
    let mut buffer: Vec<u8> = Vec::new();
    while times.len() < count {
        ensure!(
            socket.read_buf(&mut buffer).await? > 0,
            "the server hung up"
        );
        let arrived_us = start.elapsed().as_secs_f64() * 1e6;
        let mut done = 0;
        while let Some(at) = position(&buffer[done..], MARK) {
            let digits = done + at + MARK.len();
            let Some(text) = buffer.get(digits..digits + DIGITS) else {
                break;
            };
            let due_us: u64 = std::str::from_utf8(text)?.parse()?;
            times.push(arrived_us - due_us as f64);
            done = digits + DIGITS;
        }
        // The start of a mark may be at the end of what has come.
        let keep = buffer.len().saturating_sub(MARK.len() + DIGITS).max(done);
        buffer.drain(..keep);
    }
    Ok(times)
}

fn position(text: &[u8], mark: &[u8]) -> Option<usize> {
    text.windows(mark.len()).position(|part| part == mark)
}

/// Microseconds of each sync, sorted.
fn syncs(folder: &Path, count: usize) -> Result<Vec<f64>> {
    const BLOCK: usize = 4096;
    const BLOCKS: usize = 1024;
    let path = folder.join("syncs");
    let file = File::create(&path)?;
    file.write_all_at(&vec![0; BLOCK * BLOCKS], 0)?;
    file.sync_all()?;
    let mut times = Vec::with_capacity(count);
    let start = now();
    for number in 0..count {
        let due = start + PERIOD * u32::try_from(number)?;
        std::thread::sleep(due.saturating_duration_since(now()));
        file.write_all_at(&[1; BLOCK], (number % BLOCKS * BLOCK) as u64)?;
        let begun = now();
        file.sync_data()?;
        times.push(begun.elapsed().as_secs_f64() * 1e6);
    }
    std::fs::remove_file(path)?;
    times.sort_by(f64::total_cmp);
    Ok(times)
}

fn quantile(sorted: &[f64], share: f64) -> f64 {
    let at = (sorted.len() as f64 * share) as usize;
    sorted.get(at).copied().unwrap_or(f64::NAN)
}
