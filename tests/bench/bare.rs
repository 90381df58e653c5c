//! The limit on the HTTP side: bare axum handlers in a process of their own.
//!
//! `POST /` reads the body and answers; `GET /push/{frame}/{count}` upgrades and pushes frames of that
//! size, fed one by one and flushed when the buffer is full, as fast as the socket takes them.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};
use axum::Router;
use axum::extract::Path;
use axum::extract::ws::{Message, Utf8Bytes, WebSocket, WebSocketUpgrade};
use axum::response::Response;
use axum::routing::{get, post};
use bytes::Bytes;
use futures_util::SinkExt;

/// A bare server process, ended when dropped.
#[derive(Debug)]
pub(crate) struct Bare {
    child: Child,
    pub(crate) address: String,
}

impl Drop for Bare {
    fn drop(&mut self) {
        // It may have ended by itself; either way nothing is left behind.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Bare {
    pub(crate) fn start() -> Result<Self> {
        let own = std::env::current_exe()?;
        let mut child = Command::new(own)
            .arg("bare-server")
            .stdout(Stdio::piped())
            .spawn()?;
        let stdout = child.stdout.take().context("piped")?;
        let mut address = String::new();
        BufReader::new(stdout).read_line(&mut address)?;
        Ok(Self {
            child,
            address: address.trim().to_owned(),
        })
    }
}

/// The process: prints its address and serves until it is killed.
pub(crate) async fn serve() -> Result<()> {
    let router = Router::new()
        .route("/", post(read_body))
        .route("/push/{frame_bytes}/{count}", get(push));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    #[expect(
        clippy::print_stdout,
        reason = "the parent reads the address from here"
    )]
    {
        println!("{}", listener.local_addr()?);
    }
    axum::serve(listener, router).await?;
    Ok(())
}

async fn read_body(body: Bytes) -> String {
    format!(r#"{{"bytes":{}}}"#, body.len())
}

async fn push(
    Path((frame_bytes, count)): Path<(usize, usize)>,
    upgrade: WebSocketUpgrade,
) -> Response {
    let text = Utf8Bytes::from("x".repeat(frame_bytes));
    upgrade.on_upgrade(move |socket| push_all(socket, text, count))
}

async fn push_all(mut socket: WebSocket, text: Utf8Bytes, count: usize) {
    for _ in 0..count {
        if socket.feed(Message::Text(text.clone())).await.is_err() {
            return;
        }
    }
    // The reader counts bytes and hangs up when it has them all.
    socket.flush().await.ok();
    socket.recv().await;
}
