//! A way past the router for the one route that is called more often than all others together.
//!
//! A router costs every request a look-up, a map of extensions, two boxed services and as many boxed
//! futures. [`Front`] asks a [`Direct`] handler first and leaves the rest to the router, which must
//! have the same route all the same: what the direct way does not take (an escaped path, another
//! method) goes there. Invariant: nobody can tell by an answer which of the two ways it came.

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use axum::routing::future::RouteFuture;
use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Either};
use http::Request;
use http::request::Parts;
use http_body::Body as HttpBody;
use tower::Service;

use super::edge::EdgeLayer;

/// A handler that knows its own requests.
pub trait Direct: Send + Sync + 'static {
    /// The route as the router has it, for counters.
    const ROUTE: &'static str;

    /// Whether this one takes a request with such a head.
    fn takes(&self, method: &http::Method, path: &str) -> bool;

    /// The answer to a request that it takes.
    fn answer(&self, head: Parts, body: Body) -> impl Future<Output = Response> + Send + use<Self>;
}

pub(crate) type Answer = BoxFuture<'static, Result<Response, Infallible>>;

trait Way: Send + Sync {
    fn takes(&self, method: &http::Method, path: &str) -> bool;
    fn answer(&self, request: Request<Body>) -> Answer;
}

struct Edged<D> {
    direct: D,
    edge: EdgeLayer,
}

impl<D: Direct> Way for Edged<D> {
    fn takes(&self, method: &http::Method, path: &str) -> bool {
        self.direct.takes(method, path)
    }

    fn answer(&self, request: Request<Body>) -> Answer {
        let (exchange, admitted) = self.edge.begin(D::ROUTE, request);
        let answered = admitted.map(|request| {
            let (head, body) = request.into_parts();
            self.direct.answer(head, body)
        });
        Box::pin(exchange.end(answered).map(Ok))
    }
}

/// What a listener serves: a router, and perhaps a way past it.
#[derive(Clone)]
pub struct Front {
    router: Router,
    direct: Option<Arc<dyn Way>>,
}

impl Front {
    /// With a handler whose requests do not go through the router. `edge` is the layer that the
    /// router's routes have.
    #[must_use]
    pub fn with_direct(self, direct: impl Direct, edge: EdgeLayer) -> Self {
        Self {
            direct: Some(Arc::new(Edged { direct, edge })),
            ..self
        }
    }
}

impl From<Router> for Front {
    fn from(router: Router) -> Self {
        Self {
            router,
            direct: None,
        }
    }
}

impl fmt::Debug for Front {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Front")
            .field("router", &self.router)
            .field("has_direct", &self.direct.is_some())
            .finish()
    }
}

/// An answer under way.
pub(crate) type FrontFuture = Either<Answer, RouteFuture<Infallible>>;

impl Front {
    /// Answers a request. Neither routers nor direct handlers make anybody wait before.
    pub(crate) fn ask<B>(&self, request: Request<B>) -> FrontFuture
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<axum::BoxError>,
    {
        if let Some(direct) = &self.direct
            && direct.takes(request.method(), request.uri().path())
        {
            return Either::Left(direct.answer(request.map(Body::new)));
        }
        Either::Right(self.router.clone().call(request))
    }
}

impl<B> Service<Request<B>> for Front
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<axum::BoxError>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = FrontFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> FrontFuture {
        self.ask(request)
    }
}

#[cfg(test)]
mod tests;
