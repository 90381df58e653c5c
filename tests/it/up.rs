//! Starting: what appears, what a second process or a bad place is told, and with which exit code.

use std::os::unix::fs::PermissionsExt;

use tidegate_tests::program::{command, words};
use tidegate_tests::server::Server;
use tidegate_tests::socket::Socket;
use tidegate_tests::wait::wait_blocking;

#[tokio::test]
async fn everything_that_is_promised_appears_and_up_json_goes_on_stop() {
    let mut server = Server::start();
    let data = server.data_dir();
    for name in ["ca.pem", "token", "up.json"] {
        assert!(data.join(name).exists(), "{name} is missing");
    }
    let mode = std::fs::metadata(data.join("token"))
        .expect("the token")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600, "the token is for its owner alone");
    let listed = server.run_ok(&["topic", "list", "--output", "json"]);
    assert!(
        listed.stdout.starts_with(b"{") || listed.stdout.starts_with(b"["),
        "{}",
        words(&listed)
    );
    assert!(server.stop().success(), "{}", server.log());
    assert!(!data.join("up.json").exists(), "up.json goes on stop");
}

#[tokio::test]
async fn the_curl_line_of_the_banner_works_when_pasted() {
    let server = Server::start();
    server.create_topic("demo", 1).await;
    let line = wait_blocking("the banner", || {
        let log = server.log();
        let line = log
            .lines()
            .find(|line| line.trim_start().starts_with("curl "))?;
        Some(line.trim().to_owned())
    });
    let output = std::process::Command::new("sh")
        .args(["-c", &line])
        .output()
        .expect("a shell");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.starts_with('{'),
        "{line}\n{}",
        words(&output)
    );
}

#[tokio::test]
async fn a_taken_port_is_exit_code_3() {
    let server = Server::start_dev();
    let address = server.url().trim_start_matches("http://").to_owned();
    let home = tempfile::tempdir().expect("a directory");
    let mut second = command(home.path());
    second
        .args(["up", "--dev", "--listen", &address])
        .arg("--data-dir")
        .arg(home.path().join("d"));
    let output = second.output().expect("it runs");
    assert_eq!(output.status.code(), Some(3), "{}", words(&output));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        said.contains(&address) && said.contains("--listen"),
        "{said}"
    );
}

#[tokio::test]
async fn a_directory_in_use_is_exit_code_4() {
    let server = Server::start_dev();
    let home = tempfile::tempdir().expect("a directory");
    let mut second = command(home.path());
    second
        .args(["up", "--dev", "--listen", "127.0.0.1:0"])
        .arg("--data-dir")
        .arg(server.data_dir());
    let output = second.output().expect("it runs");
    assert_eq!(output.status.code(), Some(4), "{}", words(&output));
    let mut connection = server.connect().await.expect("the first still listens");
    assert_eq!(
        connection.get("/readyz").await.expect("an answer").status,
        200
    );
}

#[test]
fn a_place_that_cannot_be_written_is_exit_code_5() {
    let home = tempfile::tempdir().expect("a directory");
    // Also true for root: nobody can make a directory below /proc.
    let mut up = command(home.path());
    up.args([
        "up",
        "--dev",
        "--listen",
        "127.0.0.1:0",
        "--data-dir",
        "/proc/tidegate-data",
    ]);
    let output = up.output().expect("it runs");
    assert_eq!(output.status.code(), Some(5), "{}", words(&output));
    assert!(String::from_utf8_lossy(&output.stderr).contains("/proc/tidegate-data"));
}

#[test]
fn usage_errors_are_exit_code_2() {
    let home = tempfile::tempdir().expect("a directory");
    let cases: [&[&str]; 4] = [
        &["up", "--no-such-flag"],
        &["up", "--dev", "--listen", "0.0.0.0:0"],
        &["up", "--listen", "nowhere"],
        &["fly"],
    ];
    for arguments in cases {
        let output = command(home.path())
            .args(arguments)
            .output()
            .expect("it runs");
        assert_eq!(
            output.status.code(),
            Some(2),
            "{arguments:?}: {}",
            words(&output)
        );
        assert!(!output.stderr.is_empty(), "{arguments:?} says nothing");
    }
}

