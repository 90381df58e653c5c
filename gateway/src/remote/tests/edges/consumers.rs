//! The Rust client reads over a gateway while one of two storage units is dead.

use axum::routing::get;
use tidegate_client::{Client, ClientConfig, Consumer, ConsumerConfig, StartPosition};
use tidegate_data_plane::testing::Kept;
use tidegate_kit::tasks::TaskKind;
use tidegate_proto::position::LeaderEpoch;

use super::super::wire::Leading;
use super::dead_unit::{OTHER, start};
use super::*;

/// A gateway for the topic `t`, whose partitions are one at each unit, and where it listens.
async fn listening(far: &Far) -> (Edge, Client) {
    let topic = far.memory.create_topic("t", 2);
    far.memory
        .lead(&topic, PartitionId(1), OTHER, LeaderEpoch(2));
    let edge = Edge::new(far, "gateway-a");
    let facts = json!({"id": topic.id, "partitions": 2});
    let facts = get(async move || axum::Json(facts));
    let router = edge.router.clone().route("/v1/topics/t", facts);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let stopped = far.tasks.cancelled();
    far.tasks
        .spawn(TaskKind::Listener, tracing::Span::none(), async move {
            tokio::select! {
                served = axum::serve(listener, router) => served,
                () = stopped => Ok(()),
            }
        });
    (edge, Client::new(ClientConfig::new(url)).unwrap())
}

fn config(from: StartPosition, follow: bool, pages_only: bool) -> ConsumerConfig {
    ConsumerConfig {
        from,
        follow,
        pages_only,
        ..ConsumerConfig::default()
    }
}

async fn open(client: &Client, config: ConsumerConfig) -> Consumer {
    let topic = "t".parse().unwrap();
    Consumer::open(client.clone(), topic, config).await.unwrap()
}

async fn consume(client: &Client, from: StartPosition, follow: bool, pages: bool) -> Consumer {
    open(client, config(from, follow, pages)).await
}

/// Reads until so many values came, or to the end.
async fn read(consumer: &mut Consumer, count: usize) -> Vec<String> {
    let mut found = Vec::new();
    while found.len() < count {
        let page = tokio::time::timeout(LONG, consumer.next_page()).await;
        let Some(page) = page.unwrap().unwrap() else {
            break;
        };
        for record in page.records() {
            let record = record.unwrap();
            found.push(format!("{:?}", record.record.value));
        }
    }
    found.sort();
    found
}

fn values(numbers: impl IntoIterator<Item = u64>) -> Vec<String> {
    let of = |number: u64| format!("{:?}", Datum::Json(&number.to_string()));
    let mut values: Vec<_> = numbers.into_iter().map(of).collect();
    values.sort();
    values
}

async fn produce_when_back(edge: &Edge, record: (u32, u64)) {
    while edge.produce("", &[record]).await.0 != 200 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_comes_while_a_unit_is_dead_reads_the_others_and_then_all() {
    for pages in [false, true] {
        let far = Far::over(|inner| Kept::new(inner, Leading(SPU)));
        let unit = start(&far);
        let (edge, client) = listening(&far).await;
        let old = json!({"records": [{"partition": 1, "value": 100, "timestamp": 1}]});
        let path = "/v1/topics/t/records";
        let request = Request::post(path).header("content-type", "application/json");
        let request = request.body(Body::from(old.to_string())).unwrap();
        assert_eq!(edge.send(request).await.0, 200);
        unit.tasks.shutdown(LONG).await;

        let mut latest = consume(&client, StartPosition::Latest, true, pages).await;
        let mut earliest = consume(&client, StartPosition::Earliest, true, pages).await;
        let mut whole = consume(&client, StartPosition::Earliest, false, pages).await;
        let patience = Some(Duration::from_millis(1));
        let short = ConsumerConfig {
            patience,
            ..config(StartPosition::Earliest, false, pages)
        };
        let mut short = open(&client, short).await;
        let error = loop {
            if let Err(error) = short.next_page().await {
                break error.to_string();
            }
        };
        assert!(error.contains("partition 1 is away"), "{error}");
        let mut away = latest.away();
        let told = away.borrow_and_update().clone();
        let told: Vec<_> = told.iter().collect();
        let [(PartitionId(1), why)] = told[..] else {
            panic!("{told:?}");
        };
        assert!(why.contains("storage unit 2"), "{why}");
        assert_eq!(edge.produce("", &[(0, 1)]).await.0, 200);
        assert_eq!(read(&mut latest, 1).await, values([1]));
        assert_eq!(read(&mut earliest, 1).await, values([1]));

        let unit = start(&far);
        produce_when_back(&edge, (1, 2)).await;
        assert_eq!(read(&mut latest, 1).await, values([2]));
        assert_eq!(read(&mut earliest, 2).await, values([2, 100]));
        assert!(away.borrow_and_update().is_empty());
        // Whoever wants all there is has waited for it.
        let all = read(&mut whole, usize::MAX).await;
        assert!(all.contains(&values([100])[0]), "{all:?}");
        drop((latest, earliest, whole));
        edge.end().await;
        unit.tasks.shutdown(LONG).await;
        far.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_goes_on_while_a_unit_dies_and_comes_back() {
    for pages in [false, true] {
        let far = Far::over(|inner| Kept::new(inner, Leading(SPU)));
        let unit = start(&far);
        let (edge, client) = listening(&far).await;
        assert_eq!(edge.produce("", &[(0, 0), (1, 1)]).await.0, 200);
        let mut consumer = consume(&client, StartPosition::Earliest, true, pages).await;
        assert_eq!(read(&mut consumer, 2).await, values([0, 1]));
        assert!(consumer.away().borrow().is_empty());
        unit.tasks.shutdown(LONG).await;
        assert_eq!(edge.produce("", &[(0, 2)]).await.0, 200);
        assert_eq!(read(&mut consumer, 1).await, values([2]));
        let unit = start(&far);
        produce_when_back(&edge, (1, 3)).await;
        assert_eq!(read(&mut consumer, 1).await, values([3]));
        drop(consumer);
        edge.end().await;
        unit.tasks.shutdown(LONG).await;
        far.end().await;
    }
}
