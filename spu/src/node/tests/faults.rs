//! What is left after the power went, and what goes on when the disk is full.

use tidegate_log::testing::{Dice, MemVfs, Operation};

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

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_appends_and_goes_on_serving_reads() {
    let disk = MemVfs::new();
    let mut site = Site::on(Arc::new(disk.clone()), PathBuf::from("data"));
    let life = site.start();
    let key = site.create("flights", 1, TopicConfig::default())[0];
    life.append(key, &["a"]).await.unwrap();
    disk.fail(Operation::Write, 0, std::io::ErrorKind::StorageFull);
    let under_way = life.append(key, &["b"]).await.unwrap_err();
    assert_eq!(under_way.code(), ErrorCode::OutcomeUnknown);
    let late = life.append(key, &["c"]).await.unwrap_err();
    assert_eq!(
        (late.code(), late.status(), late.is_definite()),
        (ErrorCode::DiskFull, 507, true)
    );
    assert_eq!(life.all(key).await, ["a"]);
    assert_eq!(life.node.budget.taken(), 0);
    assert!(life.node.stop().await.is_err());
}
