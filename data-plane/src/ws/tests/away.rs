//! Partitions that cannot be reached: the others go on, by credit.

use serde_json::{Value, json};
use tidegate_proto::control::TopicSpec;
use tidegate_proto::error::{ErrorCode, Problem};
use tidegate_proto::id::{PartitionId, SpuId};

use super::super::door::Partitions as _;
use super::server::{Client, Server, numbers, values};

fn topic(server: &Server) -> std::sync::Arc<TopicSpec> {
    let topology = server.partitions.topology();
    topology.borrow().topics.values().next().unwrap().clone()
}

/// Nobody waits for it to pass.
fn gone() -> Problem {
    Problem::new(ErrorCode::Unavailable, "its unit burned down").retryable(false)
}

/// The next frame that is neither `records` nor `caught_up`, and the values before it.
async fn next_news(client: &mut Client, seen: &mut Vec<String>) -> Value {
    loop {
        let frame = client.frame().await;
        match frame["ev"].as_str().unwrap() {
            "records" => seen.extend(values(&frame)),
            "caught_up" => {}
            _ => return frame,
        }
    }
}

#[tokio::test]
async fn a_subscription_begins_without_a_partition_and_takes_it_up_when_it_is_back() {
    let server = Server::start().await;
    let mut producer = server.connect("/v1/ws").await;
    producer.produce(0, &numbers(0..10)).await;
    producer.produce(1, &numbers(10..20)).await;
    let key = topic(&server).key(PartitionId(1));
    server.partitions.take_away(key, Some(gone()));
    let mut client = server.connect("/v1/topics/orders/ws?from=earliest").await;
    let subscribed = client.frame_of("subscribed").await;
    assert_eq!(subscribed["partitions"], json!([0, 1]));
    let away = client.frame_of("away").await;
    assert_eq!(
        (&away["topic"], &away["partitions"]),
        (&json!("orders"), &json!([1]))
    );
    let why = "partition 1 of `orders`: its unit burned down";
    assert_eq!(away["error"]["detail"], why);
    assert_eq!(values(&client.frame_of("records").await), numbers(0..10));
    client.frame_of("caught_up").await;
    server.partitions.take_away(key, None);
    let back = client.frame_of("back").await;
    assert_eq!(
        (&back["topic"], &back["partitions"]),
        (&json!("orders"), &json!([1]))
    );
    assert_eq!(values(&client.frame_of("records").await), numbers(10..20));
}

#[tokio::test]
async fn partitions_without_a_unit_take_no_credit_from_those_that_have_one() {
    let server = Server::start().await;
    let mut producer = server.connect("/v1/ws").await;
    let mut client = server.connect("/v1/ws").await;
    client
        .say(json!({"op": "subscribe", "topic": "orders", "from": "earliest", "credit": {"records": 5}}))
        .await;
    client.frame_of("subscribed").await;
    client.frame_of("caught_up").await;
    let topic = topic(&server);
    producer.produce(1, &numbers(0..5)).await;
    assert_eq!(values(&client.frame_of("records").await), numbers(0..5));
    server
        .partitions
        .shut_out(&topic, PartitionId(1), SpuId(9), true);
    let away = client.frame_of("away").await;
    assert_eq!(
        (&away["partitions"], &away["error"]["partition"]),
        (&json!([1]), &json!(1))
    );
    producer.produce(0, &numbers(5..10)).await;
    producer.produce(0, &numbers(10..15)).await;
    client
        .say(json!({"op": "credit", "topic": "orders", "records": 5}))
        .await;
    assert_eq!(values(&client.frame_of("records").await), numbers(5..10));
    client
        .say(json!({"op": "credit", "topic": "orders", "records": 5}))
        .await;
    assert_eq!(values(&client.frame_of("records").await), numbers(10..15));
    server
        .partitions
        .shut_out(&topic, PartitionId(1), SpuId(9), false);
    client.frame_of("back").await;
    client.frame_of("caught_up").await;
    producer.produce(1, &numbers(15..20)).await;
    client
        .say(json!({"op": "credit", "topic": "orders", "records": 5}))
        .await;
    assert_eq!(values(&client.frame_of("records").await), numbers(15..20));
}

