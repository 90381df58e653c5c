//! The store goes away and comes back: reads go on, writes are refused definitely, nothing is lost.

use super::cluster::Cluster;
use super::*;

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn while_the_store_is_away_reads_go_on_and_writes_are_refused_at_once() {
    let cluster = Cluster::new();
    let (first, second) = (cluster.sc("a").await, cluster.sc("b").await);
    first.make("orders").await.unwrap();
    cluster.pass(SECOND).await;
    first.store.set_down(true);
    cluster.pass(2 * SECOND).await;
    let condition = first.controller.condition().borrow().clone();
    assert!(condition.stale_for().unwrap() <= 2 * SECOND);
    assert!(first.has("orders"));
    let refused = first.make("bills").await.unwrap_err();
    assert_eq!(refused.code(), ErrorCode::Unavailable);
    assert!(refused.is_definite() && refused.retry_after_s().is_some());
    // The other one goes on, and what it does meanwhile is not lost.
    second.make("letters").await.unwrap();
    cluster.pass(58 * SECOND).await;
    let condition = first.controller.condition().borrow().clone();
    assert!(condition.stale_for().unwrap() > 57 * SECOND);
    first.store.set_down(false);
    cluster.pass(2 * SECOND).await;
    assert_eq!(first.controller.condition().borrow().stale_for(), None);
    assert!(first.has("letters"));
    first.make("bills").await.unwrap();
    cluster.settle().await;
    assert_eq!(*second.controller.model(), cluster.end().await);
}

#[tokio::test(start_paused = true)]
async fn an_outage_shuts_nobody_out_who_went_on_talking() {
    let cluster = Cluster::new();
    let sc = cluster.sc("a").await;
    let (living, silent) = (sc.register(1).await, sc.register(2).await);
    cluster.pass(SECOND).await;
    sc.store.set_down(true);
    for _ in 0..60 {
        cluster.pass(SECOND).await;
        living.beat(&sc).await;
    }
    sc.store.set_down(false);
    for _ in 0..20 {
        cluster.pass(SECOND).await;
        living.beat(&sc).await;
    }
    assert!(!living.is_fenced(&sc) && silent.is_fenced(&sc));
}

#[tokio::test(start_paused = true)]
async fn a_controller_that_was_away_for_longer_than_events_are_kept_reads_everything() {
    let cluster = Cluster::new();
    let (first, second) = (cluster.sc("a").await, cluster.sc("b").await);
    first.make("orders").await.unwrap();
    cluster.pass(SECOND).await;
    first.store.set_down(true);
    for count in 0..30 {
        second.make(&format!("t{count}")).await.unwrap();
    }
    let kept = crate::store::Kept {
        revisions: 5,
        rows: 1_000,
    };
    second.store.compact_events(kept).await.unwrap();
    let generation = first.controller.history().newest().generation;
    first.store.set_down(false);
    cluster.pass(2 * SECOND).await;
    assert_eq!(*first.controller.model(), cluster.end().await);
    let newest = first.controller.history().newest();
    assert_eq!(newest.generation, generation + 1, "watchers begin anew");
    assert_eq!(newest.seen.revision, 31);
}
