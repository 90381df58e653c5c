//! What is known of partitions at each of several controllers, and how old it is.

use tidegate_proto::control::{
    Heartbeat, PartitionStatus, PartitionTraffic, ReportsQuery, Seen, Standing, StatusReport,
};
use tidegate_proto::position::{LeaderEpoch, Offset, ReplicaKey};

use super::cluster::{Cluster, Sc, Unit};
use super::*;
use crate::controller::roster::Heard;

const SECOND: Duration = Duration::from_secs(1);

/// Signs of life of one unit that leads every partition there is.
struct Leader {
    unit: Unit,
    beat: u64,
}

impl Leader {
    async fn new(sc: &Sc) -> Self {
        let unit = sc.register(1).await;
        Self { unit, beat: 1 }
    }

    /// Says where those partitions end; true when it is asked to tell of all.
    async fn say(&mut self, sc: &Sc, ends: &[(ReplicaKey, u64)], untold: u64) -> bool {
        let model = sc.controller.model();
        let statuses = ends.iter().map(|(key, end)| {
            let epoch = model.partition(*key).unwrap().leader_epoch;
            ends_at(*key, *end, epoch)
        });
        let heartbeat = Heartbeat {
            beat: self.beat,
            untold,
            statuses: statuses.collect(),
            ..self.unit.heartbeat()
        };
        self.beat += 1;
        sc.controller.heartbeat(heartbeat).await.tell_all
    }
}

fn ends_at(key: ReplicaKey, end: u64, leader_epoch: LeaderEpoch) -> StatusReport {
    let end = Offset::new(end);
    StatusReport {
        key,
        status: PartitionStatus {
            log_start: Offset::ZERO,
            high_watermark: end,
            end,
            leader_epoch,
            size_bytes: 10,
            last_append_ms: None,
            damage: None,
            is_latest_known: true,
        },
        traffic: PartitionTraffic::default(),
        copies: Vec::new(),
    }
}

async fn two(cluster: &Cluster) -> (Sc, Sc) {
    let first = cluster.sc("a").await;
    cluster.pass(SECOND).await;
    let second = cluster.sc("b").await;
    cluster.pass(SECOND).await;
    assert!(first.controller.holds_lease());
    (first, second)
}

async fn keys(sc: &Sc, cluster: &Cluster, partitions: u32) -> Vec<ReplicaKey> {
    change(&sc.controller, ensure(partitions)).await.unwrap();
    cluster.settle().await;
    let model = sc.controller.model();
    let topic = model.topics.values().next().unwrap();
    topic.partitions.iter().map(|row| row.key()).collect()
}

/// End, and age in whole seconds.
fn known(sc: &Sc, key: ReplicaKey) -> Option<(u64, u64)> {
    let reported = sc.controller.reported(key)?;
    let age = clock::monotonic() - reported.as_of;
    Some((reported.status.end.get(), age.as_secs()))
}

#[tokio::test(start_paused = true)]
async fn every_controller_knows_what_one_of_them_heard() {
    for hears in [0, 1] {
        let cluster = Cluster::new();
        let (first, second) = two(&cluster).await;
        let mut leader = Leader::new(&first).await;
        let keys = keys(&first, &cluster, 2).await;
        let all = [&first, &second];
        assert!(
            !leader
                .say(all[hears], &[(keys[0], 5), (keys[1], 7)], 0)
                .await
        );
        cluster.pass(2 * SECOND).await;
        for sc in all {
            assert_eq!(known(sc, keys[0]).unwrap().0, 5, "heard by {hears}");
            assert_eq!(known(sc, keys[1]).unwrap().0, 7);
        }
        // What it does not repeat holds as long as it speaks.
        for end in 8..30 {
            assert!(!leader.say(all[hears], &[(keys[1], end)], 0).await);
            cluster.pass(SECOND).await;
        }
        for sc in all {
            let (end, age) = known(sc, keys[0]).unwrap();
            assert!(end == 5 && age <= 2, "{age}");
            assert!(known(sc, keys[1]).unwrap().0 >= 28);
        }
        // It falls silent: what it said grows old, and is not told for ever.
        cluster.pass(60 * SECOND).await;
        for sc in all {
            let (_, age) = known(sc, keys[0]).unwrap();
            assert!((60..64).contains(&age), "{age}");
        }
        cluster.pass(crate::limits::STATUS_AGE_MAX).await;
        assert_eq!(known(&first, keys[0]).or(known(&second, keys[0])), None);
    }
}

