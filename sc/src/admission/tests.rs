//! Nodes that join, join again, renew and are refused, over real sockets and in process.

use std::fs;
use std::net::TcpListener;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tempfile::TempDir;
use tidegate_kit::auth::{Auth, Grants, Op, Principal};
use tidegate_kit::enrol::{EnrolError, Enrolment};
use tidegate_kit::peer::{PeerIdentity, PeerSerial};
use tidegate_kit::secret::{Secret, SecretDigest};
use tidegate_kit::serve::{ServeConfig, ServeLimits, serve};
use tidegate_kit::tls::{ClientAuth, IdentityDir, NodeKey};
use tidegate_proto::api::join::{JoinToken as Shown, JoinTokenRequest};
use tidegate_proto::control::JoinTicket;
use tidegate_proto::id::{SpuId, StoreId};
use tidegate_proto::position::ReplicaKey;
use tokio::time::timeout;
use tower::ServiceExt as _;
use uuid::Uuid;

use super::*;
use crate::api::Statuses;
use crate::controller::ControllerSettings;
use crate::store::{JoinToken, MemoryDatabase, MetaStore, Use};

mod tokens;

// Long enough for a loaded machine, never reached when things work.
const PATIENCE: Duration = Duration::from_secs(20);

struct Bench {
    admission: Admission,
    tasks: Tasks,
    dir: TempDir,
}

impl Bench {
    async fn new() -> Self {
        let (cluster, store) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let store = MemoryDatabase::new(ClusterId(cluster), StoreId(store)).open();
        let tasks = Tasks::new();
        let controller = Controller::start(Arc::new(store), ControllerSettings::alone(), &tasks)
            .await
            .unwrap();
        let authority = ClusterAuthority::make(ClusterId(cluster), clock::now_s()).unwrap();
        Self {
            admission: Admission::new(controller, authority).unwrap(),
            tasks,
            dir: TempDir::new().unwrap(),
        }
    }

    fn store(&self) -> &Arc<dyn MetaStore> {
        self.admission.controller.store()
    }

    // The private listener of a controller, as `host:port`.
    async fn listen(&self, listener: TcpListener) -> String {
        let name = NodeName::parse("sc-1").unwrap();
        let tls = self.admission.own_tls(name, &self.tasks).await.unwrap();
        let address = serve(ServeConfig {
            listener,
            front: self.admission.internal_router().into(),
            tls: Some(tls.server_config(ClientAuth::Optional).unwrap()),
            tasks: self.tasks.clone(),
            limits: ServeLimits::default(),
        });
        address.unwrap().to_string()
    }

    async fn serve(&self) -> String {
        self.listen(TcpListener::bind("127.0.0.1:0").unwrap()).await
    }

    async fn token(&self, role: NodeRole, name: Option<&str>) -> String {
        let request = JoinTokenRequest {
            role,
            name: name.map(|name| NodeName::parse(name).unwrap()),
            ttl_s: None,
        };
        let made = self.admission.create_token(&request, "tester").await;
        made.unwrap().token.unwrap()
    }

    fn enrolment(&self, dir: &str, controller: &str, token: Option<&str>) -> Enrolment {
        Enrolment {
            dir: self.dir.path().join(dir),
            role: NodeRole::Spu,
            name: None,
            controllers: vec![controller.to_owned()],
            token: token.map(Secret::new),
            poll_interval: Duration::from_millis(10),
        }
    }

    async fn enrol(&self, enrolment: Enrolment) -> Result<NodeTls, EnrolError> {
        timeout(PATIENCE, enrolment.enrol(&self.tasks))
            .await
            .unwrap()
    }

