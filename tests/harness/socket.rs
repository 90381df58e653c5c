//! A WebSocket client over the same plain connection as [`crate::http`], speaking JSON frames.

use std::fmt::Debug;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use rustls::pki_types::ServerName;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::http::{Target, split_url, tls_config};
use crate::wait::within;

/// What comes out of a socket.
#[derive(Debug)]
pub enum Event {
    /// One JSON object, as text.
    Frame(Utf8Bytes),
    /// The close code and its reason; code 1006 when the connection broke without one.
    Closed(u16, String),
}

/// An open socket.
#[derive(Debug)]
pub struct Socket {
    stream: WebSocketStream<Box<dyn Stream>>,
}

/// Plain or encrypted bytes under a socket.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send + Debug {}

impl Stream for TcpStream {}
impl Stream for TlsStream<TcpStream> {}

impl Socket {
    /// Opens `path` as a WebSocket with the target's token.
    ///
    /// # Errors
    /// When the server refuses; the text holds the status.
    pub async fn open(target: &Target, path: &str) -> Result<Self> {
        Self::open_with(target, path, &[]).await
    }

    /// Opens `path` with more headers.
    ///
    /// # Errors
    /// When the server refuses; the text holds the status.
    pub async fn open_with(target: &Target, path: &str, headers: &[(&str, &str)]) -> Result<Self> {
        let (tls, address) = split_url(&target.url)?;
        let scheme = if tls { "wss" } else { "ws" };
        let mut request = format!("{scheme}://{address}{path}").into_client_request()?;
        if let Some(token) = &target.token {
            request
                .headers_mut()
                .insert("authorization", format!("Bearer {token}").parse()?);
        }
        for (name, value) in headers {
            let name: http::HeaderName = name.parse()?;
            request.headers_mut().insert(name, value.parse()?);
        }
        let tcp = TcpStream::connect(address).await?;
        tcp.set_nodelay(true)?;
        let stream: Box<dyn Stream> = if tls {
            let ca = target
                .ca_pem
                .as_deref()
                .context("wss without an authority to trust")?;
            let connector = TlsConnector::from(Arc::new(tls_config(ca)?));
            Box::new(
                connector
                    .connect(ServerName::try_from("localhost")?, tcp)
                    .await?,
            )
        } else {
            Box::new(tcp)
        };
        let (stream, _) = client_async(request, stream).await?;
        Ok(Self { stream })
    }

    /// Sends one text message.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn send(&mut self, text: impl Into<Utf8Bytes>) -> Result<()> {
        Ok(self.stream.send(Message::Text(text.into())).await?)
    }

    /// Sends any message.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn send_message(&mut self, message: Message) -> Result<()> {
        Ok(self.stream.send(message).await?)
    }

    /// The next frame or the end; answers pings on the way.
    ///
    /// # Panics
    /// When nothing comes.
    pub async fn next(&mut self) -> Event {
        within("a frame", async {
            loop {
                match self.stream.next().await {
                    Some(Ok(Message::Text(text))) => return Event::Frame(text),
                    Some(Ok(Message::Close(frame))) => return closed(frame),
                    Some(Ok(_)) => {}
                    Some(Err(_)) | None => return Event::Closed(1006, String::new()),
                }
            }
        })
        .await
    }

    /// The next binary message, past any frames of text.
    ///
    /// # Panics
    /// When nothing comes, or the socket ends before.
    pub async fn next_binary(&mut self) -> Bytes {
        within("a binary message", async {
            loop {
                match self.stream.next().await {
                    Some(Ok(Message::Binary(bytes))) => return bytes,
                    Some(Ok(Message::Close(_)) | Err(_)) | None => panic!("the socket ended"),
                    Some(Ok(_)) => {}
                }
            }
        })
        .await
    }

    /// The next frame as JSON.
    ///
    /// # Errors
    /// When the socket was closed instead.
    pub async fn next_json(&mut self) -> Result<Value> {
        match self.next().await {
            Event::Frame(text) => Ok(serde_json::from_str(&text)?),
            Event::Closed(code, reason) => bail!("closed with {code} {reason}"),
        }
    }

    /// The next frame whose `ev` is `kind`, past any others.
    ///
    /// # Errors
    /// When the socket was closed before.
    pub async fn next_of(&mut self, kind: &str) -> Result<Value> {
        loop {
            let frame = self.next_json().await?;
            if frame["ev"] == kind {
                return Ok(frame);
            }
        }
    }

    /// Waits for the end, past any frames.
    pub async fn next_close(&mut self) -> (u16, String) {
        loop {
            if let Event::Closed(code, reason) = self.next().await {
                return (code, reason);
            }
        }
    }
}

fn closed(frame: Option<CloseFrame>) -> Event {
    let (code, reason) = frame.map_or((1005, String::new()), |frame| {
        (u16::from(frame.code), frame.reason.as_str().to_owned())
    });
    Event::Closed(code, reason)
}
