//! Thousands of WebSockets over few connections: streams of HTTP/2 (RFC 8441), without TLS.
//!
//! As [`crate::crowd`]: raw frames, in which what a server says can be looked for. Every member is read from
//! all the time: a client that leaves many small frames unread is told by its own library to calm down.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use futures_util::future::join_all;
use h2::client::SendRequest;
use h2::ext::Protocol;
use h2::{RecvStream, SendStream};
use http::{Method, Request};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::crowd::{PONG, says};
use crate::http::{Target, split_url};
use crate::wait::wait_for;

/// Streams of one connection: a few fewer than a server lets be open.
const OF_ONE_CONNECTION: usize = 250;
/// Of what a member has heard.
const KEPT_BYTES: usize = 4 * 1024;
/// Members opened between two signs of life, at most.
const BETWEEN_PONGS: usize = 2_000;

/// Open sockets and the connections that carry them.
#[derive(Debug)]
pub struct MuxedCrowd {
    members: Vec<Member>,
    /// Of connections, and of members that are read from.
    tasks: JoinSet<()>,
}

#[derive(Debug)]
struct Member {
    send: SendStream<Bytes>,
    said: Arc<Mutex<Said>>,
}

/// The last that one has heard.
#[derive(Debug, Default)]
struct Said {
    tail: Vec<u8>,
    is_over: bool,
}

impl MuxedCrowd {
    /// Opens `count` sockets, each of which has said `greeting` before this returns.
    ///
    /// # Errors
    /// When one of them is refused.
    pub async fn open(target: &Target, path: &str, count: usize, greeting: &str) -> Result<Self> {
        let mut crowd = Self {
            members: Vec::with_capacity(count),
            tasks: JoinSet::new(),
        };
        while crowd.members.len() < count {
            let of_this = OF_ONE_CONNECTION.min(count - crowd.members.len());
            let mut requests = crowd.connect(target).await?;
            let mut opening = Vec::with_capacity(of_this);
            for _ in 0..of_this {
                requests = requests.ready().await?;
                opening.push(open_one(&mut requests, target, path)?);
            }
            for opened in join_all(opening).await {
                let (send, receive) = opened?;
                let said = Arc::default();
                crowd.tasks.spawn(listen(receive, Arc::clone(&said)));
                crowd.members.push(Member { send, said });
            }
            let begun = crowd.members.len() - of_this;
            let said = said_by_all(&crowd.members[begun..], greeting).await;
            said.context("greeting")?;
            if crowd.members.len() % BETWEEN_PONGS < OF_ONE_CONNECTION {
                crowd.pong()?;
            }
        }
        Ok(crowd)
    }

    async fn connect(&mut self, target: &Target) -> Result<SendRequest<Bytes>> {
        let (_, address) = split_url(&target.url)?;
        let address: SocketAddr = address.parse().context("an address, not a name")?;
        let tcp = TcpStream::connect(address).await?;
        tcp.set_nodelay(true)?;
        let (requests, connection) = h2::client::handshake(tcp).await?;
        self.tasks.spawn(async move {
            // Its end is seen by those who read from it.
            connection.await.ok();
        });
        // The server's settings come first: they say that it takes the extended CONNECT.
        wait_for("settings", async || {
            requests
                .is_extended_connect_protocol_enabled()
                .then_some(())
        })
        .await;
        Ok(requests)
    }

    /// Lets every member say that it lives.
    ///
    /// # Errors
    /// When one of them is gone.
    pub fn pong(&mut self) -> Result<()> {
        for member in &mut self.members {
            member.send.send_data(Bytes::from_static(&PONG), false)?;
        }
        Ok(())
    }

    /// Waits until every one of them has said `word`.
    ///
    /// # Errors
    /// When one of them is gone.
    pub async fn all_say(&mut self, word: &str) -> Result<()> {
        said_by_all(&self.members, word).await
    }
}

async fn said_by_all(members: &[Member], word: &str) -> Result<()> {
    for member in members {
        let heard = wait_for("a word", async || member.has_said(word)).await;
        ensure!(heard, "hung up");
    }
    Ok(())
}

impl Member {
    /// `None` while it may still come.
    fn has_said(&self, word: &str) -> Option<bool> {
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let has_said = says(&said.tail, word);
        (has_said || said.is_over).then_some(has_said)
    }
}

/// Reads to the end and keeps the last of it.
async fn listen(mut receive: RecvStream, said: Arc<Mutex<Said>>) {
    while let Some(Ok(data)) = receive.data().await {
        // Without a connection there is nothing to give back.
        receive.flow_control().release_capacity(data.len()).ok();
        let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
        said.tail.extend_from_slice(&data);
        let surplus = said.tail.len().saturating_sub(KEPT_BYTES);
        said.tail.drain(..surplus);
    }
    let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
    said.is_over = true;
}

fn open_one(
    requests: &mut SendRequest<Bytes>,
    target: &Target,
    path: &str,
) -> Result<impl Future<Output = Result<(SendStream<Bytes>, RecvStream)>> + use<>> {
    let mut request = Request::builder()
        .method(Method::CONNECT)
        .uri(format!("{}{path}", target.url))
        .header("sec-websocket-version", "13")
        .extension(Protocol::from_static("websocket"));
    if let Some(token) = &target.token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let (answer, send) = requests.send_request(request.body(())?, false)?;
    Ok(async move {
        let answer = answer.await?;
        ensure!(answer.status() == 200, "{}", answer.status());
        Ok((send, answer.into_body()))
    })
}
