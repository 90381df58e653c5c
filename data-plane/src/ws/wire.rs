//! The WebSocket itself, with an end to every wait: reading, feeding, flushing, closing.
//!
//! Frames are fed and counted here and flushed when the loop says so. Nothing of subscriptions or
//! operations is known. Invariant: a write ends within the stall limit, or within the drain's once
//! the process stops.

use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, WebSocket};
use futures_util::{FutureExt as _, SinkExt as _};
use tidegate_proto::api::socket::CloseCode;
use tokio::time::{sleep, timeout};
use tokio_tungstenite::tungstenite;
use tokio_util::sync::CancellationToken;

use super::effect::Input;
use super::limits::{CLOSE_WAIT, DRAIN_WAIT};
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

/// One socket.
#[derive(Debug)]
pub(crate) struct Wire {
    socket: WebSocket,
    stop: CancellationToken,
    write_stall: Duration,
    is_unflushed: bool,
    written: Written,
}

impl Wire {
    pub(crate) fn new(socket: WebSocket, stop: CancellationToken, write_stall: Duration) -> Self {
        Self {
            socket,
            stop,
            write_stall,
            is_unflushed: false,
            written: Written::default(),
        }
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

    /// Hands one message over; it may stay in the buffer until the next flush.
    pub(crate) async fn feed(&mut self, message: Message, records: u64) -> Result<(), Over> {
        self.is_unflushed = true;
        match &message {
            Message::Text(text) => self.written.frame(records, text.len()),
            Message::Binary(bytes) => self.written.frame(records, bytes.len()),
            Message::Ping(_) | Message::Pong(_) | Message::Close(_) => {}
        }
        let stalled = stall(&self.stop, self.write_stall);
        tokio::select! {
            biased;
            fed = self.socket.feed(message) => fed.map_err(|_| Over::Gone),
            () = stalled => Err(Over::Close(CloseCode::SlowConsumer)),
        }
    }

    pub(crate) async fn flush(&mut self) -> Result<(), Over> {
        self.is_unflushed = false;
        self.written.publish();
        let stalled = stall(&self.stop, self.write_stall);
        tokio::select! {
            biased;
            flushed = self.socket.flush() => flushed.map_err(|_| Over::Gone),
            () = stalled => Err(Over::Close(CloseCode::SlowConsumer)),
        }
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

/// Ends when a write has taken too long; sooner once the process stops.
async fn stall(stop: &CancellationToken, limit: Duration) {
    tokio::select! {
        () = sleep(limit) => {}
        () = async {
            stop.cancelled().await;
            sleep(DRAIN_WAIT).await;
        } => {}
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
