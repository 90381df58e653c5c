//! A real server: it starts, is reached, survives a crash, and ends with its holder.

use std::process::Command;

use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _};

use super::*;

async fn answers(url: &str) -> bool {
    let options: PgConnectOptions = url.parse().unwrap();
    let Ok(mut conn) = options.connect().await else {
        return false;
    };
    conn.ping().await.is_ok()
}

#[tokio::test]
async fn a_server_comes_back_after_a_crash_and_is_gone_after_its_holder() {
    let server = std::sync::Arc::new(Scratch::start(&[]).unwrap());
    let database = server.database().await.unwrap();
    assert!(answers(&database.url).await);
    server.with(LocalPostgres::crash).unwrap();
    assert!(!answers(&database.url).await);
    server.with(LocalPostgres::restart).unwrap();
    assert!(answers(&database.url).await, "the database is still there");
    let pid = server.with(|server| server.pid()).unwrap();
    drop((server, database));
    assert!(!is_alive(pid));
}

#[tokio::test]
async fn a_server_on_loopback_asks_for_its_password_and_ends_when_the_pipe_does() {
    let dir = tempfile::tempdir_in("/tmp").unwrap();
    std::fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let mut server = LocalPostgres::start(ServerOptions {
        dir: dir.path().join("pg"),
        door: Door::Loopback {
            port,
            password: "a-secret".to_owned(),
        },
        settings: Vec::new(),
    })
    .unwrap();
    assert!(answers(&server.url("postgres")).await);
    let wrong = server.url("postgres").replace("a-secret", "guess");
    assert!(!answers(&wrong).await);
    // What the kernel does to the pipe of a holder that was killed.
    let pid = server.pid().unwrap();
    let mut supervisor = server.supervisor.take().unwrap();
    drop(supervisor.stdin.take());
    supervisor.wait().unwrap();
    assert!(!is_alive(pid));
}

#[test]
fn a_directory_that_the_account_cannot_enter_is_named() {
    if !Command::new("id")
        .arg("-u")
        .output()
        .unwrap()
        .stdout
        .starts_with(b"0\n")
    {
        // Without root the account is ours, and what we make we can enter.
        return;
    }
    let dir = tempfile::tempdir_in("/tmp").unwrap();
    std::fs::set_permissions(dir.path(), Permissions::from_mode(0o700)).unwrap();
    let refused = LocalPostgres::start(ServerOptions {
        dir: dir.path().join("pg"),
        door: Door::Socket,
        settings: Vec::new(),
    });
    let words = refused.unwrap_err().to_string();
    assert!(words.contains("cannot enter"), "{words}");
}