    // The answer of the private plane, to a node or to nobody.
    async fn ask(
        &self,
        path: &str,
        body: &Value,
        peer: Option<(NodeIdentity, &str)>,
    ) -> (StatusCode, Value) {
        let request = Request::post(path).header("content-type", "application/json");
        let mut request = request.body(Body::from(body.to_string())).unwrap();
        if let Some((identity, serial)) = peer {
            request.extensions_mut().insert(PeerIdentity(identity));
            request.extensions_mut().insert(PeerSerial(serial.into()));
        }
        let router = self.admission.internal_router();
        let answer = router.oneshot(request).await.unwrap();
        let status = answer.status();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&body).unwrap())
    }

    async fn join(&self, token: &str, key: &NodeKey, name: Option<&str>) -> (StatusCode, Value) {
        let body = asked(token, key, "spu", name);
        self.ask("/internal/v1/join", &body, None).await
    }
}

fn asked(token: &str, key: &NodeKey, role: &str, name: Option<&str>) -> Value {
    let ticket: JoinTicket = token.parse().unwrap();
    json!({
        "secret": ticket.secret,
        "role": role,
        "name": name,
        "request_pem": key.signing_request().unwrap(),
    })
}

fn reason(refused: &EnrolError) -> String {
    match refused {
        EnrolError::Refused(problem) => {
            let problem = serde_json::to_value(problem).unwrap();
            format!("{}: {}", problem["code"], problem["reason"])
        }
        other => panic!("{other}"),
    }
}

// Until that holds: another task makes it so.
async fn until(holds: impl Fn() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, waiting).await.unwrap();
}

#[tokio::test]
async fn a_node_joins_once_with_a_token_and_is_itself_from_then_on() {
    let bench = Bench::new().await;
    let controller = bench.serve().await;
    let token = bench.token(NodeRole::Spu, Some("spu-3")).await;
    let first = bench.enrolment("a", &controller, Some(&token));
    let joined = bench.enrol(first.clone()).await.unwrap();
    assert_eq!(joined.identity().spu_id(), Some(SpuId(3)));
    let noted = bench.store().certificates(Some("spu/spu-3")).await.unwrap();
    assert_eq!(noted.len(), 1);
    assert_eq!(noted[0].serial, joined.serial());

    let again = Enrolment {
        token: None,
        ..first
    };
    let again = bench.enrol(again).await.unwrap();
    assert_eq!(again.serial(), joined.serial(), "found on the disk");
    let other = bench.enrolment("b", &controller, Some(&token));
    let refused = bench.enrol(other).await.unwrap_err();
    assert_eq!(reason(&refused), "\"unauthenticated\": \"used\"");
    let without = bench.enrolment("c", &controller, None);
    let refused = bench.enrol(without).await.unwrap_err();
    assert!(matches!(refused, EnrolError::NoToken(_)), "{refused}");
    let mut misnamed = bench.enrolment("a", &controller, None);
    misnamed.name = Some(NodeName::of_spu(SpuId(4)));
    let refused = bench.enrol(misnamed).await.unwrap_err();
    assert!(matches!(refused, EnrolError::Other { .. }), "{refused}");
}

#[cfg(unix)]
#[tokio::test]
async fn what_a_node_keeps_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let bench = Bench::new().await;
    let controller = bench.serve().await;
    let token = bench.token(NodeRole::Spu, Some("spu-3")).await;
    let enrolment = bench.enrolment("a", &controller, Some(&token));
    bench.enrol(enrolment).await.unwrap();
    let dir = bench.dir.path().join("a");
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&dir), 0o700);
    assert_eq!(mode(&dir.join("node.pem")), 0o600);
    let mut names: Vec<String> = fs::read_dir(&dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["cluster-ca.pem", "node.pem"]);
}

#[tokio::test]
async fn of_nodes_that_join_at_once_with_one_token_one_does() {
    let bench = Bench::new().await;
    let controller = bench.serve().await;
    let token = bench.token(NodeRole::Spu, Some("spu-3")).await;
    let racers = (0..8).map(|number| {
        let enrolment = bench.enrolment(&number.to_string(), &controller, Some(&token));
        bench.enrol(enrolment)
    });
    let ended = futures_util::future::join_all(racers).await;
    assert_eq!(ended.iter().filter(|ended| ended.is_ok()).count(), 1);
    for refused in ended.iter().filter_map(|ended| ended.as_ref().err()) {
        assert_eq!(reason(refused), "\"unauthenticated\": \"used\"");
    }
    let noted = bench.store().certificates(Some("spu/spu-3")).await.unwrap();
    assert_eq!(noted.len(), 1);
}

