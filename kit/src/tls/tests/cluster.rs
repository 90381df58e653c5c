//! What the authority of a cluster signs, and what it does not.

use std::time::Duration;

use rcgen::{
    CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519,
};
use tidegate_proto::id::{ClusterId, SpuId};
use tidegate_proto::node::NodeIdentity;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::*;

const LIFE: Duration = Duration::from_secs(30 * 24 * 3600);

fn authority() -> ClusterAuthority {
    ClusterAuthority::make(ClusterId::from_bytes([7; 16]), clock::now_s()).unwrap()
}

fn unit(authority: &ClusterAuthority) -> NodeIdentity {
    NodeIdentity::spu(authority.cluster_id(), SpuId(3))
}

fn request(algorithm: &'static rcgen::SignatureAlgorithm, names: &[&str]) -> String {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let key = KeyPair::generate_for(algorithm).unwrap();
    let params = CertificateParams::new(names).unwrap();
    params.serialize_request(&key).unwrap().pem().unwrap()
}

fn leaf(signed: &Signed) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(signed.chain_pem.as_bytes()).unwrap()
}

#[test]
fn a_certificate_says_what_the_authority_decided_and_not_what_was_asked() {
    let authority = authority();
    let now_s = clock::now_s();
    let asked = request(&PKCS_ECDSA_P256_SHA256, &["admin.example", "10.0.0.1"]);
    let asked = SigningRequest::from_pem(&asked).unwrap();
    let signed = authority
        .sign(&unit(&authority), &asked, now_s, LIFE)
        .unwrap();
    let der = leaf(&signed);
    assert_eq!(identity_of(&der), Ok(unit(&authority)));
    let (_, parsed) = X509Certificate::from_der(&der).unwrap();
    let usage = parsed.extended_key_usage().unwrap().unwrap().value;
    assert!(usage.server_auth && usage.client_auth && !usage.any);
    assert!(!parsed.is_ca());
    assert_eq!(serial_of(&der), Ok(signed.serial.clone()));
    assert_eq!(parsed.validity().not_after.timestamp(), signed.expires_at_s);
    assert_eq!(signed.expires_at_s, now_s + 30 * DAY_S);
    let chain: Vec<_> = CertificateDer::pem_slice_iter(signed.chain_pem.as_bytes()).collect();
    assert_eq!(chain.len(), 2);
    let other = authority
        .sign(&unit(&authority), &asked, now_s, LIFE)
        .unwrap();
    assert_ne!(other.serial, signed.serial);
}

#[test]
fn requests_that_prove_nothing_are_refused() {
    let sign = |asked: &str| SigningRequest::from_pem(asked);
    let good = request(&PKCS_ECDSA_P256_SHA256, &[]);
    assert!(sign(&good).is_ok());
    // The key of one request under the signature of another.
    let (der, other) = (body(&good), body(&request(&PKCS_ECDSA_P256_SHA256, &[])));
    let mut mixed = der.clone();
    let tail = mixed.len() - 40;
    mixed[tail..].copy_from_slice(&other[other.len() - 40..]);
    for asked in [
        String::new(),
        "no request".to_owned(),
        authority().trusted_pem().to_owned(),
        as_pem(&mixed),
        as_pem(&der[..der.len() - 1]),
        request(&PKCS_ED25519, &[]),
        request(&PKCS_ECDSA_P384_SHA384, &[]),
    ] {
        let refused = sign(&asked);
        assert!(matches!(refused, Err(PkiError::Request(_))), "{refused:?}");
    }
}

fn body(pem: &str) -> Vec<u8> {
    use rustls_pki_types::CertificateSigningRequestDer;
    let der = CertificateSigningRequestDer::from_pem_slice(pem.as_bytes()).unwrap();
    der.as_ref().to_vec()
}

fn as_pem(der: &[u8]) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    format!("-----BEGIN CERTIFICATE REQUEST-----\n{text}\n-----END CERTIFICATE REQUEST-----\n")
}

#[test]
fn no_certificate_outlives_its_authority() {
    let authority = authority();
    let late_s = clock::now_s() + 3649 * DAY_S;
    let asked = request(&PKCS_ECDSA_P256_SHA256, &[]);
    let asked = SigningRequest::from_pem(&asked).unwrap();
    let signed = authority
        .sign(&unit(&authority), &asked, late_s, LIFE)
        .unwrap();
    assert!(signed.expires_at_s <= clock::now_s() + 3650 * DAY_S);
    let too_late = authority.sign(&unit(&authority), &asked, late_s + 2 * DAY_S, LIFE);
    assert!(too_late.unwrap_err().to_string().contains("has expired"));
}

#[test]
fn the_authority_is_kept_in_two_files_and_never_overwritten() {
    let dir = TempDir::new().unwrap();
    assert!(ClusterAuthority::load(dir.path()).unwrap().is_none());
    let made = authority();
    made.save(dir.path()).unwrap();
    let loaded = ClusterAuthority::load(dir.path()).unwrap().unwrap();
    assert_eq!(loaded.pin(), made.pin());
    assert_eq!(loaded.cluster_id(), made.cluster_id());
    assert!(authority().save(dir.path()).is_err());
    assert_eq!(file(&dir, "cluster-ca.pem"), made.trusted_pem());

    // The one that signs may be any of those that are trusted.
    let old = authority();
    let both = format!("{}{}", old.trusted_pem(), made.trusted_pem());
    fs::write(dir.path().join("cluster-ca.pem"), &both).unwrap();
    let loaded = ClusterAuthority::load(dir.path()).unwrap().unwrap();
    assert_eq!(
        (loaded.pin(), loaded.trusted_pem()),
        (made.pin(), both.as_str())
    );

    let damaged = |name: &str, text: Option<&str>, why: &str| {
        let path = dir.path().join(name);
        let before = fs::read_to_string(&path).unwrap();
        match text {
            Some(text) => fs::write(&path, text).unwrap(),
            None => fs::remove_file(&path).unwrap(),
        }
        let error = ClusterAuthority::load(dir.path()).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
        fs::write(&path, before).unwrap();
    };
    damaged("cluster-ca.pem", None, "is missing");
    damaged("cluster-ca.key", None, "is missing");
    damaged("cluster-ca.key", Some("damaged"), "cannot be used");
    damaged(
        "cluster-ca.pem",
        Some(old.trusted_pem()),
        "belongs to its key",
    );
    damaged("cluster-ca.pem", Some(""), "belongs to its key");
}

#[cfg(unix)]
#[test]
fn the_key_of_the_authority_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = TempDir::new().unwrap();
    authority().save(dir.path()).unwrap();
    let found = fs::metadata(dir.path().join("cluster-ca.key")).unwrap();
    assert_eq!(found.permissions().mode() & 0o777, 0o600);
}
