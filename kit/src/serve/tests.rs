//! A listener on port 0 against clients that behave and clients that do not.

use std::convert::Infallible;

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use bytes::Bytes;
use futures_util::stream;
use http::{Request, Version};
use http_body_util::BodyExt as _;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::*;
use crate::clock;
use crate::tls::{ALPN_PUBLIC, Pki, provider, server_config};

mod admission;
mod nodes;
mod refused;

// Long enough for a loaded machine, never reached when things work.
const PATIENCE: Duration = Duration::from_secs(20);

struct Listening {
    address: SocketAddr,
    tasks: Tasks,
}

fn listen(router: Router, tls: Option<Arc<ServerConfig>>, limits: ServeLimits) -> Listening {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let tasks = Tasks::new();
    let config = ServeConfig {
        listener,
        front: router.into(),
        tls,
        tasks: tasks.clone(),
        limits,
    };
    Listening {
        address: serve(config).unwrap(),
        tasks,
    }
}

fn hello() -> Router {
    Router::new().route("/", get(|| async { "hello" }))
}

async fn connect(address: SocketAddr) -> TcpStream {
    TcpStream::connect(address).await.unwrap()
}

// One HTTP/1.1 exchange on a connection that stays open.
async fn exchange(stream: &mut TcpStream) -> String {
    stream
        .write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"hello") {
        let count = timeout(PATIENCE, stream.read_buf(&mut answer))
            .await
            .unwrap()
            .unwrap();
        assert_ne!(count, 0, "{}", String::from_utf8_lossy(&answer));
    }
    String::from_utf8(answer).unwrap()
}

async fn until_closed(stream: &mut TcpStream) -> Duration {
    let started = clock::monotonic();
    let mut rest = Vec::new();
    // A reset is as good an end as an orderly one.
    let _ = timeout(PATIENCE, stream.read_to_end(&mut rest))
        .await
        .expect("is not closed");
    started.elapsed()
}

async fn get_over<S>(stream: S, version: Version) -> (Version, Bytes)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let request = Request::get("https://localhost/").header("host", "localhost");
    let request = request.body(Body::empty()).unwrap();
    let io = TokioIo::new(stream);
    let tasks = Tasks::new();
    let span = tracing::Span::none();
    let response = if version == Version::HTTP_2 {
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), io)
                .await
                .unwrap();
        tasks.spawn(TaskKind::Connection, span, connection);
        sender.send_request(request).await.unwrap()
    } else {
        let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
        tasks.spawn(TaskKind::Connection, span, connection);
        sender.send_request(request).await.unwrap()
    };
    let version = response.version();
    (
        version,
        response.into_body().collect().await.unwrap().to_bytes(),
    )
}

#[tokio::test]
async fn tls_serves_both_protocols_by_agreement() {
    let dir = tempfile::TempDir::new().unwrap();
    let pki = Pki::ensure(dir.path(), &[]).unwrap();
    let tls = server_config(&pki, ALPN_PUBLIC).unwrap();
    let server = listen(hello(), Some(tls), ServeLimits::default());
    for (alpn, version) in [
        (&b"h2"[..], Version::HTTP_2),
        (&b"http/1.1"[..], Version::HTTP_11),
    ] {
        let mut roots = rustls::RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_slice(pki.ca_pem().as_bytes()).unwrap())
            .unwrap();
        let mut config = rustls::ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![alpn.to_vec()];
        let name = ServerName::try_from("localhost").unwrap();
        let tcp = connect(server.address).await;
        let stream = TlsConnector::from(Arc::new(config))
            .connect(name, tcp)
            .await
            .unwrap();
        assert_eq!(
            get_over(stream, version).await,
            (version, Bytes::from("hello"))
        );
    }
}

#[tokio::test]
async fn plain_listeners_take_http2_with_prior_knowledge() {
    let server = listen(hello(), None, ServeLimits::default());
    let stream = connect(server.address).await;
    assert_eq!(get_over(stream, Version::HTTP_2).await.0, Version::HTTP_2);
    let stream = connect(server.address).await;
    assert_eq!(get_over(stream, Version::HTTP_11).await.0, Version::HTTP_11);
}

#[tokio::test]
async fn http2_settings_carry_the_bounds() {
    let server = listen(hello(), None, ServeLimits::default());
    let mut stream = connect(server.address).await;
    stream
        .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")
        .await
        .unwrap();
    let mut head = [0; 9];
    timeout(PATIENCE, stream.read_exact(&mut head))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(head[3], 4, "the first frame is SETTINGS");
    let mut settings = vec![0; usize::from(head[1]) * 256 + usize::from(head[2])];
    stream.read_exact(&mut settings).await.unwrap();
    let value = |id: u8| {
        let found = settings.chunks(6).find(|setting| setting[..2] == [0, id]);
        found.map(|setting| u32::from_be_bytes(setting[2..].try_into().unwrap()))
    };
    assert_eq!(value(3), Some(limits::HTTP2_STREAMS_MAX));
    assert_eq!(value(4), Some(limits::HTTP2_STREAM_WINDOW_BYTES));
    assert_eq!(value(5), Some(limits::HTTP2_FRAME_BYTES_MAX));
    assert_eq!(value(6), Some(limits::HEADER_LIST_BYTES_MAX as u32));
    assert_eq!(value(8), Some(1), "extended CONNECT is on");
}