#[tokio::test]
async fn development_mode_answers_only_loopback_hosts_and_origins() {
    let server = Server::start_dev();
    let mut connection = server.connect().await.expect("a connection");
    let ask = [("host", "evil.example")];
    let answer = connection
        .send(http::Method::GET, "/v1/topics", &ask, "")
        .await
        .expect("an answer");
    assert_eq!(answer.status, 403, "a rebound name: {}", answer.text());
    let ask = [("origin", "https://evil.example")];
    let answer = connection
        .send(http::Method::GET, "/v1/topics", &ask, "")
        .await
        .expect("an answer");
    assert_eq!(
        answer.header("access-control-allow-origin"),
        None,
        "a foreign page may not read"
    );
    let ask = [("origin", "http://localhost:5173")];
    let answer = connection
        .send(http::Method::GET, "/v1/topics", &ask, "")
        .await
        .expect("an answer");
    assert_eq!(
        answer.header("access-control-allow-origin"),
        Some("http://localhost:5173")
    );
}

#[tokio::test]
async fn health_is_open_and_everything_else_needs_a_token() {
    let server = Server::start();
    let mut target = server.target();
    target.token = None;
    let mut connection = tidegate_tests::http::Connection::open(&target)
        .await
        .expect("a connection");
    for open in [
        "/",
        "/docs",
        "/v1/openapi.json",
        "/livez",
        "/readyz",
        "/docs/errors/too_large",
    ] {
        assert_eq!(
            connection.get(open).await.expect("an answer").status,
            200,
            "{open}"
        );
    }
    for closed in [
        "/v1/topics",
        "/v1/cluster",
        "/v1/topics/x/records",
        "/v1/topics/x/events",
    ] {
        assert_eq!(
            connection.get(closed).await.expect("an answer").status,
            401,
            "{closed}"
        );
    }
}

#[tokio::test]
async fn only_listed_pages_open_sockets_with_a_ticket_and_programs_need_no_origin() {
    let server = Server::start_with(&["--cors-origin", "https://app.example"]);
    server.create_topic("t", 1).await;
    let mut connection = server.connect().await.expect("a connection");
    let own = server.target().url;
    for (headers, is_let_in) in [
        (vec![("origin", "https://app.example")], true),
        (vec![("origin", own.as_str())], true),
        (vec![], true),
        // As Node does.
        (vec![("sec-fetch-mode", "websocket")], true),
        (vec![("origin", "https://evil.example")], false),
        (vec![("origin", "null")], false),
    ] {
        let wanted = r#"{"topics":["t"],"ops":["consume"]}"#;
        let issued = connection.post("/v1/ws-tickets", "application/json", wanted);
        let issued = issued.await.expect("an answer").json();
        let ticket = issued["ticket"].as_str().expect("a ticket");
        let protocols = format!("tidegate.v1.json, ticket.{ticket}");
        let mut target = server.target();
        target.token = None;
        let headers = [&headers[..], &[("sec-websocket-protocol", &protocols)]].concat();
        let opened = Socket::open_with(&target, "/v1/topics/t/ws", &headers).await;
        let opened = opened.map(drop).map_err(|error| error.to_string());
        assert_eq!(opened.is_ok(), is_let_in, "{headers:?}: {opened:?}");
        assert!(is_let_in || opened.unwrap_err().contains("403"));
    }
}

/// curl sends the whole body before it reads; over HTTP/2 a stream reset meanwhile costs it the answer.
#[tokio::test]
async fn curl_is_told_over_http_2_that_a_body_is_too_large() {
    let server = Server::start();
    server.create_topic("t", 1).await;
    let target = server.target();
    let body = server.home().join("body");
    std::fs::write(&body, vec![0; 5_000_000]).expect("a file");
    let token = target.token.expect("a token");
    let output = std::process::Command::new("curl")
        .args(["--silent", "--show-error", "--max-time", "60", "--http2"])
        .arg("--cacert")
        .arg(server.data_dir().join("ca.pem"))
        .args(["-H", &format!("Authorization: Bearer {token}")])
        .args(["--data-binary", &format!("@{}", body.display())])
        .args(["-w", "\n%{http_version} %{http_code}"])
        .arg(format!("{}/v1/topics/t/records", target.url))
        .output()
        .expect("curl runs");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.ends_with("\n2 413"), "{}", words(&output));
    assert!(text.contains("\"limit\":1048576"), "{text}");
}
