//! Thousands of WebSockets that mostly do nothing, over plain connections or TLS.
//!
//! Raw bytes and no WebSocket library: frames of a server are not masked, so what they say can be
//! looked for. Source addresses are spread over 127.0.0.0/8, because one address has fewer ports than
//! a crowd has members.

use std::fmt::Debug;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use futures_util::stream::{self, StreamExt, TryStreamExt};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::http::{Target, split_url, tls_config};
use crate::wait::within;

/// Opened at one time.
const AT_ONCE: usize = 64;
/// Members opened between two signs of life.
const BETWEEN_PONGS: usize = 1_000;
/// A pong without content, masked by zeros.
pub(crate) const PONG: [u8; 6] = [0x8a, 0x80, 0, 0, 0, 0];
/// What the kernel keeps for a member.
const RECEIVE_BYTES: u32 = 16 * 1024;
/// Members of one source address: far below its 28,000 ports, because the search for a free one gets slow
/// when half of them are taken.
const OF_ONE_ADDRESS: usize = 5_000;

/// Plain or encrypted bytes.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send + Debug {}

impl Stream for TcpStream {}
impl Stream for TlsStream<TcpStream> {}

/// Open sockets.
#[derive(Debug)]
pub struct Crowd {
    pub members: Vec<Box<dyn Stream>>,
}

/// Lets this process open as many files as its hard limit says; gives that number.
#[must_use]
pub fn raise_open_files() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum.unwrap_or(u64::MAX),
        Err(_) => limit.current.unwrap_or(u64::MAX),
    }
}

impl Crowd {
    /// Opens `count` sockets, each of which has said `greeting` before this returns.
    ///
    /// # Errors
    /// When one of them is refused.
    pub async fn open(target: &Target, path: &str, count: usize, greeting: &str) -> Result<Self> {
        Self::open_from(target, path, 0, count, greeting).await
    }

    /// The same for members `first..first + count` of a crowd that several processes make up.
    ///
    /// # Errors
    /// When one of them is refused.
    pub async fn open_from(
        target: &Target,
        path: &str,
        first: usize,
        count: usize,
        greeting: &str,
    ) -> Result<Self> {
        let tls = match &target.ca_pem {
            Some(pem) => Some(TlsConnector::from(Arc::new(tls_config(pem)?))),
            None => None,
        };
        let mut crowd = Self {
            members: Vec::with_capacity(count),
        };
        for begin in (first..first + count).step_by(BETWEEN_PONGS) {
            let numbers = begin..(first + count).min(begin + BETWEEN_PONGS);
            let opened: Vec<_> = stream::iter(numbers)
                .map(|number| open_one(target, tls.clone(), path, number, greeting))
                .buffer_unordered(AT_ONCE)
                .try_collect()
                .await?;
            crowd.members.extend(opened);
            crowd.pong().await?;
        }
        Ok(crowd)
    }

    /// Lets every member say that it lives: nobody here reads the server's pings, and a server closes
    /// a socket that answers none.
    ///
    /// # Errors
    /// When one of them is gone.
    pub async fn pong(&mut self) -> Result<()> {
        for member in &mut self.members {
            member.write_all(&PONG).await?;
            member.flush().await?;
        }
        Ok(())
    }

    /// Waits until every one of them has said `word`, and gives what each said up to there.
    ///
    /// # Errors
    /// When one of them is gone.
    pub async fn all_say(&mut self, word: &str) -> Result<Vec<Vec<u8>>> {
        stream::iter(&mut self.members)
            .map(|member| read_until(member, word))
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await
    }
}

async fn open_one(
    target: &Target,
    tls: Option<TlsConnector>,
    path: &str,
    number: usize,
    greeting: &str,
) -> Result<Box<dyn Stream>> {
    let (_, address) = split_url(&target.url)?;
    let address: SocketAddr = address.parse().context("an address, not a name")?;
    let source = Ipv4Addr::new(127, 0, 0, 2 + u8::try_from(number / OF_ONE_ADDRESS)?);
    let socket = TcpSocket::new_v4()?;
    // One that does not read fills this and nothing more.
    socket.set_recv_buffer_size(RECEIVE_BYTES)?;
    socket.bind((source, 0).into())?;
    let tcp = socket.connect(address).await?;
    tcp.set_nodelay(true)?;
    let mut stream: Box<dyn Stream> = match tls {
        Some(tls) => Box::new(
            tls.connect(ServerName::try_from("localhost")?, tcp)
                .await
                .context("handshake")?,
        ),
        None => Box::new(tcp),
    };
    let token = target.token.as_deref().unwrap_or_default();
    let authorization = match token {
        "" => String::new(),
        token => format!("authorization: Bearer {token}\r\n"),
    };
    let request = format!(
        "GET {path} HTTP/1.1\r\nhost: {address}\r\n{authorization}connection: upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    stream.flush().await?;
    let said = read_until(&mut stream, greeting)
        .await
        .context("greeting")?;
    ensure!(
        said.starts_with(b"HTTP/1.1 101"),
        "{}",
        String::from_utf8_lossy(&said)
    );
    Ok(stream)
}

async fn read_until(stream: &mut Box<dyn Stream>, word: &str) -> Result<Vec<u8>> {
    within("a word", async {
        let mut said = Vec::new();
        let mut buffer = vec![0; 16 * 1024];
        let mut searched = 0;
        while !says(&said[searched..], word) {
            // The word may come in two parts.
            searched = said.len().saturating_sub(word.len());
            let read = stream.read(&mut buffer).await?;
            ensure!(read > 0, "hung up after {} bytes", said.len());
            said.extend_from_slice(&buffer[..read]);
        }
        Ok(said)
    })
    .await
}

pub(crate) fn says(said: &[u8], word: &str) -> bool {
    said.windows(word.len())
        .any(|found| found == word.as_bytes())
}
