//! Certificates: those that a process serves the public with, and those that nodes of a cluster show
//! each other.
//!
//! For the public there is one authority per data directory, made on first start; clients trust `ca.pem`.
//! The key of the server is renewed with its certificate, and clients are not verified. Nodes have
//! certificates of the cluster's authority ([`ClusterAuthority`]) that say who they are; both ends of a
//! private connection verify them ([`NodeTls`]).
//! Invariant: a key file is never readable by others, and no file is ever seen half written.

mod authority;
mod files;
mod identity;

mod request;

mod cluster;
mod verify;

mod node;

mod identity_dir;
mod public;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use thiserror::Error;

pub use cluster::{ClusterAuthority, Signed};
pub use identity::{IdentityError, identity_of, serial_of};
pub use identity_dir::IdentityDir;
pub use node::{ALPN_PRIVATE, ClientAuth, NodeCredentials, NodeTls, pinned_client_config};
pub use public::PublicTls;
pub use request::{NodeKey, SigningRequest};
pub use verify::Expect;
pub(crate) use verify::handshake_reason;

use crate::clock;

/// Protocols offered to public clients, the preferred one first.
pub const ALPN_PUBLIC: &[&[u8]] = &[b"h2", b"http/1.1"];

/// Why there is no usable certificate.
#[derive(Debug, Error)]
pub enum PkiError {
    /// A file could not be read or written.
    #[error("{}: {source}", .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file is not what it should be.
    #[error("{}: {reason}; restore it, or remove ca.pem, ca.key, server.pem and server.key to make new ones", .path.display())]
    Invalid {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A file that an operator provides is not what it should be.
    #[error("{}: {reason}", .path.display())]
    Unusable {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A name for the certificate is neither a host name nor an IP address.
    #[error("{name:?} is neither a host name nor an IP address")]
    Name {
        /// The name as given.
        name: String,
    },
    /// A certificate could not be made.
    #[error("a certificate could not be made: {0}")]
    Make(String),
    /// The authority of the cluster is not what it should be.
    #[error("{}: {reason}", .path.display())]
    Authority {
        /// The file that was looked at.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Somebody asked for a certificate in a way that cannot be granted.
    #[error("the signing request cannot be granted: {0}")]
    Request(String),
    /// The credentials of a node do not belong together, or are another's.
    #[error("the credentials of the node cannot be used: {0}")]
    Credentials(String),
}

/// An authority and a server certificate, on disk and in memory.
pub struct Pki {
    ca_path: PathBuf,
    ca_pem: String,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    expires_at_s: i64,
}

impl std::fmt::Debug for Pki {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pki")
            .field("ca_path", &self.ca_path)
            .field("expires_at_s", &self.expires_at_s)
            .finish_non_exhaustive()
    }
}

impl Pki {
    /// Reads `ca.pem`, `ca.key`, `server.pem` and `server.key` in `dir`, making what is missing. The
    /// server certificate is for localhost, 127.0.0.1, ::1 and `sans` (host names and addresses);
    /// it is made anew when it is for others, ends within 30 days, or is of another authority.
    ///
    /// # Errors
    /// When a file cannot be read or written, or is damaged: nothing damaged is overwritten.
    pub fn ensure(dir: &Path, sans: &[String]) -> Result<Self, PkiError> {
        Self::ensure_at(clock::now_s(), dir, sans)
    }

    fn ensure_at(now_s: i64, dir: &Path, sans: &[String]) -> Result<Self, PkiError> {
        let names = authority::names(sans)?;
        let authority = authority::Authority::ensure(now_s, dir)?;
        let server = authority::ensure_server(now_s, dir, &authority, &names)?;
        let invalid = |reason: String| PkiError::Invalid {
            path: dir.join("server.pem"),
            reason,
        };
        let chain = CertificateDer::pem_slice_iter(server.pem.as_bytes())
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| invalid(error.to_string()))?;
        let key = PrivateKeyDer::from_pem_slice(server.key.as_bytes())
            .map_err(|error| invalid(error.to_string()))?;
        Ok(Self {
            ca_path: dir.join(authority::CA_PEM),
            ca_pem: authority.pem,
            chain,
            key,
            expires_at_s: server.expires_at_s,
        })
    }

    /// Where the authority's certificate lies: what clients are told to trust.
    #[must_use]
    pub fn ca_path(&self) -> &Path {
        &self.ca_path
    }

    /// The authority's certificate as PEM.
    #[must_use]
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// The end of the server certificate, in seconds since 1970.
    #[must_use]
    pub fn expires_at_s(&self) -> i64 {
        self.expires_at_s
    }
}

/// The cryptography of this build, named here and nowhere else.
#[must_use]
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// A server configuration for TLS 1.2 and 1.3 that offers the protocols `alpn`, no early data.
///
/// # Errors
/// When key and certificate do not belong together.
pub fn server_config(pki: &Pki, alpn: &[&[u8]]) -> Result<Arc<ServerConfig>, PkiError> {
    config_of(pki.chain.clone(), pki.key.clone_key(), alpn)
        .map_err(|error| PkiError::Make(error.to_string()))
}

fn config_of(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    alpn: &[&[u8]],
) -> Result<Arc<ServerConfig>, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests;
