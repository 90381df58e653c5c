//! Listens, speaks TLS, HTTP/1.1 and HTTP/2, and stops without cutting anybody off.
//!
//! [`accept`] decides who gets a connection, [`connection`] runs one, [`stream`] closes those that take
//! nothing of what is written to them; here are the bounds. Plain and TLS listeners run the same code.
//! Upgraded sockets are not connections any more: their handlers run them as tasks of kind `Socket`.
//! Invariants: at most `connections_max` connections are served; one more is told so. At most
//! `connections_per_address_max` of them are one client's, and at most `strangers_max` are of nobody
//! knows whom.

mod accept;
mod addresses;
mod connection;
mod head_clock;
mod stream;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;

use crate::http::Front;
use crate::limits;
use crate::tasks::{TaskKind, Tasks};
use accept::Acceptor;

/// Bounds of one listener. `Default` has the ones of `crate::limits`.
#[derive(Debug, Clone)]
pub struct ServeLimits {
    /// Connections served at once.
    pub connections_max: usize,
    /// Of these, from one address.
    pub connections_per_address_max: usize,
    /// Connections on which nobody has shown a credential yet.
    pub strangers_max: usize,
    /// Of these, from one address.
    pub strangers_per_address_max: usize,
    /// Whether what holds for one address holds for this machine itself, too.
    pub bounds_loopback: bool,
    /// For a TLS handshake.
    pub handshake_timeout: Duration,
    /// For the head of the first request of a connection.
    pub first_request_timeout: Duration,
    /// From one answer to the end of the next request's head (HTTP/1.1).
    pub next_request_timeout: Duration,
    /// For a connection on which nobody shows a credential; then it ends with the answer under way.
    pub stranger_age_max: Duration,
    /// The same for every other, each up to a tenth earlier.
    pub connection_age_max: Duration,
    /// For a peer to take something of what is written.
    pub write_stall_timeout: Duration,
    /// The same from the moment at which the stop begins.
    pub stopping_write_stall_timeout: Duration,
    /// For requests under way when the stop begins.
    pub drain_timeout: Duration,
    /// What HTTP/2 may have under way.
    pub windows: Http2Windows,
}

/// What one HTTP/2 connection may have under way, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Http2Windows {
    /// Of one stream, on its way to us.
    pub stream_bytes: u32,
    /// Of all streams of a connection, on their way to us.
    pub connection_bytes: u32,
    /// In one frame that is sent to us.
    pub frame_bytes: u32,
    /// Of one stream, waiting to be sent by us.
    pub send_buffer_bytes: usize,
}

impl ServeLimits {
    /// For a listener whose clients are nodes of the cluster: few of them, who send much on streams that
    /// last.
    #[must_use]
    pub fn between_nodes() -> Self {
        Self {
            windows: Http2Windows {
                stream_bytes: limits::NODE_STREAM_WINDOW_BYTES,
                connection_bytes: limits::NODE_CONNECTION_WINDOW_BYTES,
                frame_bytes: limits::NODE_FRAME_BYTES_MAX,
                send_buffer_bytes: limits::NODE_SEND_BUFFER_BYTES,
            },
            ..Self::default()
        }
    }
}

impl Default for ServeLimits {
    fn default() -> Self {
        Self {
            connections_max: limits::CONNECTIONS_MAX,
            connections_per_address_max: limits::CONNECTIONS_PER_ADDRESS_MAX,
            strangers_max: limits::STRANGERS_MAX,
            strangers_per_address_max: limits::STRANGERS_PER_ADDRESS_MAX,
            bounds_loopback: false,
            handshake_timeout: limits::TLS_HANDSHAKE_TIMEOUT,
            first_request_timeout: limits::FIRST_REQUEST_TIMEOUT,
            next_request_timeout: limits::NEXT_REQUEST_TIMEOUT,
            stranger_age_max: limits::STRANGER_AGE_MAX,
            connection_age_max: limits::CONNECTION_AGE_MAX,
            write_stall_timeout: limits::WRITE_STALL_TIMEOUT,
            stopping_write_stall_timeout: limits::STOPPING_WRITE_STALL_TIMEOUT,
            drain_timeout: limits::DRAIN_TIMEOUT,
            windows: Http2Windows {
                stream_bytes: limits::HTTP2_STREAM_WINDOW_BYTES,
                connection_bytes: limits::HTTP2_CONNECTION_WINDOW_BYTES,
                frame_bytes: limits::HTTP2_FRAME_BYTES_MAX,
                send_buffer_bytes: limits::HTTP2_SEND_BUFFER_BYTES,
            },
        }
    }
}

/// What to serve and where.
#[derive(Debug)]
pub struct ServeConfig {
    /// Bound and listening.
    pub listener: TcpListener,
    /// The routes, with their edge around them.
    pub front: Front,
    /// Encryption, or none for a development listener.
    pub tls: Option<Arc<ServerConfig>>,
    /// The stage whose end stops this listener.
    pub tasks: Tasks,
    /// Bounds.
    pub limits: ServeLimits,
}

/// Starts to serve; returns at once. The listener is a task of kind `Listener`: it stops accepting
/// when the stage of `tasks` is cancelled, lets requests under way finish within `drain_timeout`,
/// and its failure ends the process.
///
/// # Errors
/// When the socket cannot be taken over by the runtime.
pub fn serve(config: ServeConfig) -> io::Result<SocketAddr> {
    let address = config.listener.local_addr()?;
    let tasks = config.tasks.clone();
    let acceptor = Acceptor::new(config)?;
    let span = tracing::info_span!("listener", %address);
    tasks.spawn(TaskKind::Listener, span, acceptor.run());
    Ok(address)
}

#[cfg(test)]
mod tests;
