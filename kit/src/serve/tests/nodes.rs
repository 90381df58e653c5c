//! Listeners of nodes against clients with good certificates, bad ones and none.

use rustls::ClientConfig;
use rustls::pki_types::PrivateKeyDer;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use tidegate_proto::id::{ClusterId, SpuId};
use tidegate_proto::node::{NodeIdentity, NodeName, NodeRole};
use tokio_rustls::client::TlsStream;

use super::*;
use crate::peer::PeerIdentity;
use crate::tls::{
    ClientAuth, ClusterAuthority, Expect, NodeCredentials, NodeTls, pinned_client_config,
};

const HOUR: Duration = Duration::from_secs(3600);

fn authority(cluster: u8) -> ClusterAuthority {
    let cluster_id = ClusterId::from_bytes([cluster; 16]);
    ClusterAuthority::make(cluster_id, clock::now_s()).unwrap()
}

fn identity(authority: &ClusterAuthority, role: NodeRole, name: &str) -> NodeIdentity {
    let name = NodeName::parse(name).unwrap();
    NodeIdentity::new(authority.cluster_id(), role, name).unwrap()
}

fn credentials(authority: &ClusterAuthority, role: NodeRole, name: &str) -> NodeCredentials {
    let identity = identity(authority, role, name);
    authority.issue(&identity, clock::now_s(), HOUR).unwrap()
}

fn node(authority: &ClusterAuthority, role: NodeRole, name: &str) -> NodeTls {
    NodeTls::new(&credentials(authority, role, name)).unwrap()
}

// A unit that says who asks, to anybody who is somebody, and something to gateways alone.
fn listen_as(unit: &NodeTls, clients: ClientAuth) -> Listening {
    let who = |peer: PeerIdentity| async move { peer.0.to_string() };
    let for_gateways =
        |peer: PeerIdentity| async move { peer.require(&[NodeRole::Gateway]).map(|()| "come in") };
    let router = Router::new()
        .route("/", get(who))
        .route("/gateways", get(for_gateways));
    let tls = unit.server_config(clients).unwrap();
    listen(router, Some(tls), ServeLimits::default())
}

type Client = hyper::client::conn::http2::SendRequest<Body>;

async fn handshake(
    server: &Listening,
    config: Arc<ClientConfig>,
) -> std::io::Result<TlsStream<TcpStream>> {
    let tcp = connect(server.address).await;
    let name = ServerName::try_from("node.invalid").unwrap();
    TlsConnector::from(config).connect(name, tcp).await
}

