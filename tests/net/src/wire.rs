//! The bytes of a connection, cut into odd pieces: small reads and writes, reads that take several together,
//! pauses, and an end in the middle of a frame.
//!
//! Invariant: what arrives is what was sent, up to where the connection ends.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tidegate_kit::dial::{Dial, Dialled, Dialling};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};
use turmoil::net::TcpStream;

use crate::options::Cuts;
use crate::random::Random;

/// Bytes that one read takes at most while streams are cut.
const ROOM: usize = 16 * 1024;

/// How connections are made odd; all of a run.
#[derive(Debug, Clone)]
pub(crate) struct Wires {
    pub(crate) cuts: Cuts,
    pub(crate) is_tls: bool,
    pub(crate) seed: u64,
    pub(crate) count: Arc<AtomicU64>,
    /// Nothing is odd any more.
    pub(crate) is_calm: Arc<AtomicBool>,
}

impl Wires {
    /// The next connection.
    pub(crate) fn wrap(&self, inner: TcpStream) -> Odd {
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        let mut random = Random::new(self.seed ^ (number << 20));
        let left = random
            .hits(self.cuts.resets)
            .then(|| random.between(1, 100_000));
        Odd {
            inner,
            cuts: self.cuts,
            is_calm: Arc::clone(&self.is_calm),
            random,
            left,
            pause: None,
        }
    }
}

impl Dial for Wires {
    fn dial(&self, endpoint: &str) -> Dialling {
        let (wires, endpoint) = (self.clone(), endpoint.to_owned());
        Box::pin(async move {
            let stream = Box::new(wires.wrap(TcpStream::connect(endpoint).await?));
            Ok(if wires.is_tls {
                Dialled::Open(stream)
            } else {
                Dialled::Trusted(stream)
            })
        })
    }
}

/// See the module.
pub(crate) struct Odd {
    inner: TcpStream,
    cuts: Cuts,
    is_calm: Arc<AtomicBool>,
    random: Random,
    /// Bytes until it is reset.
    left: Option<u64>,
    pause: Option<Pin<Box<Sleep>>>,
}

impl fmt::Debug for Odd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Odd").finish_non_exhaustive()
    }
}

impl Odd {
    fn is_calm(&self) -> bool {
        self.is_calm.load(Ordering::Relaxed)
    }

    /// So many bytes pass; an error once it is reset.
    fn pass(&mut self, bytes: usize) -> io::Result<()> {
        let Some(left) = &mut self.left else {
            return Ok(());
        };
        *left = left.saturating_sub(bytes as u64);
        if *left == 0 {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        Ok(())
    }

    fn piece(&mut self, bytes: usize) -> usize {
        let Some(max) = self.cuts.piece_max else {
            return bytes;
        };
        let max = usize::try_from(self.random.between(1, max)).unwrap_or(1);
        bytes.min(max)
    }

    /// Ready when it does not pause.
    fn poll_pause(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let (per_mille, longest_ms) = self.cuts.stalls;
        if self.pause.is_none() && self.random.hits(per_mille) {
            let pause = Duration::from_millis(self.random.between(1, longest_ms));
            self.pause = Some(Box::pin(sleep(pause)));
        }
        if let Some(pause) = &mut self.pause {
            std::task::ready!(pause.as_mut().poll(cx));
            self.pause = None;
        }
        Poll::Ready(())
    }
}

impl AsyncRead for Odd {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.is_calm() {
            return Pin::new(&mut this.inner).poll_read(cx, buffer);
        }
        std::task::ready!(this.poll_pause(cx));
        this.pass(0)?;
        let mut room = [0; ROOM];
        let max = this.piece(buffer.remaining().min(ROOM));
        let mut piece = ReadBuf::new(&mut room[..max]);
        loop {
            let before = piece.filled().len();
            match Pin::new(&mut this.inner).poll_read(cx, &mut piece) {
                Poll::Ready(read) => read?,
                Poll::Pending if before == 0 => return Poll::Pending,
                Poll::Pending => break,
            }
            let is_over = piece.filled().len() == before;
            if is_over || piece.remaining() == 0 || !this.cuts.merges {
                break;
            }
        }
        let filled = piece.filled();
        this.pass(filled.len())?;
        buffer.put_slice(filled);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Odd {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.is_calm() {
            return Pin::new(&mut this.inner).poll_write(cx, bytes);
        }
        let max = this.piece(bytes.len());
        let written = std::task::ready!(Pin::new(&mut this.inner).poll_write(cx, &bytes[..max]))?;
        this.pass(written)?;
        Poll::Ready(Ok(written))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(cx)
    }
}