#[tokio::test]
async fn an_answer_that_got_lost_can_be_asked_for_again_with_the_same_key() {
    let bench = Bench::new().await;
    let token = bench.token(NodeRole::Spu, None).await;
    let (key, other) = (NodeKey::generate().unwrap(), NodeKey::generate().unwrap());
    let (status, lost) = bench.join(&token, &key, Some("spu-3")).await;
    assert_eq!(status, 200, "{lost}");
    let (status, found) = bench.join(&token, &key, Some("spu-3")).await;
    assert_eq!(status, 200, "{found}");
    assert_ne!(lost["chain_pem"], found["chain_pem"]);
    assert_eq!(bench.join(&token, &other, Some("spu-3")).await.0, 401);
    assert_eq!(bench.join(&token, &key, Some("spu-4")).await.0, 401);
    let noted = bench.store().certificates(None).await.unwrap();
    let in_force = noted.iter().filter(|noted| noted.revoked_at_ms.is_none());
    assert_eq!((noted.len(), in_force.count()), (2, 1));
}

#[tokio::test]
async fn a_mistake_of_the_bearer_does_not_use_a_token_up() {
    let bench = Bench::new().await;
    let token = bench.token(NodeRole::Spu, Some("spu-3")).await;
    let key = NodeKey::generate().unwrap();
    let path = "/internal/v1/join";
    let good = asked(&token, &key, "spu", None);
    for (field, value, status, code) in [
        ("role", json!("gateway"), 403, "forbidden"),
        ("role", json!("sc"), 403, "forbidden"),
        ("role", json!("admin"), 400, "invalid_parameter"),
        ("name", json!("spu-4"), 403, "forbidden"),
        ("name", json!("three"), 403, "forbidden"),
        ("request_pem", json!("none"), 400, "invalid_parameter"),
        ("secret", json!("s"), 401, "unauthenticated"),
    ] {
        let mut bad = good.clone();
        bad[field] = value;
        let (found, problem) = bench.ask(path, &bad, None).await;
        assert_eq!(found, status, "{problem}");
        assert_eq!(problem["code"], code);
    }
    let free = bench.token(NodeRole::Spu, None).await;
    for name in [None, Some("three")] {
        let (status, problem) = bench.join(&free, &key, name).await;
        assert_eq!(status, 400, "{problem}");
    }
    let waiting = bench.admission.tokens().await.unwrap();
    assert!(waiting.iter().all(|token| token.used.is_none()));
    assert_eq!(bench.ask(path, &good, None).await.0, 200);
}

#[tokio::test]
async fn a_node_that_is_started_first_waits_for_its_controller() {
    let bench = Bench::new().await;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let token = bench.token(NodeRole::Spu, Some("spu-3")).await;
    let enrolment = bench.enrolment("a", &address.to_string(), Some(&token));
    let late = async {
        tokio::task::yield_now().await;
        bench.listen(TcpListener::bind(address).unwrap()).await
    };
    let (joined, _) = tokio::join!(bench.enrol(enrolment), late);
    assert_eq!(joined.unwrap().identity().spu_id(), Some(SpuId(3)));
}

#[tokio::test]
async fn a_token_is_shown_to_no_controller_but_those_that_it_names() {
    let (bench, impostor) = (Bench::new().await, Bench::new().await);
    let token = bench.token(NodeRole::Spu, Some("spu-3")).await;
    let enrolment = bench.enrolment("a", &impostor.serve().await, Some(&token));
    let waited = timeout(Duration::from_millis(500), enrolment.enrol(&bench.tasks)).await;
    assert!(waited.is_err(), "it neither joins nor gives up");
}

