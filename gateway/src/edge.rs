//! The one public router.
//!
//! Merges the planes, adds the pages and the API description, answers what no route answers, and
//! puts the kit's edge around all of it. Invariant: no answer of this router is without the edge,
//! and none of its errors is anything but a problem.

use axum::Router;
use axum::middleware::from_fn;
use tidegate_kit::http::{
    Direct, EdgeConfig, EdgeLayer, Front, OriginRules, fallback_method, fallback_not_found,
};
use tidegate_kit::memory::Memory;

use crate::page::{JSON, Page, file, secure, secure_tls};
use crate::{console, docs};

/// What the public router is made of.
pub struct Parts {
    /// Produce, fetch, SSE, WebSocket.
    pub data: Router,
    /// Topics and cluster.
    pub control: Router,
    /// `/livez`, `/readyz`, `/metrics`.
    pub health: Router,
    /// Description of the three, finished.
    pub openapi: &'static str,
    /// Description of the WebSocket frames, as AsyncAPI, where there are sockets.
    pub asyncapi: Option<&'static str>,
    /// Which pages may call.
    pub origins: OriginRules,
    /// What the process may hold.
    pub memory: Memory,
    /// Whether the listener speaks TLS.
    pub is_tls: bool,
    /// Whether callers need no token; the live page then asks for none.
    pub is_open: bool,
}

impl std::fmt::Debug for Parts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parts")
            .field("origins", &self.origins)
            .field("is_tls", &self.is_tls)
            .field("is_open", &self.is_open)
            .finish_non_exhaustive()
    }
}

/// What a public listener serves: the router, and past it `direct`, which has one of the router's own
/// routes.
///
/// # Panics
/// When two parts have the same route: that is a mistake in the program.
pub fn front(parts: Parts, direct: impl Direct) -> Front {
    let (router, edge) = edged(parts);
    Front::from(router).with_direct(direct, edge)
}

/// The router of a public listener alone.
///
/// # Panics
/// When two parts have the same route: that is a mistake in the program.
pub fn router(parts: Parts) -> Router {
    edged(parts).0
}

fn edged(parts: Parts) -> (Router, EdgeLayer) {
    let mut pages = Router::new()
        .merge(console::router(parts.is_open))
        .merge(docs::router())
        .merge(file("/v1/openapi.json", Page::new(JSON, parts.openapi)));
    if let Some(frames) = parts.asyncapi {
        pages = pages.merge(file("/v1/asyncapi.json", Page::new(JSON, frames)));
    }
    let pages = if parts.is_tls {
        pages.layer(from_fn(secure_tls))
    } else {
        pages.layer(from_fn(secure))
    };
    let router = Router::new()
        .merge(parts.data.reset_fallback())
        .merge(parts.control.reset_fallback())
        .merge(parts.health.reset_fallback())
        .merge(pages)
        .method_not_allowed_fallback(fallback_method)
        .fallback(fallback_not_found);
    let edge = EdgeLayer::new(EdgeConfig {
        origins: parts.origins,
        memory: parts.memory,
    });
    (router.layer(edge.clone()), edge)
}

#[cfg(test)]
mod tests;
