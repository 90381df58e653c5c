//! Who runs the cluster: one at a time, whatever becomes of him.

use std::collections::BTreeSet;

use tidegate_proto::control::{Heartbeat, RelayRequest, RelayedHeartbeat, Standing};
use tidegate_proto::id::{LeaseEpoch, PartitionId, SpuId};
use tidegate_proto::limits::HEARTBEAT_STATUSES_MAX;
use tidegate_proto::position::ReplicaKey;
use tidegate_sc_core::decision::{MoveTerms, Target};

use super::cluster::{Cluster, Sc};
use super::*;
use crate::store::{Acquired, Leases as _};

const SECOND: Duration = Duration::from_secs(1);

fn holders(all: &[&Sc]) -> usize {
    let holding = all.iter().filter(|sc| sc.controller.holds_lease());
    holding.count()
}

#[tokio::test(start_paused = true)]
async fn what_one_controller_commits_the_others_have_without_waiting_for_a_poll() {
    let cluster = Cluster::new();
    let (first, second) = (cluster.sc("a").await, cluster.sc("b").await);
    first.make("orders").await.unwrap();
    cluster.settle().await;
    assert!(second.has("orders"), "the doorbell was enough");
    second.make("bills").await.unwrap();
    cluster.settle().await;
    assert_eq!(*first.controller.model(), cluster.end().await);
}

#[tokio::test(start_paused = true)]
async fn another_takes_over_when_the_holder_is_killed_and_gives_every_unit_a_whole_time_out() {
    let cluster = Cluster::new();
    let first = cluster.sc("a").await;
    cluster.pass(SECOND).await;
    let (second, third) = (cluster.sc("b").await, cluster.sc("c").await);
    cluster.pass(SECOND).await;
    assert!(first.controller.holds_lease());
    assert_eq!(holders(&[&first, &second, &third]), 1);
    // One talks to a controller that does not hold the lease, one has just fallen silent.
    let (living, silent) = (second.register(1).await, second.register(2).await);
    for _ in 0..8 {
        cluster.pass(SECOND).await;
        assert_eq!(living.beat(&second).await, Standing::Current);
        silent.beat(&first).await;
    }
    cluster.kill(first).await;
    let mut waited = 0;
    while holders(&[&second, &third]) == 0 {
        cluster.pass(SECOND / 10).await;
        living.beat(&second).await;
        waited += 1;
        assert!(waited < 140, "the lease lasts 10 s");
    }
    for _ in 0..58 {
        cluster.pass(SECOND / 10).await;
        living.beat(&second).await;
        assert!(!silent.is_fenced(&second), "too early");
    }
    cluster.pass(SECOND).await;
    living.beat(&second).await;
    assert!(silent.is_fenced(&second));
    assert!(!living.is_fenced(&second));
    assert_eq!(silent.beat(&second).await, Standing::Fenced);
    assert_eq!(holders(&[&second, &third]), 1);
}

#[tokio::test(start_paused = true)]
async fn a_holder_that_leaves_judges_nobody_while_it_finishes_what_it_has() {
    let cluster = Cluster::new();
    let first = cluster.sc("a").await;
    cluster.pass(SECOND).await;
    let second = cluster.sc("b").await;
    let unit = first.register(1).await;
    cluster.pass(SECOND).await;
    assert!(first.controller.holds_lease());
    // Its listeners are about to stop: nothing that the unit says arrives there any more.
    first.controller.leave();
    first.make("under-way").await.unwrap();
    for _ in 0..9 {
        cluster.pass(SECOND / 2).await;
        assert!(!first.controller.holds_lease(), "it does not come back");
    }
    assert!(second.controller.holds_lease());
    assert!(second.has("under-way"));
    // The unit has said nothing for longer than the first one's time-out.
    cluster.pass(SECOND).await;
    assert!(
        !unit.is_fenced(&second),
        "a whole time-out from the new one"
    );
    assert_eq!(unit.beat(&second).await, Standing::Current);
}

