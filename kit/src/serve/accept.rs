//! Who gets a connection: the loop that accepts.
//!
//! A client that has too many is closed before a byte is read. When all connections are taken, a few more
//! are accepted to be told so, and beyond those a close is the answer. While there is no file for another
//! connection one that is kept for this is given up for a moment, so that whoever knocks is sent away
//! and does not wait for nothing. Invariant: every failure to accept costs a pause or a connection.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use futures_util::FutureExt as _;
use metrics::counter;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::Span;

use super::ServeConfig;
use super::addresses::{Addresses, Place};
use super::connection::{Bounds, Connection, Door};
use super::stream::{Patience, Stream};
use crate::acquaintance::Acquaintance;
use crate::clock;
use crate::limits::{ACCEPT_RETRY_AFTER, REFUSALS_MAX};
use crate::tasks::{TaskKind, Tasks};

pub(super) struct Acceptor {
    listener: TcpListener,
    /// A second handle, given up when there are no files for a connection.
    spare: Option<Spare>,
    bounds: Arc<Bounds>,
    tls: Option<RustlsAcceptor>,
    patience: Patience,
    room: Arc<Semaphore>,
    refusals: Arc<Semaphore>,
    strangers: Arc<Semaphore>,
    addresses: Addresses,
    stranger_addresses: Addresses,
    tasks: Tasks,
    count: u64,
}

/// What a connection holds of the listener's room as long as it lives.
struct Admitted {
    _permit: OwnedSemaphorePermit,
    _place: Place,
}

impl Acceptor {
    pub(super) fn new(config: ServeConfig) -> io::Result<Self> {
        let limits = config.limits;
        config.listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(config.listener)?;
        let addresses = |each_max| Addresses::new(each_max, limits.bounds_loopback);
        Ok(Self {
            spare: second_handle(&listener),
            listener,
            tls: config
                .tls
                .map(|tls| RustlsAcceptor::new(RustlsConfig::from_config(tls))),
            patience: Patience {
                serving: limits.write_stall_timeout,
                stopping: limits.stopping_write_stall_timeout,
                stop: config.tasks.token(),
            },
            room: Arc::new(Semaphore::new(limits.connections_max)),
            refusals: Arc::new(Semaphore::new(REFUSALS_MAX)),
            strangers: Arc::new(Semaphore::new(limits.strangers_max)),
            addresses: addresses(limits.connections_per_address_max),
            stranger_addresses: addresses(limits.strangers_per_address_max),
            tasks: config.tasks,
            bounds: Arc::new(Bounds::new(config.front, limits)),
            count: 0,
        })
    }

    /// Accepts until the stage is cancelled. Connections are tasks of their own and end after it.
    pub(super) async fn run(mut self) {
        let stopping = self.tasks.cancelled();
        tokio::select! {
            biased;
            () = stopping => {}
            () = self.accept_all() => {}
        }
        // Refused from here on, and not left hanging.
        drop(self.listener);
        drop(self.spare);
        self.bounds.stop();
    }

    async fn accept_all(&mut self) {
        loop {
            // It is never closed.
            let Ok(stranger) = Arc::clone(&self.strangers).acquire_owned().await else {
                return;
            };
            match self.listener.accept().await {
                Ok((tcp, address)) => self.take(tcp, address, stranger),
                Err(error) => {
                    tracing::debug!(%error, "connection was not accepted");
                    if is_out_of_files(&error) {
                        self.send_one_away();
                    }
                    tokio::time::sleep_until((clock::monotonic() + ACCEPT_RETRY_AFTER).into())
                        .await;
                }
            }
        }
    }

    fn take(&mut self, tcp: TcpStream, address: SocketAddr, stranger: OwnedSemaphorePermit) {
        let Some((door, permit)) = self.door() else {
            refused("too_many");
            return;
        };
        let Some((place, stranger_place)) = self.places(address.ip()) else {
            refused("too_many_of_address");
            return;
        };
        if tcp.set_nodelay(true).is_err() {
            return;
        }
        let admitted = Admitted {
            _permit: permit,
            _place: place,
        };
        self.count = self.count.wrapping_add(1);
        let connection = Connection {
            stream: Stream::new(tcp, self.patience.clone(), admitted),
            address,
            tls: self.tls.clone(),
            door,
            acquaintance: Acquaintance::stranger((stranger, stranger_place)),
            bounds: Arc::clone(&self.bounds),
            number: self.count,
        };
        self.tasks
            .spawn(TaskKind::Connection, Span::none(), connection.run());
    }

    fn door(&self) -> Option<(Door, OwnedSemaphorePermit)> {
        if let Ok(permit) = Arc::clone(&self.room).try_acquire_owned() {
            return Some((Door::Open, permit));
        }
        let permit = Arc::clone(&self.refusals).try_acquire_owned().ok()?;
        refused("too_many");
        Some((Door::Full, permit))
    }

    fn places(&self, address: IpAddr) -> Option<(Place, Place)> {
        let place = self.addresses.admit(address)?;
        Some((place, self.stranger_addresses.admit(address)?))
    }

    /// With the file of the spare handle one connection is accepted and closed.
    fn send_one_away(&mut self) {
        drop(self.spare.take());
        if let Some(Ok((tcp, _))) = self.listener.accept().now_or_never() {
            refused("no_files");
            drop(tcp);
        }
        self.spare = second_handle(&self.listener);
    }
}

#[cfg(unix)]
type Spare = std::os::fd::OwnedFd;
#[cfg(not(unix))]
type Spare = std::convert::Infallible;

/// One more file of the process for the same socket.
#[cfg(unix)]
fn second_handle(listener: &TcpListener) -> Option<Spare> {
    use std::os::fd::AsFd as _;
    listener.as_fd().try_clone_to_owned().ok()
}

#[cfg(not(unix))]
fn second_handle(_: &TcpListener) -> Option<Spare> {
    None
}

fn is_out_of_files(error: &io::Error) -> bool {
    // ENFILE and EMFILE, the same numbers on every Unix.
    cfg!(unix) && matches!(error.raw_os_error(), Some(23 | 24))
}

fn refused(reason: &'static str) {
    counter!("tidegate_connections_refused_total", "reason" => reason).increment(1);
}
