//! The WebSocket itself: reading, feeding, flushing, closing.
//!
//! Frames are fed and counted here and flushed when the loop says so; how long it waits for either is the
//! loop's to say. Nothing of subscriptions or operations is known. Invariant: what stands in the write
//! buffer, but for the first few KiB, is taken from the budget of the socket's principal.

use std::future::poll_fn;

use axum::extract::ws::{CloseFrame, Message, WebSocket};
use futures_util::{FutureExt as _, SinkExt as _};
use tidegate_kit::budget::{ByteBudget, BytePermit};
use tidegate_proto::api::socket::CloseCode;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite;

use super::effect::Input;
use super::limits::{CLOSE_WAIT, SOCKET_FREE_BYTES};
use super::metrics::{self, Written};

/// Why a socket is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Over {
    /// We close it and say why.
    Close(CloseCode),
    /// The client closed it.
    Closed,
    /// The connection is gone.
    Gone,
}

/// What a write waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Goal {
    /// A message of so many bytes can be handed over.
    Room(usize),
    /// All that was handed over has left.
    Flushed,
}

/// One socket.
#[derive(Debug)]
pub(crate) struct Wire {
    socket: WebSocket,
    /// Of its principal.
    memory: ByteBudget,
    /// For the longest message that may stand in the write buffer.
    buffered: Option<BytePermit>,
    is_unflushed: bool,
    written: Written,
}

impl Wire {
    pub(crate) fn new(socket: WebSocket, memory: ByteBudget) -> Self {
        Self {
            socket,
            memory,
            buffered: None,
            is_unflushed: false,
            written: Written::default(),
        }
    }

    /// What its write buffer is taken from.
    pub(crate) fn memory(&self) -> &ByteBudget {
        &self.memory
    }

    /// Whether its write buffer holds something that others may need.
    pub(crate) fn is_holding(&self) -> bool {
        self.buffered.is_some()
    }

    /// Makes the loop flush, though nothing may have been fed: the session waits to hear of it.
    pub(crate) fn expect_flush(&mut self) {
        self.is_unflushed = true;
    }

    pub(crate) fn is_unflushed(&self) -> bool {
        self.is_unflushed
    }

    /// The next message. May be dropped while it waits without losing one.
    pub(crate) async fn receive(&mut self) -> Result<Input, Over> {
        match self.socket.recv().await {
            Some(Ok(Message::Text(text))) => {
                metrics::message_received(text.len());
                Ok(Input::Text(text))
            }
            Some(Ok(Message::Binary(bytes))) => {
                metrics::message_received(bytes.len());
                Ok(Input::Binary(bytes))
            }
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => Ok(Input::Alive),
            Some(Ok(Message::Close(_))) => Err(Over::Closed),
            Some(Err(error)) => Ok(Input::Unreadable(reason_of(error).ok_or(Over::Gone)?)),
            None => Err(Over::Gone),
        }
    }

    /// A message that is here already.
    pub(crate) fn receive_now(&mut self) -> Option<Result<Input, Over>> {
        self.receive().now_or_never()
    }

    /// Waits for a goal, without an end of its own. May be dropped while it waits.
    pub(crate) async fn reach(&mut self, goal: Goal) -> Result<(), Over> {
        match goal {
            Goal::Room(bytes) => {
                // A full write buffer is emptied first, which also gives its room back.
                let ready = poll_fn(|cx| self.socket.poll_ready_unpin(cx)).await;
                ready.map_err(|_| Over::Gone)?;
                self.make_room(bytes).await;
                Ok(())
            }
            Goal::Flushed => {
                let flushed = self.socket.flush().await;
                flushed.map_err(|_| Over::Gone)?;
                self.buffered = None;
                Ok(())
            }
        }
    }

    /// At most one message stands in the buffer beside what is small.
    async fn make_room(&mut self, bytes: usize) {
        if bytes <= SOCKET_FREE_BYTES {
            return;
        }
        // One that is larger than all there is takes all of it.
        let bytes = bytes.min(self.memory.total());
        if let Some(held) = &mut self.buffered
            && held.grow_to(bytes)
        {
            return;
        }
        if self.buffered.is_some() {
            // Nobody waits for more while holding some: what is in the buffer leaves first.
            if self.socket.flush().await.is_err() {
                return;
            }
            self.buffered = None;
        }
        self.buffered = self.memory.acquire(bytes).await;
    }

    /// Hands one message over, for which there is room; it may stay in the buffer until the next flush.
    pub(crate) fn feed(&mut self, message: Message, records: u64) -> Result<(), Over> {
        self.is_unflushed = true;
        match &message {
            Message::Text(text) => self.written.frame(records, text.len()),
            Message::Binary(bytes) => self.written.frame(records, bytes.len()),
            Message::Ping(_) | Message::Pong(_) | Message::Close(_) => {}
        }
        self.socket
            .start_send_unpin(message)
            .map_err(|_| Over::Gone)
    }

    /// What was fed is counted; whether it leaves is for [`Goal::Flushed`].
    pub(crate) fn begin_flush(&mut self) {
        self.is_unflushed = false;
        self.written.publish();
    }

    /// Ends the socket: our close frame, and the peer's, so that neither is lost with the
    /// connection. The peer may be gone or stuck, so this ends by its own limit.
    pub(crate) async fn finish(&mut self, over: Over) {
        self.written.publish();
        let farewell = async {
            match over {
                Over::Gone => {}
                // The answer to the peer's close frame is written by reading on.
                Over::Closed => while let Some(Ok(_)) = self.socket.recv().await {},
                Over::Close(code) => {
                    metrics::closed(code);
                    let frame = CloseFrame {
                        code: code.number(),
                        reason: code.reason().into(),
                    };
                    if self.socket.send(Message::Close(Some(frame))).await.is_ok() {
                        while let Some(Ok(_)) = self.socket.recv().await {}
                    }
                }
            }
        };
        let _ = timeout(CLOSE_WAIT, farewell).await;
    }
}

/// What a failed read means for the client; `None` when there is nobody left to tell.
fn reason_of(error: axum::Error) -> Option<CloseCode> {
    let error = error.into_inner().downcast::<tungstenite::Error>().ok()?;
    match *error {
        tungstenite::Error::Capacity(_) => Some(CloseCode::TooLarge),
        tungstenite::Error::Protocol(
            tungstenite::error::ProtocolError::ResetWithoutClosingHandshake,
        ) => None,
        tungstenite::Error::Protocol(_) | tungstenite::Error::Utf8(_) => Some(CloseCode::Protocol),
        _ => None,
    }
}
