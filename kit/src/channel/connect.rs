//! Makes one connection: TCP, TLS, HTTP/2, and the server's first word.
//!
//! Under TLS 1.3 a client is done before the server has looked at its certificate. The first frame that
//! the server sends comes after that, so a connection counts as made when something has come; without
//! it every refused certificate would look like an answer that got lost. No retries here.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Body;
use http::uri::Authority;
use hyper::client::conn::http2::{Builder, Connection, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::ClientConfig;
use rustls::pki_types::{DnsName, ServerName};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::dial::{Dial, Dialled, Wire};
use crate::limits;
use crate::tls::handshake_reason;

/// A connection to be driven by whoever keeps it.
pub(crate) type Driven = Connection<TokioIo<Heard>, Body, TokioExecutor>;

/// Why there is no connection to an endpoint.
#[derive(Debug, Error)]
pub(crate) enum ConnectError {
    #[error("nothing within {} s", limits::CHANNEL_CONNECT_TIMEOUT.as_secs())]
    TimedOut,
    #[error("cannot be reached")]
    Reach(#[source] io::Error),
    #[error("the handshake failed: {0}")]
    Handshake(String),
    #[error("speaks no HTTP/2 with us")]
    Protocol(#[source] hyper::Error),
    #[error("closed the connection without a word")]
    Silent,
}

/// Connects as one node to others.
pub(crate) struct Connector {
    tls: TlsConnector,
    dial: Option<Arc<dyn Dial>>,
    protocol: Builder<TokioExecutor>,
}

impl Connector {
    pub(crate) fn new(tls: Arc<ClientConfig>, dial: Option<Arc<dyn Dial>>) -> Self {
        let mut protocol = Builder::new(TokioExecutor::new());
        protocol
            .timer(TokioTimer::new())
            .initial_stream_window_size(limits::CHANNEL_STREAM_WINDOW_BYTES)
            .initial_connection_window_size(limits::CHANNEL_CONNECTION_WINDOW_BYTES)
            .max_frame_size(limits::HTTP2_FRAME_BYTES_MAX)
            .max_header_list_size(limits::HEADER_LIST_BYTES_MAX as u32)
            .max_send_buf_size(limits::HTTP2_SEND_BUFFER_BYTES)
            .keep_alive_interval(limits::CHANNEL_PING_INTERVAL)
            .keep_alive_timeout(limits::CHANNEL_PING_TIMEOUT)
            .keep_alive_while_idle(true);
        Self {
            tls: tls.into(),
            dial,
            protocol,
        }
    }

    pub(crate) async fn connect(
        &self,
        endpoint: &Authority,
    ) -> Result<(SendRequest<Body>, Driven), ConnectError> {
        let connected = timeout(limits::CHANNEL_CONNECT_TIMEOUT, self.connect_to(endpoint));
        connected.await.unwrap_or(Err(ConnectError::TimedOut))
    }

    async fn connect_to(
        &self,
        endpoint: &Authority,
    ) -> Result<(SendRequest<Body>, Driven), ConnectError> {
        let stream = self.wire(endpoint).await?;
        let (first, heard) = oneshot::channel();
        let stream = Heard {
            stream,
            first: Some(first),
        };
        let spoken = self.protocol.handshake(TokioIo::new(stream)).await;
        let (sender, mut driven) = spoken.map_err(ConnectError::Protocol)?;
        tokio::select! {
            ended = &mut driven => match ended {
                Ok(()) => Err(ConnectError::Silent),
                Err(error) => Err(ConnectError::Protocol(error)),
            },
            heard = heard => match heard {
                Ok(()) => Ok((sender, driven)),
                Err(_) => Err(ConnectError::Silent),
            },
        }
    }

    /// What the protocol is spoken over.
    async fn wire(&self, endpoint: &Authority) -> Result<Box<dyn Wire>, ConnectError> {
        let Some(dial) = &self.dial else {
            let tcp = TcpStream::connect(endpoint.as_str());
            let tcp = tcp.await.map_err(ConnectError::Reach)?;
            tcp.set_nodelay(true).map_err(ConnectError::Reach)?;
            return self.secured(tcp).await;
        };
        let dialled = dial.dial(endpoint.as_str()).await;
        match dialled.map_err(ConnectError::Reach)? {
            Dialled::Open(wire) => self.secured(wire).await,
            Dialled::Trusted(wire) => Ok(wire),
        }
    }

    async fn secured<W: Wire + 'static>(&self, wire: W) -> Result<Box<dyn Wire>, ConnectError> {
        // Who answers is read off the certificate; the name is neither sent nor looked at.
        let name = DnsName::try_from_str("tidegate.invalid").map(ServerName::DnsName);
        let name = name.map_err(|error| ConnectError::Handshake(error.to_string()))?;
        match self.tls.connect(name, wire).await {
            Ok(tls) => Ok(Box::new(tls)),
            Err(error) => Err(ConnectError::Handshake(handshake_reason(&error))),
        }
    }
}

/// A connection that tells when the server has said something.
pub(crate) struct Heard {
    stream: Box<dyn Wire>,
    first: Option<oneshot::Sender<()>>,
}

impl AsyncRead for Heard {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        let read = Pin::new(&mut this.stream).poll_read(cx, buffer);
        if buffer.filled().len() > before
            && let Some(first) = this.first.take()
        {
            // Nobody waits any more when the time for it was over.
            let _ = first.send(());
        }
        read
    }
}

impl AsyncWrite for Heard {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}
