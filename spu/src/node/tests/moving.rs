//! Copies that change their place: asked what they hold, given up, made anew.

use tidegate_proto::control::{SealAnswer, SpuSpec, SpuStanding};

use super::*;

impl Site {
    fn registered(&self) -> Registered {
        Registered {
            cluster_id: ClusterId(Uuid::nil()),
            incarnation: Incarnation(self.lives),
        }
    }

    /// Changes the row of partition 0, in an epoch of its own.
    fn rewrite(&self, name: &str, change: impl FnOnce(&mut PartitionSpec)) {
        let name = TopicName::parse(name).unwrap();
        self.change(|topics| {
            let topic = Arc::make_mut(topics.get_mut(&name).unwrap());
            let row = &mut topic.partitions[0];
            row.version += 1;
            row.leader_epoch = LeaderEpoch(row.leader_epoch.0 + 1);
            change(row);
        });
    }

    fn seal(&self, name: &str) {
        self.rewrite(name, |row| {
            row.leader = None;
            row.is_sealed = true;
        });
    }

    /// Another unit has the copy now, and leads.
    fn give_away_in(&self, name: &str, epoch: u64) {
        let other = SpuId(2);
        self.rewrite(name, |row| {
            row.leader_epoch = LeaderEpoch(epoch);
            row.is_sealed = false;
            row.leader = Some(other);
            row.replicas[0].spu = other;
            row.replicas[0].replica_gen = ReplicaGen(Uuid::new_v4());
            row.isr[0].spu = other;
        });
    }

    /// It comes back as a new copy that begins at `at`.
    fn take_back(&self, name: &str, at: u64) {
        self.rewrite(name, |row| {
            row.leader = Some(OWN);
            row.replicas[0].spu = OWN;
            row.replicas[0].replica_gen = ReplicaGen(Uuid::new_v4());
            row.isr[0].spu = OWN;
            row.begins_at = Offset::new(at);
        });
    }
}

impl Life {
    async fn answer(&self, site: &Site) -> SealAnswer {
        let mut seals = self.node.seals(site.registered());
        let answers = tokio::time::timeout(LONG, seals.next()).await;
        let answers = answers.expect("an answer in time").expect("a node");
        assert_eq!(answers.len(), 1);
        answers[0]
    }

    /// Waits until the copy is open, or is not.
    async fn until_open(&self, key: ReplicaKey, is_open: bool) {
        let mut changes = self.node.directory.changes();
        let opened = async {
            while self.node.directory.get(key).is_some() != is_open {
                assert!(changes.next().await);
            }
        };
        tokio::time::timeout(LONG, opened).await.unwrap();
    }

