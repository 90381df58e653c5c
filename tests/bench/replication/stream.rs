//! The limit on the wire's side: one HTTP/2 stream over TLS that carries the same bytes from memory to somebody
//! who throws them away, with windows that never bind.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use http::{Request, Response};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tidegate_tests::http::tls_config;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::now;

const WINDOW_BYTES: u32 = 16 << 20;
const FRAME_BYTES: u32 = 256 << 10;

/// Streams `batches` copies of `body`; gives bytes per second.
pub(crate) async fn bytes_per_second(
    tls: &Path,
    ca_pem: &str,
    body: &[u8],
    batches: usize,
) -> Result<f64> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let acceptor = acceptor(tls)?;
    let mut tasks = JoinSet::new();
    tasks.spawn(send(
        listener,
        acceptor,
        Bytes::copy_from_slice(body),
        batches,
    ));
    let mut config = tls_config(ca_pem)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    let tcp = TcpStream::connect(address).await?;
    tcp.set_nodelay(true)?;
    let name = rustls::pki_types::ServerName::try_from("localhost")?;
    let stream = TlsConnector::from(Arc::new(config)).connect(name, tcp);
    let (mut requests, connection) = h2::client::Builder::new()
        .initial_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .max_frame_size(FRAME_BYTES)
        .handshake::<_, Bytes>(stream.await?)
        .await?;
    tasks.spawn(async move { Ok(connection.await?) });
    let request = Request::builder().uri("https://localhost/").body(())?;
    let start = now();
    let (answer, _) = requests.send_request(request, true)?;
    let mut answer = answer.await?.into_body();
    let mut got = 0;
    while let Some(data) = answer.data().await {
        let length = data?.len();
        got += length;
        answer.flow_control().release_capacity(length)?;
    }
    ensure!(got == body.len() * batches, "{got} bytes came");
    Ok(got as f64 / start.elapsed().as_secs_f64())
}

fn acceptor(tls: &Path) -> Result<TlsAcceptor> {
    let chain = CertificateDer::pem_file_iter(tls.join("server.pem"))?;
    let chain: Vec<_> = chain.collect::<Result<_, _>>()?;
    let key = PrivateKeyDer::from_pem_file(tls.join("server.key"))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

async fn send(
    listener: TcpListener,
    acceptor: TlsAcceptor,
    body: Bytes,
    batches: usize,
) -> Result<()> {
    let (tcp, _) = listener.accept().await?;
    tcp.set_nodelay(true)?;
    let stream = acceptor.accept(tcp).await?;
    let mut connection = h2::server::Builder::new()
        .max_send_buffer_size(FRAME_BYTES as usize * 4)
        .handshake(stream)
        .await?;
    let (_, mut respond) = connection.accept().await.context("a request")??;
    let mut stream = respond.send_response(Response::new(()), false)?;
    let mut writer = JoinSet::new();
    writer.spawn(async move {
        for _ in 0..batches {
            let mut left = body.clone();
            while !left.is_empty() {
                stream.reserve_capacity(left.len());
                let room = std::future::poll_fn(|context| stream.poll_capacity(context));
                let room = room.await.context("the stream is gone")??;
                stream.send_data(left.split_to(room.min(left.len())), false)?;
            }
        }
        stream.send_data(Bytes::new(), true)?;
        anyhow::Ok(())
    });
    // It has to be polled for anything to be sent; it ends when the other side hangs up.
    while connection.accept().await.is_some() {}
    writer.join_next().await.context("spawned above")??
}