#[tokio::test]
async fn clients_that_dawdle_are_closed() {
    let limits = ServeLimits {
        first_request_timeout: Duration::from_millis(150),
        next_request_timeout: Duration::from_millis(300),
        handshake_timeout: Duration::from_millis(150),
        ..ServeLimits::default()
    };
    let dir = tempfile::TempDir::new().unwrap();
    let pki = Pki::ensure(dir.path(), &[]).unwrap();
    let tls = server_config(&pki, ALPN_PUBLIC).unwrap();
    let plain = listen(hello(), None, limits.clone());
    let secure = listen(hello(), Some(tls), limits);

    let mut silent = connect(plain.address).await;
    assert!(until_closed(&mut silent).await >= Duration::from_millis(100));
    let mut half = connect(plain.address).await;
    half.write_all(b"GET / HTTP/1.1\r\nhost: a\r\nx-")
        .await
        .unwrap();
    assert!(until_closed(&mut half).await >= Duration::from_millis(100));
    let mut without_handshake = connect(secure.address).await;
    assert!(until_closed(&mut without_handshake).await >= Duration::from_millis(100));

    let mut idle = connect(plain.address).await;
    exchange(&mut idle).await;
    exchange(&mut idle).await;
    assert!(until_closed(&mut idle).await >= Duration::from_millis(200));
    let mut second_half = connect(plain.address).await;
    exchange(&mut second_half).await;
    second_half.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
    assert!(until_closed(&mut second_half).await >= Duration::from_millis(200));
}

// A server with an answer that never ends, a client that reads none of it, and the end of the answer.
async fn serve_to_a_deaf_peer(
    limits: ServeLimits,
) -> (Listening, TcpStream, oneshot::Receiver<()>) {
    struct Dropped(Option<oneshot::Sender<()>>);
    impl Drop for Dropped {
        fn drop(&mut self) {
            let _ = self.0.take().unwrap().send(());
        }
    }
    let (tx, dropped) = oneshot::channel();
    let (started, mut is_started) = mpsc::channel(1);
    let slot = Arc::new(std::sync::Mutex::new(Some(Dropped(Some(tx)))));
    let endless = move || {
        let guard = slot.lock().unwrap().take();
        let started = started.clone();
        async move {
            let chunks = stream::repeat_with(move || {
                let _held = &guard;
                let _ = started.try_send(());
                Ok::<_, Infallible>(Bytes::from_static(&[b'x'; 65_536]))
            });
            Body::from_stream(chunks)
        }
    };
    let server = listen(Router::new().route("/", get(endless)), None, limits);
    let mut stream = connect(server.address).await;
    stream
        .write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    is_started.recv().await.unwrap();
    (server, stream, dropped)
}

#[tokio::test]
async fn a_peer_that_does_not_read_is_cut_off() {
    let limits = ServeLimits {
        write_stall_timeout: Duration::from_millis(200),
        ..ServeLimits::default()
    };
    let (_server, _peer, dropped) = serve_to_a_deaf_peer(limits).await;
    timeout(PATIENCE, dropped)
        .await
        .expect("the answer is still being written")
        .unwrap();
}

#[tokio::test]
async fn a_peer_that_does_not_read_holds_up_a_stop_for_a_moment_only() {
    let limits = ServeLimits {
        write_stall_timeout: PATIENCE * 2,
        stopping_write_stall_timeout: Duration::from_millis(100),
        drain_timeout: PATIENCE * 2,
        ..ServeLimits::default()
    };
    let (server, _peer, dropped) = serve_to_a_deaf_peer(limits).await;
    server.tasks.cancel();
    timeout(PATIENCE, dropped)
        .await
        .expect("the answer is still being written")
        .unwrap();
    assert!(server.tasks.shutdown(PATIENCE).await);
}

#[tokio::test]
async fn a_stop_finishes_requests_under_way_and_takes_no_new_ones() {
    let (started, mut is_started) = mpsc::channel(1);
    let (go, may_go) = oneshot::channel::<()>();
    let may_go = Arc::new(tokio::sync::Mutex::new(Some(may_go)));
    let slow = move || async move {
        started.send(()).await.unwrap();
        let _ = may_go.lock().await.take().unwrap().await;
        "hello"
    };
    let server = listen(
        Router::new().route("/", get(slow)),
        None,
        ServeLimits::default(),
    );
    let mut idle = connect(server.address).await;
    let mut busy = connect(server.address).await;
    busy.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    is_started.recv().await.unwrap();
    server.tasks.cancel();
    until_closed(&mut idle).await;
    assert!(
        TcpStream::connect(server.address).await.is_err(),
        "still accepts"
    );
    assert_eq!(server.tasks.running(), 1);
    go.send(()).unwrap();
    let mut answer = String::new();
    timeout(PATIENCE, busy.read_to_string(&mut answer))
        .await
        .unwrap()
        .unwrap();
    assert!(answer.ends_with("hello"), "{answer}");
    assert!(server.tasks.shutdown(PATIENCE).await);
}

#[tokio::test]
async fn a_stop_has_a_deadline() {
    let limits = ServeLimits {
        drain_timeout: Duration::from_millis(100),
        ..ServeLimits::default()
    };
    let endless = || async {
        std::future::pending::<()>().await;
        "never"
    };
    let server = listen(Router::new().route("/", get(endless)), None, limits);
    let mut busy = connect(server.address).await;
    busy.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    let before = clock::monotonic();
    assert!(server.tasks.shutdown(PATIENCE).await);
    assert!(before.elapsed() < PATIENCE / 2);
    until_closed(&mut busy).await;
}
