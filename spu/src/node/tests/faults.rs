//! What is left after the power went, and what goes on when the disk is full.

use futures_util::FutureExt as _;
use tidegate_log::testing::{Dice, FaultyVfs, MemVfs, Step, Trouble};
use tidegate_proto::control::FailedReplica;

use super::*;

/// Appends from many sides until the disk has seen so many syncs, and gives what was acknowledged.
async fn acknowledged_until(
    life: &Life,
    key: ReplicaKey,
    disk: &MemVfs,
    syncs: u64,
) -> Vec<(u64, String)> {
    let until = disk.counts().syncs + syncs;
    let appender = |number: usize| {
        let partitions = Arc::clone(&life.partitions);
        async move {
            let mut acknowledged = Vec::new();
            for turn in 0.. {
                if disk.counts().syncs >= until {
                    break;
                }
                let text = format!("{number}/{turn}");
                let append = partitions.append(key, request(batch(&[&text], None)));
                acknowledged.push((append.await.unwrap().base_offset.get(), text));
            }
            acknowledged
        }
    };
    futures_util::future::join_all((0..8).map(appender))
        .await
        .into_iter()
        .flatten()
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_survives_every_power_loss() {
    let disk = MemVfs::new();
    let mut site = Site::on(Arc::new(disk.clone()), PathBuf::from("data"));
    let life = site.start();
    let key = site.create("flights", 1, TopicConfig::default())[0];
    let mut acknowledged = Vec::new();
    for round in 0..10u64 {
        acknowledged.extend(acknowledged_until(&life, key, &disk, 5 + round).await);
        for number in 0..3 {
            // Some are under way when the power goes: they may be there or not.
            let mut request = request(batch(&[&format!("late {number}")], None));
            request.acks = Acks::None;
            life.partitions.append(key, request).await.unwrap();
        }
        let images = [disk.killed(), disk.power_lost(&mut Dice::new(round))];
        for image in images {
            let mut after = Site::on(Arc::new(image), site.dir.clone());
            after.lives = site.lives + round;
            after
                .topology
                .send_replace(Arc::clone(&site.topology.borrow()));
            let second = after.start();
            let found = second.all(key).await;
            for (offset, text) in &acknowledged {
                assert_eq!(
                    found.get(*offset as usize),
                    Some(text),
                    "lost in round {round}"
                );
            }
            let next = second.append(key, &["next"]).await.unwrap();
            assert_eq!(next.base_offset.get(), found.len() as u64);
            second.stop().await;
        }
    }
    life.stop().await;
}

/// A node with one partition that holds "a", and the disk under it.
async fn site() -> (MemVfs, FaultyVfs, Site, Life, ReplicaKey) {
    let disk = MemVfs::new();
    let faulty = FaultyVfs::new(Arc::new(disk.clone()));
    let mut site = Site::on(Arc::new(faulty.clone()), PathBuf::from("data"));
    let life = site.start();
    let key = site.create("flights", 1, TopicConfig::default())[0];
    life.append(key, &["a"]).await.unwrap();
    (disk, faulty, site, life, key)
}

async fn append_soon(life: &Life, key: ReplicaKey, value: &str) -> Result<Appended, Problem> {
    let mut request = request(batch(&[value], None));
    request.timeout = Duration::from_millis(100);
    life.partitions.append(key, request).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_appends_serves_reads_and_comes_back_by_itself() {
    let (_, faulty, _site, life, key) = site().await;
    faulty.fail_at(b"under way", Step::Write, Trouble::NoSpace, true);
    let under_way = append_soon(&life, key, "under way").await.unwrap_err();
    assert_eq!(under_way.code(), ErrorCode::OutcomeUnknown);
    let late = life.append(key, &["c"]).await.unwrap_err();
    assert_eq!(
        (late.code(), late.status(), late.is_definite()),
        (ErrorCode::DiskFull, 507, true)
    );
    let body = serde_json::to_value(&late).unwrap();
    assert_eq!(body["side_effects"], "none");
    assert_eq!(body["retryable"], true);
    assert_eq!(life.all(key).await, ["a"]);
    faulty.heal();
    // Nobody does anything: the node looks by itself, about once a second.
    let back = timeout(LONG, async {
        loop {
            match life.append(key, &["d"]).await {
                Ok(appended) => return appended,
                Err(problem) => assert_eq!(problem.code(), ErrorCode::DiskFull),
            }
            tokio::task::yield_now().await;
        }
    });
    assert_eq!(back.await.unwrap().base_offset.get(), 2);
    assert_eq!(
        life.all(key).await,
        ["a", "under way", "d"],
        "what waited was written"
    );
    assert_eq!(life.node.config.memory.appends.held(), 0);
    life.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_disk_refuses_appends_for_good_and_goes_on_serving_reads() {
    for trouble in [Trouble::Broken, Trouble::ReadOnly, Trouble::NoSpace] {
        let (_, faulty, site, life, key) = site().await;
        // Not just the next sync: that may be of a round of the log's own, and then nothing was appended.
        faulty.fail_at(b"under way", Step::Sync, trouble, false);
        let under_way = life.append(key, &["under way"]).await.unwrap_err();
        assert_eq!(under_way.code(), ErrorCode::OutcomeUnknown);
        let late = life.append(key, &["c"]).await.unwrap_err();
        assert_eq!(
            (late.code(), late.is_definite()),
            (ErrorCode::Unavailable, true)
        );
        let body = serde_json::to_value(&late).unwrap();
        assert_eq!(body["side_effects"], "none");
        assert_eq!(
            (&body["retryable"], &body["disk_failed"]),
            (&false.into(), &true.into())
        );
        assert_eq!(life.all(key).await, ["a"]);
        assert!(life.node.stop().await.is_err());
        drop(life);
        assert!(matches!(site.open(), Err(NodeError::DiskFailed(_))));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_of_a_failed_disk_are_told_as_long_as_a_row_relies_on_them() {
    let (_, faulty, site, life, key) = site().await;
    let registered = Registered {
        cluster_id: ClusterId(Uuid::nil()),
        incarnation: Incarnation(site.lives),
    };
    let mut failures = life.node.failures(registered, site.topology.subscribe());
    assert_eq!(failures.next().now_or_never(), None, "nothing failed");
    faulty.fail_at(b"under way", Step::Sync, Trouble::Broken, false);
    life.append(key, &["under way"]).await.unwrap_err();
    let told = timeout(LONG, failures.next()).await.unwrap().unwrap();
    assert_eq!((told.spu_id, told.incarnation.0), (OWN, site.lives));
    let replica_gen = life.node.log.replica(key).unwrap().replica_gen();
    let expected = FailedReplica {
        key,
        replica_gen,
        leader_epoch: LeaderEpoch(site.lives),
        intact: true,
    };
    assert_eq!(told.replicas, [expected]);
    // No controller took it.
    let again = timeout(LONG, failures.next()).await.unwrap().unwrap();
    assert_eq!(again, told);
    failures.told(&again);
    assert_eq!(failures.next().now_or_never(), None, "it was taken");
    let change = |change: &dyn Fn(&mut PartitionSpec)| {
        site.change(|topics| {
            let topic = topics.values_mut().next().unwrap();
            let row = &mut Arc::make_mut(topic).partitions[0];
            row.version += 1;
            change(row);
        });
    };
    // A newer row still names it.
    change(&|_| {});
    let again = timeout(LONG, failures.next()).await.unwrap().unwrap();
    failures.told(&again);
    change(&|row| {
        row.leader = None;
        row.isr.clear();
    });
    assert_eq!(failures.next().now_or_never(), None, "no row relies on it");
    life.node.stop().await.unwrap_err();
}

#[tokio::test(flavor = "multi_thread")]
async fn after_an_operators_word_a_failed_disk_is_read_and_not_written() {
    let (_, faulty, mut site, life, key) = site().await;
    // Not just the next sync: that may be of a round of the log's own, and then nothing was appended.
    faulty.fail_at(b"under way", Step::Sync, Trouble::Broken, false);
    life.append(key, &["under way"]).await.unwrap_err();
    assert!(life.node.stop().await.is_err());
    drop(life);
    let accepted = tidegate_log::accept_failure(Arc::new(faulty), &site.dir).unwrap();
    assert!(accepted.is_some());
    let life = site.start();
    assert!(
        life.node
            .register_request()
            .replicas
            .iter()
            .all(|report| !report.intact)
    );
    assert_eq!(life.all(key).await[0], "a");
    let refused = life.append(key, &["c"]).await.unwrap_err();
    assert_eq!(refused.code(), ErrorCode::Unavailable);
    let fresh = site.create("fresh", 1, TopicConfig::default())[0];
    life.append(fresh, &["x"]).await.unwrap();
    life.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_for_which_there_is_no_room_is_opened_when_there_is() {
    let (_, faulty, site, life, key) = site().await;
    faulty.fail(Step::MakeDir, 0, Trouble::NoSpace, true);
    let fresh = site.create("fresh", 1, TopicConfig::default())[0];
    let refused = append_soon(&life, fresh, "x").await.unwrap_err();
    assert!([ErrorCode::DiskFull, ErrorCode::Unavailable].contains(&refused.code()));
    assert_eq!(life.all(key).await, ["a"]);
    faulty.heal();
    let back = timeout(LONG, async {
        while life.append(fresh, &["x"]).await.is_err() {
            tokio::task::yield_now().await;
        }
    });
    back.await.unwrap();
    life.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn below_the_hard_mark_appends_are_refused_before_the_system_refuses() {
    let disk = MemVfs::new();
    disk.set_room(Some(100 << 20));
    let mut site = Site::on(Arc::new(disk.clone()), PathBuf::from("data"));
    site.space = SpaceConfig {
        soft_bytes: Some(60 << 20),
        hard_bytes: Some(40 << 20),
        ballast_bytes: Some(1 << 20),
    };
    let life = site.start();
    let key = site.create("flights", 1, TopicConfig::default())[0];
    life.append(key, &["a"]).await.unwrap();
    disk.set_room(Some(30 << 20));
    life.node.log.poll_space();
    let refused = life.append(key, &["b"]).await.unwrap_err();
    assert_eq!(refused.code(), ErrorCode::DiskFull);
    assert!(life.node.log.dead().is_none());
    disk.set_room(Some(100 << 20));
    life.node.log.poll_space();
    life.append(key, &["c"]).await.unwrap();
    life.stop().await;
}
