//! Gateways with the public surface, over the same storage units.

use std::collections::BTreeSet;

use axum::body::{Body, BodyDataStream};
use futures_util::StreamExt as _;
use http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tidegate_data_plane::{DataPlane, DataPlaneConfig};
use tidegate_kit::auth::Auth;
use tower::ServiceExt as _;

use super::*;

mod consumers;
mod dead_unit;

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
