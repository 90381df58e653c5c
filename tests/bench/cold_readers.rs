//! One writer with durable acks, alone and beside a thousand readers that catch up through segments
//! which are no longer in memory; against itself.
//!
//! The readers take what they get as fast as they can and share the cores with server and writer, so
//! the ratio holds what they cost on one small machine, not only what the server lets them cost.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use hdrhistogram::Histogram;
use tidegate_tests::server::Server;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::load::{answer, post};
use crate::report::Report;
use crate::{Effort, now};

const RECORD_BYTES: usize = 1000;
const RECORDS: usize = 250;

pub(crate) async fn measure(effort: Effort, report: &mut Report) -> Result<()> {
    let readers = effort.cold_readers;
    let (mut rates, mut slowest, mut caught) = (Vec::new(), Vec::new(), 0.0);
    for _ in 0..effort.pairs {
        let mut server = Server::start_dev();
        server.create_topic("cold", 1).await;
        let address = address(&server);
        backlog(&address, effort.cold_bytes).await?;
        // A new process has nothing of it in memory.
        server.stop();
        server.launch();
        let address = self::address(&server);
        let alone = write(&address, effort.side).await?;
        let taken = Arc::new(AtomicU64::new(0));
        let mut crowd = JoinSet::new();
        for _ in 0..readers {
            crowd.spawn(follow(address.clone(), Arc::clone(&taken)));
        }
        while taken.load(Ordering::Relaxed) == 0 {
            tokio::task::yield_now().await;
        }
        let before = taken.load(Ordering::Relaxed);
        let beside = write(&address, effort.side).await?;
        caught = (taken.load(Ordering::Relaxed) - before) as f64 / effort.side.as_secs_f64();
        crowd.abort_all();
        rates.push((beside.0, alone.0));
        slowest.push((beside.1 / alone.1, beside.1));
    }
    let setting = format!(
        "one connection, 250 records of 1 kB a request, fdatasync before 200; beside it {readers} event streams from the earliest record of {} MiB, taking {:.0} MiB/s together; limit: the same writer alone",
        effort.cold_bytes >> 20,
        caught / 1024.0 / 1024.0,
    );
    let what = format!("writer beside {readers} cold readers");
    report.pairs(&what, "requests/s", &rates, &setting);
    let times: Vec<f64> = slowest.iter().map(|pair| pair.0).collect();
    let what = format!("p99 of that writer beside {readers} cold readers");
    report.bound(&what, times, "times", 3.0, "of its p99 alone");
    Ok(())
}

fn address(server: &Server) -> String {
    server.url().trim_start_matches("http://").to_owned()
}

fn request(address: &str) -> Vec<u8> {
    let record = format!(r#"{{"value":"{}"}}"#, "x".repeat(RECORD_BYTES));
    let body = format!(r#"{{"records":[{}]}}"#, vec![record; RECORDS].join(","));
    let path = "/v1/topics/cold/partitions/0/records";
    post(address, path, "application/json", body.as_bytes())
}

async fn backlog(address: &str, bytes: usize) -> Result<()> {
    let request = request(address);
    let mut stream = TcpStream::connect(address).await?;
    let mut buffer = Vec::new();
    for _ in 0..bytes / (RECORDS * RECORD_BYTES) {
        stream.write_all(&request).await?;
        answer(&mut stream, &mut buffer).await?;
    }
    Ok(())
}

/// Requests a second and their p99 in microseconds.
async fn write(address: &str, length: Duration) -> Result<(f64, f64)> {
    let request = request(address);
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let mut buffer = Vec::new();
    let mut took = Histogram::<u64>::new(3)?;
    let start = now();
    while start.elapsed() < length {
        let sent = now();
        stream.write_all(&request).await?;
        answer(&mut stream, &mut buffer).await?;
        took.record(u64::try_from(sent.elapsed().as_micros())?)?;
    }
    let rate = took.len() as f64 / start.elapsed().as_secs_f64();
    Ok((rate, took.value_at_quantile(0.99) as f64))
}

/// An event stream from the beginning, read as fast as it comes and thrown away.
async fn follow(address: String, taken: Arc<AtomicU64>) -> Result<()> {
    let mut stream = TcpStream::connect(&address).await.context("connect")?;
    let request = format!(
        "GET /v1/topics/cold/records?from=earliest HTTP/1.1\r\nhost: {address}\r\naccept: text/event-stream\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let read = stream.read(&mut buffer).await?;
        ensure!(read > 0, "the server hung up");
        taken.fetch_add(read as u64, Ordering::Relaxed);
    }
}
