//! Who is silent for too long is shut out, however slow the store is and however often the process stops;
//! who speaks is not.

use tidegate_proto::id::SpuId;

use super::cluster::{Cluster, Sc, Unit};
use super::*;
use crate::controller::roster::Heard;
use crate::store::Weather;

const SECOND: Duration = Duration::from_secs(1);

/// One that speaks each second and one that is dead.
async fn living_and_dead(sc: &Sc) -> (Unit, Unit) {
    (sc.register(1).await, sc.register(2).await)
}

#[tokio::test(start_paused = true)]
async fn a_slow_store_does_not_keep_the_dead_among_the_living() {
    let cluster = Cluster::new();
    let sc = cluster.sc("a").await;
    let (living, dead) = living_and_dead(&sc).await;
    cluster.pass(SECOND).await;
    sc.store.set_weather(Weather {
        seed: 1,
        refused_per_mille: 0,
        unknown_per_mille: 0,
        latency_max: 3 * SECOND,
    });
    for _ in 0..60 {
        cluster.pass(SECOND).await;
        living.beat(&sc).await;
    }
    assert!(dead.is_fenced(&sc));
    assert!(!living.is_fenced(&sc));
}

/// The process does not run for that long.
async fn stop(cluster: &Cluster, time: Duration) {
    tokio::time::advance(time).await;
    cluster.settle().await;
}

#[tokio::test(start_paused = true)]
async fn after_a_stop_everybody_has_a_whole_time_out() {
    let cluster = Cluster::new();
    let sc = cluster.sc("a").await;
    let (living, dead) = living_and_dead(&sc).await;
    for _ in 0..5 {
        cluster.pass(SECOND).await;
        living.beat(&sc).await;
    }
    // Short enough for the lease.
    stop(&cluster, 9 * SECOND).await;
    assert!(sc.controller.holds_lease());
    cluster.pass(5 * SECOND).await;
    assert!(!dead.is_fenced(&sc) && !living.is_fenced(&sc));
    living.beat(&sc).await;
    cluster.pass(2 * SECOND).await;
    assert!(dead.is_fenced(&sc) && !living.is_fenced(&sc));
}

#[tokio::test(start_paused = true)]
async fn one_that_stops_again_and_again_shuts_the_dead_out_in_the_end() {
    let cluster = Cluster::new();
    let sc = cluster.sc("a").await;
    let (living, dead) = living_and_dead(&sc).await;
    let mut listened = Duration::ZERO;
    while !dead.is_fenced(&sc) {
        for _ in 0..3 {
            cluster.pass(SECOND).await;
            living.beat(&sc).await;
        }
        listened += 3 * SECOND;
        assert!(listened < 30 * SECOND, "for ever");
        stop(&cluster, 3 * SECOND).await;
    }
    assert!(listened >= 17 * SECOND, "{listened:?}: stops do not count");
    assert!(!living.is_fenced(&sc));
}

#[tokio::test(start_paused = true)]
async fn who_is_heard_before_a_stop_was_noticed_was_not_heard_later_than_that() {
    let cluster = Cluster::new();
    let sc = cluster.sc("a").await;
    let unit = sc.register(1).await;
    let model = sc.controller.model();
    let row = model.spu(SpuId(1)).unwrap();
    let hears = |roster: &Roster| {
        let heard = Heard {
            heartbeat: unit.heartbeat(),
            first_beat: 0,
            at: clock::monotonic(),
        };
        roster.hear(&model, &heard);
    };
    let registers = |roster: &Roster| roster.registered(row.spu, unit.incarnation);
    let begins = |roster: &Roster| roster.begin();
    let first_words: [&dyn Fn(&Roster); 3] = [&hears, &registers, &begins];
    for first_word in first_words {
        let roster = Roster::new(Some(6 * SECOND));
        tokio::time::advance(9 * SECOND).await;
        first_word(&roster);
        let deadline_ms = roster.liveness(&model).deadline_ms(row);
        assert_eq!(deadline_ms - roster.now_ms(), 6_000);
    }
}
