//! What clients of one life of a node see.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn what_is_acknowledged_is_read_and_never_more() {
    let mut site = Site::new();
    let life = site.start();
    let key = site.create("flights", 1, TopicConfig::default())[0];
    let mut tail = life.partitions.tail(key).await.unwrap();
    assert!(life.read(key, 0).await.unwrap().batches.is_empty());
    let first = life.append(key, &["a", "b"]).await.unwrap();
    let second = life.append(key, &["c"]).await.unwrap();
    assert_eq!(
        (first.base_offset.get(), first.count, first.durable),
        (0, 2, Durable::Quorum)
    );
    assert_eq!((second.base_offset.get(), second.duplicate), (2, false));
    assert_eq!(life.all(key).await, ["a", "b", "c"]);
    assert_eq!(
        until(&mut tail, |tail| tail.high_watermark.get() == 3)
            .await
            .log_start
            .get(),
        0
    );
    let status = life.partitions.offsets(key).await.unwrap();
    assert_eq!((status.high_watermark.get(), status.end.get()), (3, 3));
    assert_eq!(life.node.statuses().partition(key), Some(status));
    let beyond = life.read(key, 4).await.unwrap_err();
    assert_eq!(beyond.code(), ErrorCode::OffsetOutOfRange);
    assert_eq!(beyond.extra("end").unwrap(), 3);
    life.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_keeps_records_and_producers() {
    let mut site = Site::new();
    let life = site.start();
    let keys = site.create("flights", 3, TopicConfig::default());
    for key in &keys {
        let first = batch(&["x", "y"], Some((7, 0)));
        life.partitions.append(*key, request(first)).await.unwrap();
    }
    life.stop().await;

    let life = site.start();
    for key in &keys {
        let again = batch(&["x", "y"], Some((7, 0)));
        let answer = life.partitions.append(*key, request(again)).await.unwrap();
        assert_eq!((answer.base_offset.get(), answer.duplicate), (0, true));
        let next = batch(&["z"], Some((7, 2)));
        let answer = life.partitions.append(*key, request(next)).await.unwrap();
        assert_eq!((answer.base_offset.get(), answer.duplicate), (2, false));
        assert_eq!(life.all(*key).await, ["x", "y", "z"]);
    }
    let tail = *life.partitions.tail(keys[0]).await.unwrap().borrow();
    assert_eq!(tail.leader_epoch, LeaderEpoch(2));
    life.stop().await;
    let reports = site.open().unwrap().register_request();
    assert_eq!(reports.last_incarnation, Some(Incarnation(2)));
    assert!(
        reports
            .replicas
            .iter()
            .all(|report| report.intact && report.end.get() == 3)
    );
    assert_eq!(reports.replicas.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn sixty_four_appenders_get_dense_offsets() {
    let mut site = Site::new();
    let life = site.start();
    let key = site.create("busy", 1, TopicConfig::default())[0];
    let appender = |number: usize| {
        let partitions = Arc::clone(&life.partitions);
        async move {
            let mut bases = Vec::new();
            for turn in 0..20 {
                let text = format!("{number}/{turn}");
                let append = partitions.append(key, request(batch(&[&text], None)));
                bases.push((append.await.unwrap().base_offset.get(), text));
            }
            bases
        }
    };
    let all = futures_util::future::join_all((0..64).map(appender)).await;
    let mut placed: Vec<(u64, String)> = all.into_iter().flatten().collect();
    placed.sort();
    let read = life.all(key).await;
    assert_eq!(read.len(), 64 * 20);
    for (at, (base, text)) in placed.iter().enumerate() {
        assert_eq!((*base, text), (at as u64, &read[at]));
    }
    life.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conditional_append_tells_the_actual_end() {
    let mut site = Site::new();
    let life = site.start();
    let key = site.create("flights", 1, TopicConfig::default())[0];
    life.append(key, &["a"]).await.unwrap();
    let at = |end| AppendRequest {
        expected_end: Some(Offset::new(end)),
        ..request(batch(&["b"], None))
    };
    let problem = life.partitions.append(key, at(0)).await.unwrap_err();
    assert_eq!(
        (problem.status(), problem.extra("end").unwrap().as_u64()),
        (412, Some(1))
    );
    assert!(problem.is_definite());
    assert_eq!(
        life.partitions
            .append(key, at(1))
            .await
            .unwrap()
            .base_offset
            .get(),
        1
    );
    life.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_topic_is_gone_and_its_followers_are_told() {
    let mut site = Site::new();
    let life = site.start();
    let key = site.create("flights", 1, TopicConfig::default())[0];
    life.append(key, &["a"]).await.unwrap();
    let mut tail = life.partitions.tail(key).await.unwrap();
    let mut leftovers = life.node.watch_leftovers();
    site.change(BTreeMap::clear);
    assert!(timeout(LONG, leftovers.changed()).await.unwrap());
    while timeout(LONG, tail.changed()).await.unwrap().is_ok() {}
    let problem = life.append(key, &["b"]).await.unwrap_err();
    assert_eq!(problem.code(), ErrorCode::TopicNotFound);
    assert_eq!(
        life.read(key, 0).await.unwrap_err().code(),
        ErrorCode::TopicNotFound
    );
    assert!(life.node.statuses().partition(key).is_none());
    let topology = Arc::clone(&site.topology.borrow());
    assert_eq!(life.node.leftovers(&topology), [key.topic_id]);
    assert_eq!(life.node.discard(key.topic_id).unwrap(), 1);
    life.stop().await;
    assert!(site.open().unwrap().register_request().replicas.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topology_that_lacks_a_topic_takes_no_record_of_it() {
    let mut site = Site::new();
    let life = site.start();
    let key = site.create("flights", 1, TopicConfig::default())[0];
    life.append(key, &["a"]).await.unwrap();
    let right = Arc::clone(&site.topology.borrow());
    let mut leftovers = life.node.watch_leftovers();
    site.change(BTreeMap::clear);
    assert!(timeout(LONG, leftovers.changed()).await.unwrap());
    site.change(|topics| topics.clone_from(&right.topics));
    let next = life.append(key, &["b"]).await.unwrap();
    assert_eq!(next.base_offset.get(), 1);
    assert_eq!(life.all(key).await, ["a", "b"]);
    life.stop().await;
    let life = site.start();
    assert_eq!(life.all(key).await, ["a", "b"]);
    life.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_change_while_records_flow() {
    let mut site = Site::new();
    let life = site.start();
    let key = site.create("flights", 1, TopicConfig::default())[0];
    assert_eq!(
        life.append(key, &["a"]).await.unwrap().durable,
        Durable::Quorum
    );
    site.configure("flights", |config| config.durability = Durability::Interval);
    let changed =
        async { while life.append(key, &["b"]).await.unwrap().durable != Durable::Memory {} };
    timeout(LONG, changed).await.unwrap();
    let count = life
        .partitions
        .offsets(key)
        .await
        .unwrap()
        .high_watermark
        .get();
    assert_eq!(life.all(key).await.len() as u64, count);
    life.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn retention_moves_the_start_and_reads_below_it_say_so() {
    let mut site = Site::new();
    let life = site.start();
    let small = TopicConfig {
        segment_bytes: 16_384,
        retention_bytes: Some(65_536),
        ..TopicConfig::default()
    };
    let key = site.create("short", 1, small)[0];
    let text = "x".repeat(4_000);
    for _ in 0..200 {
        life.append(key, &[&text]).await.unwrap();
    }
    let mut tail = life.partitions.tail(key).await.unwrap();
    let start = until(&mut tail, |tail| tail.log_start > Offset::ZERO)
        .await
        .log_start;
    let problem = life.read(key, 0).await.unwrap_err();
    assert_eq!(problem.code(), ErrorCode::LogTruncated);
    assert!(problem.extra("log_start").unwrap().as_u64().unwrap() >= start.get());
    life.stop().await;
    let life = site.start();
    let status = life.partitions.offsets(key).await.unwrap();
    assert!(status.log_start >= start && status.high_watermark.get() == 200);
    life.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_given_up_is_gone_as_far_as_it_is_committed_and_stays_gone() {
    let mut site = Site::new();
    let life = site.start();
    let key = site.create("orders", 2, TopicConfig::default())[1];
    life.append(key, &["a", "b", "c", "d"]).await.unwrap();
    let mut tail = life.partitions.tail(key).await.unwrap();
    let begins = async |tail: &mut watch::Receiver<Tail>, at: u64| {
        until(tail, |tail| tail.log_start == Offset::new(at)).await;
    };
    // In the midst of a batch, and of a segment that is written to.
    site.truncate("orders", 1, 3);
    begins(&mut tail, 3).await;
    let problem = life.read(key, 2).await.unwrap_err();
    assert_eq!(problem.code(), ErrorCode::LogTruncated);
    assert_eq!(problem.extra("log_start").unwrap(), 3);
    let rest = life.read(key, 3).await.unwrap();
    assert_eq!(rest.batches.last().unwrap().next_offset(), Offset::new(4));
    site.truncate("orders", 1, 100);
    begins(&mut tail, 4).await;
    life.stop().await;

    site.truncate("orders", 1, 4);
    let life = site.start();
    let status = life.partitions.offsets(key).await.unwrap();
    assert_eq!((status.log_start.get(), status.end.get()), (4, 4));
    let next = life.append(key, &["e"]).await.unwrap();
    assert_eq!(next.base_offset.get(), 4);
    assert_eq!(life.read(key, 4).await.unwrap().next.get(), 5);
    // Made while it did not run, it is done at the start.
    life.stop().await;
    site.truncate("orders", 1, 5);
    let life = site.start();
    let mut tail = life.partitions.tail(key).await.unwrap();
    begins(&mut tail, 5).await;
    life.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn times_find_offsets() {
    let mut site = Site::new();
    let life = site.start();
    let key = site.create("flights", 1, TopicConfig::default())[0];
    life.append(key, &["a", "b", "c"]).await.unwrap();
    let mut found = Vec::new();
    for time_ms in [0, 1_000, 1_001, 1_002, 1_003] {
        found.push(life.partitions.offset_at(key, time_ms).await.unwrap().get());
    }
    assert_eq!(found, [0, 0, 1, 2, 3]);
    life.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_beyond_the_byte_budget_are_refused_at_once() {
    let mut site = Site::new();
    site.inflight_bytes_max = 2_000;
    let life = site.start();
    let key = site.create("flights", 1, TopicConfig::default())[0];
    let large = life.append(key, &[&"x".repeat(3_000)]).await.unwrap_err();
    assert_eq!(large.code(), ErrorCode::TooLarge, "it would never be taken");
    let others = life.node.config.memory.appends.try_acquire(1_500).unwrap();
    let problem = life.append(key, &[&"x".repeat(1_000)]).await.unwrap_err();
    drop(others);
    assert_eq!(
        (problem.code(), problem.retry_after_s()),
        (ErrorCode::Throttled, Some(1))
    );
    for _ in 0..10 {
        life.append(key, &[&"x".repeat(1_000)]).await.unwrap();
    }
    assert_eq!(
        life.node.config.memory.appends.held(),
        0,
        "permits come back"
    );
    life.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_waits_for_still_counts_until_it_is_durable() {
    let mut site = Site::new();
    let life = site.start();
    let key = site.create("flights", 1, TopicConfig::default())[0];
    for _ in 0..100 {
        let mut request = request(batch(&["a"], None));
        request.acks = Acks::None;
        let answer = life.partitions.append(key, request).await.unwrap();
        assert_eq!(answer.durable, Durable::Memory);
    }
    let mut tail = life.partitions.tail(key).await.unwrap();
    until(&mut tail, |tail| tail.high_watermark.get() == 100).await;
    let quorum = life.append(key, &["b"]).await.unwrap();
    assert_eq!(
        (
            quorum.base_offset.get(),
            life.node.config.memory.appends.held()
        ),
        (100, 0)
    );
    life.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_node_refuses_and_a_directory_has_one_owner() {
    let mut site = Site::new();
    let life = site.start();
    let key = site.create("flights", 1, TopicConfig::default())[0];
    life.append(key, &["a"]).await.unwrap();
    assert!(matches!(site.open(), Err(NodeError::InUse { .. })));
    life.node.stop().await.unwrap();
    life.node.stop().await.unwrap();
    let problem = life.append(key, &["b"]).await.unwrap_err();
    assert_eq!(
        (problem.code(), problem.is_definite()),
        (ErrorCode::Unavailable, true)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_was_not_started_serves_nothing_and_forgets_nothing() {
    let mut site = Site::new();
    let life = site.start();
    let key = site.create("flights", 1, TopicConfig::default())[0];
    life.append(key, &["a"]).await.unwrap();
    life.stop().await;
    let node = site.open().unwrap();
    let problem = node.partitions().offsets(key).await.unwrap_err();
    assert_eq!(problem.code(), ErrorCode::Unavailable);
    node.stop().await.unwrap();
    drop(node);
    let life = site.start();
    assert_eq!(life.all(key).await, ["a"]);
    life.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_deleted_topic_left_is_kept_until_somebody_says_so() {
    let mut site = Site::new();
    let life = site.start();
    let keys = site.create("flights", 2, TopicConfig::default());
    for key in &keys {
        life.append(*key, &["a"]).await.unwrap();
    }
    life.stop().await;
    site.change(BTreeMap::clear);
    let life = site.start();
    let topology = Arc::clone(&site.topology.borrow());
    assert_eq!(life.node.leftovers(&topology), [keys[0].topic_id]);
    assert_eq!(life.node.discard(keys[0].topic_id).unwrap(), 2);
    assert!(life.node.leftovers(&topology).is_empty());
    life.stop().await;
    assert!(site.open().unwrap().register_request().replicas.is_empty());
}
