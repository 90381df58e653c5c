//! What a leader remembers of producers and request keys, whatever the wall clocks say (D3, D6, D7).

use tidegate_proto::limits::{REQUEST_KEY_WINDOW_MS, UNORDERED_PER_PARTITION_MAX};

use super::*;
use crate::limits::{AGE_MARK_EVERY_MS, PRODUCER_IDLE_MS_WHEN_FULL};
use crate::unordered::UnorderedTable;

const MINUTE_MS: i64 = 60_000;

fn ordered() -> Vec<ClientBatch> {
    vec![batch(Some((7, 0, 0)), 2, None)]
}

fn keyed() -> Vec<ClientBatch> {
    vec![batch(None, 1, Some([9; 16]))]
}

fn unordered(seq: u32) -> Vec<ClientBatch> {
    vec![unordered_batch(40, seq, 1)]
}

/// Three copies; the first two have clocks that far apart, and the first has answered one request of each kind.
fn answered(ahead_ms: [i64; 2]) -> Cluster {
    let mut cluster = Cluster::new(3, 2);
    cluster.ahead_ms[..2].copy_from_slice(&ahead_ms);
    for batches in [ordered(), keyed(), unordered(5)] {
        let request = cluster.append_as(0, batches, Acks::Quorum);
        cluster.settle();
        assert!(cluster.is_acked(request));
    }
    cluster
}

/// Sends all of it again to a leader; the answers must be the first ones.
fn repeats_are_found(cluster: &mut Cluster, leader: usize) {
    for (batches, at) in [(ordered(), 0), (keyed(), 2), (unordered(5), 3)] {
        let again = cluster.append_as(leader, batches, Acks::Quorum);
        cluster.settle();
        let answer = cluster.replies[&again];
        let found = answer.map(|answer| (answer.duplicate, answer.base_offset.get()));
        assert_eq!(found, Ok((true, at)));
    }
}

#[test]
fn a_new_leader_whose_clock_is_ahead_or_behind_forgets_nothing_by_it() {
    for minutes in [4, 11, 25, -25, 8 * 24 * 60] {
        let mut cluster = answered([0, minutes * MINUTE_MS]);
        cluster.lose(0);
        cluster.settle();
        assert!(cluster.leads(1));
        // Time is told, and others of the same gateway come in between.
        cluster.pass(2_000);
        cluster.append_as(1, unordered(6), Acks::Quorum);
        cluster.settle();
        cluster.pass(300);
        repeats_are_found(&mut cluster, 1);
    }
}

#[test]
fn a_leader_whose_clock_leaps_forgets_nothing_by_it() {
    for minutes in [11, -11, 8 * 24 * 60] {
        let mut cluster = answered([0, 0]);
        cluster.ahead_ms[0] = minutes * MINUTE_MS;
        cluster.pass(300);
        cluster.append_as(0, unordered(6), Acks::Quorum);
        cluster.append_as(0, vec![batch(None, 1, Some([8; 16]))], Acks::Quorum);
        cluster.settle();
        repeats_are_found(&mut cluster, 0);
    }
}

#[test]
fn what_was_appended_by_a_clock_that_is_ahead_does_not_make_followers_forget() {
    // The second leads for a moment, and what it appends looks much later than all before it.
    let mut cluster = answered([0, 25 * MINUTE_MS]);
    cluster.elect(1);
    cluster.settle();
    cluster.append_as(1, unordered(6), Acks::Quorum);
    cluster.append_as(1, vec![batch(None, 1, Some([8; 16]))], Acks::Quorum);
    cluster.settle();
    cluster.pass(300);
    cluster.lose(1);
    cluster.settle();
    cluster.pass(300);
    repeats_are_found(&mut cluster, 0);
    // And whoever was started anew and read its log knows it too.
    cluster.start(1);
    cluster.settle();
    cluster.pass(300);
    cluster.crash(0);
    cluster.start(0);
    cluster.settle();
    cluster.elect(0);
    cluster.settle();
    repeats_are_found(&mut cluster, 0);
}