#[tokio::test(start_paused = true)]
async fn every_controller_counts_what_went_in_once() {
    let cluster = Cluster::new();
    let (first, second) = two(&cluster).await;
    let mut leader = Leader::new(&first).await;
    let keys = keys(&first, &cluster, 1).await;
    for end in 0..20 {
        leader.say(&second, &[(keys[0], end)], 0).await;
        cluster.pass(SECOND).await;
    }
    cluster.pass(2 * SECOND).await;
    for sc in [&first, &second] {
        let flows = sc.controller.flows(clock::now_ms());
        let records = flows.topics[&keys[0].topic_id].iter();
        let sum: u64 = records.map(|one| one.appended_records).sum();
        assert_eq!(sum, 19);
    }
}

#[tokio::test(start_paused = true)]
async fn a_controller_that_missed_something_does_not_say_that_the_rest_still_holds() {
    let cluster = Cluster::new();
    let (first, second) = two(&cluster).await;
    let mut leader = Leader::new(&first).await;
    let keys = keys(&first, &cluster, 2).await;
    leader.say(&first, &[(keys[0], 5), (keys[1], 7)], 0).await;
    cluster.pass(2 * SECOND).await;
    // This one was told to a controller that took it with it.
    leader.beat += 1;
    cluster.pass(3 * SECOND).await;
    assert!(leader.say(&second, &[(keys[1], 9)], 0).await, "tell me all");
    cluster.pass(2 * SECOND).await;
    for sc in [&first, &second] {
        let (end, age) = known(sc, keys[0]).unwrap();
        assert!(end == 5 && age >= 5, "{age}");
        let (end, age) = known(sc, keys[1]).unwrap();
        assert!(end == 9 && age <= 3, "{age}");
    }
    assert!(!leader.say(&second, &[(keys[0], 6)], 0).await);
    cluster.pass(2 * SECOND).await;
    for sc in [&first, &second] {
        let (end, age) = known(sc, keys[0]).unwrap();
        assert!(end == 6 && age <= 3, "{age}");
    }
}

#[tokio::test(start_paused = true)]
async fn while_some_changes_found_no_room_nothing_is_said_to_hold_still() {
    let cluster = Cluster::new();
    let (first, second) = two(&cluster).await;
    let mut leader = Leader::new(&first).await;
    let keys = keys(&first, &cluster, 2).await;
    leader.say(&second, &[(keys[0], 5), (keys[1], 7)], 0).await;
    for end in 8..18 {
        cluster.pass(SECOND).await;
        leader.say(&second, &[(keys[1], end)], 1).await;
    }
    cluster.pass(2 * SECOND).await;
    for sc in [&first, &second] {
        assert!(known(sc, keys[0]).unwrap().1 >= 11);
        assert!(known(sc, keys[1]).unwrap().1 <= 3);
    }
}

#[tokio::test(start_paused = true)]
async fn a_new_holder_knows_what_the_last_one_knew() {
    let cluster = Cluster::new();
    let (first, second) = two(&cluster).await;
    let mut leader = Leader::new(&first).await;
    let keys = keys(&first, &cluster, 40).await;
    let ends: Vec<_> = keys.iter().map(|key| (*key, 3)).collect();
    leader.say(&first, &ends, 0).await;
    cluster.pass(2 * SECOND).await;
    cluster.kill(first).await;
    cluster.pass(12 * SECOND).await;
    assert!(second.controller.holds_lease());
    for key in &keys {
        let (end, age) = known(&second, *key).unwrap();
        assert!(end == 3 && age < 20);
    }
    // It goes on where the other one stopped.
    assert!(!leader.say(&second, &[], 0).await);
    assert_eq!(known(&second, keys[0]), Some((3, 0)));
    // A third one starts, and asks him.
    let third = cluster.sc("c").await;
    cluster.pass(2 * SECOND).await;
    assert_eq!(known(&third, keys[39]).unwrap().0, 3);
}

