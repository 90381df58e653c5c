//! Makes and reads the authority and the server certificate.
//!
//! Which files lie where, what stands in the certificates, and when one is due. Invariant: a damaged
//! authority is an error and never silently replaced, for clients already trust the old one; a
//! server certificate is replaced freely.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::time::Duration;

use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SanType, SerialNumber,
};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, DnsName, PrivateKeyDer};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::files::{self, Mode};
use super::{PkiError, provider};
use crate::limits::{CA_LIFE, CERTIFICATE_BACKDATE, CERTIFICATE_LIFE, CERTIFICATE_RENEW_BEFORE};
use crate::secret::random_bytes;

pub(super) const CA_PEM: &str = "ca.pem";
const CA_KEY: &str = "ca.key";
pub(super) const SERVER_PEM: &str = "server.pem";
pub(super) const SERVER_KEY: &str = "server.key";

/// A name that a certificate is for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Name {
    Dns(String),
    Ip(IpAddr),
}

/// The names everybody gets, and `sans`.
pub(super) fn names(sans: &[String]) -> Result<BTreeSet<Name>, PkiError> {
    let mut names = BTreeSet::from([
        Name::Dns("localhost".to_owned()),
        Name::Ip(Ipv4Addr::LOCALHOST.into()),
        Name::Ip(Ipv6Addr::LOCALHOST.into()),
    ]);
    for text in sans {
        names.insert(parse_name(text)?);
    }
    Ok(names)
}

fn parse_name(text: &str) -> Result<Name, PkiError> {
    let bare = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(text);
    if let Ok(address) = bare.parse() {
        return Ok(Name::Ip(address));
    }
    // A leading `*.` is the one wildcard that clients honour.
    let host = text.strip_prefix("*.").unwrap_or(text);
    match DnsName::try_from(host) {
        Ok(_) => Ok(Name::Dns(text.to_ascii_lowercase())),
        Err(_) => Err(PkiError::Name {
            name: text.to_owned(),
        }),
    }
}

/// The certificate authority of a data directory.
pub(super) struct Authority {
    pub(super) pem: String,
    issuer: Issuer<'static, KeyPair>,
    der: CertificateDer<'static>,
}

impl Authority {
    pub(super) fn ensure(now_s: i64, dir: &Path) -> Result<Self, PkiError> {
        let (pem_path, key_path) = (dir.join(CA_PEM), dir.join(CA_KEY));
        let invalid = |reason: String| PkiError::Invalid {
            path: pem_path.clone(),
            reason,
        };
        let missing = |path: &Path| PkiError::Invalid {
            path: path.to_owned(),
            reason: "is missing while the other half of the authority is there".to_owned(),
        };
        let (pem, key) = match (files::read(&pem_path)?, files::read(&key_path)?) {
            (Some(pem), Some(key)) => (pem, key),
            (Some(_), None) => return Err(missing(&key_path)),
            // Without its certificate a key has signed nothing yet: the start before this one was
            // cut off between the two files.
            (None, _) => make_authority(now_s, &pem_path, &key_path)?,
        };
        let key = KeyPair::from_pem(&key).map_err(|error| PkiError::Invalid {
            path: key_path.clone(),
            reason: format!("is not a private key: {error}"),
        })?;
        let der = CertificateDer::from_pem_slice(pem.as_bytes())
            .map_err(|error| invalid(format!("is not a certificate: {error}")))?;
        let (_, certificate) = X509Certificate::from_der(&der)
            .map_err(|error| invalid(format!("is not a certificate: {error}")))?;
        if certificate.public_key().subject_public_key.data.as_ref() != key.public_key_raw_bytes() {
            return Err(invalid("does not belong to ca.key".to_owned()));
        }
        if certificate.validity().not_after.timestamp() <= now_s {
            return Err(invalid("has expired".to_owned()));
        }
        let issuer = Issuer::from_ca_cert_der(&der, key)
            .map_err(|error| invalid(format!("is not an authority: {error}")))?;
        Ok(Self {
            pem,
            issuer,
            der: der.clone(),
        })
    }
}

trait PublicKeyRaw {
    fn public_key_raw_bytes(&self) -> &[u8];
}

impl PublicKeyRaw for KeyPair {
    fn public_key_raw_bytes(&self) -> &[u8] {
        self.public_key_raw()
    }
}

fn make_authority(
    now_s: i64,
    pem_path: &Path,
    key_path: &Path,
) -> Result<(String, String), PkiError> {
    let mut params = params(now_s, CA_LIFE)?;
    // Names tell authorities of several data directories apart in a browser's list.
    let suffix =
        crate::secret::random_hex::<4>().map_err(|error| PkiError::Make(error.to_string()))?;
    params
        .distinguished_name
        .push(DnType::CommonName, format!("Tidegate CA {suffix}"));
    params
        .distinguished_name
        .push(DnType::OrganizationName, "Tidegate");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let key = new_key()?;
    let certificate = params.self_signed(&key).map_err(make_error)?;
    let (pem, key) = (certificate.pem(), key.serialize_pem());
    // The key first: a certificate must never be trusted without its key being there.
    files::write(key_path, &key, Mode::Secret)?;
    files::write(pem_path, &pem, Mode::Public)?;
    Ok((pem, key))
}

