//! One record a request, durable before the answer, at 64 connections; against a bare axum handler that
//! reads the same body.

use anyhow::Result;
use tidegate_tests::server::Server;

use crate::Effort;
use crate::bare::Bare;
use crate::load::{post, requests_per_second};
use crate::report::Report;

const CONNECTIONS: usize = 64;
const BODY_BYTES: usize = 100;

pub(crate) async fn measure(effort: Effort, report: &mut Report) -> Result<()> {
    let server = Server::start_dev();
    server.create_topic("single", 1).await;
    let bare = Bare::start()?;
    let address = server.url().trim_start_matches("http://").to_owned();
    let body = vec![b'x'; BODY_BYTES];
    let ours = post(&address, "/v1/topics/single/records", "text/plain", &body);
    let limit = post(&bare.address, "/", "text/plain", &body);
    let mut pairs = Vec::new();
    for _ in 0..effort.pairs {
        let ours = requests_per_second(&address, ours.clone(), CONNECTIONS, effort.side).await?;
        let limit =
            requests_per_second(&bare.address, limit.clone(), CONNECTIONS, effort.side).await?;
        pairs.push((ours, limit));
    }
    let setting = "POST of 100 B text/plain, 64 HTTP/1.1 connections, plain TCP, fdatasync before 200; limit: bare axum handler reading the same body";
    report.pairs("single-record durable produce", "req/s", &pairs, setting);
    Ok(())
}
