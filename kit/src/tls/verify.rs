//! How nodes verify each other.
//!
//! A chain to an authority of the cluster, a certificate in force, and the identity that stands in it:
//! of this cluster, and for a server the one that was expected. Names in URLs are not looked at, for they
//! say where a node is and not who. Invariant: every handshake is judged by what is trusted when it
//! happens, and none leaves out the judgement by resuming an earlier one.

use std::fmt;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, OtherError, RootCertStore,
    SignatureScheme,
};
use rustls_pki_types::CertificateDer;
use thiserror::Error;
use tidegate_proto::id::{ClusterId, SpuId};
use tidegate_proto::node::{NodeIdentity, NodeName, NodeRole};

use super::cluster::pin_of;
use super::identity::{IdentityError, identity_of};

/// Who has to answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expect {
    /// Any node of that role.
    Role(NodeRole),
    /// That node.
    Node(NodeRole, NodeName),
}

impl Expect {
    /// That storage unit.
    #[must_use]
    pub fn spu(spu: SpuId) -> Self {
        Self::Node(NodeRole::Spu, NodeName::of_spu(spu))
    }

    fn allows(&self, identity: &NodeIdentity) -> bool {
        match self {
            Self::Role(role) => identity.role() == *role,
            Self::Node(role, name) => identity.role() == *role && identity.name() == name,
        }
    }
}

impl fmt::Display for Expect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Role(role) => write!(f, "a node of role {role}"),
            Self::Node(role, name) => write!(f, "{role}/{name}"),
        }
    }
}

/// Why a certificate that is good in itself is not good here.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(super) enum Stranger {
    #[error(transparent)]
    Nobody(#[from] IdentityError),
    #[error("{found} is of another cluster")]
    Cluster { found: NodeIdentity },
    #[error("{found} answered where {expected} was expected")]
    Other {
        found: NodeIdentity,
        expected: Expect,
    },
    #[error("no certificate of the chain is the authority that the token names")]
    Unpinned,
}

impl From<Stranger> for rustls::Error {
    fn from(stranger: Stranger) -> Self {
        CertificateError::Other(OtherError(Arc::new(stranger))).into()
    }
}

/// Why a handshake failed, in words: the library shows what we found wrong with a certificate in the form
/// for programmers.
pub(crate) fn handshake_reason(error: &std::io::Error) -> String {
    let inner = error.get_ref();
    match inner.and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(ours)))) => {
            ours.to_string()
        }
        _ => error.to_string(),
    }
}

/// What a node trusts at the moment.
pub(super) trait Trusting: fmt::Debug + Send + Sync {
    fn cluster_id(&self) -> ClusterId;
    fn roots(&self) -> Arc<RootCertStore>;
    fn client_verifier(&self) -> Arc<dyn ClientCertVerifier>;
}

/// Passes judgement on clients.
#[derive(Debug)]
pub(super) struct Clients<T> {
    pub(super) trusting: T,
    pub(super) is_mandatory: bool,
    pub(super) provider: Arc<CryptoProvider>,
}

impl<T: Trusting> ClientCertVerifier for Clients<T> {
    fn client_auth_mandatory(&self) -> bool {
        self.is_mandatory
    }

    // Nodes have one certificate and need no hint which to send.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let verifier = self.trusting.client_verifier();
        let verified = verifier.verify_client_cert(end_entity, intermediates, now)?;
        judge(end_entity, self.trusting.cluster_id())?;
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let algorithms = &self.provider.signature_verification_algorithms;
        algorithms.supported_schemes()
    }
}

fn judge(
    certificate: &CertificateDer<'_>,
    cluster_id: ClusterId,
) -> Result<NodeIdentity, Stranger> {
    let found = identity_of(certificate)?;
    if found.cluster_id() != cluster_id {
        return Err(Stranger::Cluster { found });
    }
    Ok(found)
}

/// Whom a client believes.
#[derive(Debug)]
pub(super) enum Faith<T> {
    /// The authorities of its own cluster.
    Cluster(T),
    /// Whichever authority has this pin.
    Pin(String),
}

/// Passes judgement on servers.
#[derive(Debug)]
pub(super) struct Servers<T> {
    pub(super) faith: Faith<T>,
    pub(super) expect: Expect,
    pub(super) provider: Arc<CryptoProvider>,
}

impl<T: Trusting> Servers<T> {
    fn roots(&self, chain: &[CertificateDer<'_>]) -> Result<Arc<RootCertStore>, rustls::Error> {
        match &self.faith {
            Faith::Cluster(trusting) => Ok(trusting.roots()),
            Faith::Pin(pin) => {
                let pinned = chain.iter().find(|certificate| pin_of(certificate) == *pin);
                let pinned = pinned.ok_or(Stranger::Unpinned)?;
                let mut roots = RootCertStore::empty();
                roots.add(pinned.clone().into_owned())?;
                Ok(Arc::new(roots))
            }
        }
    }
}

impl<T: Trusting> ServerCertVerifier for Servers<T> {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let parsed = ParsedCertificate::try_from(end_entity)?;
        verify_server_cert_signed_by_trust_anchor(
            &parsed,
            &*self.roots(intermediates)?,
            intermediates,
            now,
            self.provider.signature_verification_algorithms.all,
        )?;
        let found = match &self.faith {
            Faith::Cluster(trusting) => judge(end_entity, trusting.cluster_id())?,
            Faith::Pin(_) => identity_of(end_entity).map_err(Stranger::from)?,
        };
        if !self.expect.allows(&found) {
            let expected = self.expect.clone();
            return Err(Stranger::Other { found, expected }.into());
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let algorithms = &self.provider.signature_verification_algorithms;
        algorithms.supported_schemes()
    }
}