/// A server certificate with its key.
pub(super) struct Server {
    pub(super) pem: String,
    pub(super) key: String,
    pub(super) expires_at_s: i64,
}

/// The server certificate of `dir` when it is still good, else a new one.
pub(super) fn ensure_server(
    now_s: i64,
    dir: &Path,
    authority: &Authority,
    names: &BTreeSet<Name>,
) -> Result<Server, PkiError> {
    let (pem_path, key_path) = (dir.join(SERVER_PEM), dir.join(SERVER_KEY));
    if let (Some(pem), Some(key)) = (files::read(&pem_path)?, files::read(&key_path)?)
        && let Some(expires_at_s) = still_good(now_s, &pem, &key, authority, names)
    {
        return Ok(Server {
            pem,
            key,
            expires_at_s,
        });
    }
    let mut params = params(now_s, CERTIFICATE_LIFE)?;
    params
        .distinguished_name
        .push(DnType::CommonName, "Tidegate");
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    for name in names {
        params.subject_alt_names.push(match name {
            Name::Ip(address) => SanType::IpAddress(*address),
            Name::Dns(host) => SanType::DnsName(
                Ia5String::try_from(host.as_str())
                    .map_err(|_| PkiError::Name { name: host.clone() })?,
            ),
        });
    }
    let expires_at_s = params.not_after.unix_timestamp();
    let key = new_key()?;
    let certificate = params
        .signed_by(&key, &authority.issuer)
        .map_err(make_error)?;
    let (pem, key) = (certificate.pem(), key.serialize_pem());
    files::write(&key_path, &key, Mode::Secret)?;
    files::write(&pem_path, &pem, Mode::Public)?;
    Ok(Server {
        pem,
        key,
        expires_at_s,
    })
}

// The end of the certificate when it needs no renewal. Whatever does not parse is renewed.
fn still_good(
    now_s: i64,
    pem: &str,
    key: &str,
    authority: &Authority,
    names: &BTreeSet<Name>,
) -> Option<i64> {
    let der = CertificateDer::from_pem_slice(pem.as_bytes()).ok()?;
    let (_, certificate) = X509Certificate::from_der(&der).ok()?;
    let (_, issuer) = X509Certificate::from_der(&authority.der).ok()?;
    certificate
        .verify_signature(Some(issuer.public_key()))
        .ok()?;
    let expires_at_s = certificate.validity().not_after.timestamp();
    let renew_from_s = expires_at_s - CERTIFICATE_RENEW_BEFORE.as_secs().cast_signed();
    let is_begun = certificate.validity().not_before.timestamp() <= now_s;
    let private = PrivateKeyDer::from_pem_slice(key.as_bytes()).ok()?;
    let signer = provider().key_provider.load_private_key(private).ok()?;
    let is_pair = signer.public_key()?.as_ref() == certificate.public_key().raw;
    let is_same = &names_of(&certificate)? == names;
    (is_begun && now_s < renew_from_s && is_pair && is_same).then_some(expires_at_s)
}

fn names_of(certificate: &X509Certificate<'_>) -> Option<BTreeSet<Name>> {
    let extension = certificate.subject_alternative_name().ok()??;
    let names = extension.value.general_names.iter().map(|name| match name {
        GeneralName::DNSName(host) => Some(Name::Dns((*host).to_owned())),
        GeneralName::IPAddress(bytes) => {
            let v4 = <[u8; 4]>::try_from(*bytes).map(IpAddr::from);
            v4.or_else(|_| <[u8; 16]>::try_from(*bytes).map(IpAddr::from))
                .ok()
                .map(Name::Ip)
        }
        _ => None,
    });
    names.collect()
}

/// What every certificate has: when it begins and ends, and a serial number.
pub(super) fn params(now_s: i64, life: Duration) -> Result<CertificateParams, PkiError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    let now = x509_parser::time::ASN1Time::from_timestamp(now_s)
        .map_err(|error| PkiError::Make(error.to_string()))?
        .to_datetime();
    params.not_before = now - CERTIFICATE_BACKDATE;
    params.not_after = now + life;
    let mut serial: [u8; 16] = random_bytes().map_err(|error| PkiError::Make(error.to_string()))?;
    // Serial numbers are positive, and of one length, so that they have one spelling.
    serial[0] = serial[0] & 0x3f | 0x40;
    params.serial_number = Some(SerialNumber::from(serial.to_vec()));
    Ok(params)
}

pub(super) fn new_key() -> Result<KeyPair, PkiError> {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(make_error)
}

pub(super) fn make_error(error: rcgen::Error) -> PkiError {
    PkiError::Make(error.to_string())
}
