//! A lasting connection to another node, or to one of several that can answer.
//!
//! One HTTP/2 connection over mutual TLS at a time. A task keeps it: it connects, pings, and goes on to the
//! next endpoint when one does not answer. What a request meant is the caller's business, and so is sending
//! it again: an error says whether it may have reached anybody.
//! Invariant: a request is handed to at most one connection that may have carried it out.

pub(crate) mod connect;
mod keeper;

use std::error::Error as _;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::BoxError;
use axum::body::Body;
use bytes::Bytes;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Request, Response, Uri};
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use thiserror::Error;
use tidegate_proto::error::{ErrorCode, Problem};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_util::sync::DropGuard;

use crate::limits::{CHANNEL_ATTEMPTS_MAX, CHANNEL_STREAMS_MAX};
use crate::secret::random_u64;
use crate::tasks::{TaskKind, Tasks};
use crate::tls::{Expect, NodeTls, PkiError};
use connect::Connector;
use keeper::{Keeper, Left, State};

/// Whom to call.
#[derive(Debug)]
pub struct ChannelConfig {
    /// `host:port` or `https://host:port`, the preferred one first. They stand for one another.
    pub endpoints: Vec<String>,
    /// Who we are.
    pub tls: NodeTls,
    /// Who has to answer.
    pub expect: Expect,
    /// The connection is kept here until this stage ends or the channel is dropped.
    pub tasks: Tasks,
}

/// There can be no channel.
#[derive(Debug, Error)]
pub enum ChannelConfigError {
    /// Nobody to call.
    #[error("there is no endpoint to call")]
    NoEndpoint,
    /// Not an address.
    #[error("{0:?} is not of the form host:port")]
    Endpoint(String),
    /// This build has not the TLS it takes.
    #[error(transparent)]
    Tls(#[from] PkiError),
}

/// There is no answer.
#[derive(Debug, Clone, Error)]
pub enum ChannelError {
    /// Nobody has got the request, or who got it says that it was not looked at.
    #[error("not sent: {0}")]
    Unsent(Arc<str>),
    /// It may have been carried out.
    #[error("sent, but there is no answer: {0}")]
    Lost(Arc<str>),
}

impl ChannelError {
    /// Whether the request certainly had no effect.
    #[must_use]
    pub fn is_unsent(&self) -> bool {
        matches!(self, Self::Unsent(_))
    }
}

impl From<ChannelError> for Problem {
    fn from(error: ChannelError) -> Self {
        let code = match error {
            ChannelError::Unsent(_) => ErrorCode::Unavailable,
            ChannelError::Lost(_) => ErrorCode::OutcomeUnknown,
        };
        // Addresses of other nodes are nothing for clients; whoever turns it into a problem may log it.
        Self::new(code, "another node of the cluster did not answer")
    }
}

/// A connection to another node. Clones are the same channel; it ends with the last of them.
#[derive(Clone)]
pub struct Channel {
    shared: Arc<Shared>,
}

struct Shared {
    state: watch::Receiver<State>,
    left: watch::Sender<Left>,
    room: Arc<Semaphore>,
    _stop: DropGuard,
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channel")
            .field("state", &*self.shared.state.borrow())
            .finish_non_exhaustive()
    }
}

impl Channel {
    /// Starts to connect; does not wait for it.
    ///
    /// # Errors
    /// [`ChannelConfigError`].
    pub fn new(config: &ChannelConfig) -> Result<Self, ChannelConfigError> {
        let endpoints = config.endpoints.iter().map(|text| parse_endpoint(text));
        let endpoints = endpoints.collect::<Result<Vec<_>, _>>()?;
        if endpoints.is_empty() {
            return Err(ChannelConfigError::NoEndpoint);
        }
        let tls = config.tls.client_config(config.expect.clone())?;
        let connector = Connector::new(tls, config.tls.dial());
        let stage = config.tasks.child();
        let (state_tx, state) = watch::channel(State::Connecting);
        let (left, left_rx) = watch::channel(Left::default());
        let seed = random_u64().unwrap_or_default();
        let keeper = Keeper::new(endpoints, connector, state_tx, left_rx, stage.clone(), seed);
        let span = tracing::info_span!("channel", to = %config.expect);
        stage.spawn(TaskKind::Channel, span, keeper.run());
        Ok(Self {
            shared: Arc::new(Shared {
                state,
                left,
                room: Arc::new(Semaphore::new(CHANNEL_STREAMS_MAX)),
                _stop: stage.token().drop_guard(),
            }),
        })
    }

