//! First start, later starts, renewal, damage, and a handshake with a client that trusts the CA.

use std::fs;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConnection};
use tempfile::TempDir;

use super::*;

mod cluster;
mod public;

const DAY_S: i64 = 24 * 60 * 60;

fn ensure(dir: &TempDir, days: i64, sans: &[&str]) -> Result<Pki, PkiError> {
    let sans: Vec<String> = sans.iter().map(ToString::to_string).collect();
    Pki::ensure_at(clock::now_s() + days * DAY_S, dir.path(), &sans)
}

fn file(dir: &TempDir, name: &str) -> String {
    fs::read_to_string(dir.path().join(name)).unwrap()
}

fn client(ca_pem: &str, alpn: &[&[u8]]) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(ca_pem.as_bytes()).unwrap())
        .unwrap();
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    Arc::new(config)
}

// Both sides in memory, flight by flight.
fn handshake(
    pki: &Pki,
    ca_pem: &str,
    name: &str,
    alpn: &[&[u8]],
) -> Result<Option<Vec<u8>>, rustls::Error> {
    let server = server_config(pki, ALPN_PUBLIC).unwrap();
    let mut server = ServerConnection::new(server).unwrap();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut client = ClientConnection::new(client(ca_pem, alpn), name).unwrap();
    for _ in 0..8 {
        let mut flight = Vec::new();
        client.write_tls(&mut flight).unwrap();
        server.read_tls(&mut flight.as_slice()).unwrap();
        server.process_new_packets()?;
        let mut flight = Vec::new();
        server.write_tls(&mut flight).unwrap();
        client.read_tls(&mut flight.as_slice()).unwrap();
        client.process_new_packets()?;
    }
    assert!(!client.is_handshaking() && !server.is_handshaking());
    Ok(client.alpn_protocol().map(<[u8]>::to_vec))
}

#[test]
fn a_client_that_trusts_the_ca_connects_by_every_name_and_protocol() {
    let dir = TempDir::new().unwrap();
    let pki = ensure(&dir, 0, &["stream.example", "192.0.2.7", "[2001:db8::1]"]).unwrap();
    assert_eq!(pki.ca_pem(), file(&dir, "ca.pem"));
    for name in [
        "localhost",
        "127.0.0.1",
        "::1",
        "stream.example",
        "192.0.2.7",
        "2001:db8::1",
    ] {
        let agreed = handshake(&pki, pki.ca_pem(), name, &[b"h2", b"http/1.1"]).unwrap();
        assert_eq!(agreed.as_deref(), Some(&b"h2"[..]), "{name}");
    }
    let agreed = handshake(&pki, pki.ca_pem(), "localhost", &[b"http/1.1"]).unwrap();
    assert_eq!(agreed.as_deref(), Some(&b"http/1.1"[..]));
    assert!(handshake(&pki, pki.ca_pem(), "other.example", &[b"h2"]).is_err());
    assert!(handshake(&pki, pki.ca_pem(), "localhost", &[b"gopher"]).is_err());
    let stranger = ensure(&TempDir::new().unwrap(), 0, &[]).unwrap();
    assert!(handshake(&pki, stranger.ca_pem(), "localhost", &[b"h2"]).is_err());
}

#[test]
fn later_starts_keep_what_is_good() {
    let dir = TempDir::new().unwrap();
    let first = ensure(&dir, 0, &["a.example", "b.example"]).unwrap();
    let (ca, server) = (file(&dir, "ca.pem"), file(&dir, "server.pem"));
    let second = ensure(&dir, 366, &["b.example", "A.example", "localhost"]).unwrap();
    assert_eq!(
        (file(&dir, "ca.pem"), file(&dir, "server.pem")),
        (ca, server)
    );
    assert_eq!(first.expires_at_s(), second.expires_at_s());
}

#[test]
fn the_server_certificate_is_renewed_when_due_or_for_other_names_or_damaged() {
    let dir = TempDir::new().unwrap();
    ensure(&dir, 0, &[]).unwrap();
    let ca = file(&dir, "ca.pem");
    let mut last = file(&dir, "server.pem");
    let mut expect_new = |why: &str| {
        let now = file(&dir, "server.pem");
        assert_ne!(last, now, "{why}");
        last = now;
    };
    ensure(&dir, 368, &[]).unwrap();
    expect_new("less than 30 days were left");
    ensure(&dir, 368, &["new.example"]).unwrap();
    expect_new("a name came");
    ensure(&dir, 368, &[]).unwrap();
    expect_new("a name went");
    fs::write(dir.path().join("server.pem"), "damaged").unwrap();
    ensure(&dir, 368, &[]).unwrap();
    expect_new("it was damaged");
    fs::remove_file(dir.path().join("server.key")).unwrap();
    ensure(&dir, 368, &[]).unwrap();
    expect_new("the key was lost");
    ensure(&TempDir::new().unwrap(), 0, &[]).unwrap();
    let stranger = TempDir::new().unwrap();
    ensure(&stranger, 368, &[]).unwrap();
    fs::write(dir.path().join("server.key"), file(&stranger, "server.key")).unwrap();
    ensure(&dir, 368, &[]).unwrap();
    expect_new("the key was another's");
    assert_eq!(file(&dir, "ca.pem"), ca);
}

