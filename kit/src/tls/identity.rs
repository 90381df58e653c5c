//! Reads off a certificate which node it is for.
//!
//! The identity is the one alternative name of the certificate, a URI; the subject's distinguished name
//! says nothing. Nothing here looks at signatures or dates. Invariant: a certificate with more than one
//! alternative name, of whatever kind, is for nobody.

use rustls_pki_types::CertificateDer;
use thiserror::Error;
use tidegate_proto::id::ClusterId;
use tidegate_proto::node::{NodeError, NodeIdentity};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// What the URI of a cluster's authority begins with; nodes have a role and a name after it.
pub(super) const CLUSTER_SCHEME: &str = "tidegate://";

/// Why a certificate is not that of a node.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum IdentityError {
    /// It cannot be read.
    #[error("not a certificate: {0}")]
    Unreadable(String),
    /// It has none or several alternative names, or one that is no URI.
    #[error("the certificate is not for exactly one URI")]
    NotOneUri,
    /// The URI is not that of a node.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// The URI is not that of a cluster.
    #[error("{0:?} does not name a cluster")]
    Cluster(String),
}

/// The node that a certificate is for. Whether it may be believed is decided elsewhere.
///
/// # Errors
/// [`IdentityError`].
pub fn identity_of(certificate: &CertificateDer<'_>) -> Result<NodeIdentity, IdentityError> {
    Ok(uri_of(certificate)?.parse()?)
}

/// The cluster whose authority a certificate is.
pub(super) fn cluster_of(certificate: &CertificateDer<'_>) -> Result<ClusterId, IdentityError> {
    let uri = uri_of(certificate)?;
    let cluster = uri.strip_prefix(CLUSTER_SCHEME);
    let cluster = cluster.and_then(|id| id.parse().ok());
    cluster.ok_or(IdentityError::Cluster(uri))
}

/// The serial number of a certificate, hexadecimal.
///
/// # Errors
/// [`IdentityError::Unreadable`].
pub fn serial_of(certificate: &CertificateDer<'_>) -> Result<String, IdentityError> {
    let (_, parsed) = X509Certificate::from_der(certificate)
        .map_err(|error| IdentityError::Unreadable(error.to_string()))?;
    // Ours are positive numbers of 16 bytes, in a form without leading zeros.
    Ok(hexadecimal(parsed.raw_serial()))
}

pub(super) fn hexadecimal(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

fn uri_of(certificate: &CertificateDer<'_>) -> Result<String, IdentityError> {
    let unreadable = |error: String| IdentityError::Unreadable(error);
    let (_, parsed) =
        X509Certificate::from_der(certificate).map_err(|error| unreadable(error.to_string()))?;
    // Two extensions of the kind are an error, too.
    let names = parsed
        .subject_alternative_name()
        .map_err(|error| unreadable(error.to_string()))?
        .ok_or(IdentityError::NotOneUri)?;
    match names.value.general_names.as_slice() {
        [GeneralName::URI(uri)] => Ok((*uri).to_owned()),
        _ => Err(IdentityError::NotOneUri),
    }
}
