//! Controllers that answer, stop, and vanish in the middle; and what a client of the gateway sees of it.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::response::IntoResponse as _;
use axum::routing::any;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, Uri};
use tidegate_kit::channel::ChannelConfig;
use tidegate_kit::clock;
use tidegate_kit::serve::{ServeConfig, ServeLimits, serve};
use tidegate_kit::tasks::Tasks;
use tidegate_kit::tls::{ClientAuth, ClusterAuthority, Expect, NodeTls};
use tidegate_proto::id::ClusterId;
use tidegate_proto::node::{NodeIdentity, NodeName, NodeRole};
use tower::ServiceExt as _;

use super::*;

const HOUR: Duration = Duration::from_secs(3600);
const TOKEN: &str = "Bearer t";

/// A gateway's control plane over controllers with these routes.
fn gateway(controllers: Vec<Router>, tasks: &Tasks) -> Router {
    let cluster_id = ClusterId::from_bytes([1; 16]);
    let authority = ClusterAuthority::make(cluster_id, clock::now_s()).unwrap();
    let node = |role, name| {
        let identity = NodeIdentity::new(cluster_id, role, NodeName::parse(name).unwrap());
        let issued = authority.issue(&identity.unwrap(), clock::now_s(), HOUR);
        NodeTls::new(&issued.unwrap()).unwrap()
    };
    let endpoints = controllers.into_iter().map(|router| {
        let tls = node(NodeRole::Sc, "sc").server_config(ClientAuth::Required);
        let address = serve(ServeConfig {
            listener: TcpListener::bind("127.0.0.1:0").unwrap(),
            front: router.into(),
            tls: Some(tls.unwrap()),
            tasks: tasks.clone(),
            limits: ServeLimits::default(),
        });
        address.unwrap().to_string()
    });
    let channel = Channel::new(&ChannelConfig {
        endpoints: endpoints.collect(),
        tls: node(NodeRole::Gateway, "g"),
        expect: Expect::Role(NodeRole::Sc),
        tasks: tasks.clone(),
    });
    control_plane(channel.unwrap(), &Auth::with_token("t"))
}

async fn ask(gateway: &Router, method: Method, path: &str, token: Option<&str>) -> (u16, String) {
    ask_under(gateway, method, path, token, None).await
}

