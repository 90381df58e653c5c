//! Giving up records: what is answered, what it leaves in the topology, and that it survives.

use super::*;

const PATH: &str = "/v1/topics/orders/truncate";

fn body(before: u64) -> Value {
    json!({ "partitions": [{ "partition": 0, "before_offset": before }] })
}

fn given_up(server: &Server) -> Vec<u64> {
    let topology = server.controller.topology().borrow().clone();
    let topic = topology.topics.values().next().unwrap();
    let rows = topic.partitions.iter();
    rows.map(|row| row.truncate_before.get()).collect()
}

#[tokio::test]
async fn records_are_given_up_once_and_for_all() {
    let server = Server::new().await;
    let made = server.create("orders", 2).await;
    let dry = format!("{PATH}?dry_run=true");
    let changes = json!([{ "path": "/partitions/0/truncate_before", "from": 0, "to": 9 }]);
    let would = server.send(ask("POST", &dry).json(&body(9))).await;
    assert_eq!(
        would.body,
        json!({ "result": "updated", "changes": changes })
    );
    assert_eq!(given_up(&server), [0, 0], "nothing was done");

    for (before, result) in [(9, "updated"), (9, "unchanged"), (4, "unchanged")] {
        let answer = server.send(ask("POST", PATH).json(&body(before))).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        assert_eq!(answer.header("tidegate-result"), result, "{before}");
        assert_eq!(answer.header("etag"), made.header("etag"));
        assert_eq!(answer.body["name"], "orders");
        assert_eq!(given_up(&server), [9, 0]);
    }
    let would = server.send(ask("POST", &dry).json(&body(3))).await;
    assert_eq!(would.body, json!({ "result": "unchanged", "changes": [] }));
    let server = server.restart().await;
    assert_eq!(given_up(&server), [9, 0], "kept over a restart");
}

#[tokio::test]
async fn what_nobody_has_committed_is_not_given_up() {
    let server = Server::new().await;
    server.create("orders", 1).await;
    for path in [PATH, "/v1/topics/orders/truncate?dry_run=true"] {
        let answer = server.send(ask("POST", path).json(&body(10))).await;
        assert_eq!(
            (answer.status.as_u16(), answer.code()),
            (416, "offset_out_of_range")
        );
        for (field, value) in [("log_start", 2), ("high_watermark", 9), ("end", 10)] {
            assert_eq!(answer.body[field], value, "{field}");
        }
    }
    assert_eq!(given_up(&server), [0]);
}

#[tokio::test]
async fn giving_up_records_takes_the_rights_and_the_version_that_altering_takes() {
    let server = Server::new().await;
    let made = server.create("pub.news", 1).await;
    let news = ask("POST", "/v1/topics/pub.news/truncate");
    let refused = server.send(news.bearer(READER).json(&body(1))).await;
    assert_eq!(
        (refused.status.as_u16(), refused.code()),
        (403, "forbidden")
    );
    let conditional = |version: &str| {
        ask("POST", "/v1/topics/pub.news/truncate")
            .header("if-match", version)
            .json(&body(1))
    };
    let stale = server.send(conditional("\"77\"")).await;
    assert_eq!(stale.code(), "precondition_failed");
    assert_eq!(
        server.send(conditional(made.header("etag"))).await.status,
        200
    );
}
