//! One rotten bit: what is good is served, what is not says so, and nobody else notices.

use tidegate_log::testing::{Dice, FaultyVfs, MemVfs, Step, Trouble};
use tidegate_proto::control::Damage;

use super::*;
use crate::config::ScrubConfig;
use crate::scrub::Scrub;

/// A segment's file of that replica: the oldest one.
fn oldest_segment(disk: &MemVfs, key: ReplicaKey) -> PathBuf {
    let topic = key.topic_id.to_string();
    let found = disk.files().into_iter().find(|path| {
        let path = path.to_string_lossy();
        path.contains(&topic) && path.ends_with(".log")
    });
    found.unwrap()
}

/// Kills the node once its records are in segments, and starts it anew on a disk on which a bit of
/// the middle of `key`'s oldest segment has changed.
async fn restart_with_a_rotten_bit(
    site: &Site,
    disk: &MemVfs,
    life: Life,
    key: ReplicaKey,
) -> Site {
    let image = killed_with_segments(disk, life).await;
    image.damage(&oldest_segment(&image, key), |bytes| {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
    });
    next_on(site, Arc::new(image))
}

/// The disk when the node was killed with its records in segments.
async fn killed_with_segments(disk: &MemVfs, life: Life) -> MemVfs {
    let log = life.node.log.clone();
    tokio::task::spawn_blocking(move || log.checkpoint().unwrap())
        .await
        .unwrap();
    let image = disk.killed();
    life.stop().await;
    image
}

/// The same site on another disk.
fn next_on(site: &Site, disk: Arc<dyn Vfs>) -> Site {
    let mut after = Site::on(disk, site.dir.clone());
    after.lives = site.lives;
    after
        .topology
        .send_replace(Arc::clone(&site.topology.borrow()));
    after
}