#[test]
fn a_damaged_authority_is_an_error_and_stays_as_it_is() {
    let dir = TempDir::new().unwrap();
    ensure(&dir, 0, &[]).unwrap();
    let stranger = TempDir::new().unwrap();
    ensure(&stranger, 0, &[]).unwrap();
    let (pem, key) = (file(&dir, "ca.pem"), file(&dir, "ca.key"));
    let cases: [(&str, &str, &str); 6] = [
        ("ca.pem", "damaged", "ca.pem"),
        ("ca.pem", "", "ca.pem"),
        ("ca.key", "damaged", "ca.key"),
        ("ca.pem", &file(&stranger, "ca.pem"), "does not belong"),
        ("ca.pem", &file(&dir, "server.pem"), "does not belong"),
        ("ca.key", &"x".repeat(100_000), "too large"),
    ];
    for (name, text, expected) in cases {
        fs::write(dir.path().join(name), text).unwrap();
        let error = ensure(&dir, 0, &[]).unwrap_err().to_string();
        assert!(error.contains(expected), "{name}: {error}");
        assert_eq!(file(&dir, name), text);
        fs::write(dir.path().join("ca.pem"), &pem).unwrap();
        fs::write(dir.path().join("ca.key"), &key).unwrap();
    }
    fs::remove_file(dir.path().join("ca.key")).unwrap();
    assert!(
        ensure(&dir, 0, &[])
            .unwrap_err()
            .to_string()
            .contains("ca.key: is missing")
    );
    fs::write(dir.path().join("ca.key"), &key).unwrap();
    assert!(
        ensure(&dir, 4000, &[])
            .unwrap_err()
            .to_string()
            .contains("has expired")
    );
}

#[test]
fn a_first_start_that_was_cut_off_is_begun_again() {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("ca.key"), "half").unwrap();
    fs::write(dir.path().join("ca.pem.new"), "half").unwrap();
    let pki = ensure(&dir, 0, &[]).unwrap();
    assert!(handshake(&pki, pki.ca_pem(), "localhost", &[b"h2"]).is_ok());
}

#[test]
fn names_that_are_none_are_named() {
    let dir = TempDir::new().unwrap();
    for bad in [
        "",
        "a b",
        "https://a",
        "a/b",
        "-a.example",
        "a..b",
        "*.*.a",
        "1.2.3.4:80",
    ] {
        let error = ensure(&dir, 0, &[bad]).unwrap_err();
        assert!(
            matches!(&error, PkiError::Name { name } if name == bad),
            "{bad}: {error}"
        );
    }
    assert!(ensure(&dir, 0, &["*.stream.example"]).is_ok());
}

#[cfg(unix)]
#[test]
fn keys_are_readable_by_their_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = TempDir::new().unwrap();
    ensure(&dir, 0, &[]).unwrap();
    for (name, mode) in [("ca.key", 0o600), ("server.key", 0o600)] {
        let found = fs::metadata(dir.path().join(name))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(found & 0o777, mode, "{name}");
    }
}

#[test]
fn certificates_say_what_they_are_for() {
    use x509_parser::prelude::{FromDer as _, X509Certificate};
    let dir = TempDir::new().unwrap();
    ensure(&dir, 0, &[]).unwrap();
    let der = |name| CertificateDer::from_pem_slice(file(&dir, name).as_bytes()).unwrap();
    let (ca, server) = (der("ca.pem"), der("server.pem"));
    let (_, ca) = X509Certificate::from_der(&ca).unwrap();
    let (_, server) = X509Certificate::from_der(&server).unwrap();
    let constraints = ca.basic_constraints().unwrap().unwrap();
    assert!(constraints.critical && constraints.value.ca);
    assert_eq!(constraints.value.path_len_constraint, Some(0));
    assert!(ca.key_usage().unwrap().unwrap().value.key_cert_sign());
    assert!(
        server
            .key_usage()
            .unwrap()
            .unwrap()
            .value
            .digital_signature()
    );
    let extended = server.extended_key_usage().unwrap().unwrap().value;
    assert!(extended.server_auth && !extended.client_auth && !extended.any);
    let days = |certificate: &X509Certificate<'_>| {
        let validity = certificate.validity();
        (validity.not_after.timestamp() - validity.not_before.timestamp()) / DAY_S
    };
    assert_eq!((days(&ca), days(&server)), (3650, 397));
    assert_ne!(ca.subject(), server.subject());
    assert_eq!(ca.subject(), server.issuer());
}
