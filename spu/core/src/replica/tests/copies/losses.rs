//! What an accepted loss leaves, and what a copy that is away for a moment costs.

use super::disk::Disk;
use super::invariants::Truth;
use super::*;
use crate::limits::REATTACH_GRACE_MS;

/// An operator accepts the loss: this copy is all that there is (L3).
fn accept_loss(cluster: &mut Cluster, node: usize) {
    cluster.truth = Truth::default();
    cluster.row.recovery_gen += 1;
    cluster.row.isr = vec![IsrMember {
        spu: SpuId(node as u32),
        incarnation: Incarnation(cluster.nodes[node].incarnation),
    }];
    cluster.elect(node);
    cluster.settle();
    assert!(cluster.leads(node));
}

#[test]
fn a_copy_that_begins_above_the_end_of_whoever_leads_after_an_accepted_loss_begins_anew() {
    for restarts in [false, true] {
        let mut cluster = Cluster::new(2, 1);
        cluster.append(0, 4);
        cluster.append(0, 3);
        cluster.settle();
        cluster.step(0, Input::Retain { to: Offset::new(5) });
        cluster.step(0, Input::Retain { to: Offset::new(5) });
        cluster.settle();
        assert_eq!(cluster.status(0).log_start, Offset::new(5));
        cluster.crash(0);
        cluster.crash(1);
        // The other one was away for long: it has less than the first still begins with.
        let stale = &mut cluster.nodes[1].disk;
        *stale = Disk::empty(stale.durable.meta.replica_gen);
        cluster.start(1);
        accept_loss(&mut cluster, 1);
        cluster.append(1, 2);
        cluster.settle();
        cluster.start(0);
        if restarts {
            for _ in 0..3 {
                cluster.deliver_where(|_| true);
                cluster.sync(0, 1);
                cluster.crash(0);
                cluster.start(0);
            }
        }
        cluster.pass(1_000);
        let status = cluster.status(0);
        assert_eq!(
            (status.role, status.log_start.get(), status.end.get()),
            (RoleName::Following, 0, 2)
        );
        assert_eq!(cluster.isr().len(), 2, "it is a copy like any other");
        assert!(cluster.alarms.is_empty(), "{:?}", cluster.alarms);
    }
}

#[test]
fn nobody_begins_anew_below_what_was_committed_without_an_accepted_loss() {
    let mut cluster = Cluster::new(2, 1);
    cluster.append(0, 4);
    cluster.settle();
    let standing = &mut cluster.nodes[1].replica.as_mut().unwrap().standing;
    let mut effects = Vec::new();
    assert!(!standing.truncate(Truncation::Reset { to: Offset::ZERO }, false, &mut effects));
    assert!(effects.is_empty());
}

#[test]
fn a_copy_that_was_not_whole_and_leads_after_an_accepted_loss_brings_others_up_to_date() {
    for writes in [false, true] {
        let mut cluster = Cluster::new(2, 2);
        cluster.append(0, 3);
        cluster.settle();
        cluster.step(0, Input::Retain { to: Offset::new(3) });
        cluster.step(0, Input::Retain { to: Offset::new(3) });
        cluster.settle();
        // A new copy was reset and has records, and its ledger not yet.
        cluster.lose_disk(1);
        cluster.settle();
        cluster.append_as(0, vec![batch(None, 2, None)], Acks::Leader);
        cluster.settle();
        cluster.start(1);
        for _ in 0..20 {
            cluster.deliver_where(|letter| letter.to.node != 1);
            cluster.sync(0, 9);
            if let Some(letter) = cluster.letters.pop_front() {
                cluster.deliver(letter);
            }
            cluster.sync(1, 9);
            if cluster.nodes[1].disk.durable.log_start == Offset::new(3) {
                break;
            }
        }
        assert_eq!(cluster.nodes[1].disk.durable.log_start, Offset::new(3));
        cluster.lose_disk(0);
        cluster.letters.clear();
        cluster.crash(1);
        cluster.start(1);
        accept_loss(&mut cluster, 1);
        if writes {
            cluster.append_as(1, vec![batch(None, 1, None)], Acks::Leader);
            cluster.settle();
        }
        cluster.start(0);
        cluster.pass(2_000);
        assert_eq!(cluster.isr().len(), 2, "{writes}");
        let request = cluster.append(1, 1);
        cluster.settle();
        assert!(cluster.is_acked(request));
    }
}

#[test]
fn a_member_whose_stream_breaks_counts_for_a_moment_and_not_for_longer() {
    let mut cluster = Cluster::new(2, 2);
    let mut config = config(false);
    config.replica_lag_ms = 60_000;
    (0..2).for_each(|node| cluster.step(node, Input::Configure(config)));
    cluster.append(0, 1);
    cluster.settle();
    cluster.unlink(1);
    // It is about to attach again; nobody is refused meanwhile.
    let early = cluster.append(0, 1);
    assert!(!cluster.replies.contains_key(&early));
    cluster.settle();
    assert!(cluster.is_acked(early));
    cluster.crash(1);
    cluster.tick(1);
    let waits = cluster.append(0, 1);
    assert!(!cluster.replies.contains_key(&waits));
    cluster.tick(REATTACH_GRACE_MS - 1);
    let waits = cluster.append(0, 1);
    assert!(!cluster.replies.contains_key(&waits));
    cluster.tick(1);
    let refused = cluster.append(0, 1);
    let few = Refusal::NotEnoughReplicas {
        in_sync: 1,
        required: 2,
    };
    assert_eq!(cluster.replies[&refused], Err(few));
}

#[test]
fn a_member_that_lags_or_came_back_as_another_has_no_grace() {
    let mut cluster = Cluster::new(2, 2);
    cluster.append(0, 1);
    cluster.settle();
    cluster.crash(1);
    cluster.tick(1);
    cluster.now.monotonic_ms += LAG_MS;
    let lags = cluster.append(0, 1);
    assert!(cluster.replies[&lags].is_err());
    let mut cluster = Cluster::new(2, 2);
    cluster.crash(1);
    cluster.tick(1);
    // Its registration is another one now, and that has acknowledged nothing.
    cluster.row.register(1, true);
    let row = cluster.row.assignment(0);
    cluster.step(0, Input::Assigned(row));
    let refused = cluster.append(0, 1);
    assert!(cluster.replies[&refused].is_err());
}
