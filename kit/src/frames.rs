//! Frames out of a body, as bytes come.
//!
//! The reader of a stream says of each frame how it is kept once it knows its kind and length:
//! [`Keep`]. What is long is paid for before it is waited for. Invariant: dropping [`FrameReader::next`]
//! half way loses nothing; the next call goes on where it was.

use std::fmt;

use bytes::{Buf as _, Bytes};
use http_body::Body;
use http_body_util::BodyExt as _;
use thiserror::Error;
use tidegate_proto::private::{FRAME_HEADER_LEN, FrameError, FrameHeader};

use crate::budget::{ByteBudget, BytePermit};

/// Of a frame that is skipped so much is kept: enough to say which one it was.
const SKIPPED_START_LEN: usize = 16;

/// Why there are no more frames.
#[derive(Debug, Error)]
pub enum FrameFault {
    /// The connection broke, or the peer ended the stream with an error.
    #[error("the stream broke: {0}")]
    Broken(String),
    /// The stream ended inside a frame.
    #[error("the stream ended inside a frame")]
    Cut,
    /// A frame that is none.
    #[error(transparent)]
    Frame(#[from] FrameError),
}

/// How a payload is kept.
#[derive(Debug)]
pub enum Keep {
    /// Short, and looked at at once: it may share the memory of what came with it.
    Shared,
    /// In memory of its own, paid for out of this budget; waits until there is room. The payer gets the
    /// permit beside the payload.
    Paid(ByteBudget),
    /// The same, but what is larger than the whole budget comes all the same when all of it is free: for
    /// what was asked for and has no smaller form.
    PaidAtMost(ByteBudget),
    /// As `Paid`, but the payload itself holds what was paid; skipped when there is no room now.
    IfRoom(ByteBudget),
}

/// A frame that has come.
#[derive(Debug)]
pub struct Arrived {
    /// Its kind.
    pub kind: u8,
    /// Its payload, or the start of it when it was skipped.
    pub payload: Bytes,
    /// Length of the whole payload, in bytes.
    pub payload_len: usize,
    /// What [`Keep::Paid`] paid for it.
    pub permit: Option<BytePermit>,
    /// True when there was no room for it, now or ever.
    pub is_skipped: bool,
}

enum Stage {
    Header,
    /// Its payload is decided on.
    Known(FrameHeader, Option<Keep>),
    Payload(FrameHeader, Buffer),
}

struct Buffer {
    bytes: Vec<u8>,
    permit: Option<BytePermit>,
    is_around: bool,
    is_skipped: bool,
    /// Bytes of the payload that are still to come.
    left: usize,
}

/// Reads frames from a body.
pub struct FrameReader<B> {
    body: B,
    unread: Bytes,
    header: [u8; FRAME_HEADER_LEN],
    header_len: usize,
    stage: Stage,
}

impl<B> fmt::Debug for FrameReader<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FrameReader")
            .field("unread", &self.unread.len())
            .finish_non_exhaustive()
    }
}

impl<B> FrameReader<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: fmt::Display,
{
    /// Reads from `body`.
    #[must_use]
    pub fn new(body: B) -> Self {
        Self {
            body,
            unread: Bytes::new(),
            header: [0; FRAME_HEADER_LEN],
            header_len: 0,
            stage: Stage::Header,
        }
    }

