//! The layer around every route: request names, host and origin rules, content codings, a net under
//! panics, counters and the trace span.
//!
//! One service does it all, so that a request pays for one more future and not for eight. What a
//! request does not use (an origin, a coding) costs a header look-up. Invariant: whatever happens
//! inside, the answer carries `X-Request-Id`, and a problem names the same id.

use std::any::Any;
use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::extract::MatchedPath;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http::header::{ACCEPT_ENCODING, CONTENT_LENGTH, ORIGIN};
use http::{HeaderValue, Method, Request};
use http_body::Body as _;
use tidegate_proto::error::ErrorCode;
use tower::{Layer, Service};
use tracing::Instrument as _;

use super::body::{Discards, Patient, Rest};
use super::encoding::{decode_request, encode_response};
use super::error::{ApiError, Attached, problem_body};
use super::measure::Requests;
use super::origin::OriginRules;
use super::request_id::{RequestId, X_REQUEST_ID};
use crate::budget::ByteBudget;
use crate::clock;
use crate::limits::BODY_IDLE_TIMEOUT;
use crate::memory::Memory;

/// What the edge is told.
#[derive(Debug, Clone, Default)]
pub struct EdgeConfig {
    /// Pages that may call, and whether this is a development server.
    pub origins: OriginRules,
    /// What decoders of compressed bodies may hold.
    pub memory: Memory,
}

/// Puts the edge around every route and fallback that `router` has so far.
pub fn edge<S>(router: Router<S>, config: EdgeConfig) -> Router<S>
where
    S: Clone + Send + Sync + 'static,
{
    router.layer(EdgeLayer::new(config))
}

struct Shared {
    origins: OriginRules,
    decoders: ByteBudget,
    requests: Requests,
}

/// Makes [`EdgeService`]s.
#[derive(Clone)]
pub struct EdgeLayer {
    shared: Arc<Shared>,
}

impl EdgeLayer {
    /// A layer with those rules; its clones share their counters.
    #[must_use]
    pub fn new(config: EdgeConfig) -> Self {
        let shared = Shared {
            origins: config.origins,
            decoders: config.memory.decoders,
            requests: Requests::default(),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// What the edge does before a handler that no router leads to. `route` is what counters call it.
    /// [`RequestId`] is not in the request's extensions: making room for it costs more than making it.
    pub(super) fn begin(
        &self,
        route: &'static str,
        request: Request<Body>,
    ) -> (Exchange, Result<Request<Body>, Response>) {
        begin(&self.shared, RouteName::Known(route), request)
    }
}

impl std::fmt::Debug for EdgeLayer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EdgeLayer")
            .field("origins", &self.shared.origins)
            .finish_non_exhaustive()
    }
}

impl<S> Layer<S> for EdgeLayer {
    type Service = EdgeService<S>;

    fn layer(&self, inner: S) -> EdgeService<S> {
        EdgeService {
            inner,
            shared: Arc::clone(&self.shared),
        }
    }
}

/// One route with the edge around it.
#[derive(Clone)]
pub struct EdgeService<S> {
    inner: S,
    shared: Arc<Shared>,
}

impl<S> std::fmt::Debug for EdgeService<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EdgeService").finish_non_exhaustive()
    }
}

impl<S> Service<Request<Body>> for EdgeService<S>
where
    S: Service<Request<Body>, Response = Response, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response, Infallible>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let route = request.extensions().get::<MatchedPath>().cloned();
        let route = route.map_or(RouteName::Unknown, RouteName::Matched);
        let (exchange, admitted) = begin(&self.shared, route, request);
        let answered = admitted.map(|mut request| {
            request.extensions_mut().insert(exchange.id.clone());
            self.inner.call(request).map(|answered| match answered {
                Ok(response) => response,
                Err(never) => match never {},
            })
        });
        Box::pin(exchange.end(answered).map(Ok))
    }
}

fn begin(
    shared: &Arc<Shared>,
    route: RouteName,
    request: Request<Body>,
) -> (Exchange, Result<Request<Body>, Response>) {
    let exchange = Exchange::of(shared, route, &request);
    let admitted = shared.admit(request, &exchange);
    (exchange, admitted)
}

