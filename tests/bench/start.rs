//! Start and size: first start, restart after kill -9 to the first acknowledged record, idle memory,
//! size of the program.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use tidegate_tests::program::tidegate;
use tidegate_tests::server::Server;

use crate::report::Report;
use crate::{Effort, now};

const MIB: f64 = 1024.0 * 1024.0;

pub(crate) async fn measure(effort: Effort, report: &mut Report) -> Result<()> {
    let mut first = Vec::new();
    let mut restart = Vec::new();
    let mut idle = Vec::new();
    for _ in 0..effort.starts {
        let start = now();
        let mut server = Server::start();
        server.create_topic("t", 3).await;
        produce(&server).await?;
        first.push(start.elapsed().as_secs_f64() * 1e3);
        for _ in 0..1_000 {
            produce(&server).await?;
        }
        server.kill();
        let start = now();
        server.launch();
        produce(&server).await?;
        restart.push(start.elapsed().as_secs_f64() * 1e3);
        idle.push(server.resident_bytes() as f64 / MIB);
    }
    let setting = "TLS; from the start of the process to the answer of a durable produce";
    report.bound(
        "first start, certificates and topic made",
        first,
        "ms",
        1000.0,
        setting,
    );
    let setting = "TLS; after kill -9 with 1,000 records in the journal; from the start of the process to the answer of a durable produce";
    report.bound(
        "restart to first acknowledged record",
        restart,
        "ms",
        150.0,
        setting,
    );
    report.bound(
        "idle resident memory",
        idle,
        "MiB",
        20.0,
        "after the above, one topic of 3 partitions",
    );
    let size = stripped_bytes(&tidegate())? as f64 / MIB;
    report.bound(
        "size of the stripped program",
        vec![size],
        "MiB",
        30.0,
        "console page included",
    );
    Ok(())
}

async fn produce(server: &Server) -> Result<()> {
    let mut connection = server.connect().await?;
    let answer = connection
        .post("/v1/topics/t/records", "text/plain", "x")
        .await?;
    ensure!(answer.status == 200, "{}", answer.text());
    Ok(())
}

fn stripped_bytes(program: &Path) -> Result<u64> {
    let folder = tempfile::tempdir()?;
    let copy = folder.path().join("stripped");
    let status = Command::new("strip")
        .arg("-o")
        .arg(&copy)
        .arg(program)
        .status()
        .context("strip")?;
    ensure!(status.success(), "strip failed");
    Ok(copy.metadata()?.len())
}