#[test]
fn a_new_leader_remembers_for_a_whole_window_from_when_a_request_came_and_no_longer() {
    let mut cluster = answered([0, 0]);
    let rest = |cluster: &mut Cluster, ms: u64| {
        cluster.now.monotonic_ms += ms;
        cluster.now.wall_ms += ms as i64;
        cluster.pass(100);
    };
    rest(&mut cluster, AGE_MARK_EVERY_MS);
    rest(&mut cluster, REQUEST_KEY_WINDOW_MS - 2_000);
    cluster.elect(1);
    cluster.settle();
    let again = cluster.append_as(1, keyed(), Acks::Quorum);
    cluster.settle();
    assert!(cluster.replies[&again].is_ok_and(|answer| answer.duplicate));
    rest(&mut cluster, 5_000);
    let again = cluster.append_as(1, keyed(), Acks::Quorum);
    cluster.settle();
    assert!(cluster.replies[&again].is_ok_and(|answer| !answer.duplicate));
}

#[test]
fn after_a_take_over_the_silent_make_room_at_once() {
    let mut cluster = Cluster::new(3, 2);
    for id in 0..UNORDERED_PER_PARTITION_MAX as u64 {
        cluster.append_as(0, vec![unordered_batch(id, 0, 1)], Acks::Quorum);
        cluster.settle();
    }
    for _ in 0..2 {
        cluster.now.monotonic_ms += PRODUCER_IDLE_MS_WHEN_FULL;
        cluster.pass(100);
    }
    cluster.elect(1);
    cluster.settle();
    let new = cluster.append_as(1, vec![unordered_batch(900, 0, 1)], Acks::Quorum);
    cluster.settle();
    assert!(cluster.is_acked(new), "{:?}", cluster.replies[&new]);
}

#[test]
fn a_full_table_of_a_follower_makes_room_by_the_log_and_not_by_clocks() {
    let mut cluster = Cluster::new(3, 2);
    // What the first leader appends looks much later than all that comes.
    cluster.ahead_ms[0] = 25 * MINUTE_MS;
    let most = UNORDERED_PER_PARTITION_MAX as u64;
    for id in 0..2 * most {
        if id == most {
            // The leader makes room, and followers are swept more seldom.
            let replica = cluster.nodes[0].replica.as_mut().unwrap();
            replica.standing.ledger.producers.unordered = UnorderedTable::default();
        }
        cluster.append_as(0, vec![unordered_batch(id, 0, 1)], Acks::Quorum);
        cluster.settle();
    }
    cluster.elect(1);
    cluster.settle();
    let replica = cluster.nodes[1].replica.as_mut().unwrap();
    replica.standing.ledger.producers.unordered = UnorderedTable::default();
    let sent = |cluster: &mut Cluster, node| {
        let request = cluster.append_as(node, vec![unordered_batch(900, 0, 1)], Acks::Quorum);
        cluster.settle();
        cluster.replies[&request]
    };
    assert!(sent(&mut cluster, 1).is_ok_and(|answer| !answer.duplicate));
    cluster.elect(2);
    cluster.settle();
    assert!(sent(&mut cluster, 2).is_ok_and(|answer| answer.duplicate));
}

#[test]
fn a_copy_that_only_follows_forgets_too() {
    let mut cluster = answered([0, 0]);
    let known = |cluster: &Cluster| {
        let replica = cluster.nodes[1].replica.as_ref().unwrap();
        replica.ledger().len()
    };
    assert_eq!(known(&cluster), 3);
    cluster.now.monotonic_ms += AGE_MARK_EVERY_MS;
    cluster.step(1, Input::Tick);
    cluster.now.monotonic_ms += REQUEST_KEY_WINDOW_MS + 1;
    cluster.step(1, Input::Tick);
    assert_eq!(known(&cluster), 2, "producers stay until there is a sweep");
}
