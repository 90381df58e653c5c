//! Who gets a connection and for how long: too many, strangers, old ones.

use tidegate_proto::error::Problem;

use super::*;
use crate::acquaintance::greet;

fn routes() -> Router {
    let greeted = |request: Request<Body>| async move {
        greet(request.extensions());
        "hello"
    };
    hello().route("/known", get(greeted))
}

/// One exchange: all of the answer, which has a length.
async fn ask(stream: &mut TcpStream, path: &str, more: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nhost: a\r\n{more}\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let head = head.to_ascii_lowercase();
            let length = head.split_once("content-length: ").expect("a length").1;
            let length: usize = length.lines().next().unwrap().parse().unwrap();
            if body.len() >= length {
                return text;
            }
        }
        let count = timeout(PATIENCE, stream.read_buf(&mut bytes)).await;
        assert_ne!(count.unwrap().unwrap(), 0, "closed after {text:?}");
    }
}

/// Whether the server closes it before it answers.
async fn is_closed_at_once(stream: &mut TcpStream) -> bool {
    let mut byte = [0];
    let read = timeout(PATIENCE, stream.read(&mut byte)).await;
    matches!(read.expect("neither served nor closed"), Ok(0) | Err(_))
}

#[tokio::test]
async fn one_connection_above_the_limit_is_told_so_and_closed() {
    let limits = ServeLimits {
        connections_max: 1,
        ..ServeLimits::default()
    };
    let server = listen(hello(), None, limits);
    let mut first = connect(server.address).await;
    exchange(&mut first).await;
    let mut second = connect(server.address).await;
    let answer = ask(&mut second, "/", "").await;
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    assert!(answer.contains("connection: close") && answer.contains("retry-after: "));
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    let problem: Problem = serde_json::from_str(body).unwrap();
    assert_eq!(problem.code().as_str(), "overloaded");
    until_closed(&mut second).await;
    // One that says nothing is not kept for long.
    let mut silent = connect(server.address).await;
    assert!(until_closed(&mut silent).await < PATIENCE / 2);
    let by_h2 = connect(server.address).await;
    by_h2.set_nodelay(true).unwrap();
    assert_eq!(get_over(by_h2, Version::HTTP_2).await.0, Version::HTTP_2);
    exchange(&mut first).await;
    drop(first);
    loop {
        let mut third = connect(server.address).await;
        if ask(&mut third, "/", "").await.ends_with("hello") {
            break;
        }
    }
}

#[tokio::test]
async fn more_than_can_be_told_so_are_closed_and_nobody_is_left_hanging() {
    let limits = ServeLimits {
        connections_max: 0,
        ..ServeLimits::default()
    };
    let server = listen(hello(), None, limits);
    let mut crowd = Vec::new();
    for _ in 0..3 * limits::REFUSALS_MAX {
        crowd.push(connect(server.address).await);
    }
    let (mut told, mut closed) = (0, 0);
    for stream in &mut crowd {
        let request = stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        let mut answer = Vec::new();
        let read = timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
        let read = read.expect("nobody hangs");
        if request.is_ok() && read.is_ok() && answer.starts_with(b"HTTP/1.1 503") {
            told += 1;
        } else {
            closed += 1;
        }
    }
    assert!(told >= 1 && closed >= 1, "{told} told, {closed} closed");
}

#[tokio::test]
async fn strangers_of_one_address_are_few_and_the_known_are_not_counted() {
    let limits = ServeLimits {
        strangers_per_address_max: 2,
        bounds_loopback: true,
        ..ServeLimits::default()
    };
    let server = listen(routes(), None, limits);
    let mut known = Vec::new();
    for _ in 0..5 {
        let mut stream = connect(server.address).await;
        assert!(ask(&mut stream, "/known", "").await.ends_with("hello"));
        known.push(stream);
    }
    let mut first = connect(server.address).await;
    let mut second = connect(server.address).await;
    exchange(&mut first).await;
    exchange(&mut second).await;
    assert!(is_closed_at_once(&mut connect(server.address).await).await);
    ask(&mut second, "/known", "").await;
    exchange(&mut connect(server.address).await).await;
    exchange(&mut first).await;
}

#[tokio::test]
async fn with_all_places_of_strangers_taken_others_wait_for_one() {
    let limits = ServeLimits {
        strangers_max: 1,
        ..ServeLimits::default()
    };
    let server = listen(routes(), None, limits);
    let mut first = connect(server.address).await;
    exchange(&mut first).await;
    let mut second = connect(server.address).await;
    second
        .write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    let mut byte = [0];
    let early = timeout(Duration::from_millis(100), second.read(&mut byte)).await;
    assert!(early.is_err(), "served above the limit");
    ask(&mut first, "/known", "").await;
    let read = timeout(PATIENCE, second.read(&mut byte)).await;
    assert_eq!(read.unwrap().unwrap(), 1);
}

