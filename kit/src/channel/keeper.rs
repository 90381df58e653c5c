//! The task that keeps the connection of a channel.
//!
//! Calls the endpoints in turn, starting with the one that answered last; after a round without an answer
//! it waits, longer each time. A connection that ends, or that somebody leaves, is replaced at once; what
//! is under way on one that was left goes on beside it. Invariant: connections are numbered upwards, and
//! at most one is open to new requests.

use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use http::uri::Authority;
use hyper::client::conn::http2::SendRequest;
use metrics::counter;
use tokio::sync::watch;
use tokio::time::{sleep_until, timeout};
use tracing::Span;

use super::connect::{Connector, Driven};
use super::text_of;
use crate::backoff::Backoff;
use crate::clock;
use crate::limits::{CHANNEL_LIFE_MIN, CHANNEL_RETRY_BASE, CHANNEL_RETRY_MAX, DRAIN_TIMEOUT};
use crate::tasks::{TaskKind, Tasks};

/// A connection that takes requests.
#[derive(Clone)]
pub(super) struct Link {
    pub(super) number: u64,
    pub(super) endpoint: Authority,
    pub(super) sender: SendRequest<Body>,
}

/// The newest connection that is not to be used any more.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Left {
    pub(super) number: u64,
    /// Another endpoint may know better, or else a new connection to the same will do.
    pub(super) is_for_another: bool,
}

/// How a channel stands.
pub(super) enum State {
    Connecting,
    Open(Link),
    /// No endpoint answered in the last round, and why not.
    Failed(Arc<str>),
}

impl State {
    pub(super) fn number(&self) -> Option<u64> {
        match self {
            Self::Open(link) => Some(link.number),
            Self::Connecting | Self::Failed(_) => None,
        }
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connecting => f.write_str("Connecting"),
            Self::Open(link) => write!(f, "Open({}, {})", link.number, link.endpoint),
            Self::Failed(reason) => write!(f, "Failed({reason})"),
        }
    }
}

pub(super) struct Keeper {
    endpoints: Vec<Authority>,
    /// The one to be called next.
    at: usize,
    connector: Connector,
    state: watch::Sender<State>,
    left: watch::Receiver<Left>,
    tasks: Tasks,
    backoff: Backoff,
    number: u64,
    /// Endpoints in a row that did not answer, and what the last one's trouble was.
    failures: usize,
    reason: Arc<str>,
}

impl Keeper {
    /// There is at least one endpoint.
    pub(super) fn new(
        endpoints: Vec<Authority>,
        connector: Connector,
        state: watch::Sender<State>,
        left: watch::Receiver<Left>,
        tasks: Tasks,
        seed: u64,
    ) -> Self {
        Self {
            endpoints,
            at: 0,
            connector,
            state,
            left,
            tasks,
            backoff: Backoff::new(CHANNEL_RETRY_BASE, CHANNEL_RETRY_MAX, seed),
            number: 0,
            failures: 0,
            reason: Arc::from(""),
        }
    }

    pub(super) async fn run(mut self) {
        loop {
            let endpoint = self.endpoints[self.at].clone();
            match self.connector.connect(&endpoint).await {
                Ok((sender, driven)) => self.keep(endpoint, sender, driven).await,
                Err(error) => {
                    counter!("tidegate_channel_connections_total", "outcome" => "failed")
                        .increment(1);
                    tracing::debug!(%endpoint, %error, "no connection");
                    self.failed(format!("{endpoint}: {}", text_of(&error)));
                }
            }
            if self.failures >= self.endpoints.len() {
                self.failures = 0;
                self.state
                    .send_replace(State::Failed(Arc::clone(&self.reason)));
                let until = clock::monotonic() + self.backoff.next_delay();
                sleep_until(until.into()).await;
            }
        }
    }

    fn failed(&mut self, reason: String) {
        self.failures += 1;
        self.reason = Arc::from(reason);
        self.at = (self.at + 1) % self.endpoints.len();
    }

    /// Until the connection ends or is left.
    async fn keep(&mut self, endpoint: Authority, sender: SendRequest<Body>, driven: Driven) {
        counter!("tidegate_channel_connections_total", "outcome" => "open").increment(1);
        tracing::debug!(%endpoint, "connected");
        self.number += 1;
        let number = self.number;
        let since = clock::monotonic();
        self.state.send_replace(State::Open(Link {
            number,
            endpoint: endpoint.clone(),
            sender,
        }));
        let mut driven = Box::pin(driven);
        let ended = {
            let left = pin!(self.left.wait_for(|left| left.number >= number));
            tokio::select! {
                ended = &mut driven => Ok(ended),
                // With the channel itself this task is dropped.
                left = left => Err(left.is_ok_and(|left| left.is_for_another)),
            }
        };
        // Here the last handle on the connection goes, so that one that was left ends when it is idle.
        self.state.send_replace(State::Connecting);
        let was_short = is_short(since);
        match ended {
            Ok(ended) => {
                let error = ended.err().map(|error| text_of(&error));
                tracing::debug!(%endpoint, error, "connection ended");
                if was_short {
                    self.failed(format!(
                        "{endpoint}: closes connections as soon as they are open"
                    ));
                    return;
                }
            }
            Err(is_for_another) => {
                let drain = async move {
                    let _ = timeout(DRAIN_TIMEOUT, driven).await;
                };
                self.tasks.spawn(TaskKind::Channel, Span::current(), drain);
                if was_short {
                    self.failed(format!("{endpoint}: was given up as soon as it answered"));
                    return;
                }
                if is_for_another {
                    self.at = (self.at + 1) % self.endpoints.len();
                }
            }
        }
        self.failures = 0;
        self.backoff.reset();
    }
}

fn is_short(since: Instant) -> bool {
    clock::monotonic().duration_since(since) < CHANNEL_LIFE_MIN
}