impl Shared {
    /// The request as the route sees it, or the answer it gets without one.
    #[expect(
        clippy::result_large_err,
        reason = "both are moved once, boxing would cost more"
    )]
    fn admit(
        &self,
        request: Request<Body>,
        exchange: &Exchange,
    ) -> Result<Request<Body>, Response> {
        let refused = |problem| ApiError(problem).into_response();
        let mut request = request;
        if let Some(discards) = exchange.discards.clone() {
            let rest = Rest::of(&request);
            request = request
                .map(|body| Body::new(Patient::new(body, BODY_IDLE_TIMEOUT, rest, discards)));
        }
        self.origins.check(&request).map_err(refused)?;
        if let Some(answer) = self.origins.preflight(&request) {
            return Err(answer);
        }
        decode_request(request, &self.decoders).map_err(refused)
    }
}

/// The route of a request as counters and spans name it.
enum RouteName {
    /// By the router.
    Matched(MatchedPath),
    /// By whoever passes the router by.
    Known(&'static str),
    Unknown,
}

impl RouteName {
    fn as_str(&self) -> &str {
        match self {
            Self::Matched(path) => path.as_str(),
            Self::Known(path) => path,
            Self::Unknown => "none",
        }
    }
}

/// What has to be remembered of a request until its answer is there.
pub(super) struct Exchange {
    shared: Arc<Shared>,
    id: RequestId,
    method: Method,
    route: RouteName,
    origin: Option<HeaderValue>,
    accepted: Option<HeaderValue>,
    started: Instant,
    /// Of requests that have a body.
    discards: Option<Discards>,
}

impl Exchange {
    fn of(shared: &Arc<Shared>, route: RouteName, request: &Request<Body>) -> Self {
        let headers = request.headers();
        // A tunnel (WebSocket over HTTP/2) has none, and may rest as long as it likes.
        let has_body = request.method() != Method::CONNECT && !request.body().is_end_stream();
        Self {
            shared: Arc::clone(shared),
            id: RequestId::of(headers),
            method: request.method().clone(),
            route,
            origin: headers.get(ORIGIN).cloned(),
            accepted: headers.get(ACCEPT_ENCODING).cloned(),
            started: clock::monotonic(),
            discards: has_body.then(Discards::default),
        }
    }

    fn route(&self) -> &str {
        self.route.as_str()
    }

    fn span(&self) -> tracing::Span {
        tracing::debug_span!(
            "request",
            request_id = self.id.as_str(),
            method = self.method.as_str(),
            route = self.route(),
        )
    }

    /// Everything behind the handler, around what it makes of the request, or the refusal.
    pub(super) fn end<F: Future<Output = Response>>(
        self,
        answered: Result<F, Response>,
    ) -> impl Future<Output = Response> + use<F> {
        let span = self.span();
        let answered = answered.map(|answered| AssertUnwindSafe(answered).catch_unwind());
        let ended = async move {
            let response = match answered {
                Ok(answered) => match answered.await {
                    Ok(response) => response,
                    Err(panic) => self.panicked(&*panic),
                },
                Err(refused) => refused,
            };
            self.finish(response).await
        };
        ended.instrument(span)
    }

    fn panicked(&self, panic: &(dyn Any + Send)) -> Response {
        let text = panic.downcast_ref::<&str>().copied();
        let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
        let (request_id, route) = (self.id.as_str(), self.route());
        tracing::error!(
            request_id,
            route,
            panic = text.unwrap_or("?"),
            "handler panicked"
        );
        ApiError::new(ErrorCode::Internal, "the server failed at this request").into_response()
    }

    async fn finish(self, mut response: Response) -> Response {
        if let Some(Attached(problem)) = response.extensions_mut().remove::<Attached>() {
            // Answers to HEAD have lost their body by now and must not get one again.
            if self.method != Method::HEAD {
                response.headers_mut().remove(CONTENT_LENGTH);
                *response.body_mut() = problem_body(&problem.request_id(self.id.as_str()));
            }
        }
        let took = clock::monotonic() - self.started;
        let status = response.status();
        self.shared
            .requests
            .observe(&self.method, self.route(), status, took);
        tracing::debug!(
            status = status.as_u16(),
            took_us = took.as_micros(),
            "answered"
        );
        let headers = response.headers_mut();
        headers.insert(X_REQUEST_ID, self.id.into_header_value());
        self.shared.origins.mark(self.origin.as_ref(), headers);
        if let Some(discards) = &self.discards {
            discards.settled().await;
        }
        match self.accepted {
            Some(accepted) if self.method != Method::CONNECT => {
                encode_response(accepted, response).await
            }
            _ => response,
        }
    }
}

#[cfg(test)]
mod tests;
