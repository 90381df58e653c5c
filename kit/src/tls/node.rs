//! TLS between nodes: who this one is, and whom it believes.
//!
//! TLS 1.3 with HTTP/2 and nothing else. One [`NodeTls`] lives as long as its process; its credentials may
//! be replaced at any time, and every handshake after that, of listeners and clients that run already,
//! uses the new ones. Invariant: what is replaced stays the same node of the same cluster.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rustls::client::{ResolvesClientCert, Resumption};
use rustls::crypto::CryptoProvider;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{
    ClientHello, NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier,
};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, RootCertStore, ServerConfig, SignatureScheme};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tidegate_proto::id::ClusterId;
use tidegate_proto::node::NodeIdentity;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::identity::{identity_of, serial_of};
use super::verify::{Clients, Expect, Faith, Servers, Trusting};
use super::{PkiError, provider};
use crate::dial::Dial;
use crate::secret::Secret;

/// The protocol of private connections.
pub const ALPN_PRIVATE: &[u8] = b"h2";

/// What a node shows others and believes of them, all of it PEM.
#[derive(Debug, Clone)]
pub struct NodeCredentials {
    /// The node's certificate first, then that of the authority that signed it.
    pub chain_pem: String,
    /// The node's private key.
    pub key_pem: Secret,
    /// The authorities that it trusts.
    pub authorities_pem: String,
}

/// Whether a client of a listener has to be a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientAuth {
    /// No connection without a certificate.
    Required,
    /// Without a certificate the client is nobody; one that is shown has to be good.
    Optional,
}

/// The identity of this process among the nodes. Clones are the same.
#[derive(Debug, Clone)]
pub struct NodeTls {
    shared: Arc<Shared>,
    dial: Option<Arc<dyn Dial>>,
}

#[derive(Debug)]
struct Shared {
    identity: NodeIdentity,
    provider: Arc<CryptoProvider>,
    current: RwLock<Arc<Current>>,
}

/// What is in force.
#[derive(Debug)]
struct Current {
    certified: Arc<CertifiedKey>,
    roots: Arc<RootCertStore>,
    client_verifier: Arc<dyn ClientCertVerifier>,
    serial: String,
    begins_at_s: i64,
    expires_at_s: i64,
}

impl NodeTls {
    /// Takes the credentials after checking that they belong together.
    ///
    /// # Errors
    /// [`PkiError::Credentials`].
    pub fn new(credentials: &NodeCredentials) -> Result<Self, PkiError> {
        let provider = provider();
        let (identity, current) = read(credentials, &provider).map_err(PkiError::Credentials)?;
        Ok(Self {
            shared: Arc::new(Shared {
                identity,
                provider,
                current: RwLock::new(Arc::new(current)),
            }),
            dial: None,
        })
    }

    /// The same node, for simulations: its channels are made of what `dial` connects.
    #[must_use]
    pub fn over(self, dial: Arc<dyn Dial>) -> Self {
        Self {
            dial: Some(dial),
            ..self
        }
    }

    pub(crate) fn dial(&self) -> Option<Arc<dyn Dial>> {
        self.dial.clone()
    }

    /// Every handshake from now on uses these. Connections stay as they are.
    ///
    /// # Errors
    /// [`PkiError::Credentials`], also when they are those of another node; the old ones stay in force.
    pub fn replace(&self, credentials: &NodeCredentials) -> Result<(), PkiError> {
        let shared = &self.shared;
        let (identity, current) =
            read(credentials, &shared.provider).map_err(PkiError::Credentials)?;
        if identity != shared.identity {
            let reason = format!("they are those of {identity}, not of {}", shared.identity);
            return Err(PkiError::Credentials(reason));
        }
        let mut slot = shared
            .current
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        *slot = Arc::new(current);
        Ok(())
    }

    /// Who this node is.
    #[must_use]
    pub fn identity(&self) -> &NodeIdentity {
        &self.shared.identity
    }

    /// When the certificate began and when it ends, in seconds since 1970.
    #[must_use]
    pub fn validity_s(&self) -> (i64, i64) {
        let current = self.shared.current();
        (current.begins_at_s, current.expires_at_s)
    }

    /// Until half of the certificate's life is over.
    #[must_use]
    pub fn until_renewal(&self, now_s: i64) -> Duration {
        let (begins_at_s, expires_at_s) = self.validity_s();
        let renew_at_s = begins_at_s + (expires_at_s - begins_at_s) / 2;
        Duration::from_secs(u64::try_from(renew_at_s - now_s).unwrap_or_default())
    }

    /// The serial number of the certificate, hexadecimal.
    #[must_use]
    pub fn serial(&self) -> String {
        self.shared.current().serial.clone()
    }

