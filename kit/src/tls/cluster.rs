//! The authority of a cluster: it says which node is who.
//!
//! Each controller that admits nodes has its key, as a file. What a certificate says is decided by the
//! caller: of a node's signing request only the public key is used, once the node has shown that it has
//! the private one. Several authorities may be trusted at a time, so that one can replace another; one of
//! them, to which the key belongs, signs.
//! Invariant: no certificate outlives the authority that signed it.

use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PublicKeyData, SanType,
};
use ring::digest;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use tidegate_proto::id::ClusterId;
use tidegate_proto::node::NodeIdentity;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::PkiError;
use super::authority::{make_error, new_key, params};
use super::files::{self, Mode};
use super::identity::{CLUSTER_SCHEME, cluster_of, hexadecimal};
use super::node::NodeCredentials;
use super::request::SigningRequest;
use crate::limits::CA_LIFE;
use crate::secret::Secret;

const CERTIFICATE_FILE: &str = "cluster-ca.pem";
const KEY_FILE: &str = "cluster-ca.key";

/// A certificate that was signed for a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// The certificate and the authority's after it, as PEM.
    pub chain_pem: String,
    /// Serial number, hexadecimal.
    pub serial: String,
    /// Its end, in seconds since 1970.
    pub expires_at_s: i64,
}

/// The authority of one cluster, with its key.
pub struct ClusterAuthority {
    cluster_id: ClusterId,
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    ends_at_s: i64,
    /// All that nodes trust, as PEM.
    trusted_pem: String,
    key_pem: String,
}

impl std::fmt::Debug for ClusterAuthority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClusterAuthority")
            .field("cluster_id", &self.cluster_id)
            .field("ends_at_s", &self.ends_at_s)
            .finish_non_exhaustive()
    }
}

impl ClusterAuthority {
    /// Makes the authority of a new cluster, in memory.
    ///
    /// # Errors
    /// [`PkiError::Make`].
    pub fn make(cluster_id: ClusterId, now_s: i64) -> Result<Self, PkiError> {
        let mut params = params(now_s, CA_LIFE)?;
        params
            .distinguished_name
            .push(DnType::CommonName, format!("Tidegate cluster {cluster_id}"));
        params
            .distinguished_name
            .push(DnType::OrganizationName, "Tidegate");
        params.subject_alt_names = vec![uri(&format!("{CLUSTER_SCHEME}{cluster_id}"))?];
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = new_key()?;
        let certificate = params.self_signed(&key).map_err(make_error)?;
        Self::from_pem(&certificate.pem(), &key.serialize_pem()).map_err(PkiError::Make)
    }

