//! The load tool: prepared HTTP/1.1 requests over plain TCP, one in flight per connection, answers read
//! to their end and checked for 200.
//!
//! It does as little as it can, because on a small machine it shares the cores with what it measures.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustls::pki_types::ServerName;
use tidegate_tests::http::tls_config;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::now;

/// A POST with everything in it, ready to be written.
pub(crate) fn post(address: &str, path: &str, kind: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: {address}\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

/// The same from somebody with a token.
pub(crate) fn post_as(token: &str, address: &str, path: &str, kind: &str, body: &[u8]) -> Vec<u8> {
    let kind = format!("{kind}\r\nauthorization: Bearer {token}");
    post(address, path, &kind, body)
}

/// A connection over TLS.
pub(crate) async fn open_tls(address: &str, ca_pem: &str) -> Result<TlsStream<TcpStream>> {
    let connector = TlsConnector::from(Arc::new(tls_config(ca_pem)?));
    let tcp = TcpStream::connect(address).await.context("connect")?;
    tcp.set_nodelay(true)?;
    let name = ServerName::try_from("localhost")?;
    Ok(connector.connect(name, tcp).await?)
}

/// Sends `request` over `connections` with TLS for `length`; gives how many were answered.
pub(crate) async fn answers_over_tls(
    address: &str,
    ca_pem: &str,
    request: Vec<u8>,
    connections: usize,
    length: Duration,
) -> Result<u64> {
    let request: Arc<[u8]> = request.into();
    let mut tasks = JoinSet::new();
    for _ in 0..connections {
        let stream = open_tls(address, ca_pem).await?;
        let request = Arc::clone(&request);
        tasks.spawn(one_after_the_other(stream, request, length));
    }
    let mut count = 0;
    while let Some(ended) = tasks.join_next().await {
        count += ended??.len() as u64;
    }
    Ok(count)
}

/// How long each answer took, in microseconds, in their order.
pub(crate) async fn one_after_the_other<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    request: Arc<[u8]>,
    length: Duration,
) -> Result<Vec<f64>> {
    let start = now();
    let mut buffer = Vec::with_capacity(4096);
    let mut took = Vec::new();
    while start.elapsed() < length {
        let sent = now();
        stream.write_all(&request).await?;
        stream.flush().await?;
        answer(&mut stream, &mut buffer).await?;
        took.push(sent.elapsed().as_secs_f64() * 1e6);
    }
    Ok(took)
}

/// Sends `request` over `connections` for `length`; gives answers per second.
pub(crate) async fn requests_per_second(
    address: &str,
    request: Vec<u8>,
    connections: usize,
    length: Duration,
) -> Result<f64> {
    let request: Arc<[u8]> = request.into();
    let count = Arc::new(AtomicU64::new(0));
    let mut tasks = JoinSet::new();
    let start = now();
    for _ in 0..connections {
        let (request, count) = (Arc::clone(&request), Arc::clone(&count));
        let mut stream = TcpStream::connect(address).await.context("connect")?;
        stream.set_nodelay(true)?;
        tasks.spawn(async move {
            let mut buffer = Vec::with_capacity(4096);
            while start.elapsed() < length {
                stream.write_all(&request).await?;
                answer(&mut stream, &mut buffer).await?;
                count.fetch_add(1, Ordering::Relaxed);
            }
            anyhow::Ok(())
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    Ok(count.load(Ordering::Relaxed) as f64 / start.elapsed().as_secs_f64())
}

/// Sends `requests` in turn, each connection every so many-th of them and again from the start, for
/// `length`; gives answers per second, and the time in milliseconds that 99 of 100 stayed below.
pub(crate) async fn in_turn(
    address: &str,
    requests: Arc<Vec<Vec<u8>>>,
    connections: usize,
    length: Duration,
) -> Result<(f64, f64)> {
    let mut tasks = JoinSet::new();
    let start = now();
    for number in 0..connections {
        let requests = Arc::clone(&requests);
        let mut stream = TcpStream::connect(address).await.context("connect")?;
        stream.set_nodelay(true)?;
        tasks.spawn(async move {
            let mut buffer = Vec::with_capacity(4096);
            let mut took = Vec::new();
            let turns = requests.iter().cycle().skip(number).step_by(connections);
            for request in turns.take_while(|_| start.elapsed() < length) {
                let sent = now();
                stream.write_all(request).await?;
                answer(&mut stream, &mut buffer).await?;
                took.push(sent.elapsed());
            }
            anyhow::Ok(took)
        });
    }
    let mut took = Vec::new();
    while let Some(ended) = tasks.join_next().await {
        took.extend(ended??);
    }
    let rate = took.len() as f64 / start.elapsed().as_secs_f64();
    took.sort_unstable();
    let p99 = took.get(took.len() * 99 / 100).context("no answers")?;
    Ok((rate, p99.as_secs_f64() * 1e3))
}

/// Sends each request once, over some connections.
pub(crate) async fn each_once(
    address: &str,
    requests: Arc<Vec<Vec<u8>>>,
    connections: usize,
) -> Result<()> {
    let mut tasks = JoinSet::new();
    for number in 0..connections {
        let requests = Arc::clone(&requests);
        let mut stream = TcpStream::connect(address).await.context("connect")?;
        tasks.spawn(async move {
            let mut buffer = Vec::with_capacity(4096);
            for request in requests.iter().skip(number).step_by(connections) {
                stream.write_all(request).await?;
                answer(&mut stream, &mut buffer).await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    Ok(())
}

/// Reads one whole answer; an error unless it is 200. What comes behind it stays in the buffer.
pub(crate) async fn answer<S: AsyncRead + Unpin>(
    stream: &mut S,
    buffer: &mut Vec<u8>,
) -> Result<()> {
    let head = loop {
        if let Some(end) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
            break end + 4;
        }
        ensure!(stream.read_buf(buffer).await? > 0, "the server hung up");
    };
    let text = std::str::from_utf8(&buffer[..head])?;
    let length = text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length")
            .then(|| value.trim().parse::<usize>().ok())?
    });
    let good = text.starts_with("HTTP/1.1 200");
    let Some(length) = length else {
        bail!("an answer without a length: {text}")
    };
    while buffer.len() < head + length {
        ensure!(stream.read_buf(buffer).await? > 0, "the server hung up");
    }
    ensure!(good, "{}", String::from_utf8_lossy(buffer));
    buffer.drain(..head + length);
    Ok(())
}

/// Opens a WebSocket and gives the connection with what came after the handshake.
pub(crate) async fn open_socket(address: &str, path: &str) -> Result<(TcpStream, usize)> {
    open_socket_with(address, path, "").await
}

/// As above, with more header lines.
pub(crate) async fn open_socket_with(
    address: &str,
    path: &str,
    lines: &str,
) -> Result<(TcpStream, usize)> {
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let request = format!(
        "GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n{lines}\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut buffer = Vec::with_capacity(4096);
    loop {
        ensure!(
            stream.read_buf(&mut buffer).await? > 0,
            "the server hung up"
        );
        if let Some(end) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
            ensure!(
                buffer.starts_with(b"HTTP/1.1 101"),
                "{}",
                String::from_utf8_lossy(&buffer)
            );
            return Ok((stream, buffer.len() - end - 4));
        }
    }
}