#[tokio::test(flavor = "multi_thread")]
async fn a_segment_that_cannot_be_read_at_a_start_costs_its_partition_and_no_other() {
    let disk = MemVfs::new();
    let mut site = Site::on(Arc::new(disk.clone()), PathBuf::from("data"));
    let life = site.start();
    let bad = site.create("bad", 1, TopicConfig::default())[0];
    let good = site.create("good", 1, TopicConfig::default())[0];
    for key in [bad, good] {
        life.append(key, &["a"]).await.unwrap();
    }
    let image = killed_with_segments(&disk, life).await;
    let segment = oldest_segment(&image, bad);
    let faulty = FaultyVfs::new(Arc::new(image));
    let segment = segment.to_string_lossy();
    faulty.fail_within(&segment, Step::Read, 0, Trouble::Broken, true);
    let mut site = next_on(&site, Arc::new(faulty));
    let told = site.open().unwrap().register_request().replicas;
    let told = told
        .iter()
        .map(|told| (told.key, told.intact, told.end.get()));
    let told: BTreeMap<_, _> = told
        .map(|(key, intact, end)| (key, (intact, end)))
        .collect();
    assert_eq!(told[&bad], (false, 1));
    assert_eq!(told[&good], (true, 1));
    let life = site.start();
    life.append(good, &["b"]).await.unwrap();
    assert_eq!(life.all(good).await, ["a", "b"]);
    let refused = life.append(bad, &["b"]).await.unwrap_err();
    assert!(refused.detail().contains("damaged"), "{refused:?}");
    assert!(refused.is_definite());
    let known = life.node.statuses().partition(bad).unwrap();
    assert!(known.damage.unwrap().read_only);
    life.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_whose_files_are_gone_is_told_as_lost() {
    let disk = MemVfs::new();
    let mut site = Site::on(Arc::new(disk.clone()), PathBuf::from("data"));
    let life = site.start();
    let lost = site.create("lost", 1, TopicConfig::default())[0];
    let good = site.create("good", 1, TopicConfig::default())[0];
    for key in [lost, good] {
        life.append(key, &["a"]).await.unwrap();
    }
    life.stop().await;
    let gone = oldest_segment(&disk, lost);
    disk.remove_dir_all(gone.parent().unwrap()).unwrap();
    let told = site.open().unwrap().register_request();
    let mut told: Vec<_> = told
        .replicas
        .iter()
        .map(|report| (report.intact, report.key, report.end.get()))
        .collect();
    told.sort_unstable();
    // It was made after the registration: nobody but its own journal knows of it.
    assert_eq!(told, [(false, lost, 1), (true, good, 1)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotten_batch_costs_its_own_records_and_no_others() {
    let disk = MemVfs::new();
    let mut site = Site::on(Arc::new(disk.clone()), PathBuf::from("data"));
    let life = site.start();
    let small = TopicConfig {
        segment_bytes: 16_384,
        ..TopicConfig::default()
    };
    let rotten = site.create("rotten", 1, small)[0];
    let good = site.create("good", 1, TopicConfig::default())[0];
    let text = |number: u64| format!("{number}/{}", "x".repeat(1_000));
    for number in 0..40 {
        life.append(rotten, &[&text(number)]).await.unwrap();
    }
    life.append(good, &["a"]).await.unwrap();
    let mut site = restart_with_a_rotten_bit(&site, &disk, life, rotten).await;
    for _ in 0..2 {
        let life = site.start();
        let mut lost = Vec::new();
        let mut number = 0;
        let known = life.partitions.offsets(rotten).await.unwrap();
        assert!(known.high_watermark.get() >= 39, "{known:?}");
        assert!(known.damage.unwrap().read_only);
        while number < known.high_watermark.get() {
            match life.partitions.read(rotten, Offset::new(number), 1).await {
                Ok(chunk) => assert_eq!(values(&chunk.batches), [text(number)]),
                Err(problem) => {
                    assert!(problem.detail().contains("damaged"), "{problem:?}");
                    assert_eq!(problem.extra("damaged_at").unwrap(), number);
                    assert_eq!(problem.extra("damaged_until").unwrap(), number + 1);
                    assert!(problem.is_definite());
                    lost.push(number);
                }
            }
            number += 1;
        }
        assert_eq!(lost.len(), 1, "{lost:?}");
        let known = life.node.statuses();
        let damage = Damage {
            read_only: true,
            from: Some(Offset::new(lost[0])),
            until: Some(Offset::new(lost[0] + 1)),
        };
        assert_eq!(known.partition(rotten).unwrap().damage, Some(damage));
        assert_eq!(known.partition(good).unwrap().damage, None);
        let refused = life.append(rotten, &["b"]).await.unwrap_err();
        assert_eq!(refused.code(), ErrorCode::Unavailable);
        assert!(refused.is_definite() && !refused.is_retryable());
        assert!(refused.detail().contains("damaged"), "{refused:?}");
        life.append(good, &["b"]).await.unwrap();
        life.stop().await;
    }
}

/// Notes of damage that outlast a power loss, by the replica whose directory holds them.
fn known_damage(disk: &MemVfs) -> Vec<TopicId> {
    let files = disk.power_lost(&mut Dice::new(1)).files();
    let notes = files.iter().filter(|path| path.ends_with("damage"));
    let name = |path: &PathBuf| {
        path.parent()?
            .file_name()?
            .to_str()?
            .get(..36)?
            .parse()
            .ok()
    };
    notes.filter_map(name).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn rot_under_a_running_node_is_found_and_the_directory_says_so() {
    let disk = MemVfs::new();
    let mut site = Site::on(Arc::new(disk.clone()), PathBuf::from("data"));
    let life = site.start();
    let rotten = site.create("rotten", 1, TopicConfig::default())[0];
    let good = site.create("good", 1, TopicConfig::default())[0];
    for number in 0..40 {
        life.append(rotten, &[&format!("{number}")]).await.unwrap();
    }
    life.append(good, &["a"]).await.unwrap();
    let log = life.node.log.clone();
    tokio::task::spawn_blocking(move || log.checkpoint().unwrap())
        .await
        .unwrap();
    disk.damage(&oldest_segment(&disk, rotten), |bytes| bytes[900] ^= 1);
    assert!(known_damage(&disk).is_empty());
    let scrub = Scrub {
        log: life.node.log.clone(),
        directory: life.node.directory.clone(),
        config: ScrubConfig {
            period: Duration::from_millis(1),
            bytes_per_second: u64::MAX,
        },
        tasks: Tasks::new(),
    };
    let seen = async {
        loop {
            let known = life.node.statuses().partition(rotten);
            if let Some(damage) = known.unwrap().damage {
                break damage;
            }
            tokio::task::yield_now().await;
        }
    };
    let damage = tokio::select! {
        () = scrub.run() => panic!("the scrubber ended"),
        damage = seen => damage,
    };
    let (from, until) = (damage.from.unwrap(), damage.until.unwrap());
    assert!(from < until && until < Offset::new(40), "{damage:?}");
    assert!(
        !damage.read_only,
        "it serves what it can until the next start"
    );
    assert_eq!(known_damage(&disk), [rotten.topic_id]);
    life.append(good, &["b"]).await.unwrap();
    life.stop().await;
}
