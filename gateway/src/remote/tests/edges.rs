//! Gateways with the public surface, over the same storage units.

use std::collections::BTreeSet;

use axum::body::{Body, BodyDataStream};
use futures_util::StreamExt as _;
use http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tidegate_data_plane::testing::Kept;
use tidegate_data_plane::{DataPlane, DataPlaneConfig};
use tidegate_kit::auth::Auth;
use tidegate_proto::position::LeaderEpoch;
use tower::ServiceExt as _;

use super::wire::Leading;
use super::*;

/// One gateway.
struct Edge {
    router: Router,
    tasks: Tasks,
    upstream: Tasks,
}

impl Edge {
    fn new(far: &Far, name: &str) -> Self {
        let (tasks, upstream) = (Tasks::new(), Tasks::new());
        let tls = far.cluster.node(NodeRole::Gateway, name);
        let view = far.memory.topology();
        let remote = RemotePartitions::new(view, tls, Memory::default(), None, &upstream);
        let config = DataPlaneConfig::default();
        let state = DataPlane::new(remote, Auth::dev(), tasks.clone(), config);
        Self {
            router: tidegate_data_plane::router(state),
            tasks,
            upstream,
        }
    }

    async fn send(&self, request: Request<Body>) -> (StatusCode, Body) {
        let answer = self.router.clone().oneshot(request).await.unwrap();
        (answer.status(), answer.into_body())
    }

    async fn get(&self, path: &str) -> (StatusCode, Value) {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let (status, body) = self.send(request).await;
        (status, json_of(body).await)
    }

    /// Produces one record with that value to each of these partitions.
    async fn produce(&self, query: &str, records: &[(u32, u64)]) -> (StatusCode, Value) {
        let record =
            |(partition, value): &(u32, u64)| json!({"partition": partition, "value": value});
        let records: Vec<_> = records.iter().map(record).collect();
        let body = json!({ "records": records }).to_string();
        let request = Request::post(format!("/v1/topics/t/records{query}"))
            .header("content-type", "application/json")
            .body(Body::from(body));
        let (status, body) = self.send(request.unwrap()).await;
        (status, json_of(body).await)
    }

    async fn events(&self, query: &str) -> Events {
        let request = Request::get(format!("/v1/topics/t/events{query}"));
        let (status, body) = self.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!(status, 200);
        Events {
            body: body.into_data_stream(),
            text: String::new(),
        }
    }

    async fn end(self) {
        self.tasks.shutdown(LONG).await;
        self.upstream.shutdown(LONG).await;
    }
}

async fn json_of(body: Body) -> Value {
    let bytes = body.collect().await.unwrap().to_bytes();
    serde_json::from_slice(&bytes).unwrap()
}

/// An event stream as it comes.
struct Events {
    body: BodyDataStream,
    text: String,
}

impl Events {
    /// The name and the data of the next event; none at the end.
    async fn next(&mut self) -> Option<(String, Value)> {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name));
                let found = field("event: ").map(|name| {
                    let data = serde_json::from_str(field("data: ").unwrap()).unwrap();
                    (name.to_owned(), data)
                });
                self.text = rest.to_owned();
                match found {
                    Some(found) => return Some(found),
                    None => continue,
                }
            }
            let more = tokio::time::timeout(LONG, self.body.next())
                .await
                .unwrap()?;
            self.text += std::str::from_utf8(&more.unwrap()).unwrap();
        }
    }

    /// Takes events until `count` values are in `found`; each must be a new one.
    async fn read_to(&mut self, count: usize, found: &mut BTreeSet<u64>) {
        while found.len() < count {
            let (name, data) = self.next().await.unwrap();
            if name == "records" {
                take(&data, found);
            }
        }
    }
}