#[tokio::test]
async fn a_certificate_is_renewed_in_time_and_kept() {
    let bench = Bench::new().await;
    let controller = bench.serve().await;
    let identity = NodeIdentity::spu(bench.admission.controller.cluster_id(), SpuId(3));
    let soon = Duration::from_secs(60);
    let due = bench
        .admission
        .authority
        .issue(&identity, clock::now_s(), soon);
    let dir = IdentityDir::open(&bench.dir.path().join("a")).unwrap();
    dir.save(&due.unwrap()).unwrap();
    let enrolment = bench.enrolment("a", &controller, None);
    let tls = bench.enrol(enrolment).await.unwrap();
    let before = tls.serial();
    until(|| tls.serial() != before).await;
    let days = (tls.validity_s().1 - clock::now_s()) / (24 * 3600);
    assert!((6..=7).contains(&days), "{days}");
    let kept = NodeTls::new(&dir.load().unwrap().unwrap()).unwrap();
    assert_eq!(kept.serial(), tls.serial());
}

#[tokio::test]
async fn files_that_an_operator_replaces_are_taken_over_when_they_are_good() {
    let bench = Bench::new().await;
    let controller = bench.serve().await;
    let token = bench.token(NodeRole::Spu, Some("spu-3")).await;
    let enrolment = bench.enrolment("a", &controller, Some(&token));
    let tls = bench.enrol(enrolment).await.unwrap();
    let before = tls.serial();
    let life = Duration::from_secs(10 * 24 * 3600);
    let issue = |identity: &NodeIdentity| {
        let issued = bench
            .admission
            .authority
            .issue(identity, clock::now_s(), life);
        issued.unwrap()
    };
    let dir = IdentityDir::open(&bench.dir.path().join("a")).unwrap();
    fs::write(dir.node_path(), "damaged").unwrap();
    let other = NodeIdentity::spu(bench.admission.controller.cluster_id(), SpuId(4));
    dir.save(&issue(&other)).unwrap();
    let next = issue(tls.identity());
    dir.save(&next).unwrap();
    until(|| tls.serial() != before).await;
    assert_eq!(tls.serial(), NodeTls::new(&next).unwrap().serial());
}

#[tokio::test]
async fn a_certificate_that_was_taken_back_is_not_renewed() {
    let bench = Bench::new().await;
    let token = bench.token(NodeRole::Spu, None).await;
    let key = NodeKey::generate().unwrap();
    assert_eq!(bench.join(&token, &key, Some("spu-3")).await.0, 200);
    let path = "/internal/v1/certificate";
    let body = json!({ "request_pem": key.signing_request().unwrap() });
    let node = NodeIdentity::spu(bench.admission.controller.cluster_id(), SpuId(3));
    let noted = bench.store().certificates(None).await.unwrap();
    let serial = noted[0].serial.as_str();
    let as_node = |serial| Some((node.clone(), serial));
    assert_eq!(bench.ask(path, &body, None).await.0, 401, "by nobody");
    assert_eq!(bench.ask(path, &body, as_node(serial)).await.0, 200);
    assert_eq!(bench.ask(path, &body, as_node("unknown")).await.0, 200);

    // Another machine takes the name over.
    let token = bench.token(NodeRole::Spu, Some("spu-3")).await;
    let other = NodeKey::generate().unwrap();
    assert_eq!(bench.join(&token, &other, None).await.0, 200);
    let (status, problem) = bench.ask(path, &body, as_node(serial)).await;
    assert_eq!(
        (status.as_u16(), &problem["code"]),
        (403, &json!("forbidden"))
    );
}

#[tokio::test]
async fn an_authority_serves_its_own_cluster_only_and_controllers_are_not_named_like_units() {
    let bench = Bench::new().await;
    let other = ClusterAuthority::make(ClusterId(Uuid::from_u128(9)), clock::now_s()).unwrap();
    let refused = Admission::new(bench.admission.controller.clone(), other);
    assert!(matches!(refused, Err(AdmissionError::OtherCluster { .. })));
    let name = NodeName::parse("spu-1").unwrap();
    let refused = bench.admission.own_tls(name, &bench.tasks).await;
    assert!(matches!(refused, Err(AdmissionError::Name(_))));
}