    /// The next frame; none when the stream ended between two. `keep` says how it is kept, or refuses it.
    ///
    /// # Errors
    /// When the stream breaks, or `keep` refuses.
    pub async fn next(
        &mut self,
        keep: impl Fn(FrameHeader) -> Result<Keep, FrameError>,
    ) -> Result<Option<Arrived>, FrameFault> {
        loop {
            match &mut self.stage {
                Stage::Header => {
                    let Some(header) = self.read_header().await? else {
                        return Ok(None);
                    };
                    self.stage = Stage::Known(header, Some(keep(header)?));
                }
                Stage::Known(header, kept) => {
                    let header = *header;
                    if let Some(arrived) = at_once(&mut self.unread, header, kept.as_ref()) {
                        self.stage = Stage::Header;
                        return Ok(Some(arrived));
                    }
                    let buffer = Buffer::paid(header.payload_len, kept.as_ref()).await;
                    self.stage = Stage::Payload(header, buffer);
                }
                Stage::Payload(header, buffer) => {
                    buffer.fill(&mut self.unread);
                    if buffer.left == 0 {
                        let header = *header;
                        let Stage::Payload(_, buffer) =
                            std::mem::replace(&mut self.stage, Stage::Header)
                        else {
                            continue;
                        };
                        return Ok(Some(buffer.arrived(header)));
                    }
                    if !self.fill().await? {
                        return Err(FrameFault::Cut);
                    }
                }
            }
        }
    }

    async fn read_header(&mut self) -> Result<Option<FrameHeader>, FrameFault> {
        loop {
            let wanted = FRAME_HEADER_LEN - self.header_len;
            let len = wanted.min(self.unread.len());
            self.unread
                .copy_to_slice(&mut self.header[self.header_len..self.header_len + len]);
            self.header_len += len;
            if self.header_len == FRAME_HEADER_LEN {
                self.header_len = 0;
                return Ok(Some(FrameHeader::parse(self.header)));
            }
            if !self.fill().await? {
                return if self.header_len == 0 {
                    Ok(None)
                } else {
                    Err(FrameFault::Cut)
                };
            }
        }
    }

    /// Waits for more bytes; false at the end. Only called when all have been read.
    async fn fill(&mut self) -> Result<bool, FrameFault> {
        while self.unread.is_empty() {
            match self.body.frame().await {
                None => return Ok(false),
                Some(Err(error)) => return Err(FrameFault::Broken(error.to_string())),
                // Trailers say nothing here, and HTTP/2 may send empty pieces.
                Some(Ok(frame)) => self.unread = frame.into_data().unwrap_or_default(),
            }
        }
        Ok(true)
    }
}

/// A short payload that is there already.
fn at_once(unread: &mut Bytes, header: FrameHeader, keep: Option<&Keep>) -> Option<Arrived> {
    let is_there = unread.len() >= header.payload_len;
    (matches!(keep, Some(Keep::Shared)) && is_there).then(|| Arrived {
        kind: header.kind,
        payload: unread.split_to(header.payload_len),
        payload_len: header.payload_len,
        permit: None,
        is_skipped: false,
    })
}

impl Buffer {
    async fn paid(len: usize, keep: Option<&Keep>) -> Self {
        let (permit, is_around, is_skipped) = match keep {
            None | Some(Keep::Shared) => (None, false, false),
            Some(Keep::Paid(budget)) => {
                let permit = budget.acquire(len).await;
                let is_skipped = permit.is_none();
                (permit, false, is_skipped)
            }
            Some(Keep::PaidAtMost(budget)) => {
                (budget.acquire(len.min(budget.total())).await, false, false)
            }
            Some(Keep::IfRoom(budget)) => {
                let permit = budget.try_acquire(len);
                let is_skipped = permit.is_none();
                (permit, true, is_skipped)
            }
        };
        let room = if is_skipped {
            len.min(SKIPPED_START_LEN)
        } else {
            len
        };
        Self {
            bytes: Vec::with_capacity(room),
            permit,
            is_around,
            is_skipped,
            left: len,
        }
    }

    fn fill(&mut self, unread: &mut Bytes) {
        let run = unread.split_to(self.left.min(unread.len()));
        self.left -= run.len();
        let room = if self.is_skipped {
            SKIPPED_START_LEN.saturating_sub(self.bytes.len())
        } else {
            run.len()
        };
        self.bytes.extend_from_slice(&run[..room.min(run.len())]);
    }

