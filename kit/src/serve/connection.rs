//! One connection: handshake, protocol, and how it ends.
//!
//! One timer per connection is set to whatever comes next: the first request is due, a stranger has to go,
//! the connection is old, the stop is over. Ending means to finish what is under way and to tell the client
//! not to send more here (`Connection: close`, GOAWAY). Invariant: before its first request is whole a
//! connection lives no longer than the two time-outs.

use std::convert::Infallible;
use std::future::{Ready, poll_fn, ready};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use axum::response::{IntoResponse as _, Response};
use axum_server::accept::Accept as _;
use axum_server::tls_rustls::RustlsAcceptor;
use futures_util::future::Either;
use http::header::CONNECTION;
use http::{HeaderValue, Request};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::{Builder, UpgradeableConnection};
use rustls_pki_types::CertificateDer;
use tidegate_proto::error::{ErrorCode, Problem};
use tokio::sync::Notify;
use tokio::sync::futures::Notified;
use tokio::time::{Sleep, sleep_until};

use super::ServeLimits;
use super::head_clock::HeadClock;
use super::stream::{Stream, Transport};
use crate::acquaintance::{Acquaintance, greet};
use crate::aside::Aside;
use crate::backoff::up_to_a_tenth_less;
use crate::clock;
use crate::http::{ApiError, Front, FrontFuture};
use crate::limits::{self, REFUSAL_TIMEOUT};
use crate::peer::{PeerIdentity, PeerSerial};
use crate::tls::{handshake_reason, identity_of, serial_of};

/// Of all connections of a listener.
pub(super) struct Bounds {
    front: Front,
    builder: Builder<TokioExecutor>,
    limits: ServeLimits,
    is_stopping: AtomicBool,
    stopping: Notify,
}

impl Bounds {
    pub(super) fn new(front: Front, limits: ServeLimits) -> Self {
        Self {
            front,
            builder: protocols(&limits),
            limits,
            is_stopping: AtomicBool::new(false),
            stopping: Notify::new(),
        }
    }

    /// Every connection ends when it has answered what is under way.
    pub(super) fn stop(&self) {
        self.is_stopping.store(true, Ordering::SeqCst);
        self.stopping.notify_waiters();
    }
}

fn protocols(bounds: &ServeLimits) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    // `pipeline_flush` stays off: with it hyper buffers an answer without any bound.
    // Without timers on both protocols these time-outs do nothing; that of HTTP/1 is each connection's own.
    builder
        .http1()
        .header_read_timeout(bounds.next_request_timeout)
        .max_buf_size(limits::HTTP1_BUFFER_BYTES_MAX)
        .max_headers(limits::HEADER_COUNT_MAX);
    builder
        .http2()
        .timer(TokioTimer::new())
        .enable_connect_protocol()
        .max_concurrent_streams(limits::HTTP2_STREAMS_MAX)
        .initial_stream_window_size(bounds.windows.stream_bytes)
        .initial_connection_window_size(bounds.windows.connection_bytes)
        .max_frame_size(bounds.windows.frame_bytes)
        .max_send_buf_size(bounds.windows.send_buffer_bytes)
        .max_header_list_size(limits::HEADER_LIST_BYTES_MAX as u32)
        .max_pending_accept_reset_streams(limits::HTTP2_PENDING_RESETS_MAX)
        .max_local_error_reset_streams(limits::HTTP2_LOCAL_RESETS_MAX)
        .keep_alive_interval(limits::HTTP2_PING_INTERVAL)
        .keep_alive_timeout(limits::HTTP2_PING_TIMEOUT);
    builder
}

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Door {
    /// To be served.
    Open,
    /// To be told that there are too many.
    Full,
}

/// A connection that was accepted.
pub(super) struct Connection {
    pub(super) stream: Stream,
    pub(super) address: SocketAddr,
    pub(super) tls: Option<RustlsAcceptor>,
    pub(super) door: Door,
    pub(super) acquaintance: Acquaintance,
    pub(super) bounds: Arc<Bounds>,
    /// Its place among all that were accepted.
    pub(super) number: u64,
}

