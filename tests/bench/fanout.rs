//! One topic to a hundred WebSockets, in bytes a second over all of them; against a bare axum loop that
//! pushes frames of the same size, flushed alike.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tidegate_tests::server::Server;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::bare::Bare;
use crate::load::{answer, open_socket, post};
use crate::report::Report;
use crate::{Effort, now};

const SOCKETS: usize = 100;
const PRODUCERS: usize = 4;
/// Values of a request: a stored batch that makes one frame of about 60 KiB.
const RECORDS: usize = 60;
const RECORD_BYTES: usize = 1000;

pub(crate) async fn measure(effort: Effort, report: &mut Report) -> Result<()> {
    let server = Server::start_dev();
    server.create_topic("fan", 1).await;
    let bare = Bare::start()?;
    let address = server.url().trim_start_matches("http://").to_owned();
    let mut pairs = Vec::new();
    let mut frame = 0;
    for _ in 0..effort.pairs {
        let (ours, bytes) = tidegate(&address, effort.fanout_bytes).await?;
        frame = bytes;
        let limit = bare_push(&bare.address, frame, effort.fanout_bytes).await?;
        pairs.push((ours, limit));
    }
    let setting = format!(
        "{SOCKETS} sockets, JSON frames of {frame} B ({RECORDS} records), {PRODUCERS} producers with durable acks; limit: bare axum loop pushing such frames"
    );
    report.pairs("fan-out to 100 WebSockets", "B/s", &pairs, &setting);
    Ok(())
}

/// Bytes a second over all sockets, and the bytes of one frame.
async fn tidegate(address: &str, bytes_each: usize) -> Result<(f64, usize)> {
    let value = format!("\"{}\"", "x".repeat(RECORD_BYTES));
    let records: Vec<String> = (0..RECORDS)
        .map(|_| format!(r#"{{"value":{value}}}"#))
        .collect();
    let body = format!(r#"{{"records":[{}]}}"#, records.join(","));
    let path = "/v1/topics/fan/partitions/0/records";
    let request = post(address, path, "application/json", body.as_bytes());
    let frame = frame_bytes(address, &request).await?;
    let frames = bytes_each.div_ceil(frame);

    let mut sockets = Vec::new();
    for _ in 0..SOCKETS {
        sockets.push(settled(address, "/v1/topics/fan/ws?from=latest").await?);
    }
    // Offsets may grow by a digit on the way, so frames of the run are at least this long.
    let want = frames * frame;
    let start = now();
    let mut readers = JoinSet::new();
    for socket in sockets {
        readers.spawn(count(socket, want));
    }
    let request: Arc<[u8]> = request.into();
    for producer in 0..PRODUCERS {
        let share = (producer..frames).step_by(PRODUCERS).count();
        readers.spawn(produce(address.to_owned(), Arc::clone(&request), share));
    }
    while let Some(read) = readers.join_next().await {
        read??;
    }
    Ok((
        (SOCKETS * want) as f64 / start.elapsed().as_secs_f64(),
        frame,
    ))
}

/// Sends the same batch `count` times, each after the answer to the one before.
async fn produce(address: String, request: Arc<[u8]>, count: usize) -> Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let mut buffer = Vec::new();
    for _ in 0..count {
        stream.write_all(&request).await?;
        answer(&mut stream, &mut buffer).await?;
    }
    Ok(())
}

/// Sends one batch and measures the frame that a subscriber gets for it.
async fn frame_bytes(address: &str, request: &[u8]) -> Result<usize> {
    let mut socket = settled(address, "/v1/topics/fan/ws?from=latest").await?;
    let mut producer = TcpStream::connect(address).await?;
    producer.write_all(request).await?;
    answer(&mut producer, &mut Vec::new()).await?;
    let mut frame = Vec::new();
    while frame.len() < 10 || frame.len() < framed(&frame) {
        ensure!(socket.read_buf(&mut frame).await? > 0, "the server hung up");
    }
    Ok(framed(&frame))
}

/// The length of the first WebSocket message in a buffer, its header included.
fn framed(buffer: &[u8]) -> usize {
    match buffer[1] & 127 {
        126 => 4 + usize::from(u16::from_be_bytes([buffer[2], buffer[3]])),
        127 => {
            let length = buffer[2..10]
                .iter()
                .fold(0, |sum, byte| (sum << 8) | usize::from(*byte));
            10 + length
        }
        short => 2 + usize::from(short),
    }
}

/// A socket that has said all it says at the start.
async fn settled(address: &str, path: &str) -> Result<TcpStream> {
    let (mut stream, _) = open_socket(address, path).await?;
    let mut buffer = vec![0; 4096];
    while let Ok(read) =
        tokio::time::timeout(Duration::from_millis(20), stream.read(&mut buffer)).await
    {
        ensure!(read? > 0, "the server hung up");
    }
    Ok(stream)
}

async fn bare_push(address: &str, frame: usize, bytes_each: usize) -> Result<f64> {
    let frames = bytes_each.div_ceil(frame);
    let header = if frame > 65_535 { 10 } else { 4 };
    let path = format!("/push/{}/{frames}", frame - header);
    let start = now();
    let mut readers = JoinSet::new();
    for _ in 0..SOCKETS {
        let (socket, early) = open_socket(address, &path).await?;
        readers.spawn(count(socket, frames * frame - early));
    }
    while let Some(read) = readers.join_next().await {
        read??;
    }
    Ok((SOCKETS * frames * frame) as f64 / start.elapsed().as_secs_f64())
}

/// Reads until `want` bytes have come.
async fn count(mut socket: TcpStream, want: usize) -> Result<()> {
    let mut buffer = vec![0; 256 * 1024];
    let mut got = 0;
    while got < want {
        let read = socket.read(&mut buffer).await.context("read")?;
        ensure!(read > 0, "the server hung up after {got} of {want} bytes");
        got += read;
    }
    Ok(())
}
