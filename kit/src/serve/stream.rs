//! The bytes of a connection, plain or inside TLS, closed when the peer stops reading.
//!
//! The write clock is only set while a write waits, so that a healthy connection pays nothing; a stop
//! that begins meanwhile sets it forward.
//! Invariant: what the connection holds of the listener's room lives as long as its bytes, also when a
//! socket has taken them over.

use std::any::Any;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use crate::clock;

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

/// Writes up to this size are made one piece: most answers are, and the system takes one piece by a
/// shorter way than several, which is worth more than the copy.
const SMALL_WRITE_BYTES: usize = 1024;

/// All of `slices` in `room`, when they fit.
fn joined<'a>(slices: &[IoSlice<'_>], room: &'a mut [u8; SMALL_WRITE_BYTES]) -> Option<&'a [u8]> {
    let mut len = 0;
    for slice in slices {
        let end = len + slice.len();
        room.get_mut(len..end)?.copy_from_slice(slice);
        len = end;
    }
    Some(&room[..len])
}

/// One connection.
pub(super) struct Stream {
    tcp: TcpStream,
    patience: Patience,
    stall: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    _held: Box<dyn Any + Send>,
}

impl Stream {
    pub(super) fn new(tcp: TcpStream, patience: Patience, held: impl Any + Send) -> Self {
        Self {
            tcp,
            patience,
            stall: None,
            _held: Box::new(held),
        }
    }

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
        let mut small = [0; SMALL_WRITE_BYTES];
        if let Some(small) = joined(slices, &mut small) {
            return self.poll_write(cx, small);
        }
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

/// What HTTP is spoken over. One type for both, so that the protocols are compiled once.
pub(super) enum Transport {
    Plain(Stream),
    Secure(Box<TlsStream<Stream>>),
}

impl AsyncRead for Transport {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Secure(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Transport {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Secure(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
            Self::Secure(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Secure(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Secure(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Secure(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