impl Connection {
    /// Serves it to its end.
    pub(super) async fn run(self) {
        let Self {
            stream,
            address,
            tls,
            door,
            acquaintance,
            bounds,
            number,
        } = self;
        let has_asked = Arc::new(AtomicBool::new(false));
        let mut service = Served {
            door,
            peer: None,
            acquaintance: acquaintance.clone(),
            has_asked: Arc::clone(&has_asked),
            bounds: Arc::clone(&bounds),
        };
        let course = Course {
            bounds: &bounds,
            door,
            acquaintance: &acquaintance,
            has_asked: &has_asked,
            opened_at: clock::monotonic(),
            number,
        };
        let Some(tls) = tls else {
            return course.serve(Transport::Plain(stream), service).await;
        };
        let tls = tls.handshake_timeout(course.handshake_timeout());
        let handshake = tls.accept(stream, ());
        let stopped = bounds.stopping.notified();
        // A client that has not finished it when the stop begins has nothing under way.
        let accepted = tokio::select! {
            accepted = handshake => accepted,
            () = stopped => return,
        };
        match accepted {
            Ok((stream, _)) => {
                // Listeners that ask for no certificate are shown none.
                let shown = stream.get_ref().1.peer_certificates();
                service.peer = shown.and_then(peer_of);
                let transport = Transport::Secure(Box::new(stream));
                course.serve(transport, service).await;
            }
            Err(error) => {
                let reason = handshake_reason(&error);
                tracing::debug!(%address, reason, "handshake failed");
            }
        }
    }
}

/// What becomes of a connection, and when.
struct Course<'a> {
    bounds: &'a Bounds,
    door: Door,
    acquaintance: &'a Acquaintance,
    has_asked: &'a AtomicBool,
    opened_at: Instant,
    number: u64,
}

/// What the timer of a connection is set to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Due {
    FirstRequest,
    Stranger,
    Age,
    /// What is under way is finished, with limits of its own.
    Nothing,
    /// The same, with an end.
    StopIsOver,
}

/// A protocol as it is spoken over one connection.
type Protocol<'a> = UpgradeableConnection<'a, TokioIo<Transport>, Served, TokioExecutor>;

enum Event {
    Ended,
    Stop,
    Due,
}

impl Course<'_> {
    fn handshake_timeout(&self) -> Duration {
        let limit = self.bounds.limits.handshake_timeout;
        match self.door {
            Door::Open => limit,
            Door::Full => limit.min(REFUSAL_TIMEOUT),
        }
    }

    fn first_request_timeout(&self) -> Duration {
        let limit = self.bounds.limits.first_request_timeout;
        match self.door {
            Door::Open => limit,
            Door::Full => limit.min(REFUSAL_TIMEOUT),
        }
    }

    /// Up to a tenth earlier than the limit, differently for each.
    fn age_max(&self) -> Duration {
        up_to_a_tenth_less(self.bounds.limits.connection_age_max, self.number)
    }

    async fn serve(&self, transport: Transport, service: Served) {
        let bounds = self.bounds;
        let clock = HeadClock::start();
        let mut builder = bounds.builder.clone();
        builder.http1().timer(clock.clone());
        let io = TokioIo::new(transport);
        let mut connection = pin!(builder.serve_connection_with_upgrades(io, service));
        let overdue = pin!(clock.overdue(bounds.limits.next_request_timeout));
        let mut overdue = Aside::new(overdue);
        let mut stopping = pin!(bounds.stopping.notified());
        let mut listening: Option<Waker> = None;
        let mut due = Due::FirstRequest;
        let first = clock::monotonic() + self.first_request_timeout();
        let mut timer = pin!(sleep_until(first.into()));
        loop {
            let may_stop = due != Due::StopIsOver;
            let mut is_due = Aside::new(timer.as_mut());
            let event = poll_fn(|cx| {
                if Pin::new(&mut overdue).poll(cx).is_ready() {
                    return Poll::Ready(Event::Ended);
                }
                let listening = may_stop.then_some(&mut listening);
                next(
                    cx,
                    connection.as_mut(),
                    stopping.as_mut(),
                    listening,
                    &bounds.is_stopping,
                    &mut is_due,
                    due,
                )
            });
            match event.await {
                Event::Ended => return,
                Event::Stop => {
                    if due == Due::FirstRequest && !self.has_asked.load(Ordering::Relaxed) {
                        return;
                    }
                    connection.as_mut().graceful_shutdown();
                    due = Due::StopIsOver;
                    let over = clock::monotonic() + bounds.limits.drain_timeout;
                    timer.as_mut().reset(over.into());
                }
                Event::Due => {
                    let Some((next, at)) = self.after(due, connection.as_mut()) else {
                        return;
                    };
                    due = next;
                    timer.as_mut().reset(at.into());
                }
            }
        }
    }

    /// What happens when a time is there, and what is due next; `None` ends the connection.
    fn after(&self, due: Due, connection: Pin<&mut Protocol<'_>>) -> Option<(Due, Instant)> {
        let stranger_until = self.opened_at + self.bounds.limits.stranger_age_max;
        let old_at = self.opened_at + self.age_max();
        let finish = |connection: Pin<&mut Protocol<'_>>| {
            connection.graceful_shutdown();
            Some((Due::Nothing, old_at))
        };
        match due {
            Due::FirstRequest if self.door == Door::Full => None,
            Due::FirstRequest if !self.has_asked.load(Ordering::Relaxed) => None,
            Due::FirstRequest => Some((Due::Stranger, stranger_until)),
            Due::Stranger if self.acquaintance.is_known() => Some((Due::Age, old_at)),
            Due::Stranger | Due::Age | Due::Nothing => finish(connection),
            Due::StopIsOver => None,
        }
    }
}