    fn has_files(&self, key: ReplicaKey) -> bool {
        self.node.log.replica(key).is_some()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sealed_copy_takes_nothing_more_and_tells_what_it_holds_also_after_a_restart() {
    let mut site = Site::new();
    let life = site.start();
    let key = site.create("flights", 1, TopicConfig::default())[0];
    life.append(key, &["a", "b"]).await.unwrap();
    site.seal("flights");
    let answer = life.answer(&site).await;
    assert_eq!((answer.log_start.get(), answer.end.get()), (0, 2));
    assert_eq!(
        (answer.sealed_at, answer.last_epoch),
        (LeaderEpoch(2), LeaderEpoch(1))
    );
    assert!(answer.intact && !answer.remembers);
    assert_eq!(answer.member.incarnation, Incarnation(1));
    let refused = life.append(key, &["late"]).await.unwrap_err();
    assert_eq!(refused.code(), ErrorCode::NotLeader);
    life.stop().await;

    // The same row, and another registration.
    let life = site.start_on_the_same_rows();
    let again = life.answer(&site).await;
    assert_eq!(again.member.incarnation, Incarnation(2));
    let member = answer.member;
    assert_eq!(SealAnswer { member, ..again }, answer);
    life.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_remembers_producers_says_so() {
    let mut site = Site::new();
    let life = site.start();
    let key = site.create("flights", 1, TopicConfig::default())[0];
    let stamped = request(batch(&["a"], Some((7, 0))));
    life.partitions.append(key, stamped).await.unwrap();
    site.seal("flights");
    assert!(life.answer(&site).await.remembers);
    life.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_copy_that_went_elsewhere_is_given_up_and_a_new_one_begins_where_it_ended() {
    let mut site = Site::new();
    let life = site.start();
    let key = site.create("flights", 1, TopicConfig::default())[0];
    life.append(key, &["a", "b", "c"]).await.unwrap();
    let mut tail = life.partitions.tail(key).await.unwrap();
    site.truncate("flights", 0, 3);
    until(&mut tail, |tail| tail.log_start.get() == 3).await;
    site.seal("flights");
    let answer = life.answer(&site).await;
    assert_eq!((answer.log_start.get(), answer.end.get()), (3, 3));
    site.give_away_in("flights", 3);
    life.until_open(key, false).await;
    let moved = life.append(key, &["late"]).await.unwrap_err();
    assert_eq!(moved.code(), ErrorCode::NotLeader);
    assert_eq!(moved.extra("leader").unwrap(), 2);

    site.take_back("flights", 3);
    life.until_open(key, true).await;
    let first = life.append(key, &["d"]).await.unwrap();
    assert_eq!(first.base_offset.get(), 3);
    let status = life.partitions.offsets(key).await.unwrap();
    assert_eq!((status.log_start.get(), status.end.get()), (3, 4));
    life.stop().await;

    // Also when it is read from the disk, where the former copy is no more.
    let epoch = site
        .topology
        .borrow()
        .topics
        .values()
        .next()
        .unwrap()
        .partitions[0]
        .leader_epoch;
    let life = site.start();
    site.rewrite("flights", |row| {
        row.begins_at = Offset::new(3);
        row.leader_epoch = LeaderEpoch(epoch.0 + 1);
    });
    life.until_open(key, true).await;
    let status = life.partitions.offsets(key).await.unwrap();
    assert_eq!((status.log_start.get(), status.end.get()), (3, 4));
    life.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_with_records_or_of_a_later_epoch_than_the_row_is_kept() {
    let mut site = Site::new();
    let life = site.start();
    let full = site.create("full", 1, TopicConfig::default())[0];
    let late = site.create("late", 1, TopicConfig::default())[0];
    let gone = site.create("gone", 1, TopicConfig::default())[0];
    life.append(full, &["a"]).await.unwrap();
    for (name, key) in [("full", full), ("late", late), ("gone", gone)] {
        site.rewrite(name, |_| {});
        let mut tail = life.partitions.tail(key).await.unwrap();
        until(&mut tail, |tail| tail.leader_epoch == LeaderEpoch(2)).await;
        // The late one as a store that went back would tell it: of before the copy was led.
        site.give_away_in(name, if key == late { 1 } else { 3 });
        life.until_open(key, false).await;
    }
    // One that is told later is applied later.
    let last = site.create("last", 1, TopicConfig::default())[0];
    life.until_open(last, true).await;
    assert!(life.has_files(full), "records are never thrown away");
    assert!(
        life.has_files(late),
        "the row is of no later epoch than the copy"
    );
    assert!(!life.has_files(gone));
    life.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_a_later_registration_are_not_applied() {
    let mut site = Site::new();
    let life = site.start();
    let key = site.create("flights", 1, TopicConfig::default())[0];
    life.append(key, &["a"]).await.unwrap();
    site.topology.send_modify(|topology| {
        let spec = SpuSpec {
            endpoints: Vec::new(),
            rack: None,
            site: None,
            standing: SpuStanding::Active,
            incarnation: Incarnation(2),
        };
        Arc::make_mut(topology).spus.insert(OWN, spec);
    });
    site.rewrite("flights", |_| {});
    life.until_open(key, false).await;
    let refused = life.append(key, &["b"]).await.unwrap_err();
    assert!(refused.code().is_definite());
    life.stop().await;
}

#[tokio::test]
async fn a_registration_that_was_overtaken_is_not_confirmed() {
    let spec = |incarnation| SpuSpec {
        endpoints: Vec::new(),
        rack: None,
        site: None,
        standing: SpuStanding::Active,
        incarnation: Incarnation(incarnation),
    };
    for (found, is_confirmed) in [(4, true), (5, false)] {
        let mut topology = Topology::default();
        topology.spus.insert(OWN, spec(found));
        let (_told, mut followed) = watch::channel(Arc::new(topology));
        let confirmed = crate::session::confirmed(&mut followed, OWN, Incarnation(4)).await;
        assert_eq!(confirmed, is_confirmed);
    }
}
