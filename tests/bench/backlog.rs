//! A backlog read by one WebSocket in the batch subprotocol, from segments to the client; against a bare
//! axum loop that pushes the same bytes from memory.

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use rustix::fs::{Advice, fadvise, fsync};
use tidegate_tests::server::Server;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::bare::Bare;
use crate::batch::batch;
use crate::load::{answer, open_socket_with, post};
use crate::report::Report;
use crate::{Effort, now};

const RECORD_BYTES: usize = 1024;
const BATCH_BYTES: usize = 256 * 1024;
/// In front of the batches of a message: the head of a large frame, the kind and the topic's number.
const MESSAGE_HEAD: usize = 10 + 5;

pub(crate) async fn measure(effort: Effort, report: &mut Report) -> Result<()> {
    let server = Server::start_dev();
    server.create_topic("backlog", 1).await;
    let address = server.url().trim_start_matches("http://").to_owned();
    let (body, records) = batch(RECORD_BYTES, BATCH_BYTES)?;
    let batches = effort.backlog_bytes.div_ceil(body.len());
    fill(&address, &body, batches).await?;
    let bare = Bare::start()?;
    let message = body.len() + MESSAGE_HEAD;
    let (mut warm, mut cold) = (Vec::new(), Vec::new());
    for _ in 0..effort.pairs {
        forget_pages(server.home())?;
        let first = ours(&address, message * batches).await?;
        let second = ours(&address, message * batches).await?;
        let limit = pushed(&bare.address, message, batches).await?;
        cold.push((first, limit));
        warm.push((second, limit));
    }
    let setting = format!(
        "{} MiB in batches of {} KiB ({records} records of {RECORD_BYTES} B), one socket, tidegate.v1.batch; limit: bare axum loop pushing such frames from memory",
        effort.backlog_bytes >> 20,
        body.len() >> 10,
    );
    report.pairs(
        "backlog to one WebSocket, pages warm",
        "B/s",
        &warm,
        &setting,
    );
    let setting = "as above, after the pages of all files were given back to the kernel";
    report.pairs(
        "backlog to one WebSocket, pages cold",
        "B/s",
        &cold,
        setting,
    );
    Ok(())
}

/// Appends the same batch again and again.
async fn fill(address: &str, body: &[u8], batches: usize) -> Result<()> {
    let path = "/v1/topics/backlog/partitions/0/records?acks=leader";
    let request = post(address, path, "application/vnd.tidegate.batch", body);
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let mut buffer = Vec::new();
    for _ in 0..batches {
        stream.write_all(&request).await?;
        answer(&mut stream, &mut buffer).await?;
    }
    Ok(())
}

/// Bytes a second from the beginning of the log until `want` have come.
async fn ours(address: &str, want: usize) -> Result<f64> {
    let start = now();
    let subprotocol = "sec-websocket-protocol: tidegate.v1.batch\r\n";
    let path = "/v1/topics/backlog/ws?from=earliest";
    let (socket, early) = open_socket_with(address, path, subprotocol).await?;
    take(socket, want - early).await?;
    Ok(want as f64 / start.elapsed().as_secs_f64())
}

async fn pushed(address: &str, message: usize, count: usize) -> Result<f64> {
    let start = now();
    let path = format!("/push/{}/{count}", message - 10);
    let (socket, early) = open_socket_with(address, &path, "").await?;
    take(socket, message * count - early).await?;
    Ok((message * count) as f64 / start.elapsed().as_secs_f64())
}

/// Reads until `want` bytes have come.
async fn take(mut socket: TcpStream, want: usize) -> Result<()> {
    let mut buffer = vec![0; 256 * 1024];
    let mut got = 0;
    while got < want {
        let read = socket.read(&mut buffer).await?;
        ensure!(read > 0, "the server hung up after {got} of {want} bytes");
        got += read;
    }
    Ok(())
}

/// Lets the kernel forget what it holds of all files below a folder.
fn forget_pages(folder: &Path) -> Result<()> {
    let mut folders: Vec<PathBuf> = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for item in std::fs::read_dir(folder)? {
            let item = item?;
            if item.file_type()?.is_dir() {
                folders.push(item.path());
            } else if let Ok(file) = std::fs::File::open(item.path()) {
                // Pages that are not written yet cannot be given back.
                fsync(&file)?;
                fadvise(&file, 0, None, Advice::DontNeed)?;
            }
        }
    }
    Ok(())
}