/// The next thing to happen. The note that the stop begins is shared by all connections: it is looked at
/// once and then only when the waker changes, not whenever a connection is woken.
fn next(
    cx: &mut Context<'_>,
    connection: Pin<&mut Protocol<'_>>,
    stopping: Pin<&mut Notified<'_>>,
    listening: Option<&mut Option<Waker>>,
    is_stopping: &AtomicBool,
    is_due: &mut Aside<Pin<&mut Sleep>>,
    due: Due,
) -> Poll<Event> {
    if connection.poll(cx).is_ready() {
        return Poll::Ready(Event::Ended);
    }
    if let Some(listening) = listening {
        let listens = |waker: &Waker| waker.will_wake(cx.waker());
        if !listening.as_ref().is_some_and(listens) {
            *listening = Some(cx.waker().clone());
            // Whether it has come is told by the flag, which is set before.
            let _ = stopping.poll(cx);
        }
        if is_stopping.load(Ordering::SeqCst) {
            return Poll::Ready(Event::Stop);
        }
    }
    if due != Due::Nothing && Pin::new(is_due).poll(cx).is_ready() {
        return Poll::Ready(Event::Due);
    }
    Poll::Pending
}

/// The requests of one connection.
struct Served {
    door: Door,
    /// The node that the client has shown to be.
    peer: Option<(PeerIdentity, PeerSerial)>,
    acquaintance: Acquaintance,
    has_asked: Arc<AtomicBool>,
    bounds: Arc<Bounds>,
}

impl hyper::service::Service<Request<Incoming>> for Served {
    type Response = Response;
    type Error = Infallible;
    type Future = Either<Ready<Result<Response, Infallible>>, FrontFuture>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        if !self.acquaintance.is_known() {
            self.has_asked.store(true, Ordering::Relaxed);
            if self.door == Door::Full {
                return refuse(
                    ErrorCode::Overloaded,
                    "this server serves as many connections as it can",
                );
            }
            let fields = request.headers().iter();
            let bytes: usize = fields
                .map(|(name, value)| name.as_str().len() + value.len())
                .sum();
            if bytes > limits::HEADER_LIST_BYTES_MAX {
                let detail = format!(
                    "the headers have more than {} bytes",
                    limits::HEADER_LIST_BYTES_MAX
                );
                return refuse(ErrorCode::TooLarge, &detail);
            }
            request.extensions_mut().insert(self.acquaintance.clone());
            if self.peer.is_some() {
                greet(request.extensions());
            }
        }
        if let Some((peer, serial)) = &self.peer {
            request.extensions_mut().insert(peer.clone());
            request.extensions_mut().insert(serial.clone());
        }
        Either::Right(self.bounds.front.ask(request))
    }
}

/// The node behind certificates that the handshake found good.
fn peer_of(shown: &[CertificateDer<'_>]) -> Option<(PeerIdentity, PeerSerial)> {
    let leaf = shown.first()?;
    let identity = identity_of(leaf).ok()?;
    let serial = serial_of(leaf).ok()?;
    Some((PeerIdentity(identity), PeerSerial(serial.into())))
}

/// An answer that is the connection's last.
fn refuse<F>(code: ErrorCode, detail: &str) -> Either<Ready<Result<Response, Infallible>>, F> {
    let mut response = ApiError(Problem::new(code, detail)).into_response();
    let close = HeaderValue::from_static("close");
    response.headers_mut().insert(CONNECTION, close);
    Either::Left(ready(Ok(response)))
}