#[tokio::test(start_paused = true)]
async fn parts_of_a_bounded_size_make_up_the_whole() {
    use crate::controller::reports::{Book, Sign, Told};

    let cluster = Cluster::new();
    let first = cluster.sc("a").await;
    cluster.pass(SECOND).await;
    let leader = Leader::new(&first).await;
    let keys = keys(&first, &cluster, 10).await;
    let now = clock::monotonic();
    let mut book = Book::new(Uuid::from_u128(7));
    let heartbeat = leader.unit.heartbeat();
    book.sign(Sign {
        heartbeat: &heartbeat,
        first_beat: 1,
        at: now,
    });
    let report = |key| StatusReport {
        key,
        status: serde_json::from_value(serde_json::json!({
            "log_start": 0, "high_watermark": 0, "end": 0, "leader_epoch": 0, "size_bytes": 0,
            "last_append_ms": null,
        }))
        .unwrap(),
        traffic: PartitionTraffic::default(),
        copies: Vec::new(),
    };
    // Told three times each: only the last counts.
    for key in keys.iter().chain(&keys).chain(&keys) {
        let told = Told {
            report: report(*key),
            spu: heartbeat.spu_id,
            incarnation: heartbeat.incarnation,
            beat: 1,
            at: now,
        };
        book.tell(told).unwrap();
    }
    let (mut query, mut found, mut units) = (ReportsQuery::default(), Vec::new(), 0);
    for _ in 0..4 {
        let part = book.after(query, 3, now);
        assert!(part.statuses.len() <= 3);
        found.extend(part.statuses.iter().map(|one| one.report.key));
        units += part.units.len();
        assert_eq!(part.has_more, found.len() < keys.len());
        query = ReportsQuery {
            source: Some(part.source),
            after: part.upto,
        };
    }
    assert_eq!((found, units), (keys, 1));
    assert!(book.after(query, 3, now).statuses.is_empty());
    let of_another = ReportsQuery {
        source: Some(Uuid::nil()),
        ..query
    };
    assert_eq!(book.after(of_another, 3, now).statuses.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn of_an_epoch_that_a_controller_has_not_only_who_has_read_further_is_believed() {
    let cluster = Cluster::new();
    let sc = cluster.sc("a").await;
    let mut leader = Leader::new(&sc).await;
    let key = keys(&sc, &cluster, 1).await[0];
    leader.say(&sc, &[(key, 5)], 0).await;
    let other = sc.register(2).await;
    let model = sc.controller.model();
    let epoch = model.partition(key).unwrap().leader_epoch;
    let roster = &sc.controller.shared.roster;
    let hear = |unit: &Unit, seen| {
        let heartbeat = Heartbeat {
            seen,
            beat: 2,
            statuses: vec![ends_at(key, 9, LeaderEpoch(epoch.0 + 1))],
            ..unit.heartbeat()
        };
        let heard = Heard {
            heartbeat,
            first_beat: 2,
            at: clock::monotonic(),
        };
        roster.hear(&model, &heard);
    };
    let now = sc.controller.shown().seen;
    for unit in [&leader.unit, &other] {
        for seen in [None, Some(now)] {
            hear(unit, seen);
            assert_eq!(known(&sc, key).unwrap().0, 5);
        }
    }
    // Another controller told it more than this one knows.
    let later = Seen {
        revision: now.revision + 1,
        ..now
    };
    hear(&other, Some(later));
    assert_eq!(known(&sc, key).unwrap().0, 9);
}

#[tokio::test(start_paused = true)]
async fn what_was_long_on_its_way_is_not_said_to_hold_later_than_it_was_said() {
    let cluster = Cluster::new();
    let sc = cluster.sc("a").await;
    let mut leader = Leader::new(&sc).await;
    let key = keys(&sc, &cluster, 1).await[0];
    leader.say(&sc, &[(key, 5)], 0).await;
    let said_at = clock::monotonic();
    let asked_at = said_at;
    tokio::time::advance(SECOND).await;
    let told = sc.controller.shared.roster.reports(ReportsQuery::default());
    tokio::time::advance(SECOND).await;
    let asking = Roster::new(None);
    let model = sc.controller.model();
    asking.take(&model, &told, asked_at);
    let leads = model.partition(key).unwrap().leader;
    let reported = asking.partition(key, leads).unwrap();
    assert_eq!(reported.status.end.get(), 5);
    assert!(reported.as_of <= said_at);
}

#[tokio::test(start_paused = true)]
async fn a_unit_that_counts_its_signs_of_life_to_the_end_of_numbers_lives_on() {
    let cluster = Cluster::new();
    let (first, second) = two(&cluster).await;
    let unit = first.register(1).await;
    cluster.settle().await;
    let last = Heartbeat {
        beat: u64::MAX,
        ..unit.heartbeat()
    };
    for _ in 0..10 {
        for sc in [&first, &second, &second] {
            let answer = sc.controller.heartbeat(last.clone()).await;
            assert_eq!(answer.standing, Standing::Current);
        }
        cluster.pass(SECOND).await;
    }
    assert!(!unit.is_fenced(&first));
}