/// The same under a request key.
async fn ask_under(
    gateway: &Router,
    method: Method,
    path: &str,
    token: Option<&str>,
    key: Option<&str>,
) -> (u16, String) {
    let mut request = Request::builder().method(method).uri(path);
    if let Some(token) = token {
        request = request.header(AUTHORIZATION, token);
    }
    if let Some(key) = key {
        request = request.header(IDEMPOTENCY_KEY, key);
    }
    let request = request
        .header(CONTENT_TYPE, "application/json")
        .header("x-forwarded-for", "10.0.0.1")
        .header(ORIGIN, "https://elsewhere.example")
        .body(Body::from("{}"));
    let answer = gateway.clone().oneshot(request.unwrap()).await.unwrap();
    let status = answer.status().as_u16();
    let body = read_body(answer.into_body(), REQUEST_BYTES_MAX)
        .await
        .unwrap();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

/// Tells what arrived.
async fn mirror(method: Method, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let mut names: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
    names.sort_unstable();
    let text = String::from_utf8_lossy(&body).into_owned();
    let path = uri.path_and_query().map(ToString::to_string);
    format!("{method} {} {names:?} {text}", path.unwrap_or_default()).into_response()
}

#[tokio::test]
async fn a_request_is_rebuilt_with_the_callers_credential_and_nothing_of_its_connection() {
    let tasks = Tasks::new();
    let all = Router::new().fallback(any(mirror));
    let gateway = gateway(vec![all], &tasks);
    let path = "/v1/topics/a%20b/truncate?dry_run=true";
    let (status, said) = ask(&gateway, Method::POST, path, Some(TOKEN)).await;
    let expected =
        format!("POST {path} [\"authorization\", \"content-length\", \"content-type\"] {{}}");
    assert_eq!((status, said), (200, expected));
    let (status, said) = ask(&gateway, Method::GET, path, None).await;
    assert_eq!(status, 401, "{said}");
    tasks.shutdown(HOUR).await;
}

#[tokio::test]
async fn a_refusal_for_now_is_asked_again_once_and_nobody_there_is_a_problem() {
    let tasks = Tasks::new();
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let refuse = || ApiError::new(ErrorCode::Unavailable, "the controller is stopping");
    let passing = move || {
        let number = count.fetch_add(1, Ordering::SeqCst);
        async move {
            if number == 0 {
                Err(refuse())
            } else {
                Ok("made")
            }
        }
    };
    let passing = gateway(vec![Router::new().fallback(any(passing))], &tasks);
    let answer = ask(&passing, Method::POST, "/v1/topics", Some(TOKEN)).await;
    assert_eq!(answer, (200, "made".to_owned()));
    let count = Arc::clone(&asked);
    let lasting = move || {
        count.fetch_add(1, Ordering::SeqCst);
        async move { refuse() }
    };
    let one = gateway(vec![Router::new().fallback(any(lasting))], &tasks);
    let (status, said) = ask(&one, Method::POST, "/v1/topics", Some(TOKEN)).await;
    assert_eq!(status, 503);
    assert!(said.contains("the controller is stopping"), "{said}");
    assert_eq!(asked.load(Ordering::SeqCst), 4);
    tasks.shutdown(HOUR).await;
    let (status, said) = ask(&one, Method::POST, "/v1/topics", Some(TOKEN)).await;
    assert_eq!(status, 503);
    assert!(said.contains("\"side_effects\":\"none\""), "{said}");
}

#[tokio::test]
async fn a_change_whose_answer_was_lost_is_not_sent_again_and_a_question_is() {
    let tasks = Tasks::new();
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    // The first of each pair of requests ends with its stream.
    let cut = move |body: Bytes| {
        let number = count.fetch_add(1, Ordering::SeqCst);
        async move {
            assert!(number != 0 && number != 1, "ends the stream: {body:?}");
            "read"
        }
    };
    let gateway = gateway(vec![Router::new().fallback(any(cut))], &tasks);
    let (status, said) = ask(&gateway, Method::POST, "/v1/topics", Some(TOKEN)).await;
    assert_eq!(status, 504, "{said}");
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    let answer = ask(&gateway, Method::GET, "/v1/topics", Some(TOKEN)).await;
    assert_eq!(answer, (200, "read".to_owned()));
    assert_eq!(asked.load(Ordering::SeqCst), 3);
    tasks.shutdown(HOUR).await;
}

#[tokio::test]
async fn a_change_with_a_key_whose_answer_was_lost_is_sent_again_and_is_never_called_undone() {
    let tasks = Tasks::new();
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let cut = move || {
        let number = count.fetch_add(1, Ordering::SeqCst);
        async move {
            // The first ends with its stream, and later ones are refused.
            match number {
                0 | 2 => panic!("ends the stream"),
                1 => Ok("made"),
                _ => Err(ApiError::new(ErrorCode::Unavailable, "the store is away")),
            }
        }
    };
    let gateway = gateway(vec![Router::new().fallback(any(cut))], &tasks);
    let ask = || {
        let path = "/v1/topics";
        ask_under(&gateway, Method::POST, path, Some(TOKEN), Some("key"))
    };
    assert_eq!(ask().await, (200, "made".to_owned()));
    let (status, said) = ask().await;
    assert_eq!(status, 504, "{said}");
    assert!(said.contains("\"side_effects\":\"possible\""), "{said}");
    assert_eq!(asked.load(Ordering::SeqCst), 2 + ATTEMPTS_MAX as usize);
    tasks.shutdown(HOUR).await;
}

#[tokio::test]
async fn what_refuses_the_repeat_of_a_lost_attempt_is_not_passed_on_as_definite() {
    let tasks = Tasks::new();
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let refusals = [
        ErrorCode::Throttled,
        ErrorCode::NotSupported,
        ErrorCode::DiskFull,
    ];
    let lost_max = 2 * refusals.len();
    let cut = move || {
        let number = count.fetch_add(1, Ordering::SeqCst);
        async move {
            let is_repeat = number % 2 == 1;
            assert!(is_repeat || number >= lost_max, "ends the stream");
            ApiError::new(refusals[number / 2 % refusals.len()], "not now")
        }
    };
    let gateway = gateway(vec![Router::new().fallback(any(cut))], &tasks);
    let ask = || {
        let path = "/v1/topics";
        ask_under(&gateway, Method::POST, path, Some(TOKEN), Some("key"))
    };
    for refusal in refusals {
        let (status, said) = ask().await;
        assert_eq!(status, 504, "{refusal}: {said}");
        assert!(said.contains("\"side_effects\":\"possible\""), "{said}");
    }
    assert_eq!(asked.load(Ordering::SeqCst), lost_max);
    // Nothing was lost before this one.
    let (status, said) = ask().await;
    assert_eq!(status, 429, "{said}");
    tasks.shutdown(HOUR).await;
}
