//! TLS to the server, as the address asks for it.

use std::fs::Permissions;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::Path;

use tempfile::TempDir;
use tidegate_kit::tls::Pki;

use super::*;
use crate::local_postgres::{Door, LocalPostgres, ServerOptions};

/// A server on loopback, with a certificate of its own authority.
fn start(dir: &Path, settings: Vec<String>) -> LocalPostgres {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let door = Door::Loopback {
        port,
        password: "a-secret".to_owned(),
    };
    let dir = dir.join("pg");
    LocalPostgres::start(ServerOptions {
        dir,
        door,
        settings,
    })
    .unwrap()
}

#[tokio::test]
async fn the_server_is_checked_when_the_address_says_so() {
    let home = TempDir::new_in("/tmp").unwrap();
    std::fs::set_permissions(home.path(), Permissions::from_mode(0o755)).unwrap();
    let secrets = home.path().join("tls");
    std::fs::create_dir(&secrets).unwrap();
    let pki = Pki::ensure(&secrets, &[]).unwrap();
    // The first start makes the directory and says whose it is.
    drop(start(home.path(), Vec::new()));
    let owner = home.path().join("pg/data").metadata().unwrap();
    for path in [
        secrets.clone(),
        secrets.join("server.pem"),
        secrets.join("server.key"),
    ] {
        chown(path, Some(owner.uid()), Some(owner.gid())).unwrap();
    }
    let settings = [
        "ssl=on".to_owned(),
        format!("ssl_cert_file={}", secrets.join("server.pem").display()),
        format!("ssl_key_file={}", secrets.join("server.key").display()),
    ];
    let server = start(home.path(), settings.to_vec());
    let url = server.url("postgres");
    let trusted = format!(
        "{url}?sslmode=verify-full&sslrootcert={}",
        pki.ca_path().display()
    );
    let url_of = |text: &str| DatabaseUrl::parse(text).unwrap();
    let new = migrate(&url_of(&trusted), ClusterId(Uuid::new_v4()), 1).await;
    assert!(!new.unwrap().is_empty());
    let store = PostgresStore::open(&url_of(&trusted), "tester")
        .await
        .unwrap();
    let is_tls: bool =
        sqlx::query_scalar("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
            .fetch_one(&store.pool)
            .await
            .unwrap();
    assert!(is_tls);
    store.close().await;
    // The same server by an authority that the machine does not know.
    let untrusted = format!("{url}?sslmode=verify-full");
    let refused = PostgresStore::open(&url_of(&untrusted), "tester").await;
    assert!(
        matches!(refused, Err(StoreError::Unreachable(_))),
        "{refused:?}"
    );
}
