//! One of two storage units dies, and comes back.

use futures_util::SinkExt as _;
use tidegate_data_plane::testing::Kept;
use tidegate_kit::tasks::TaskKind;
use tidegate_proto::position::LeaderEpoch;
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;

use super::super::wire::Leading;
use super::*;

pub(super) const OTHER: SpuId = SpuId(2);

/// The second unit, in front of the same memory.
pub(super) fn start(far: &Far) -> Unit {
    let inner = Arc::clone(&far.memory);
    let unit = far.cluster.unit(OTHER, Kept::new(inner, Leading(OTHER)));
    far.memory.enter(OTHER, Some(at_port(unit.port)));
    unit
}

/// A gateway for the topic `t`, whose partitions are one at each unit.
fn edge_of_two(far: &Far) -> Edge {
    let topic = far.memory.create_topic("t", 2);
    far.memory
        .lead(&topic, PartitionId(1), OTHER, LeaderEpoch(2));
    Edge::new(far, "gateway-a")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_at_a_unit_that_is_gone_fails_alone_and_goes_on_when_it_is_back() {
    let far = Far::over(|inner| Kept::new(inner, Leading(SPU)));
    let unit = start(&far);
    let edge = edge_of_two(&far);
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

    let unit = start(&far);
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
    let unit = start(&far);
    let edge = edge_of_two(&far);
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

    let unit = start(&far);
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

/// Numbers of the records that come on a socket until there are so many of them, and its other frames.
async fn read_socket<S>(socket: &mut S, count: usize, found: &mut BTreeSet<u64>) -> Vec<Value>
where
    S: futures_util::Stream<Item = Result<Message, tokio_tungstenite::tungstenite::Error>> + Unpin,
{
    let mut others = Vec::new();
    while found.len() < count {
        let next = tokio::time::timeout(LONG, socket.next()).await.unwrap();
        let Message::Text(text) = next.unwrap().unwrap() else {
            continue;
        };
        let frame: Value = serde_json::from_str(&text).unwrap();
        match frame["ev"].as_str().unwrap() {
            "records" => take(&frame, found),
            _ => others.push(frame),
        }
    }
    others
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sockets_merge_what_is_alive_by_credit_while_a_unit_is_dead() {
    let far = Far::over(|inner| Kept::new(inner, Leading(SPU)));
    let unit = start(&far);
    let edge = edge_of_two(&far);
    assert_eq!(edge.produce("", &[(0, 0), (1, 1)]).await.0, 200);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/v1", listener.local_addr().unwrap());
    let router = edge.router.clone();
    let stopped = far.tasks.cancelled();
    far.tasks
        .spawn(TaskKind::Listener, tracing::Span::none(), async move {
            tokio::select! {
                served = axum::serve(listener, router) => served,
                () = stopped => Ok(()),
            }
        });
    let path = format!("{url}/topics/t/ws?from=earliest");
    let (mut early, _) = connect_async(&path).await.unwrap();
    let mut seen_early = BTreeSet::new();
    read_socket(&mut early, 2, &mut seen_early).await;
    unit.tasks.shutdown(LONG).await;

    // Whoever was there goes on with the one, and so does whoever comes now.
    let (mut late, _) = connect_async(&format!("{url}/ws")).await.unwrap();
    let subscribe =
        json!({"op": "subscribe", "topic": "t", "from": "earliest", "credit": {"records": 1}});
    late.send(Message::text(subscribe.to_string()))
        .await
        .unwrap();
    let mut seen_late = BTreeSet::new();
    let others = read_socket(&mut late, 1, &mut seen_late).await;
    let away = others.iter().find(|frame| frame["ev"] == "away").unwrap();
    assert_eq!(
        (&away["partitions"], &away["error"]["spu"]),
        (&json!([1]), &json!(2)),
        "{away}"
    );
    for value in 2..6 {
        assert_eq!(edge.produce("", &[(0, value)]).await.0, 200);
    }
    read_socket(&mut early, 6, &mut seen_early).await;
    for granted in 2..=5 {
        let credit = json!({"op": "credit", "topic": "t", "records": 1});
        late.send(Message::text(credit.to_string())).await.unwrap();
        read_socket(&mut late, granted, &mut seen_late).await;
    }
    assert_eq!(seen_late, BTreeSet::from([0, 2, 3, 4, 5]));

    let unit = start(&far);
    let credit = json!({"op": "credit", "topic": "t", "records": 10});
    late.send(Message::text(credit.to_string())).await.unwrap();
    let others = read_socket(&mut late, 6, &mut seen_late).await;
    assert!(
        others.iter().any(|frame| frame["ev"] == "back"),
        "{others:?}"
    );
    let back = async {
        while edge.produce("", &[(1, 6)]).await.0 != 200 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LONG, back).await.unwrap();
    read_socket(&mut early, 7, &mut seen_early).await;
    read_socket(&mut late, 7, &mut seen_late).await;
    assert_eq!(
        (seen_early, seen_late),
        ((0..7).collect(), (0..7).collect())
    );
    drop((early, late));
    edge.end().await;
    unit.tasks.shutdown(LONG).await;
    far.end().await;
}