    fn arrived(self, header: FrameHeader) -> Arrived {
        let (payload, permit) = match self.permit {
            Some(permit) if self.is_around => (permit.around(self.bytes), None),
            permit => (Bytes::from(self.bytes), permit),
        };
        Arrived {
            kind: header.kind,
            payload,
            payload_len: header.payload_len,
            permit,
            is_skipped: self.is_skipped,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures_util::{FutureExt as _, StreamExt as _, stream};
    use http_body::Frame;
    use http_body_util::StreamBody;

    use super::*;

    fn frames() -> Vec<u8> {
        let mut out = Vec::new();
        for (kind, len) in [(1, 3), (2, 0), (1, 40)] {
            let header = FrameHeader {
                kind,
                payload_len: len,
            };
            out.extend_from_slice(&header.to_bytes());
            out.extend(std::iter::repeat_n(kind, len));
        }
        out
    }

    fn body(
        bytes: &[u8],
        piece: usize,
    ) -> impl Body<Data = Bytes, Error = Infallible> + Unpin + use<> {
        let pieces: Vec<_> = bytes.chunks(piece).map(Bytes::copy_from_slice).collect();
        let pieces = stream::iter(pieces).map(|bytes| Ok(Frame::data(bytes)));
        // A pause before every piece: whoever waits is dropped and asks again.
        let pieces = pieces.then(|piece| async {
            tokio::task::yield_now().await;
            piece
        });
        StreamBody::new(Box::pin(pieces))
    }

    async fn patiently<B>(
        reader: &mut FrameReader<B>,
        keep: impl Fn(FrameHeader) -> Result<Keep, FrameError>,
    ) -> Result<Option<Arrived>, FrameFault>
    where
        B: Body<Data = Bytes> + Unpin,
        B::Error: fmt::Display,
    {
        loop {
            if let Some(done) = reader.next(&keep).now_or_never() {
                return done;
            }
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn frames_are_read_however_they_are_cut_and_however_often_the_reader_is_dropped() {
        let budget = ByteBudget::new(1_000);
        for piece in 1..60 {
            for kept in 0..3 {
                let keep = |_| {
                    Ok(match kept {
                        0 => Keep::Shared,
                        1 => Keep::Paid(budget.clone()),
                        _ => Keep::IfRoom(budget.clone()),
                    })
                };
                let mut reader = FrameReader::new(body(&frames(), piece));
                for (kind, len) in [(1, 3), (2, 0), (1, 40)] {
                    let arrived = patiently(&mut reader, keep).await.unwrap().unwrap();
                    assert_eq!((arrived.kind, arrived.payload.len()), (kind, len));
                    assert!(arrived.payload.iter().all(|byte| *byte == kind));
                    assert_eq!(budget.held(), if kept == 0 { 0 } else { len });
                }
                assert!(patiently(&mut reader, keep).await.unwrap().is_none());
            }
        }
    }

    #[tokio::test]
    async fn what_has_no_room_is_skipped_and_its_start_is_told() {
        let budget = ByteBudget::new(10);
        for if_room in [true, false] {
            let keep = |_| {
                Ok(match if_room {
                    true => Keep::IfRoom(budget.clone()),
                    false => Keep::Paid(budget.clone()),
                })
            };
            let mut reader = FrameReader::new(body(&frames(), 7));
            reader.next(keep).await.unwrap().unwrap();
            reader.next(keep).await.unwrap().unwrap();
            let arrived = reader.next(keep).await.unwrap().unwrap();
            assert!(arrived.is_skipped);
            assert_eq!(arrived.payload.len(), SKIPPED_START_LEN);
            assert!(reader.next(keep).await.unwrap().is_none());
        }
    }

    #[tokio::test]
    async fn a_stream_that_ends_inside_a_frame_is_told_from_one_that_ends_between_two() {
        let bytes = frames();
        for cut in 1..bytes.len() {
            let mut reader = FrameReader::new(body(&bytes[..cut], 11));
            let mut ended = reader.next(|_| Ok(Keep::Shared)).await;
            while let Ok(Some(_)) = ended {
                ended = reader.next(|_| Ok(Keep::Shared)).await;
            }
            let is_between = [8, 13].contains(&cut);
            assert_eq!(ended.is_ok(), is_between, "{cut}");
        }
    }
}
