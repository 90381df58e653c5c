//! A listener of a host: HTTP/2 over the simulated network, with or without TLS, for who is known.
//!
//! What the node's own listener does beside that (limits, ages, the first request's time) is not here.

use std::sync::Arc;

use axum::{Extension, Router};
use hyper::body::Incoming;
use hyper::server::conn::http2::Builder;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tidegate_kit::dial::Wire;
use tidegate_kit::limits::{
    CHANNEL_PING_INTERVAL, CHANNEL_PING_TIMEOUT, NODE_CONNECTION_WINDOW_BYTES,
    NODE_FRAME_BYTES_MAX, NODE_STREAM_WINDOW_BYTES,
};
use tidegate_kit::peer::PeerIdentity;
use tidegate_kit::tasks::{TaskKind, Tasks};
use tidegate_kit::tls::{ClientAuth, NodeTls, identity_of};
use tidegate_proto::node::NodeIdentity;
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt as _;
use tracing::info_span;
use turmoil::net::TcpListener;

use crate::identities::identity;
use crate::wire::{Odd, Wires};

/// The private port of every host.
pub(crate) const PORT: u16 = 7_000;

/// Serves `router` until the stage ends.
pub(crate) async fn serve(
    router: Router,
    tls: NodeTls,
    wires: Wires,
    tasks: Tasks,
) -> Result<(), String> {
    let listener = TcpListener::bind(("0.0.0.0", PORT));
    let listener = listener.await.map_err(|error| error.to_string())?;
    let config = tls.server_config(ClientAuth::Required);
    let acceptor = TlsAcceptor::from(config.map_err(|error| error.to_string())?);
    loop {
        let Ok((stream, address)) = listener.accept().await else {
            continue;
        };
        let stream = wires.wrap(stream);
        let (router, acceptor) = (router.clone(), acceptor.clone());
        let is_tls = wires.is_tls;
        let one = async move {
            if is_tls {
                return over_tls(router, acceptor, stream).await;
            }
            let host = turmoil::reverse_lookup(address.ip()).unwrap_or_default();
            speak(router, stream, identity(&host)?).await
        };
        tasks.spawn(TaskKind::Request, info_span!("connection"), one);
    }
}

async fn over_tls(router: Router, acceptor: TlsAcceptor, stream: Odd) -> Result<(), String> {
    let accepted = acceptor.accept(stream).await;
    let stream = accepted.map_err(|error| error.to_string())?;
    let shown = stream.get_ref().1.peer_certificates();
    let leaf = shown.and_then(|chain| chain.first());
    let peer = identity_of(leaf.ok_or("no certificate")?).map_err(|error| error.to_string())?;
    speak(router, stream, peer).await
}

async fn speak(
    router: Router,
    wire: impl Wire + 'static,
    peer: NodeIdentity,
) -> Result<(), String> {
    let router = router.layer(Extension(PeerIdentity(peer)));
    let router = Arc::new(router);
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let router = Router::clone(&router);
        async move { router.oneshot(request).await }
    });
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .initial_stream_window_size(NODE_STREAM_WINDOW_BYTES)
        .initial_connection_window_size(NODE_CONNECTION_WINDOW_BYTES)
        .max_frame_size(NODE_FRAME_BYTES_MAX)
        .keep_alive_interval(CHANNEL_PING_INTERVAL)
        .keep_alive_timeout(CHANNEL_PING_TIMEOUT);
    let served = builder.serve_connection(TokioIo::new(wire), service);
    served.await.map_err(|error| error.to_string())
}