#[tokio::test(start_paused = true)]
async fn a_holder_that_stops_in_order_is_followed_at_once() {
    let cluster = Cluster::new();
    let first = cluster.sc("a").await;
    cluster.pass(SECOND).await;
    let second = cluster.sc("b").await;
    cluster.pass(SECOND).await;
    assert!(first.controller.holds_lease());
    first.stop().await;
    cluster.pass(4 * SECOND).await;
    assert!(second.controller.holds_lease());
}

#[tokio::test(start_paused = true)]
async fn a_holder_that_was_replaced_changes_nothing_and_steps_down() {
    let cluster = Cluster::new();
    let first = cluster.sc("a").await;
    first.register(1).await;
    first.register(2).await;
    first.make("orders").await.unwrap();
    cluster.pass(SECOND).await;
    assert!(first.controller.holds_lease());
    // The clock of the database is an hour ahead all of a sudden, and somebody uses it.
    let another = cluster.database.open();
    cluster.database.set_clock_ms(3_600_000);
    let taken = another.acquire_lease("b - x", 10 * SECOND).await.unwrap();
    assert!(matches!(taken, Acquired::Ours(LeaseEpoch(2))), "{taken:?}");
    assert!(first.controller.holds_lease(), "by its own clock");
    let leader = first
        .controller
        .model()
        .topics
        .values()
        .next()
        .unwrap()
        .partitions[0]
        .leader;
    let drain = Request::DrainSpu {
        spu: leader.unwrap_or(SpuId(1)),
        terms: MoveTerms {
            force: true,
            ..MoveTerms::default()
        },
    };
    // What anybody may ask for is done; what follows from it is the new holder's.
    let drained = change(&first.controller, drain).await.unwrap().model;
    for _ in 0..40 {
        tokio::time::advance(SECOND / 40).await;
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
    }
    assert!(!first.controller.holds_lease());
    assert_eq!(cluster.end().await, *drained, "nothing more was done");
}

#[tokio::test(start_paused = true)]
async fn a_unit_that_any_controller_hears_is_not_shut_out() {
    let cluster = Cluster::new();
    let first = cluster.sc("a").await;
    cluster.pass(SECOND).await;
    let second = cluster.sc("b").await;
    cluster.pass(SECOND).await;
    let unit = second.register(1).await;
    for _ in 0..20 {
        cluster.pass(SECOND).await;
        unit.beat(&second).await;
    }
    assert!(first.controller.holds_lease() && !unit.is_fenced(&first));
    cluster.pass(7 * SECOND).await;
    assert!(unit.is_fenced(&first), "it fell silent");
}

#[tokio::test(start_paused = true)]
async fn a_unit_that_says_too_much_has_nobody_shut_out() {
    let cluster = Cluster::new();
    let first = cluster.sc("a").await;
    cluster.pass(SECOND).await;
    let second = cluster.sc("b").await;
    cluster.pass(SECOND).await;
    let (loud, other) = (second.register(1).await, second.register(2).await);
    let status = serde_json::json!({
        "key": { "topic_id": Uuid::nil(), "partition": 0 }, "log_start": 0, "high_watermark": 0,
        "end": 0, "leader_epoch": 0, "size_bytes": 0, "last_append_ms": null,
    });
    let status = serde_json::from_value(status).unwrap();
    let too_much = Heartbeat {
        statuses: vec![status; 2 * HEARTBEAT_STATUSES_MAX],
        ..loud.heartbeat()
    };
    for _ in 0..20 {
        cluster.pass(SECOND).await;
        second.controller.heartbeat(too_much.clone()).await;
        other.beat(&second).await;
    }
    assert!(first.controller.holds_lease());
    assert!(!loud.is_fenced(&first) && !other.is_fenced(&first));
    // Another version may pass on what it was told.
    for _ in 0..20 {
        cluster.pass(SECOND).await;
        let heartbeats = [too_much.clone(), other.heartbeat()];
        let heartbeats = heartbeats.map(|heartbeat| RelayedHeartbeat {
            heartbeat,
            age_ms: 0,
            first_beat: 0,
        });
        let heartbeats = heartbeats.to_vec();
        let relayed = first.controller.take_relayed(RelayRequest { heartbeats });
        relayed.await.unwrap();
    }
    assert!(!loud.is_fenced(&first) && !other.is_fenced(&first));
}