fn take(data: &Value, found: &mut BTreeSet<u64>) {
    for record in data["records"].as_array().unwrap() {
        let value = record["value"].as_u64().unwrap();
        assert!(found.insert(value), "{value} came twice");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_stream_of_a_gateway_that_drains_goes_on_at_another_one_without_loss() {
    let far = Far::new();
    far.memory.create_topic("t", 2);
    let (first, second) = (Edge::new(&far, "gateway-a"), Edge::new(&far, "gateway-b"));
    let produce = async |values: std::ops::Range<u64>| {
        for value in values {
            let partition = u32::from(value % 3 == 0);
            assert_eq!(second.produce("", &[(partition, value)]).await.0, 200);
        }
    };
    produce(0..20).await;
    let mut found = BTreeSet::new();
    let mut events = first.events("?from=earliest").await;
    events.read_to(20, &mut found).await;
    produce(20..30).await;
    first.tasks.cancel();
    produce(30..40).await;
    let mut cursor = None;
    while let Some((name, data)) = events.next().await {
        match name.as_str() {
            "records" => take(&data, &mut found),
            "drain" => cursor = data["cursor"].as_str().map(str::to_owned),
            _ => {}
        }
    }
    let cursor = cursor.expect("a drain tells where to go on");
    let mut events = second.events(&format!("?last_event_id={cursor}")).await;
    events.read_to(40, &mut found).await;
    produce(40..45).await;
    events.read_to(45, &mut found).await;
    assert_eq!(found, (0..45).collect());
    drop(events);
    first.end().await;
    second.end().await;
    far.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_at_a_unit_that_is_gone_fails_alone_and_goes_on_when_it_is_back() {
    let far = Far::over(|inner| Kept::new(inner, Leading(SPU)));
    let other = SpuId(2);
    let start = || {
        let inner = Arc::clone(&far.memory);
        let unit = far.cluster.unit(other, Kept::new(inner, Leading(other)));
        far.memory.enter(other, Some(at_port(unit.port)));
        unit
    };
    let unit = start();
    let topic = far.memory.create_topic("t", 2);
    far.memory
        .lead(&topic, PartitionId(1), other, LeaderEpoch(2));
    let edge = Edge::new(&far, "gateway-a");
    let (status, answer) = edge.produce("", &[(0, 0), (1, 1), (0, 2)]).await;
    assert_eq!(
        (status.as_u16(), answer["partitions"][1]["count"].as_u64()),
        (200, Some(1))
    );
    let mut found = BTreeSet::new();
    let mut events = edge.events("?from=earliest").await;
    events.read_to(3, &mut found).await;

    unit.tasks.shutdown(LONG).await;
    let records = [(0, 3), (1, 100), (0, 4)];
    let (status, answer) = edge.produce("?timeout_ms=2500", &records).await;
    assert_eq!(status, 207, "{answer}");
    let results = answer["results"].as_array().unwrap();
    assert_eq!(results[0]["offset"], 2);
    assert_eq!(results[1]["error"]["status"], 503, "{answer}");
    assert_eq!(results[1]["error"]["side_effects"], "none");
    assert_eq!(results[2]["offset"], 3);
    // Whoever follows both goes on with the one.
    events.read_to(5, &mut found).await;
    let (status, one) = edge
        .get("/v1/topics/t/partitions/0/records?from=earliest")
        .await;
    assert_eq!(
        (status.as_u16(), one["records"].as_array().unwrap().len()),
        (200, 4)
    );

    let unit = start();
    assert_eq!(edge.produce("", &[(1, 5)]).await.0, 200);
    events.read_to(6, &mut found).await;
    assert_eq!(found, (0..6).collect());
    let (status, all) = edge.get("/v1/topics/t/records?from=earliest").await;
    assert_eq!(
        (status.as_u16(), all["records"].as_array().unwrap().len()),
        (200, 6)
    );
    drop(events);
    edge.end().await;
    unit.tasks.shutdown(LONG).await;
    far.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_without_a_key_pass_by_a_unit_that_is_gone_and_nobody_waits_for_it_for_long() {
    let far = Far::over(|inner| Kept::new(inner, Leading(SPU)));
    let other = SpuId(2);
    let start = || {
        let inner = Arc::clone(&far.memory);
        let unit = far.cluster.unit(other, Kept::new(inner, Leading(other)));
        far.memory.enter(other, Some(at_port(unit.port)));
        unit
    };
    let unit = start();
    let topic = far.memory.create_topic("t", 2);
    far.memory
        .lead(&topic, PartitionId(1), other, LeaderEpoch(2));
    let edge = Edge::new(&far, "gateway-a");
    assert_eq!(edge.produce("", &[(1, 0)]).await.0, 200);
    unit.tasks.shutdown(LONG).await;
    // The first one may have to find out, and is told before its own deadline.
    let (status, told) = edge.produce("?timeout_ms=20000", &[(1, 1)]).await;
    assert_eq!(
        (status.as_u16(), &told["partition"]),
        (503, &json!(1)),
        "{told}"
    );
    assert_eq!(
        (&told["side_effects"], &told["spu"]),
        (&json!("none"), &json!(2))
    );
    let detail = told["detail"].as_str().unwrap();
    assert!(
        detail.starts_with("partition 1 of `t`: its leader is away: storage unit 2"),
        "{detail}"
    );
    for value in 2..8 {
        let keyless = json!({"records": [{"value": value}]});
        let request = Request::post("/v1/topics/t/records?timeout_ms=200")
            .header("content-type", "application/json")
            .body(Body::from(keyless.to_string()));
        let (status, body) = edge.send(request.unwrap()).await;
        let answer = json_of(body).await;
        assert_eq!(
            (status.as_u16(), &answer["partitions"][0]["partition"]),
            (200, &json!(0))
        );
    }
    // Whoever wants that one gets an answer before anything could time out.
    let soon = Duration::from_millis(500);
    let (status, told) = tokio::time::timeout(soon, edge.produce("", &[(1, 9)]))
        .await
        .unwrap();
    assert_eq!(
        (status.as_u16(), &told["code"]),
        (503, &json!("unavailable")),
        "{told}"
    );
    let path = "/v1/topics/t/partitions/1/offsets";
    let (status, told) = tokio::time::timeout(soon, edge.get(path)).await.unwrap();
    assert_eq!(
        (status.as_u16(), &told["partition"]),
        (503, &json!(1)),
        "{told}"
    );

    let unit = start();
    let back = async {
        while edge.produce("", &[(1, 10)]).await.0 != 200 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LONG, back).await.unwrap();
    edge.end().await;
    unit.tasks.shutdown(LONG).await;
    far.end().await;
}
