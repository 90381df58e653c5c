//! Certificates for the public that change while they are served.

use std::time::Duration;

use tokio::time::timeout;

use super::*;
use crate::tasks::Tasks;

// Long enough for a loaded machine, never reached when things work.
const PATIENCE: Duration = Duration::from_secs(20);

// Another authority's certificate, as an operator brings it.
fn bring(dir: &TempDir, name: &str) {
    let from = TempDir::new().unwrap();
    ensure(&from, 0, &[name]).unwrap();
    for file_name in ["ca.pem", "server.pem", "server.key"] {
        fs::write(dir.path().join(file_name), file(&from, file_name)).unwrap();
    }
}

// Whether a client that trusts what lies in `dir` gets through, by name, and to what protocol.
fn is_served(config: &Arc<ServerConfig>, dir: &TempDir, name: &str) -> bool {
    let mut server = ServerConnection::new(Arc::clone(config)).unwrap();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let client = client(&file(dir, "ca.pem"), &[b"h2"]);
    let mut client = ClientConnection::new(client, name).unwrap();
    for _ in 0..8 {
        let mut flight = Vec::new();
        client.write_tls(&mut flight).unwrap();
        server.read_tls(&mut flight.as_slice()).unwrap();
        if server.process_new_packets().is_err() {
            return false;
        }
        let mut flight = Vec::new();
        server.write_tls(&mut flight).unwrap();
        client.read_tls(&mut flight.as_slice()).unwrap();
        if client.process_new_packets().is_err() {
            return false;
        }
    }
    !client.is_handshaking()
}

async fn until(holds: impl Fn() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, waiting).await.unwrap();
}

fn from_files(dir: &TempDir) -> Result<PublicTls, PkiError> {
    PublicTls::from_files(
        &dir.path().join("server.pem"),
        &dir.path().join("server.key"),
    )
}

#[test]
fn files_that_are_replaced_serve_the_next_handshake_and_damaged_ones_do_not() {
    let dir = TempDir::new().unwrap();
    bring(&dir, "one.example");
    let public = from_files(&dir).unwrap();
    let config = public.server_config(ALPN_PUBLIC).unwrap();
    assert!(is_served(&config, &dir, "one.example"));
    let expires_at_s = public.expires_at_s();

    let before = file(&dir, "ca.pem");
    for name in ["server.pem", "server.key"] {
        fs::write(dir.path().join(name), "damaged").unwrap();
        public.look();
        assert!(is_served(&config, &dir, "one.example"));
    }
    fs::remove_file(dir.path().join("server.pem")).unwrap();
    public.look();
    assert!(is_served(&config, &dir, "one.example"));
    assert_eq!(public.expires_at_s(), expires_at_s);

    bring(&dir, "two.example");
    public.look();
    assert!(is_served(&config, &dir, "two.example"));
    fs::write(dir.path().join("ca.pem"), before).unwrap();
    assert!(!is_served(&config, &dir, "one.example"));
}

#[test]
fn a_certificate_and_a_key_that_do_not_belong_together_change_nothing() {
    let (dir, other) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    bring(&dir, "one.example");
    bring(&other, "two.example");
    let public = from_files(&dir).unwrap();
    let config = public.server_config(ALPN_PUBLIC).unwrap();
    fs::write(dir.path().join("server.pem"), file(&other, "server.pem")).unwrap();
    let error = from_files(&dir).unwrap_err().to_string();
    assert!(error.contains("not the key of the certificate"), "{error}");
    public.look();
    assert!(is_served(&config, &dir, "one.example"));
    fs::write(dir.path().join("server.key"), file(&other, "server.key")).unwrap();
    public.look();
    assert!(is_served(&config, &other, "two.example"));
}

#[tokio::test]
async fn our_own_certificate_is_renewed_while_it_is_served() {
    let (dir, tasks) = (TempDir::new().unwrap(), Tasks::new());
    // Made so long ago that ten days of it are left.
    ensure(&dir, -387, &["localhost"]).unwrap();
    let due = file(&dir, "server.pem");
    let chain = dir.path().join("server.pem");
    let key = dir.path().join("server.key");
    let own = Some((dir.path().to_owned(), vec!["localhost".to_owned()]));
    let public = PublicTls::read(chain, key, own).unwrap();
    let config = public.server_config(ALPN_PUBLIC).unwrap();
    let before_s = public.expires_at_s();
    public.spawn_reload(&tasks, Duration::from_millis(5));
    until(|| public.expires_at_s() > before_s).await;
    assert_ne!(file(&dir, "server.pem"), due);
    assert!(is_served(&config, &dir, "localhost"));
    let (again, pki) = PublicTls::from_own(dir.path(), &[]).unwrap();
    assert_eq!(again.expires_at_s(), pki.expires_at_s());
}
