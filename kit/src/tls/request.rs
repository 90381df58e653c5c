//! The key of a node and the request to have it certified, on the node's side and the authority's.
//!
//! PKCS #10 with ECDSA P-256. A request proves that its sender has the key; of what else it asks nothing
//! is looked at. Invariant: a key leaves the process only for the file that it is kept in.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rcgen::{
    CertificateParams, CertificateSigningRequestParams, DistinguishedName, KeyPair,
    PKCS_ECDSA_P256_SHA256, PublicKeyData as _,
};
use ring::digest;

use super::PkiError;
use super::authority::{make_error, new_key};
use crate::secret::Secret;

/// The private key of a node.
pub struct NodeKey(KeyPair);

impl std::fmt::Debug for NodeKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("NodeKey(***)")
    }
}

impl NodeKey {
    /// Makes a new one.
    ///
    /// # Errors
    /// [`PkiError::Make`].
    pub fn generate() -> Result<Self, PkiError> {
        new_key().map(Self)
    }

    /// One that was kept (PEM).
    ///
    /// # Errors
    /// [`PkiError::Make`] when it is no private key.
    pub fn from_pem(pem: &str) -> Result<Self, PkiError> {
        KeyPair::from_pem(pem).map(Self).map_err(make_error)
    }

    /// To be kept.
    #[must_use]
    pub fn pem(&self) -> Secret {
        Secret::new(self.0.serialize_pem())
    }

    /// The request to certify it, as PEM.
    ///
    /// # Errors
    /// [`PkiError::Make`].
    pub fn signing_request(&self) -> Result<String, PkiError> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        let request = params.serialize_request(&self.0).map_err(make_error)?;
        request.pem().map_err(make_error)
    }
}

/// A node's request to have its key certified, signed by that key.
#[derive(Debug, Clone)]
pub struct SigningRequest {
    pub(super) key: rcgen::PublicKey,
}

impl SigningRequest {
    /// Takes a request apart.
    ///
    /// # Errors
    /// [`PkiError::Request`] when it is none, is not signed by its own key, or has another kind of key.
    pub fn from_pem(pem: &str) -> Result<Self, PkiError> {
        let refused = |reason: &str| PkiError::Request(reason.to_owned());
        let request = CertificateSigningRequestParams::from_pem(pem)
            .map_err(|error| refused(&error.to_string()))?;
        let key = request.public_key;
        // An uncompressed point of P-256: a byte that says so, and two coordinates.
        let is_p256 = key.algorithm() == &PKCS_ECDSA_P256_SHA256 && key.der_bytes().len() == 65;
        if !is_p256 {
            return Err(refused("its key is not ECDSA P-256"));
        }
        Ok(Self { key })
    }

    /// SHA-256 of the public key, base64url: tells keys apart.
    #[must_use]
    pub fn key_digest(&self) -> String {
        URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, self.key.der_bytes()))
    }
}