async fn open(server: &Listening, config: Arc<ClientConfig>) -> std::io::Result<Client> {
    let stream = handshake(server, config).await?;
    let (sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
    server
        .tasks
        .spawn(TaskKind::Upkeep, tracing::Span::none(), async move {
            let _ = connection.await;
        });
    Ok(sender)
}

// Status and body, or an error where the connection gave no answer.
async fn ask(client: &mut Client, path: &str) -> Result<(u16, String), hyper::Error> {
    let request = Request::get(format!("https://node.invalid{path}"));
    let request = request.body(Body::empty()).unwrap();
    let response = timeout(PATIENCE, client.send_request(request))
        .await
        .unwrap()?;
    let status = response.status().as_u16();
    let body = response.into_body().collect().await?.to_bytes();
    Ok((status, String::from_utf8(body.to_vec()).unwrap()))
}

async fn is_refused(server: &Listening, config: Arc<ClientConfig>) -> bool {
    // A client of TLS 1.3 is done before the server has looked at its certificate.
    match open(server, config).await {
        Ok(mut client) => ask(&mut client, "/").await.is_err(),
        Err(_) => true,
    }
}

#[tokio::test]
async fn nodes_of_a_cluster_know_each_other() {
    let authority = authority(1);
    let unit = node(&authority, NodeRole::Spu, "spu-3");
    let server = listen_as(&unit, ClientAuth::Required);
    for (role, name, status) in [
        (NodeRole::Gateway, "gateway-a", 200),
        (NodeRole::Spu, "spu-4", 403),
        (NodeRole::Sc, "sc-1", 403),
    ] {
        let peer = node(&authority, role, name);
        let config = peer.client_config(Expect::spu(SpuId(3))).unwrap();
        let mut client = open(&server, config).await.unwrap();
        let who = ask(&mut client, "/").await.unwrap();
        assert_eq!(who, (200, peer.identity().to_string()));
        let (found, body) = ask(&mut client, "/gateways").await.unwrap();
        assert_eq!(found, status, "{body}");
        assert!(
            status == 200 || body.contains("\"code\":\"forbidden\""),
            "{body}"
        );
    }
}

#[tokio::test]
async fn clients_that_are_no_nodes_of_the_cluster_get_nothing() {
    let ours = authority(1);
    let expect = || Expect::Role(NodeRole::Spu);
    let server = listen_as(&node(&ours, NodeRole::Spu, "spu-3"), ClientAuth::Required);
    let nobody = pinned_client_config(&ours.pin(), expect()).unwrap();
    assert!(is_refused(&server, nobody).await, "no certificate");

    // Believes our server, so that nothing but its own certificate stands against it.
    let as_client = |credentials: &NodeCredentials| {
        let mut config = (*pinned_client_config(&ours.pin(), expect()).unwrap()).clone();
        let chain = CertificateDer::pem_slice_iter(credentials.chain_pem.as_bytes());
        let key = PrivateKeyDer::from_pem_slice(credentials.key_pem.expose().as_bytes());
        let key = provider().key_provider.load_private_key(key.unwrap());
        let certified = CertifiedKey::new(chain.map(Result::unwrap).collect(), key.unwrap());
        config.client_auth_cert_resolver = Arc::new(SingleCertAndKey::from(certified));
        Arc::new(config)
    };
    let stranger = authority(2);
    let same_name = authority(1);
    let gateway = identity(&ours, NodeRole::Gateway, "a");
    let now_s = clock::now_s();
    let expired = ours.issue(&gateway, now_s - 7200, HOUR).unwrap();
    let early = ours.issue(&gateway, now_s + 7200, HOUR).unwrap();
    let of_another = identity(&stranger, NodeRole::Gateway, "a");
    let of_another = ours.issue(&of_another, now_s, HOUR).unwrap();
    let good = ours.issue(&gateway, now_s, HOUR).unwrap();
    for (why, credentials) in [
        (
            "another cluster",
            credentials(&stranger, NodeRole::Gateway, "a"),
        ),
        (
            "another authority",
            credentials(&same_name, NodeRole::Gateway, "a"),
        ),
        ("our authority, another cluster", of_another),
        ("expired", expired),
        ("not yet in force", early),
    ] {
        assert!(is_refused(&server, as_client(&credentials)).await, "{why}");
    }
    assert!(!is_refused(&server, as_client(&good)).await);
}

#[tokio::test]
async fn a_server_has_to_be_whom_the_client_expects() {
    let ours = authority(1);
    let server = listen_as(&node(&ours, NodeRole::Spu, "spu-3"), ClientAuth::Required);
    let gateway = node(&ours, NodeRole::Gateway, "a");
    let a_name = NodeName::parse("sc-1").unwrap();
    for (expect, is_good) in [
        (Expect::spu(SpuId(3)), true),
        (Expect::Role(NodeRole::Spu), true),
        (Expect::spu(SpuId(4)), false),
        (Expect::Role(NodeRole::Sc), false),
        (Expect::Role(NodeRole::Gateway), false),
        (Expect::Node(NodeRole::Sc, a_name), false),
    ] {
        let config = gateway.client_config(expect.clone()).unwrap();
        let found = handshake(&server, config).await;
        assert_eq!(found.is_ok(), is_good, "{expect}: {found:?}");
    }
    let (same_name, other) = (authority(1), authority(2));
    for stranger in [&same_name, &other] {
        let stranger = node(stranger, NodeRole::Gateway, "a");
        let config = stranger.client_config(Expect::Role(NodeRole::Spu)).unwrap();
        assert!(handshake(&server, config).await.is_err());
    }
    let expired = ours.issue(
        &identity(&ours, NodeRole::Spu, "spu-3"),
        clock::now_s() - 7200,
        HOUR,
    );
    let server = listen_as(
        &NodeTls::new(&expired.unwrap()).unwrap(),
        ClientAuth::Optional,
    );
    let config = gateway.client_config(Expect::spu(SpuId(3))).unwrap();
    assert!(handshake(&server, config).await.is_err());
}

#[tokio::test]
async fn where_certificates_are_optional_a_client_may_be_nobody_but_not_a_stranger() {
    let ours = authority(1);
    let unit = node(&ours, NodeRole::Sc, "sc-1");
    let server = listen_as(&unit, ClientAuth::Optional);
    let expect = Expect::Role(NodeRole::Sc);
    let nobody = pinned_client_config(&ours.pin(), expect.clone()).unwrap();
    let mut client = open(&server, nobody).await.unwrap();
    let (status, body) = ask(&mut client, "/").await.unwrap();
    assert_eq!(status, 401, "{body}");
    let somebody = node(&ours, NodeRole::Spu, "spu-1");
    let mut client = open(&server, somebody.client_config(expect.clone()).unwrap())
        .await
        .unwrap();
    assert_eq!(ask(&mut client, "/").await.unwrap().0, 200);
    let mut mixed = credentials(&authority(1), NodeRole::Spu, "spu-1");
    ours.trusted_pem().clone_into(&mut mixed.authorities_pem);
    let mixed = NodeTls::new(&mixed).unwrap().client_config(expect.clone());
    assert!(is_refused(&server, mixed.unwrap()).await);
    // A pin of another authority finds nobody to believe.
    let other = pinned_client_config(&authority(1).pin(), expect).unwrap();
    assert!(handshake(&server, other).await.is_err());
}

#[tokio::test]
async fn new_credentials_hold_for_new_handshakes_and_leave_connections_alone() {
    let (old, new) = (authority(1), authority(1));
    let unit = node(&old, NodeRole::Spu, "spu-3");
    let gateway = node(&old, NodeRole::Gateway, "a");
    let server = listen_as(&unit, ClientAuth::Required);
    let config = gateway.client_config(Expect::spu(SpuId(3))).unwrap();
    let mut before = open(&server, Arc::clone(&config)).await.unwrap();
    assert_eq!(ask(&mut before, "/").await.unwrap().0, 200);

    // The authority is replaced: first all trust both, then each gets a certificate of the new one.
    let both = format!("{}{}", old.trusted_pem(), new.trusted_pem());
    let with_both = |from: &ClusterAuthority, role, name| {
        let mut credentials = credentials(from, role, name);
        credentials.authorities_pem.clone_from(&both);
        credentials
    };
    unit.replace(&with_both(&new, NodeRole::Spu, "spu-3"))
        .unwrap();
    assert!(
        handshake(&server, Arc::clone(&config)).await.is_err(),
        "the gateway does not know the new authority"
    );
    gateway
        .replace(&with_both(&old, NodeRole::Gateway, "a"))
        .unwrap();
    let mut after = open(&server, Arc::clone(&config)).await.unwrap();
    assert_eq!(ask(&mut after, "/").await.unwrap().0, 200);
    unit.replace(&credentials(&new, NodeRole::Spu, "spu-3"))
        .unwrap();
    assert!(is_refused(&server, Arc::clone(&config)).await);
    gateway
        .replace(&credentials(&new, NodeRole::Gateway, "a"))
        .unwrap();
    assert!(!is_refused(&server, config).await);
    assert_eq!(ask(&mut before, "/").await.unwrap().0, 200);
    assert_eq!(ask(&mut after, "/").await.unwrap().0, 200);
}

#[test]
fn credentials_that_do_not_belong_together_are_refused() {
    let ours = authority(1);
    let mut unit = credentials(&ours, NodeRole::Spu, "spu-3");
    let tls = NodeTls::new(&unit).unwrap();
    let (_, expires_at_s) = tls.validity_s();
    let refused = |credentials: &NodeCredentials, why: &str| {
        let error = tls.replace(credentials).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
        assert_eq!(tls.validity_s().1, expires_at_s);
    };
    refused(&credentials(&ours, NodeRole::Spu, "spu-4"), "spu-4, not of");
    refused(
        &credentials(&authority(2), NodeRole::Spu, "spu-3"),
        "not of",
    );
    let good = unit.clone();
    unit.key_pem = credentials(&ours, NodeRole::Spu, "spu-3").key_pem;
    refused(&unit, "not that of the certificate");
    unit = NodeCredentials {
        chain_pem: ours.trusted_pem().to_owned(),
        ..good.clone()
    };
    refused(&unit, "is not of the form");
    for (chain, authorities) in [("", good.authorities_pem.as_str()), (&good.chain_pem, "")] {
        let damaged = NodeCredentials {
            chain_pem: chain.to_owned(),
            authorities_pem: authorities.to_owned(),
            key_pem: good.key_pem.clone(),
        };
        assert!(NodeTls::new(&damaged).is_err());
    }
}
