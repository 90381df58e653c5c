//! Idle WebSockets: resident memory of the server for each, subscribed to a topic, over plain
//! connections and over TLS; and whether as many as the machine allows are alive afterwards.
//!
//! Memory of the kernel is told apart, in the setting: it is not in the resident memory of a process.

use std::time::Duration;

use anyhow::{Context, Result};
use tidegate_tests::crowd::{Crowd, raise_open_files};
use tidegate_tests::server::Server;
use tokio::time::sleep;

use crate::Effort;
use crate::crowds::{Carrier, Crowds};
use crate::report::Report;

const KIB: f64 = 1024.0;
/// Opened before, so that what a server needs once is not counted.
const WARM: usize = 200;
/// Files that a server keeps for records at most.
const LOG_FILES_MAX: usize = 4096;
/// Files that a process of a crowd needs beside its sockets.
const SPARE_FILES: usize = 200;
const PATH: &str = "/v1/topics/idle/ws?from=latest";
const GREETING: &str = "caught_up";
const PAGE_BYTES: f64 = 4096.0;

pub(crate) async fn measure(effort: Effort, report: &mut Report) -> Result<()> {
    let files = usize::try_from(raise_open_files())?;
    // The server keeps some for records, and more sockets than the rest would be refused.
    let kept = (files / 2).min(LOG_FILES_MAX) + files / 16;
    let room = files.saturating_sub(kept + SPARE_FILES + WARM);
    for (what, server, bound) in [
        ("idle WebSocket, resident", Server::start_dev(), 10.0),
        ("idle WebSocket over TLS, resident", Server::start(), 24.0),
    ] {
        let (each, setting) = idle(&server, effort.sockets.min(room)).await?;
        report.bound(what, vec![each], "KiB", bound, &setting);
    }
    // As many connections as there are files, but for the few that the server needs for itself.
    let connections_max = files.saturating_sub(files / 40).min(20_000);
    let count = effort.sockets_open.min(connections_max - 2 * WARM);
    for (carrier, by, count) in [
        (Carrier::Http1, "", count),
        (Carrier::Http2, " over HTTP/2", effort.sockets_open),
    ] {
        let most = connections_max.to_string();
        let server = Server::start_with(&["--dev", "--connections-max", &most]);
        let (each, setting) = open(&server, carrier, count).await?;
        let what = format!("{count} open WebSockets{by}, all alive, resident each");
        report.bound(&what, vec![each], "KiB", 10.0, &setting);
    }
    Ok(())
}

/// KiB of resident memory for each of `count` sockets, opened by other processes.
async fn open(server: &Server, carrier: Carrier, count: usize) -> Result<(f64, String)> {
    server.create_topic("idle", 1).await;
    let target = server.target();
    let warm = Crowds::open(&target, carrier, PATH, WARM.min(count), GREETING)?;
    settle(count).await;
    let before = server.resident_bytes() as f64;
    let mut crowds = Crowds::open(&target, carrier, PATH, count, GREETING)?;
    settle(count).await;
    let after = server.resident_bytes() as f64;
    drop(warm);
    say(server, "are you there?").await?;
    crowds.all_say("are you there?").context("crowd")?;
    let setting = format!(
        "{count} sockets, each subscribed to one topic and caught up; all got the record that was written afterwards; opened by processes of their own"
    );
    Ok(((after - before) / count as f64 / KIB, setting))
}

async fn say(server: &Server, words: &str) -> Result<()> {
    let mut connection = server.connect().await?;
    let answer = connection
        .post("/v1/topics/idle/records", "text/plain", words.to_owned())
        .await?;
    anyhow::ensure!(answer.status == 200, "{}", answer.text());
    Ok(())
}

/// KiB of resident memory for each of `count` sockets, and how it was measured.
async fn idle(server: &Server, count: usize) -> Result<(f64, String)> {
    server.create_topic("idle", 1).await;
    let target = server.target();
    // These may be closed as idle while the others open.
    let _warm = Crowd::open(&target, PATH, WARM.min(count), GREETING).await?;
    settle(count).await;
    let (before, kernel_before) = (server.resident_bytes() as f64, kernel_bytes()?);
    let mut crowd = Crowd::open(&target, PATH, count, GREETING).await?;
    settle(count).await;
    let (after, kernel_after) = (server.resident_bytes() as f64, kernel_bytes()?);
    say(server, "are you there?").await?;
    crowd.all_say("are you there?").await.context("crowd")?;
    let each = (after - before) / count as f64 / KIB;
    let kernel = (kernel_after - kernel_before) / count as f64 / KIB;
    let setting = format!(
        "{count} sockets, each subscribed to one topic and caught up; all got the record that was written afterwards; socket buffers of the kernel, both ends: {kernel:.1} KiB each"
    );
    Ok((each, setting))
}

/// Long enough for the loops to rest and for buffers to be given back.
async fn settle(count: usize) {
    sleep(Duration::from_millis(count.clamp(100, 2_000) as u64)).await;
}

/// Pages of the kernel in TCP buffers.
fn kernel_bytes() -> Result<f64> {
    let text = std::fs::read_to_string("/proc/net/sockstat")?;
    let line = text.lines().find(|line| line.starts_with("TCP:"));
    let pages = line.and_then(|line| line.split_whitespace().last());
    let pages: f64 = pages.context("no memory in sockstat")?.parse()?;
    Ok(pages * PAGE_BYTES)
}
