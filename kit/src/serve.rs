//! Listens, speaks TLS, HTTP/1.1 and HTTP/2, and stops without cutting anybody off.
//!
//! The accept loop and the protocols are axum-server's; here are the bounds put on them. Plain and
//! TLS listeners run the same code. A connection that takes nothing of what is written to it is
//! closed, whatever protocol it speaks. Upgraded sockets are not counted by the server: their
//! handlers run them as tasks of kind `Socket`.
//! Invariant: at most `connections_max` connections are open; more wait in the kernel. At most
//! `connections_per_address_max` of them are one client's; more are closed before a byte is read.

mod addresses;
mod stream;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use axum_server::accept::DefaultAcceptor;
use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use axum_server::{Handle, Server};
use rustls::ServerConfig;
use tower::make::Shared;

use crate::http::Front;
use crate::limits;
use crate::tasks::{TaskKind, Tasks};
use stream::{Bounded, Patience, Peer};

/// Bounds of one listener. `Default` has the ones of `crate::limits`.
#[derive(Debug, Clone)]
pub struct ServeLimits {
    /// Connections open at once.
    pub connections_max: usize,
    /// Of these, from one address.
    pub connections_per_address_max: usize,
    /// Whether that holds for this machine itself, too.
    pub bounds_loopback: bool,
    /// For a TLS handshake.
    pub handshake_timeout: Duration,
    /// For the head of the first request of a connection.
    pub first_request_timeout: Duration,
    /// From one answer to the end of the next request's head (HTTP/1.1).
    pub next_request_timeout: Duration,
    /// For a peer to take something of what is written.
    pub write_stall_timeout: Duration,
    /// The same from the moment at which the stop begins.
    pub stopping_write_stall_timeout: Duration,
    /// For requests under way when the stop begins.
    pub drain_timeout: Duration,
}

impl Default for ServeLimits {
    fn default() -> Self {
        Self {
            connections_max: limits::CONNECTIONS_MAX,
            connections_per_address_max: limits::CONNECTIONS_PER_ADDRESS_MAX,
            bounds_loopback: false,
            handshake_timeout: limits::TLS_HANDSHAKE_TIMEOUT,
            first_request_timeout: limits::FIRST_REQUEST_TIMEOUT,
            next_request_timeout: limits::NEXT_REQUEST_TIMEOUT,
            write_stall_timeout: limits::WRITE_STALL_TIMEOUT,
            stopping_write_stall_timeout: limits::STOPPING_WRITE_STALL_TIMEOUT,
            drain_timeout: limits::DRAIN_TIMEOUT,
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
    config.listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(config.listener)?;
    let listener = Bounded::new(
        listener,
        &config.limits,
        Patience {
            serving: config.limits.write_stall_timeout,
            stopping: config.limits.stopping_write_stall_timeout,
            stop: config.tasks.token(),
        },
    );
    let handle = Handle::<Peer>::new();
    let mut server = Server::<Peer>::from_listener(listener)
        .handle(handle.clone())
        .first_request_timeout(config.limits.first_request_timeout)
        .accept_error_handler(|peer, error| {
            let peer = peer.map(ToString::to_string);
            tracing::debug!(peer, %error, "connection was not accepted");
        });
    bound_protocols(&mut server, &config.limits);
    let service = Shared::new(config.front);
    let cancelled = config.tasks.cancelled();
    let drain_timeout = config.limits.drain_timeout;
    let stop = async move {
        cancelled.await;
        handle.graceful_shutdown(Some(drain_timeout));
        std::future::pending::<io::Result<()>>().await
    };
    let span = tracing::info_span!("listener", %address);
    let tls = config.tls.map(RustlsConfig::from_config);
    let handshake_timeout = config.limits.handshake_timeout;
    config.tasks.spawn(TaskKind::Listener, span, async move {
        let served = async move {
            match tls {
                Some(tls) => {
                    let acceptor = RustlsAcceptor::new(tls).handshake_timeout(handshake_timeout);
                    server.acceptor(acceptor).serve(service).await
                }
                None => server.serve(service).await,
            }
        };
        tokio::select! {
            ended = served => ended,
            ended = stop => ended,
        }
    });
    Ok(address)
}

fn bound_protocols(server: &mut Server<Peer, DefaultAcceptor>, bounds: &ServeLimits) {
    let builder = server.http_builder();
    // `pipeline_flush` stays off: with it hyper buffers an answer without any bound.
    // axum-server has installed timers on both protocols; without one these time-outs do nothing.
    builder
        .http1()
        .header_read_timeout(bounds.next_request_timeout)
        .max_buf_size(limits::HTTP1_BUFFER_BYTES_MAX)
        .max_headers(limits::HEADER_COUNT_MAX);
    builder
        .http2()
        .enable_connect_protocol()
        .max_concurrent_streams(limits::HTTP2_STREAMS_MAX)
        .initial_stream_window_size(limits::HTTP2_STREAM_WINDOW_BYTES)
        .initial_connection_window_size(limits::HTTP2_CONNECTION_WINDOW_BYTES)
        .max_frame_size(limits::HTTP2_FRAME_BYTES_MAX)
        .max_send_buf_size(limits::HTTP2_SEND_BUFFER_BYTES)
        .max_header_list_size(limits::HEADER_LIST_BYTES_MAX as u32)
        .max_pending_accept_reset_streams(limits::HTTP2_PENDING_RESETS_MAX)
        .max_local_error_reset_streams(limits::HTTP2_LOCAL_RESETS_MAX)
        .keep_alive_interval(limits::HTTP2_PING_INTERVAL)
        .keep_alive_timeout(limits::HTTP2_PING_TIMEOUT);
}

#[cfg(test)]
mod tests;
