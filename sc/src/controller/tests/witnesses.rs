//! A store that lost commits, or is another one, is found out by whoever saw more (X1, X2).

use tidegate_proto::control::Seen;
use tidegate_sc_core::decide::decide;

use super::cluster::Cluster;
use super::*;
use crate::limits::REVISIONS_PER_ADOPTION;
use crate::store::{Backups as _, Commit};

const SECOND: Duration = Duration::from_secs(1);
/// Some day, in milliseconds since 1970.
const NOON_MS: i64 = 1_800_000_000_000;

fn is_alarmed(controller: &Controller) -> bool {
    controller.condition().borrow().alarm.is_some()
}

#[tokio::test(start_paused = true)]
async fn a_controller_finds_out_every_number_of_lost_commits_by_itself() {
    for lost in [1, 2, 7, 50] {
        let cluster = Cluster::new();
        let sc = cluster.sc("a").await;
        for count in 0..60 {
            sc.make(&format!("t{count}")).await.unwrap();
        }
        cluster.database.lose_last(lost);
        cluster.pass(2 * SECOND).await;
        assert!(is_alarmed(&sc.controller), "{lost}");
        let refused = sc.make("more").await.unwrap_err();
        assert_eq!(refused.code(), ErrorCode::MetadataForked);
        assert_eq!(sc.controller.model().revision, 60, "reads go on");
        let refused = sc.controller.lease_producer_ids().await.unwrap_err();
        assert_eq!(refused.code(), ErrorCode::MetadataForked, "ids come back");
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_lost_commits_and_made_as_many_others_is_found_out() {
    let cluster = Cluster::new();
    let (first, second) = (cluster.sc("a").await, cluster.sc("b").await);
    first.make("orders").await.unwrap();
    first.make("bills").await.unwrap();
    cluster.settle().await;
    second.store.set_down(true);
    cluster.database.lose_last(1);
    // Somebody who knows nothing of it commits on what is left.
    let third = cluster.sc("c").await;
    third.make("letters").await.unwrap();
    second.store.set_down(false);
    cluster.pass(2 * SECOND).await;
    assert!(is_alarmed(&first.controller) && is_alarmed(&second.controller));
    assert!(!is_alarmed(&third.controller), "nobody told it");
}

#[tokio::test(start_paused = true)]
async fn a_unit_that_saw_more_or_something_else_stops_all_changes() {
    for what in ["ahead", "other hash", "other store"] {
        let cluster = Cluster::new();
        let old = cluster.sc("a").await;
        for count in 0..5 {
            old.make(&format!("t{count}")).await.unwrap();
        }
        let unit = old.register(1).await;
        let mut seen = old.controller.history().newest().seen;
        // All controllers are new, and the store is what it is.
        cluster.kill(old).await;
        match what {
            "ahead" => cluster.database.lose_last(1),
            "other hash" => seen.hash.0[0] ^= 1,
            _ => seen.store_id = StoreId(Uuid::from_u128(77)),
        }
        let sc = cluster.sc("b").await;
        let good = tidegate_proto::control::Heartbeat {
            seen: Some(Seen {
                revision: 0,
                ..sc.controller.history().newest().seen
            }),
            ..unit.heartbeat()
        };
        let seen = Some(seen);
        let bad = tidegate_proto::control::Heartbeat { seen, ..good };
        sc.make("before").await.unwrap();
        if what == "ahead" {
            // It made as many commits again, so the number alone would not tell.
            assert_eq!(sc.controller.model().revision, 6);
        }
        sc.controller.heartbeat(bad).await;
        assert!(is_alarmed(&sc.controller), "{what}");
        let refused = sc.make("after").await.unwrap_err();
        assert_eq!(refused.code(), ErrorCode::MetadataForked, "{what}");
        assert!(refused.is_definite());
    }
}

#[tokio::test(start_paused = true)]
async fn once_an_operator_adopted_the_store_controllers_go_on_with_what_it_holds() {
    let cluster = Cluster::new();
    let (first, second) = (cluster.sc("a").await, cluster.sc("b").await);
    let unit = first.register(1).await;
    for count in 0..5 {
        first.make(&format!("t{count}")).await.unwrap();
    }
    cluster.settle().await;
    let seen = first.controller.history().newest().seen;
    cluster.database.lose_last(2);
    cluster.pass(2 * SECOND).await;
    assert!(is_alarmed(&first.controller) && is_alarmed(&second.controller));
    for _ in 0..20 {
        cluster.pass(SECOND).await;
        unit.beat(&first).await;
    }
    assert!(is_alarmed(&first.controller), "it does not go by itself");
    cluster.database.open().adopt("ann", 1).await.unwrap();
    for _ in 0..7 {
        cluster.pass(SECOND).await;
        unit.beat(&first).await;
    }
    for sc in [&first, &second] {
        assert!(!is_alarmed(&sc.controller));
        let newest = sc.controller.history().newest();
        assert!(newest.generation > 0, "watchers begin anew");
        assert!(newest.seen.revision > REVISIONS_PER_ADOPTION);
        assert_ne!(newest.seen.store_id, seen.store_id);
        assert!(!sc.has("t4"));
    }
    first.make("t4").await.unwrap();
    // What was seen before the adoption is no reason for another alarm.
    let late = tidegate_proto::control::Heartbeat {
        seen: Some(seen),
        ..unit.heartbeat()
    };
    first.controller.heartbeat(late).await;
    assert!(!is_alarmed(&first.controller));
}

#[tokio::test(start_paused = true)]
async fn an_alarm_about_another_store_is_over_when_the_right_one_is_back() {
    let cluster = Cluster::new();
    let stranger = MemoryDatabase::new(
        cluster.database.open().standing().await.unwrap().cluster_id,
        StoreId(Uuid::from_u128(77)),
    );
    let sc = cluster.sc("a").await;
    sc.make("orders").await.unwrap();
    sc.store.lead_to(&stranger);
    cluster.pass(7 * SECOND).await;
    assert!(is_alarmed(&sc.controller));
    assert!(sc.make("bills").await.is_err());
    sc.store.lead_to(&cluster.database);
    cluster.pass(7 * SECOND).await;
    assert!(!is_alarmed(&sc.controller));
    sc.make("bills").await.unwrap();
    assert_eq!(stranger.open().snapshot().await.unwrap().revision, 0);
}

#[tokio::test(start_paused = true)]
async fn an_alarm_about_a_store_that_was_adopted_meanwhile_comes_too_late() {
    let cluster = Cluster::new();
    let sc = cluster.sc("a").await;
    sc.make("orders").await.unwrap();
    let old = sc.controller.shown().seen.store_id;
    cluster.database.open().adopt("ann", 1).await.unwrap();
    cluster.pass(7 * SECOND).await;
    assert_ne!(sc.controller.shown().seen.store_id, old);
    // Found out before the adoption, said after it.
    let conditions = &sc.controller.shared.conditions;
    conditions.raise_late(old, None, "late".to_owned());
    assert!(!is_alarmed(&sc.controller));
    sc.make("bills").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_store_that_does_not_know_of_its_adoption_any_more_is_found_out() {
    let cluster = Cluster::new();
    let sc = cluster.sc("a").await;
    let old = sc.controller.shown().seen.store_id;
    let standby = MemoryDatabase::new(sc.controller.cluster_id(), old);
    cluster.database.open().adopt("ann", 1).await.unwrap();
    cluster.pass(7 * SECOND).await;
    assert_ne!(sc.controller.shown().seen.store_id, old);
    // Everything but the adoption had got there.
    sc.store.lead_to(&standby);
    cluster.pass(7 * SECOND).await;
    assert!(is_alarmed(&sc.controller));
    let refused = sc.make("orders").await.unwrap_err();
    assert_eq!(refused.code(), ErrorCode::MetadataForked);
    assert_eq!(standby.open().snapshot().await.unwrap().revision, 0);
    // The adopted one is back.
    sc.store.lead_to(&cluster.database);
    cluster.pass(7 * SECOND).await;
    assert!(!is_alarmed(&sc.controller));
    sc.make("orders").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn nothing_is_made_on_a_store_that_lost_commits_and_made_as_many_others() {
    let cluster = Cluster::new();
    let sc = cluster.deaf_sc("a").await;
    sc.make("orders").await.unwrap();
    sc.make("bills").await.unwrap();
    cluster.database.lose_last(1);
    let other = cluster.database.open();
    let model = other.snapshot().await.unwrap();
    let write = TopicWrite {
        name: TopicName::parse("letters").unwrap(),
        request: TopicRequest::default(),
        if_match: None,
    };
    let request = Request::CreateTopic(write);
    let decision = decide(&model, 7, Uuid::from_u128(7), &request).unwrap();
    let commit = Commit::new(decision.changes, String::new(), String::new(), 7);
    // As many as this controller has seen; it is not told, and its next would fit.
    assert_eq!(other.apply(&commit).await.unwrap(), 2);
    let refused = sc.make("more").await.unwrap_err();
    assert_eq!(refused.code(), ErrorCode::MetadataForked);
    assert!(is_alarmed(&sc.controller));
    assert_eq!(other.snapshot().await.unwrap().revision, 2, "nothing");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_gone_back_to_is_gone_on_with_once_it_was_adopted() {
    let cluster = Cluster::new();
    let sc = cluster.sc("a").await;
    sc.make("orders").await.unwrap();
    // A copy is made, adopted, and worked on.
    let copy = MemoryDatabase::new(sc.controller.cluster_id(), StoreId(Uuid::from_u128(77)));
    let backup = cluster.database.open().backup().await.unwrap();
    copy.open().restore(&backup, 1).await.unwrap();
    copy.open().adopt("ann", NOON_MS).await.unwrap();
    sc.store.lead_to(&copy);
    cluster.pass(7 * SECOND).await;
    sc.make("bills").await.unwrap();
    let unit = sc.register(1).await;
    let seen = sc.controller.shown().seen;
    // Back to the first: no operator said so yet.
    sc.store.lead_to(&cluster.database);
    cluster.pass(7 * SECOND).await;
    let fresh = cluster.sc("b").await;
    let report = |seen| tidegate_proto::control::Heartbeat {
        seen: Some(seen),
        ..unit.heartbeat()
    };
    fresh.controller.heartbeat(report(seen)).await;
    assert!(is_alarmed(&sc.controller) && is_alarmed(&fresh.controller));
    cluster
        .database
        .open()
        .adopt("ann", NOON_MS + 60_000)
        .await
        .unwrap();
    cluster.pass(7 * SECOND).await;
    for sc in [&sc, &fresh] {
        assert!(!is_alarmed(&sc.controller), "{}", sc.name);
        assert!(sc.has("orders") && !sc.has("bills"));
    }
    sc.make("letters").await.unwrap();
    // Nor do nodes that saw the copy raise it again, whoever they tell.
    cluster.settle().await;
    let newest = cluster.sc("c").await;
    for sc in [&sc, &fresh, &newest] {
        sc.controller.heartbeat(report(seen)).await;
        assert!(!is_alarmed(&sc.controller), "{}", sc.name);
    }
    let ahead = newest.controller.shown().seen.revision;
    assert!(ahead > seen.revision + 1, "no revision comes again");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_was_adopted_elsewhere_is_never_shown_under_the_old_identity() {
    let cluster = Cluster::new();
    let sc = cluster.sc("a").await;
    sc.make("orders").await.unwrap();
    let known = sc.controller.shown().seen;
    // Far ahead, without a hash that tells where it came from: one that nobody ever said is this one.
    let stranger = MemoryDatabase::new(sc.controller.cluster_id(), StoreId(Uuid::from_u128(88)));
    stranger.open().adopt("bob", NOON_MS).await.unwrap();
    sc.store.lead_to(&stranger);
    let refused = sc.make("bills").await.unwrap_err();
    assert!(refused.is_definite(), "{refused:?}");
    cluster.pass(2 * SECOND).await;
    assert!(is_alarmed(&sc.controller));
    assert_eq!(sc.controller.shown().seen, known, "what was true is shown");
    assert!(stranger.open().snapshot().await.unwrap().topics.is_empty());

    // And one that an operator made of this one: gone on with at once, as what it is now.
    let copy = MemoryDatabase::new(sc.controller.cluster_id(), StoreId(Uuid::from_u128(77)));
    let backup = cluster.database.open().backup().await.unwrap();
    copy.open().restore(&backup, 1).await.unwrap();
    let adopted = copy.open().adopt("ann", NOON_MS).await.unwrap();
    let other = cluster.sc("b").await;
    other.store.lead_to(&copy);
    cluster.pass(2 * SECOND).await;
    let shown = other.controller.shown();
    assert_eq!(shown.seen.store_id, adopted);
    assert!(shown.seen.revision > known.revision && !is_alarmed(&other.controller));
    other.make("letters").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn no_refusal_is_kept_in_a_store_that_is_not_believed() {
    let cluster = Cluster::new();
    let sc = cluster.sc("a").await;
    for name in ["orders", "bills"] {
        sc.make(name).await.unwrap();
    }
    cluster.database.lose_last(1);
    cluster.pass(2 * SECOND).await;
    let kept = sc.controller.keep("tester", "k1", [1; 32], "no".to_owned());
    assert_eq!(kept.await.unwrap_err().code(), ErrorCode::MetadataForked);
    let answered = sc.controller.answered("tester", "k1", [1; 32]).await;
    assert_eq!(answered.unwrap(), None);
}