    /// The authority whose key this is, out of the certificates of all that are trusted.
    ///
    /// # Errors
    /// What is wrong with the texts, in words.
    pub fn from_pem(trusted_pem: &str, key_pem: &str) -> Result<Self, String> {
        let key = KeyPair::from_pem(key_pem)
            .map_err(|error| format!("the key of the authority cannot be used: {error}"))?;
        let trusted = CertificateDer::pem_slice_iter(trusted_pem.as_bytes())
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| format!("the authority is not a certificate: {error}"))?;
        let is_ours = |der: &&CertificateDer<'static>| {
            X509Certificate::from_der(der).is_ok_and(|(_, found)| {
                found.public_key().subject_public_key.data.as_ref() == key.public_key_raw()
            })
        };
        let certificate = trusted.iter().find(is_ours).cloned();
        let certificate = certificate
            .ok_or_else(|| "no certificate of the authority belongs to its key".to_owned())?;
        let cluster_id = cluster_of(&certificate).map_err(|error| error.to_string())?;
        let ends_at_s = {
            let (_, parsed) =
                X509Certificate::from_der(&certificate).map_err(|error| error.to_string())?;
            parsed.validity().not_after.timestamp()
        };
        let issuer = Issuer::from_ca_cert_der(&certificate, key)
            .map_err(|error| format!("the certificate is not an authority's: {error}"))?;
        Ok(Self {
            cluster_id,
            issuer,
            certificate,
            ends_at_s,
            trusted_pem: trusted_pem.to_owned(),
            key_pem: key_pem.to_owned(),
        })
    }

    /// Reads `cluster-ca.pem` and `cluster-ca.key` in `dir`; `None` when neither is there.
    ///
    /// # Errors
    /// When a file cannot be read, is missing beside the other, or is damaged.
    pub fn load(dir: &Path) -> Result<Option<Self>, PkiError> {
        Self::load_files(&dir.join(CERTIFICATE_FILE), &dir.join(KEY_FILE))
    }

    /// The same from two files wherever they are.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn load_files(pem_path: &Path, key_path: &Path) -> Result<Option<Self>, PkiError> {
        let missing = |path: &Path| PkiError::Authority {
            path: path.to_owned(),
            reason: "is missing while the other half of the authority is there".to_owned(),
        };
        match (files::read(pem_path)?, files::read(key_path)?) {
            (Some(pem), Some(key)) => {
                let loaded = Self::from_pem(&pem, &key);
                let damaged = |reason| PkiError::Authority {
                    path: pem_path.to_owned(),
                    reason,
                };
                loaded.map(Some).map_err(damaged)
            }
            (Some(_), None) => Err(missing(key_path)),
            (None, Some(_)) => Err(missing(pem_path)),
            (None, None) => Ok(None),
        }
    }

    /// Writes `cluster-ca.pem` and `cluster-ca.key` into `dir`. Controllers of the cluster need both,
    /// nobody else needs either.
    ///
    /// # Errors
    /// When a file cannot be written, or one of that name is there: the nodes of a cluster trust it.
    pub fn save(&self, dir: &Path) -> Result<(), PkiError> {
        let (pem_path, key_path) = (dir.join(CERTIFICATE_FILE), dir.join(KEY_FILE));
        for path in [&pem_path, &key_path] {
            if files::read(path)?.is_some() {
                return Err(PkiError::Authority {
                    path: path.clone(),
                    reason: "is there already and is not overwritten".to_owned(),
                });
            }
        }
        files::write(&key_path, &self.key_pem, Mode::Secret)?;
        files::write(&pem_path, &self.trusted_pem, Mode::Public)
    }

    /// The cluster that it is the authority of.
    #[must_use]
    pub fn cluster_id(&self) -> ClusterId {
        self.cluster_id
    }

    /// The certificates of all authorities that nodes are to trust, as PEM.
    #[must_use]
    pub fn trusted_pem(&self) -> &str {
        &self.trusted_pem
    }

    /// SHA-256 of the signing authority's certificate, base64url: by this a node that knows nothing else
    /// of the cluster tells it from others.
    #[must_use]
    pub fn pin(&self) -> String {
        pin_of(&self.certificate)
    }

    /// Signs a certificate for `identity` over the key of a request. It ends after `life`, or with the
    /// authority.
    ///
    /// # Errors
    /// [`PkiError::Make`].
    pub fn sign(
        &self,
        identity: &NodeIdentity,
        request: &SigningRequest,
        now_s: i64,
        life: Duration,
    ) -> Result<Signed, PkiError> {
        self.certify(identity, &request.key, now_s, life)
    }

    /// Makes a key and signs a certificate for it: for the controller itself and for tests.
    ///
    /// # Errors
    /// [`PkiError::Make`].
    pub fn issue(
        &self,
        identity: &NodeIdentity,
        now_s: i64,
        life: Duration,
    ) -> Result<NodeCredentials, PkiError> {
        let key = new_key()?;
        let signed = self.certify(identity, &key, now_s, life)?;
        Ok(NodeCredentials {
            chain_pem: signed.chain_pem,
            key_pem: Secret::new(key.serialize_pem()),
            authorities_pem: self.trusted_pem.clone(),
        })
    }

    fn certify(
        &self,
        identity: &NodeIdentity,
        key: &impl PublicKeyData,
        now_s: i64,
        life: Duration,
    ) -> Result<Signed, PkiError> {
        let left_s = u64::try_from(self.ends_at_s - now_s)
            .map_err(|_| PkiError::Make("the cluster's authority has expired".to_owned()))?;
        let mut params = params(now_s, life.min(Duration::from_secs(left_s)))?;
        describe(&mut params, identity)?;
        let expires_at_s = params.not_after.unix_timestamp();
        let serial = params.serial_number.as_ref();
        let serial = hexadecimal(
            &serial
                .map(rcgen::SerialNumber::to_bytes)
                .unwrap_or_default(),
        );
        let certificate = params.signed_by(key, &self.issuer).map_err(make_error)?;
        Ok(Signed {
            chain_pem: certificate.pem() + &pem(&self.certificate),
            serial,
            expires_at_s,
        })
    }
}

/// SHA-256 of a certificate, base64url.
pub(super) fn pin_of(certificate: &CertificateDer<'_>) -> String {
    URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, certificate))
}

fn describe(params: &mut CertificateParams, identity: &NodeIdentity) -> Result<(), PkiError> {
    params
        .distinguished_name
        .push(DnType::CommonName, identity.name().as_str());
    params.subject_alt_names = vec![uri(&identity.to_string())?];
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    // Every node is both: units call each other.
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    params.use_authority_key_identifier_extension = true;
    Ok(())
}

fn uri(text: &str) -> Result<SanType, PkiError> {
    let text = Ia5String::try_from(text).map_err(make_error)?;
    Ok(SanType::URI(text))
}

fn pem(certificate: &CertificateDer<'_>) -> String {
    let mut text = "-----BEGIN CERTIFICATE-----\n".to_owned();
    let mut rest = STANDARD.encode(certificate);
    while !rest.is_empty() {
        let tail = rest.split_off(rest.len().min(64));
        text.push_str(&rest);
        text.push('\n');
        rest = tail;
    }
    text + "-----END CERTIFICATE-----\n"
}