#[tokio::test]
async fn a_stranger_is_closed_after_a_while_and_the_known_stay() {
    let limits = ServeLimits {
        first_request_timeout: Duration::from_millis(100),
        stranger_age_max: Duration::from_millis(300),
        ..ServeLimits::default()
    };
    let server = listen(routes(), None, limits);
    let mut known = connect(server.address).await;
    ask(&mut known, "/known", "").await;
    let mut stranger = connect(server.address).await;
    let since = clock::monotonic();
    exchange(&mut stranger).await;
    until_closed(&mut stranger).await;
    assert!(since.elapsed() >= Duration::from_millis(250));
    exchange(&mut known).await;
}

#[tokio::test]
async fn an_old_connection_is_ended_with_the_answer_under_way() {
    let limits = ServeLimits {
        first_request_timeout: Duration::from_millis(50),
        stranger_age_max: Duration::from_millis(100),
        connection_age_max: Duration::from_millis(400),
        ..ServeLimits::default()
    };
    let slow = |request: Request<Body>| async move {
        greet(request.extensions());
        tokio::time::timeout(Duration::from_millis(700), std::future::pending::<()>())
            .await
            .unwrap_err();
        "hello"
    };
    let server = listen(routes().route("/slow", get(slow)), None, limits);
    let mut idle = connect(server.address).await;
    ask(&mut idle, "/known", "").await;
    assert!(until_closed(&mut idle).await < PATIENCE / 2);
    let mut busy = connect(server.address).await;
    let answer = ask(&mut busy, "/slow", "").await;
    assert!(answer.ends_with("hello"), "{answer}");
    assert!(answer.contains("connection: close"), "{answer}");
    until_closed(&mut busy).await;

    let io = TokioIo::new(connect(server.address).await);
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await;
    let (mut sender, connection) = handshake.unwrap();
    let tasks = Tasks::new();
    tasks.spawn(TaskKind::Connection, tracing::Span::none(), connection);
    let request = Request::get("http://a/slow").body(Body::empty()).unwrap();
    let response = sender.send_request(request).await.unwrap();
    assert_eq!(response.status(), 200, "what is under way is finished");
    assert_eq!(
        response.into_body().collect().await.unwrap().to_bytes(),
        "hello"
    );
    // GOAWAY has come: the client makes another connection for the next request.
    timeout(PATIENCE, async {
        while sender.ready().await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("the connection goes on");
}

#[tokio::test]
async fn a_stranger_sends_small_heads_only() {
    let server = listen(routes(), None, ServeLimits::default());
    let long = format!("x-long: {}\r\n", "x".repeat(limits::HEADER_LIST_BYTES_MAX));
    let mut stranger = connect(server.address).await;
    let answer = ask(&mut stranger, "/known", &long).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    until_closed(&mut stranger).await;
    let mut known = connect(server.address).await;
    ask(&mut known, "/known", "").await;
    assert!(ask(&mut known, "/", &long).await.ends_with("hello"));
}

#[cfg(unix)]
#[tokio::test]
async fn without_files_for_more_connections_those_who_knock_are_sent_away() {
    use std::os::fd::AsRawFd as _;

    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    const KNOCKING: usize = 30;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    // They connect before anybody accepts, so that only the server runs out of files.
    let mut clients = Vec::new();
    for _ in 0..KNOCKING {
        clients.push(connect(address).await);
    }
    let last = clients.last().unwrap().as_raw_fd();
    let before = getrlimit(Resource::Nofile);
    let few = Rlimit {
        current: Some(last as u64 + 9),
        ..before
    };
    setrlimit(Resource::Nofile, few).unwrap();
    let tasks = Tasks::new();
    let config = ServeConfig {
        listener,
        front: routes().into(),
        tls: None,
        tasks: tasks.clone(),
        limits: ServeLimits::default(),
    };
    serve(config).unwrap();
    let (mut served, mut closed) = (Vec::new(), 0);
    for mut client in clients {
        let request = b"GET /known HTTP/1.1\r\nhost: a\r\n\r\n";
        let sent = client.write_all(request).await;
        let mut byte = [0];
        let read = timeout(PATIENCE, client.read(&mut byte)).await;
        match read.expect("nobody is left hanging") {
            Ok(1) if sent.is_ok() => served.push(client),
            _ => closed += 1,
        }
    }
    assert!(
        (1..KNOCKING).contains(&served.len()),
        "{} served",
        served.len()
    );
    assert_eq!(served.len() + closed, KNOCKING);
    // As soon as there are files again, everybody is served again.
    drop(served);
    setrlimit(Resource::Nofile, before).unwrap();
    loop {
        let mut late = connect(address).await;
        late.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
            .await
            .ok();
        let mut byte = [0];
        let read = timeout(PATIENCE, late.read(&mut byte)).await;
        if matches!(read.expect("nobody is left hanging"), Ok(1)) {
            break;
        }
    }
    assert!(tasks.shutdown(PATIENCE).await);
}