#[tokio::test(start_paused = true)]
async fn a_unit_that_registers_elsewhere_is_not_shut_out_before_its_first_heartbeat() {
    let cluster = Cluster::new();
    let first = cluster.sc("a").await;
    cluster.pass(SECOND).await;
    let second = cluster.sc("b").await;
    // The holder has listened for longer than a time-out.
    cluster.pass(20 * SECOND).await;
    assert!(first.controller.holds_lease());
    let unit = second.register(1).await;
    cluster.pass(5 * SECOND).await;
    assert!(!unit.is_fenced(&first));
    cluster.pass(2 * SECOND).await;
    assert!(unit.is_fenced(&first));
}

#[tokio::test(start_paused = true)]
async fn what_expired_is_dropped_by_the_holder() {
    let cluster = Cluster::new();
    let token = crate::store::JoinToken {
        hash: [1; 32],
        role: "spu".to_owned(),
        scope: String::new(),
        created_by: "tester".to_owned(),
        created_at_ms: 1,
        expires_at_ms: 2,
        used: None,
    };
    let ledger = cluster.database.open();
    assert!(
        crate::store::Ledger::add_join_token(&ledger, &token)
            .await
            .unwrap()
    );
    let _sc = cluster.sc("a").await;
    cluster.pass(2 * SECOND).await;
    let left = crate::store::Ledger::join_tokens(&ledger).await.unwrap();
    assert_eq!(left, []);
}

#[tokio::test(start_paused = true)]
async fn more_copies_than_units_can_keep_are_refused_and_the_default_is_one() {
    let mut cluster = Cluster::new();
    cluster.replication_factor_max = 1;
    let sc = cluster.sc("a").await;
    for number in 1..=3 {
        sc.register(number).await;
    }
    let write = |wanted: Option<u16>| TopicWrite {
        name: TopicName::parse("orders").unwrap(),
        request: TopicRequest {
            replication_factor: wanted.map_or_else(Default::default, Into::into),
            ..TopicRequest::default()
        },
        if_match: None,
    };
    let request = Request::CreateTopic(write(Some(2)));
    let refused = sc.controller.preview(&request).unwrap_err();
    assert_eq!(refused.code(), ErrorCode::NotSupported);
    let refused = change(&sc.controller, request).await.unwrap_err();
    assert_eq!(refused.code(), ErrorCode::NotSupported);
    let made = change(&sc.controller, Request::CreateTopic(write(None))).await;
    let model = made.unwrap().model;
    let topic = model.topics.values().next().unwrap();
    assert_eq!(topic.row.replication_factor, 1);
    assert_eq!(topic.partitions[0].replicas.len(), 1);
    let leader = topic.partitions[0].leader.unwrap();
    let reassign = |empty: BTreeSet<ReplicaKey>| Request::Reassign {
        targets: vec![Target {
            topic: topic.row.name.clone(),
            partition: PartitionId(0),
            replicas: vec![SpuId(1 + leader.0 % 3)],
        }],
        terms: MoveTerms {
            empty,
            force: true,
            ..MoveTerms::default()
        },
    };
    // Records would have to be copied, which no force of an operator makes units do.
    let refused = sc.controller.preview(&reassign(BTreeSet::new()));
    let refused = refused.unwrap_err();
    assert_eq!(refused.code(), ErrorCode::Conflict);
    assert!(
        refused.detail().contains("only copy holds records"),
        "{refused}"
    );
    let moved = sc
        .controller
        .preview(&reassign([topic.partitions[0].key()].into()));
    assert_eq!(moved.unwrap().result, WriteResult::Updated);
    let recover = |force| Request::Recover {
        topic: TopicName::parse("orders").unwrap(),
        partition: PartitionId(0),
        accept_loss: true,
        force,
    };
    let refused = change(&sc.controller, recover(false)).await.unwrap_err();
    assert_eq!(refused.code(), ErrorCode::Conflict, "it is led");
    change(&sc.controller, recover(true)).await.unwrap();
}