#[tokio::test]
async fn a_partition_that_cannot_be_read_any_more_is_told_once_and_read_on_when_it_is_back() {
    let server = Server::start().await;
    let mut producer = server.connect("/v1/ws").await;
    for batch in 0..4 {
        producer
            .produce(1, &numbers(batch * 10..batch * 10 + 10))
            .await;
    }
    producer.produce(0, &numbers(40..50)).await;
    let key = topic(&server).key(PartitionId(1));
    let mut client = server.connect("/v1/ws").await;
    let subscribe =
        json!({"op": "subscribe", "topic": "orders", "from": "earliest", "credit": {"records": 0}});
    client.say(subscribe).await;
    client.frame_of("subscribed").await;
    server.partitions.take_away(key, Some(gone()));
    client
        .say(json!({"op": "credit", "topic": "orders", "records": 1000}))
        .await;
    let mut seen = Vec::new();
    let away = next_news(&mut client, &mut seen).await;
    assert_eq!(
        (&away["ev"], &away["partitions"]),
        (&json!("away"), &json!([1]))
    );
    server.partitions.take_away(key, None);
    assert_eq!(next_news(&mut client, &mut seen).await["ev"], "back");
    while seen.len() < 50 {
        let frame = client.frame().await;
        if frame["ev"] == "records" {
            seen.extend(values(&frame));
        }
    }
    seen.sort();
    let mut all = numbers(0..50);
    all.sort();
    assert_eq!(seen, all);
}

#[tokio::test]
async fn batches_of_the_others_go_on_too() {
    let server = Server::start().await;
    let mut producer = server.connect("/v1/ws").await;
    producer.produce(0, &numbers(0..10)).await;
    producer.produce(1, &numbers(10..20)).await;
    let key = topic(&server).key(PartitionId(0));
    server.partitions.take_away(key, Some(gone()));
    let mut client = server
        .connect_for_batches("/v1/topics/orders/ws?from=earliest")
        .await;
    let number = client.frame_of("subscribed").await["topic_number"]
        .as_u64()
        .unwrap();
    let number = u32::try_from(number).unwrap();
    assert_eq!(client.frame_of("away").await["partitions"], json!([0]));
    let (_, batches) = client.batches(number).await;
    assert_eq!(batches[0].placement.key.partition, PartitionId(1));
    client.frame_of("caught_up").await;
    server.partitions.take_away(key, None);
    client.frame_of("back").await;
    let (_, batches) = client.batches(number).await;
    assert_eq!(batches[0].placement.key.partition, PartitionId(0));
}

#[tokio::test]
async fn a_subscription_taken_up_again_begins_where_the_first_one_was_to() {
    let server = Server::start().await;
    let mut producer = server.connect("/v1/ws").await;
    let produce = |value, timestamp: u64| {
        json!({"op": "produce", "topic": "orders", "partition": 1, "id": 1,
            "records": [{"value": value, "timestamp": timestamp}]})
    };
    producer.say(produce("old", 1)).await;
    producer.frame_of("ack").await;
    let key = topic(&server).key(PartitionId(1));
    server.partitions.take_away(key, Some(gone()));
    let mut client = server.connect("/v1/topics/orders/ws?from=latest").await;
    let first = client.frame_of("subscribed").await["cursor"].clone();
    client.frame_of("away").await;
    let caught_up = client.frame_of("caught_up").await["cursor"].clone();
    assert_eq!(first, caught_up);
    drop(client);
    server.partitions.take_away(key, None);
    producer.say(produce("new", 4_000_000_000_000)).await;
    producer.frame_of("ack").await;
    let path = format!("/v1/topics/orders/ws?cursor={}", first.as_str().unwrap());
    let mut again = server.connect(&path).await;
    // A door in between may take a moment to find out that it is back.
    let records = loop {
        let frame = again.frame().await;
        if frame["ev"] == "records" {
            break frame;
        }
    };
    assert_eq!(values(&records), ["new"]);
    // Beside cursors of later records, those of the same partition count.
    let mut client = server.connect("/v1/ws").await;
    let subscribe =
        json!({"op": "subscribe", "topic": "orders", "cursor": [first, records["cursor"]]});
    client.say(subscribe).await;
    client.frame_of("subscribed").await;
    assert_eq!(client.frame().await["ev"], "caught_up");
}
