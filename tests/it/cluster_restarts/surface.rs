//! The data plane of a whole cluster, once through: what one gateway takes the other one serves, over all
//! storage units and in every form.

use http::Method;
use serde_json::{Value, json};
use tidegate_tests::cluster::Cluster;
use tidegate_tests::http::Connection;
use tidegate_tests::socket::Socket;
use tidegate_tests::wait::wait_for;

const PATH: &str = "/v1/topics/surface/records";
/// So many that every storage unit has some.
const PARTITIONS: u64 = 6;
const KEYS: u64 = 60;

pub(crate) async fn check(cluster: &Cluster) {
    let body = format!(r#"{{"name":"surface","partitions":{PARTITIONS},"replication_factor":1}}"#);
    let made = cluster.post("sc-2", "/v1/topics", &body).await;
    assert_eq!(made.expect("an answer").status, 201);
    for gateway in ["gateway-1", "gateway-2"] {
        wait_for("the topic at a gateway", async || {
            let answer = cluster
                .get(gateway, &format!("{PATH}?from=earliest"))
                .await
                .ok()?;
            answer.status.is_success().then_some(())
        })
        .await;
    }
    let mut one = cluster.connect("gateway-1").await.expect("a connection");
    let mut other = cluster.connect("gateway-2").await.expect("a connection");
    keys_stay_together(&mut one, &mut other).await;
    forms(&mut one, &mut other).await;
    conditions(&mut one, &mut other).await;
    sockets(cluster).await;
}

/// One request over all partitions, and the same keys in another form at the other gateway.
async fn keys_stay_together(one: &mut Connection, other: &mut Connection) {
    let record = |number: u64| json!({ "key": format!("k{number}"), "value": { "n": number } });
    let records: Vec<Value> = (0..KEYS).map(record).collect();
    let body = json!({ "records": records }).to_string();
    let answer = one
        .post(PATH, "application/json", body)
        .await
        .expect("an answer");
    assert_eq!(answer.status, 200, "{}", answer.text());
    let told = answer.json()["partitions"].as_array().map(Vec::len);
    assert_eq!(told, Some(6), "{}", answer.text());
    let line = |number: u64| format!("{{\"id\":\"k{number}\",\"n\":{number}}}\n");
    let lines: String = (0..KEYS).map(line).collect();
    let path = format!("{PATH}?key=/id");
    let answer = other.post(&path, "application/x-ndjson", lines).await;
    assert_eq!(answer.expect("an answer").status, 200);
    let read = one
        .get(&format!("{PATH}?from=earliest"))
        .await
        .expect("an answer")
        .json();
    let read = read["records"].as_array().expect("records").clone();
    assert_eq!(read.len() as u64, 2 * KEYS);
    for number in 0..KEYS {
        let key = format!("k{number}");
        let of_key = read.iter().filter(|record| record["key"] == key.as_str());
        let places: Vec<&Value> = of_key.map(|record| &record["partition"]).collect();
        assert_eq!(places.len(), 2, "{key}");
        assert_eq!(places[0], places[1], "{key}");
    }
}

/// Raw bytes with headers, and the same record as JSON, as a line and as stored.
async fn forms(one: &mut Connection, other: &mut Connection) {
    let headers = [
        ("content-type", "text/plain"),
        ("tidegate-key", "raw"),
        ("tidegate-header-source", "here"),
    ];
    let path = "/v1/topics/surface/partitions/3/records";
    let sent = one.send(Method::POST, path, &headers, "as it is").await;
    let sent = sent.expect("an answer");
    assert_eq!(sent.status, 200, "{}", sent.text());
    let offset = sent.json()["partitions"][0]["base_offset"].to_string();
    let page = format!("{path}?from={offset}");
    let record = other.get(&page).await.expect("an answer").json()["records"][0].clone();
    assert_eq!(record["value"], "as it is");
    assert_eq!(record["headers"]["source"], "here");
    let accept = [("accept", "application/x-ndjson")];
    let line = other
        .send(Method::GET, &page, &accept, "")
        .await
        .expect("an answer");
    assert_eq!(
        serde_json::from_slice::<Value>(&line.body).expect("a line"),
        record
    );
    let accept = [("accept", "application/vnd.tidegate.batch")];
    let stored = other
        .send(Method::GET, &page, &accept, "")
        .await
        .expect("an answer");
    let same = one
        .send(Method::GET, &page, &accept, "")
        .await
        .expect("an answer");
    assert_eq!((stored.status, &stored.body), (same.status, &same.body));
    assert!(!stored.body.is_empty());
}

/// Conditional and repeated appends, told by both gateways alike.
async fn conditions(one: &mut Connection, other: &mut Connection) {
    let path = "/v1/topics/surface/partitions/4/records";
    let offsets = one.get("/v1/topics/surface/partitions/4/offsets").await;
    let end = offsets.expect("an answer").json()["end"]
        .as_u64()
        .expect("an end");
    let (now, past) = (format!("\"{end}\""), format!("\"{}\"", end + 1));
    let append = async |connection: &mut Connection, header: (&str, &str)| {
        let headers = [("content-type", "text/plain"), header];
        let sent = connection.send(Method::POST, path, &headers, "once").await;
        sent.expect("an answer")
    };
    assert_eq!(append(other, ("if-match", &past)).await.status, 412);
    assert_eq!(append(other, ("if-match", &now)).await.status, 200);
    assert_eq!(append(one, ("if-match", &now)).await.status, 412);
    let first = append(one, ("idempotency-key", "again")).await;
    let second = append(other, ("idempotency-key", "again")).await;
    assert_eq!(second.header("tidegate-duplicate"), Some("true"));
    let base = |answer: &tidegate_tests::http::Answer| {
        answer.json()["partitions"][0]["base_offset"].clone()
    };
    assert_eq!(base(&first), base(&second));
}

/// A record from a socket at one gateway to a socket at the other.
async fn sockets(cluster: &Cluster) {
    let path = "/v1/topics/surface/ws";
    let reader = Socket::open(&cluster.target("gateway-2"), path).await;
    let mut reader = reader.expect("a socket");
    reader.next_of("subscribed").await.expect("subscribed");
    let writer = Socket::open(&cluster.target("gateway-1"), "/v1/ws").await;
    let mut writer = writer.expect("a socket");
    let produce = json!({
        "op": "produce", "id": 1, "topic": "surface", "partition": 5, "records": [{ "value": "over" }]
    });
    writer.send(produce.to_string()).await.expect("sent");
    let acknowledged = writer.next_of("ack").await.expect("an ack");
    let frame = reader.next_of("records").await.expect("records");
    let record = &frame["records"][0];
    assert_eq!(record["value"], "over");
    assert_eq!(
        record["offset"],
        acknowledged["partitions"][0]["base_offset"]
    );
}
