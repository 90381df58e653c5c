//! Accepted connections: counted, without Nagle's delay, and closed when the peer stops reading.
//!
//! The write clock is only set while a write waits, so that a healthy connection pays nothing; a stop
//! that begins meanwhile sets it forward.
//! Invariant: a permit is taken before a connection is accepted and lives as long as the connection.

use std::fmt;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum_server::{AddrListener, Address};
use metrics::counter;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use super::ServeLimits;
use super::addresses::{Addresses, Place};
use crate::clock;

/// The address of a client, in the shape that makes the server use [`Bounded`].
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer(SocketAddr);

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Address for Peer {
    type Stream = Stream;
    type Listener = Bounded;
}

/// How long a peer may take nothing of what is written to it.
#[derive(Debug, Clone)]
pub(super) struct Patience {
    pub(super) serving: Duration,
    pub(super) stopping: Duration,
    /// Cancelled when the stop begins.
    pub(super) stop: CancellationToken,
}

impl Patience {
    /// The end of it for a write that waits from now on.
    async fn end(self) {
        let stopped = async {
            self.stop.cancelled().await;
            wait(self.stopping).await;
        };
        tokio::select! {
            () = wait(self.serving) => {}
            () = stopped => {}
        }
    }
}

async fn wait(time: Duration) {
    tokio::time::sleep_until((clock::monotonic() + time).into()).await;
}

/// A listener that accepts only while there is room.
pub(super) struct Bounded {
    listener: TcpListener,
    room: Arc<Semaphore>,
    addresses: Addresses,
    patience: Patience,
}

impl Bounded {
    pub(super) fn new(listener: TcpListener, limits: &ServeLimits, patience: Patience) -> Self {
        let room = Arc::new(Semaphore::new(limits.connections_max));
        Self {
            listener,
            room,
            addresses: Addresses::new(limits),
            patience,
        }
    }
}

impl AddrListener<Stream, Peer> for Bounded {
    // Only `serve` makes one of these, from a listener that is bound already.
    async fn bind_to(_: Peer) -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    async fn accept_stream(&self) -> io::Result<(Stream, Peer)> {
        let permit = Arc::clone(&self.room)
            .acquire_owned()
            .await
            .map_err(io::Error::other)?;
        let (tcp, address, place) = loop {
            let (tcp, address) = self.listener.accept().await?;
            if let Some(place) = self.addresses.admit(address.ip()) {
                break (tcp, address, place);
            }
            // Closing is the only answer that costs nothing before it is known who asks.
            counter!("tidegate_connections_refused_total").increment(1);
        };
        tcp.set_nodelay(true)?;
        let stream = Stream {
            tcp,
            patience: self.patience.clone(),
            stall: None,
            _permit: permit,
            _place: place,
        };
        Ok((stream, Peer(address)))
    }

    fn get_local_addr(&self) -> io::Result<Peer> {
        self.listener.local_addr().map(Peer)
    }
}

/// One connection.
pub(super) struct Stream {
    tcp: TcpStream,
    patience: Patience,
    stall: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    _permit: OwnedSemaphorePermit,
    _place: Place,
}

impl Stream {
    fn after_write<T>(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stall = None;
            return written;
        }
        let patience = &self.patience;
        let stall = self
            .stall
            .get_or_insert_with(|| Box::pin(patience.clone().end()));
        if stall.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        Poll::Pending
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().tcp).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.tcp).poll_write(cx, bytes);
        this.after_write(cx, written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.tcp).poll_write_vectored(cx, slices);
        this.after_write(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().tcp).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().tcp).poll_shutdown(cx)
    }
}