    /// Sends a request; of its URI only path and query count. Waits for a connection that is being made
    /// and for room on it; how long, the caller decides by dropping the future, which takes the request
    /// back. While nobody can be reached it fails at once.
    ///
    /// # Errors
    /// [`ChannelError`]. Any answer at all is `Ok`.
    pub async fn send<B>(&self, request: Request<B>) -> Result<Response<ChannelBody>, ChannelError>
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let room = Arc::clone(&self.shared.room).acquire_owned().await;
        let room = room.map_err(|_| unsent("the channel is closed"))?;
        let mut request = request.map(Body::new);
        let path = request.uri().path_and_query().cloned();
        let mut newer_than = self.shared.left.borrow().number;
        for _ in 0..CHANNEL_ATTEMPTS_MAX {
            let mut link = self.link(newer_than).await?;
            *request.uri_mut() = uri(&link.endpoint, path.clone())?;
            let mut failed = match link.sender.try_send_request(request).await {
                Ok(response) => return Ok(response.map(|inner| self.body(inner, room))),
                Err(failed) => failed,
            };
            let back = failed.take_message();
            let error = failed.into_error();
            let Some(back) = back else {
                return Err(self.judge(&error, link.number));
            };
            tracing::debug!(%error, "request was not sent and is tried again");
            request = back;
            newer_than = link.number;
            self.leave(link.number, false);
        }
        Err(unsent("connections close as soon as they are open"))
    }

    /// Gives up the endpoint that answers now, for one that may know better: the next in the list.
    /// Requests under way end there.
    pub fn try_another(&self) {
        let number = self.shared.state.borrow().number();
        if let Some(number) = number {
            self.leave(number, true);
        }
    }

    /// The endpoint that is connected.
    #[must_use]
    pub fn endpoint(&self) -> Option<String> {
        match &*self.shared.state.borrow() {
            State::Open(link) => Some(link.endpoint.to_string()),
            State::Connecting | State::Failed(_) => None,
        }
    }

    async fn link(&self, newer_than: u64) -> Result<keeper::Link, ChannelError> {
        let mut state = self.shared.state.clone();
        let settled = state.wait_for(|state| match state {
            State::Connecting => false,
            State::Failed(_) => true,
            State::Open(link) => link.number > newer_than,
        });
        match settled.await.as_deref() {
            Ok(State::Open(link)) => Ok(link.clone()),
            Ok(State::Failed(reason)) => Err(ChannelError::Unsent(Arc::clone(reason))),
            Ok(State::Connecting) | Err(_) => Err(unsent("the channel is closed")),
        }
    }

    fn leave(&self, number: u64, is_for_another: bool) {
        let news = Left {
            number,
            is_for_another,
        };
        self.shared.left.send_if_modified(|left| {
            let is_news = left.number < number;
            if is_news {
                *left = news;
            }
            is_news
        });
    }

    fn body(&self, inner: Incoming, room: OwnedSemaphorePermit) -> ChannelBody {
        ChannelBody {
            inner,
            _held: (room, Arc::clone(&self.shared)),
        }
    }

    /// What an error of a request says that had been handed to a connection.
    fn judge(&self, error: &hyper::Error, number: u64) -> ChannelError {
        let reason = Arc::from(text_of(error));
        let source = error.source();
        match source.and_then(|source| source.downcast_ref::<h2::Error>()) {
            // Streams above the last one that the peer names in an orderly end were not looked at.
            Some(error)
                if error.is_go_away()
                    && error.is_remote()
                    && error.reason() == Some(h2::Reason::NO_ERROR) =>
            {
                self.leave(number, false);
                ChannelError::Unsent(reason)
            }
            Some(error)
                if error.is_remote() && error.reason() == Some(h2::Reason::REFUSED_STREAM) =>
            {
                ChannelError::Unsent(reason)
            }
            _ => ChannelError::Lost(reason),
        }
    }
}

fn unsent(reason: &str) -> ChannelError {
    ChannelError::Unsent(Arc::from(reason))
}

/// An error with its causes.
fn text_of(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut at = error.source();
    while let Some(cause) = at {
        text = format!("{text}: {cause}");
        at = cause.source();
    }
    text
}

pub(crate) fn parse_endpoint(text: &str) -> Result<Authority, ChannelConfigError> {
    let bare = text.strip_prefix("https://").unwrap_or(text);
    let bare = bare.strip_suffix('/').unwrap_or(bare);
    let parsed = bare.parse::<Authority>().ok();
    let is_whole = |found: &Authority| found.port_u16().is_some() && !bare.contains('@');
    parsed
        .filter(is_whole)
        .ok_or_else(|| ChannelConfigError::Endpoint(text.to_owned()))
}

fn uri(endpoint: &Authority, path: Option<PathAndQuery>) -> Result<Uri, ChannelError> {
    let path = path.unwrap_or_else(|| PathAndQuery::from_static("/"));
    let built = Uri::builder()
        .scheme(Scheme::HTTPS)
        .authority(endpoint.clone())
        .path_and_query(path)
        .build();
    built.map_err(|error| ChannelError::Unsent(Arc::from(error.to_string())))
}

/// The body of an answer. Holds the channel, and its place on the connection, until it is dropped.
pub struct ChannelBody {
    inner: Incoming,
    _held: (OwnedSemaphorePermit, Arc<Shared>),
}

impl fmt::Debug for ChannelBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChannelBody").finish_non_exhaustive()
    }
}

impl HttpBody for ChannelBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        Pin::new(&mut self.get_mut().inner).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests;