    /// For a listener of nodes.
    ///
    /// # Errors
    /// [`PkiError::Make`] when the cryptography of this build has no TLS 1.3.
    pub fn server_config(&self, clients: ClientAuth) -> Result<Arc<ServerConfig>, PkiError> {
        let verifier = Clients {
            trusting: Arc::clone(&self.shared),
            is_mandatory: clients == ClientAuth::Required,
            provider: Arc::clone(&self.shared.provider),
        };
        let mut config = ServerConfig::builder_with_provider(Arc::clone(&self.shared.provider))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|error| PkiError::Make(error.to_string()))?
            .with_client_cert_verifier(Arc::new(verifier))
            .with_cert_resolver(Arc::clone(&self.shared) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![ALPN_PRIVATE.to_vec()];
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Arc::new(config))
    }

    /// For connections to a node that has to be whom we `expect`.
    ///
    /// # Errors
    /// As [`Self::server_config`].
    pub fn client_config(&self, expect: Expect) -> Result<Arc<ClientConfig>, PkiError> {
        let verifier = Servers {
            faith: Faith::Cluster(Arc::clone(&self.shared)),
            expect,
            provider: Arc::clone(&self.shared.provider),
        };
        let resolver = Arc::clone(&self.shared) as Arc<dyn ResolvesClientCert>;
        client_config(verifier, |builder| {
            builder.with_client_cert_resolver(resolver)
        })
    }
}

type WantsClientCert = rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert>;

/// For a client that knows nothing of a cluster but the [pin](super::ClusterAuthority::pin) of its
/// authority, and is nobody in it yet.
///
/// # Errors
/// As [`NodeTls::server_config`].
pub fn pinned_client_config(pin: &str, expect: Expect) -> Result<Arc<ClientConfig>, PkiError> {
    let verifier = Servers::<Arc<Shared>> {
        faith: Faith::Pin(pin.to_owned()),
        expect,
        provider: provider(),
    };
    client_config(verifier, WantsClientCert::with_no_client_auth)
}

fn client_config(
    verifier: Servers<Arc<Shared>>,
    finish: impl FnOnce(WantsClientCert) -> ClientConfig,
) -> Result<Arc<ClientConfig>, PkiError> {
    let builder = ClientConfig::builder_with_provider(Arc::clone(&verifier.provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| PkiError::Make(error.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = finish(builder);
    config.alpn_protocols = vec![ALPN_PRIVATE.to_vec()];
    config.resumption = Resumption::disabled();
    // Nodes are known by what their certificates say, not by the name of their host.
    config.enable_sni = false;
    Ok(Arc::new(config))
}

impl Shared {
    fn current(&self) -> Arc<Current> {
        let slot = self.current.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&slot)
    }
}

impl Trusting for Arc<Shared> {
    fn cluster_id(&self) -> ClusterId {
        self.identity.cluster_id()
    }

    fn roots(&self) -> Arc<RootCertStore> {
        Arc::clone(&self.current().roots)
    }

    fn client_verifier(&self) -> Arc<dyn ClientCertVerifier> {
        Arc::clone(&self.current().client_verifier)
    }
}

impl ResolvesServerCert for Shared {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.current().certified))
    }
}

impl ResolvesClientCert for Shared {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.current().certified))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// Reads credentials; what is wrong with them in words.
fn read(
    credentials: &NodeCredentials,
    provider: &Arc<CryptoProvider>,
) -> Result<(NodeIdentity, Current), String> {
    let chain = certificates(&credentials.chain_pem)?;
    let leaf = chain.first().ok_or("there is no certificate")?;
    let identity = identity_of(leaf).map_err(|error| error.to_string())?;
    let serial = serial_of(leaf).map_err(|error| error.to_string())?;
    let (begins_at_s, expires_at_s) = {
        let (_, parsed) = X509Certificate::from_der(leaf).map_err(|error| error.to_string())?;
        let validity = parsed.validity();
        (
            validity.not_before.timestamp(),
            validity.not_after.timestamp(),
        )
    };
    let key = PrivateKeyDer::from_pem_slice(credentials.key_pem.expose().as_bytes())
        .map_err(|error| format!("the private key cannot be read: {error}"))?;
    let key = provider.key_provider.load_private_key(key);
    let key = key.map_err(|error| format!("the private key cannot be used: {error}"))?;
    let certified = CertifiedKey::new(chain, key);
    certified
        .keys_match()
        .map_err(|_| "the private key is not that of the certificate".to_owned())?;
    let mut roots = RootCertStore::empty();
    for authority in certificates(&credentials.authorities_pem)? {
        roots
            .add(authority)
            .map_err(|error| format!("an authority cannot be used: {error}"))?;
    }
    let roots = Arc::new(roots);
    let client_verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(provider))
            .build()
            .map_err(|error| format!("the authorities cannot be used: {error}"))?;
    let current = Current {
        certified: Arc::new(certified),
        roots,
        client_verifier,
        serial,
        begins_at_s,
        expires_at_s,
    };
    Ok((identity, current))
}

fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| format!("not a certificate: {error}"))
}
