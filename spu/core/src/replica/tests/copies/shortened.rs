//! Logs that were cut: what is left of them is damaged, or cannot be read, or lies below what there was.

use super::disk::Reading;
use super::*;

/// Node 0 led and has two records that nobody else got; node 1 leads, and node 0 is about to be cut.
fn with_a_cut_under_way(copies: usize) -> Cluster {
    let mut cluster = Cluster::new(copies, 1);
    cluster.append(0, 3);
    cluster.settle();
    cluster.append_as(0, vec![batch(None, 2, None)], Acks::Leader);
    cluster.sync(0, 9);
    cluster.letters.clear();
    cluster.elect(1);
    let standing = |cluster: &Cluster| {
        let replica = cluster.nodes[0].replica.as_ref().unwrap();
        replica.standing.is_truncating()
    };
    for _ in 0..9 {
        cluster.deliver_where(|_| true);
        if standing(&cluster) {
            return cluster;
        }
        (0..copies).for_each(|node| cluster.sync(node, 9));
    }
    panic!("nothing is cut");
}

fn replica(cluster: &Cluster, node: usize) -> &Replica {
    cluster.nodes[node].replica.as_ref().unwrap()
}

#[test]
fn what_a_cut_left_and_cannot_be_read_fails_that_replica_and_says_so() {
    let mut cluster = with_a_cut_under_way(2);
    cluster.nodes[0].disk.reading = Reading::Impossible;
    cluster.settle();
    let status = cluster.status(0);
    assert_eq!(status.role, RoleName::Failed);
    assert_eq!(
        status.durable_end, status.end,
        "nobody waits for it at a stop"
    );
    assert_eq!(cluster.alarms.len(), 1);
    // A refusal, not silence.
    let request = cluster.append(0, 1);
    let failed = Refusal::LogFailed { no_space: false };
    assert_eq!(cluster.replies[&request], Err(failed));
    assert!(cluster.leads(1), "the others go on");
}

#[test]
fn a_failure_to_read_after_no_cut_means_nothing() {
    let mut cluster = Cluster::new(2, 1);
    cluster.step(1, Input::TruncationFailed);
    assert_eq!(cluster.status(1).role, RoleName::Following);
}

#[test]
fn what_a_cut_left_and_is_damaged_follows_and_leaves_the_set_and_does_not_lead() {
    let mut cluster = with_a_cut_under_way(3);
    cluster.nodes[0].disk.reading = Reading::Rotten;
    cluster.settle();
    assert!(!replica(&cluster, 0).standing.intact);
    assert!(
        !replica(&cluster, 0).standing.is_whole,
        "its ledger ends at the rot"
    );
    cluster.pass(500);
    assert_eq!((cluster.isr(), cluster.end(0)), (vec![1, 2], 3));
    let survey = |cluster: &mut Cluster| {
        let (now, epoch) = (cluster.now, LeaderEpoch(cluster.row.epoch));
        let replica = cluster.nodes[0].replica.as_mut().unwrap();
        replica.survey(now, epoch).map(|survey| survey.intact)
    };
    cluster.row.fence(1);
    cluster.row.fence(2);
    cluster.crash(1);
    cluster.crash(2);
    cluster.row.leader = None;
    cluster.tell_rows();
    cluster.settle();
    assert_eq!(survey(&mut cluster), Some(false));
}

#[test]
fn a_copy_that_is_named_leader_while_it_is_cut_does_not_lead_when_what_is_left_is_damaged() {
    let mut cluster = with_a_cut_under_way(2);
    cluster.nodes[0].disk.reading = Reading::Rotten;
    cluster.elect(0);
    cluster.settle();
    assert!(!cluster.leads(0));
    assert_eq!(cluster.alarms.len(), 1);
}

#[test]
fn a_high_watermark_of_before_a_cut_is_not_noted_behind_it() {
    let mut cluster = with_a_cut_under_way(2);
    let standing = &mut cluster.nodes[0].replica.as_mut().unwrap().standing;
    // An operator accepted the loss: what is cut was committed.
    standing.high_watermark = Offset::new(5);
    let (now, replica) = (cluster.now, cluster.nodes[0].replica.as_mut().unwrap());
    let effects = replica.step(now, Input::Checkpoint);
    assert!(effects.is_empty(), "{effects:?}");
}

#[test]
fn an_attach_that_nobody_answers_is_asked_anew_after_a_time() {
    let mut cluster = Cluster::new(2, 1);
    cluster.unlink(1);
    let lost = cluster.take_where(|letter| matches!(letter.message, Message::Attach { .. }));
    assert_eq!(lost.len(), 1);
    let before = replica(&cluster, 1).standing.attempts;
    assert!(replica(&cluster, 1).is_unsettled(), "its time is looked at");
    cluster.tick(ATTACH_ANSWER_MS_MAX - 1);
    assert_eq!(replica(&cluster, 1).standing.attempts, before);
    cluster.tick(1);
    assert_eq!(replica(&cluster, 1).standing.attempts, before + 1);
    // The first answer comes after all, and is nobody's.
    lost.into_iter().for_each(|letter| cluster.deliver(letter));
    cluster.pass(500);
    let request = cluster.append(0, 1);
    cluster.settle();
    assert!(cluster.is_acked(request));
    assert!(!replica(&cluster, 1).is_unsettled());
    assert_eq!(cluster.end(1), 1);
}

#[test]
fn attempts_of_a_replica_are_not_those_of_one_before_it_in_the_same_process() {
    let mut cluster = Cluster::new(2, 1);
    let mut facts = cluster.nodes[1].disk.facts(SpuId(1), Incarnation(7));
    facts.attempts_from = 5 << 32;
    let mut second = Replica::new(facts);
    let row = cluster.row.assignment(1);
    let mut effects = second.step(cluster.now, Input::Assigned(row));
    let epoch = LeaderEpoch(cluster.row.epoch);
    effects.extend(second.step(cluster.now, Input::Persisted { epoch }));
    let attempt = effects.iter().find_map(|effect| match effect {
        Effect::Attach { attempt, .. } => Some(*attempt),
        _ => None,
    });
    assert_eq!(attempt, Some((5 << 32) + 1));
    cluster.letters.clear();
}

#[test]
#[should_panic(expected = "below the high watermark")]
fn a_log_that_comes_back_from_a_cut_without_what_was_committed_is_not_gone_on_with() {
    let mut cluster = with_a_cut_under_way(2);
    let mut found = cluster.nodes[0].disk.truncated();
    found.end = Offset::new(2);
    let now = cluster.now;
    let replica = cluster.nodes[0].replica.as_mut().unwrap();
    replica.step(now, Input::Truncated(Box::new(found)));
}
