//! Bugs that others had, by the numbers of the replication contract, and what the rules say in short scenes.

use super::*;

/// A marker of each epoch and the batches, as (offset, epoch, records).
fn shape(cluster: &Cluster, node: usize) -> Vec<(u64, u64, u32)> {
    let batches = cluster.nodes[node].disk.log.batches.iter();
    let of = |batch: &Batch| {
        let at = &batch.placement;
        (at.base_offset.get(), at.leader_epoch.0, batch.client.span())
    };
    batches.map(of).collect()
}

fn epoch(cluster: &Cluster, node: usize) -> u64 {
    cluster.status(node).meta.leader_epoch.0
}

fn is_proposal(letter: &Letter) -> bool {
    matches!(letter.message, Message::Propose(_))
}

fn is_row(letter: &Letter) -> bool {
    matches!(letter.message, Message::Hear(Input::Assigned(_)))
}

#[test]
fn three_copies_commit_what_all_of_them_have_and_end_alike() {
    let mut cluster = Cluster::new(3, 2);
    let request = cluster.append(0, 3);
    assert!(!cluster.is_acked(request));
    cluster.settle();
    assert!(cluster.is_acked(request));
    assert_eq!([0, 1, 2].map(|node| cluster.high_watermark(node)), [3; 3]);
    assert_eq!(shape(&cluster, 1), [(0, 1, 0), (0, 1, 3)]);
    assert_eq!(shape(&cluster, 0), shape(&cluster, 2));
    assert!(cluster.alarms.is_empty(), "{:?}", cluster.alarms);
}

#[test]
fn r_01_a_follower_that_restarts_before_it_heard_the_high_watermark_and_then_leads_keeps_what_was_acked()
 {
    let mut cluster = Cluster::new(2, 2);
    let request = cluster.append(0, 2);
    // The follower has it on disk and says so; what is committed is never told.
    cluster.pump(0, 9);
    cluster.deliver_where(|_| true);
    cluster.sync(0, 9);
    cluster.sync(1, 9);
    cluster.deliver_where(|_| true);
    assert!(cluster.is_acked(request));
    assert_eq!(cluster.high_watermark(1), 0);
    cluster.crash(1);
    cluster.start(1);
    cluster.lose(0);
    cluster.settle();
    assert!(cluster.leads(1));
    cluster.start(0);
    cluster.settle();
    assert_eq!([0, 1].map(|node| cluster.high_watermark(node)), [2, 2]);
    assert_eq!(shape(&cluster, 0), shape(&cluster, 1));
}

#[test]
fn r_02_two_quick_failovers_cut_at_the_right_place() {
    let mut cluster = Cluster::new(3, 2);
    cluster.append(0, 2);
    cluster.settle();
    // Each of two leaders appends what nobody else gets.
    cluster.append(0, 1);
    cluster.sync(0, 9);
    cluster.lose(0);
    cluster.deliver_where(is_row);
    cluster.sync(1, 9);
    cluster.append_as(1, vec![batch(None, 2, None)], Acks::Leader);
    cluster.sync(1, 9);
    cluster.letters.clear();
    cluster.crash(1);
    cluster.row.fence(1);
    cluster.row.elect(2);
    cluster.row.min_isr = 1;
    cluster.tell_rows();
    cluster.settle();
    assert!(cluster.leads(2) || cluster.row.leader == Some(1));
    cluster.start(1);
    cluster.start(0);
    cluster.pass(3_000);
    let logs = [0, 1, 2].map(|node| shape(&cluster, node));
    assert!(logs[0] == logs[1] && logs[1] == logs[2], "{logs:?}");
    assert_eq!(cluster.isr().len(), 3);
}

#[test]
fn r_02_of_an_epoch_that_a_copy_never_had_its_own_end_before_it_counts() {
    let mut cluster = Cluster::new(3, 1);
    cluster.append(0, 2);
    cluster.settle();
    // In turn two copies lead alone for a moment, and append what reaches nobody.
    for (node, count) in [(2, 3), (1, 4)] {
        cluster.elect(node);
        cluster.deliver_where(|letter| letter.to.node == node);
        cluster.sync(node, 9);
        assert!(cluster.leads(node));
        cluster.append_as(node, vec![batch(None, count, None)], Acks::Leader);
        cluster.sync(node, 9);
        cluster.letters.clear();
    }
    cluster.elect(2);
    cluster.pass(500);
    assert_eq!(shape(&cluster, 1), shape(&cluster, 2));
    assert_eq!([0, 1, 2].map(|node| cluster.end(node)), [5; 3]);
}

#[test]
fn r_03_a_delayed_diverged_answer_of_another_epoch_cuts_nothing() {
    let mut cluster = Cluster::new(3, 2);
    cluster.append(0, 4);
    cluster.settle();
    let attempt = cluster.nodes[1].replica.as_ref().unwrap().standing.attempts;
    for (attempt, epoch) in [(attempt, 1), (attempt + 1, 1), (attempt, 2)] {
        let answer = AttachAnswer::Diverged {
            leader_epoch: LeaderEpoch(epoch),
            epoch: LeaderEpoch(0),
            end: Offset::new(1),
        };
        cluster.step(
            1,
            Input::AttachAnswered {
                attempt,
                answer,
                snapshot: None,
            },
        );
        assert_eq!(cluster.end(1), 4);
    }
    // Asked anew in the next epoch, the answer of the one before comes first.
    cluster.elect(2);
    cluster.deliver_where(is_row);
    cluster.sync(1, 9);
    let attempt = cluster.nodes[1].replica.as_ref().unwrap().standing.attempts;
    let answer = AttachAnswer::Diverged {
        leader_epoch: LeaderEpoch(1),
        epoch: LeaderEpoch(0),
        end: Offset::new(1),
    };
    cluster.step(
        1,
        Input::AttachAnswered {
            attempt,
            answer,
            snapshot: None,
        },
    );
    assert_eq!(
        (cluster.end(1), cluster.status(1).role),
        (4, RoleName::Following)
    );
    cluster.pass(300);
    assert_eq!(shape(&cluster, 1), shape(&cluster, 2));
}

#[test]
fn r_04_an_idle_epoch_has_an_entry_in_the_log_and_two_failovers_later_all_is_alike() {
    let mut cluster = Cluster::new(3, 2);
    cluster.append(0, 2);
    cluster.settle();
    for next in [1, 2, 0] {
        cluster.elect(next);
        cluster.settle();
        assert!(cluster.leads(next) && cluster.status(next).is_latest_known);
    }
    let expected = [(0, 1, 0), (0, 1, 2), (2, 2, 0), (2, 3, 0), (2, 4, 0)];
    for node in 0..3 {
        assert_eq!(shape(&cluster, node), expected);
    }
}

#[test]
fn a_marker_that_nobody_else_got_is_cut_off_again() {
    let mut cluster = Cluster::new(3, 2);
    cluster.append(0, 2);
    cluster.settle();
    // Node 1 leads for a moment: its marker reaches nobody.
    cluster.elect(1);
    cluster.deliver_where(|letter| letter.to.node == 1);
    cluster.sync(1, 9);
    cluster.sync(1, 9);
    assert!(cluster.leads(1));
    cluster.letters.clear();
    cluster.lose(1);
    cluster.settle();
    cluster.start(1);
    cluster.settle();
    let leader = cluster.row.leader.unwrap();
    assert_eq!(shape(&cluster, 1), shape(&cluster, leader));
    assert!(!shape(&cluster, 1).contains(&(2, 2, 0)));
}

/// Node 2 is away until the set is without it, and comes back: the proposal to add it is under way.
fn with_an_expansion_under_way() -> Cluster {
    let mut cluster = Cluster::new(3, 2);
    cluster.lose(2);
    cluster.pass(100);
    assert_eq!(cluster.isr(), [0, 1]);
    cluster.append(0, 1);
    cluster.settle();
    cluster.start(2);
    for _ in 0..20 {
        cluster.deliver_where(|letter| !is_proposal(letter));
        (0..3).for_each(|node| cluster.sync(node, 9));
        (0..3).for_each(|node| cluster.pump(node, 9));
    }
    let leader = cluster.nodes[0].replica.as_ref().unwrap();
    assert!(cluster.letters.iter().any(is_proposal), "{:?}", leader.role);
    cluster
}

#[test]
fn r_05_while_an_expansion_is_under_way_whoever_is_to_be_added_holds_the_high_watermark() {
    for answer_is_lost in [true, false] {
        let mut cluster = with_an_expansion_under_way();
        let proposal = cluster.take_where(is_proposal).remove(0);
        let request = cluster.append(0, 1);
        // Node 2 gets nothing more; the others have it.
        let to_2 = |letter: &Letter| letter.to.node == 2;
        for _ in 0..4 {
            cluster.pump(0, 9);
            cluster.take_where(to_2);
            cluster.deliver_where(|letter| !is_proposal(letter));
            cluster.sync(0, 9);
            cluster.sync(1, 9);
        }
        assert!(
            !cluster.is_acked(request),
            "node 2 may be in the set already"
        );
        if answer_is_lost {
            cluster.deliver(proposal);
            cluster.letters.clear();
            assert_eq!(cluster.isr().len(), 3);
            // Elected, it must have all that was acknowledged.
            cluster.lose(0);
            cluster.settle();
        }
        cluster.tell_rows();
        cluster.pass(3_000);
        let leader = cluster.row.leader.unwrap();
        assert!(cluster.leads(leader));
    }
}

#[test]
fn r_05_while_a_shrink_is_under_way_whoever_is_to_leave_holds_the_high_watermark() {
    let mut cluster = Cluster::new(3, 2);
    cluster.crash(2);
    let request = cluster.append(0, 1);
    for _ in 0..12 {
        cluster.tick(100);
        cluster.pump(0, 9);
        cluster.deliver_where(|letter| !is_proposal(letter));
        (0..2).for_each(|node| cluster.sync(node, 9));
    }
    let proposals = cluster.take_where(is_proposal);
    assert!(!proposals.is_empty() && !cluster.is_acked(request));
    let Message::Propose(first) = proposals[0].message.clone() else {
        unreachable!()
    };
    let answer = Input::IsrAnswered {
        version: first.version,
        outcome: IsrOutcome::Accepted {
            version: first.version + 1,
        },
    };
    cluster.step(0, answer);
    assert!(
        !cluster.is_acked(request),
        "an answer settles nothing: only a row does"
    );
    cluster.deliver(proposals[0].clone());
    cluster.settle();
    assert!(cluster.is_acked(request));
    assert_eq!(cluster.isr(), [0, 1]);
}

#[test]
fn r_05b_a_refused_proposal_counts_until_a_cancel_or_its_late_double_settles_it() {
    let mut cluster = with_an_expansion_under_way();
    let proposal = cluster.take_where(is_proposal).remove(0);
    let Message::Propose(wish) = proposal.message.clone() else {
        unreachable!()
    };
    let refused = Input::IsrAnswered {
        version: wish.version,
        outcome: IsrOutcome::Refused {
            reason: IsrRefusal::NotCurrent,
            version: wish.version,
        },
    };
    cluster.step(0, refused);
    let cancels = cluster.take_where(is_proposal);
    let Message::Propose(cancel) = cancels[0].message.clone() else {
        unreachable!()
    };
    assert_eq!((cancel.version, cancel.isr.len()), (wish.version, 2));
    // The double of what was refused is carried out after all, before the cancel.
    cluster.deliver(proposal);
    cluster.take_where(is_row);
    let request = cluster.append(0, 1);
    for _ in 0..4 {
        cluster.pump(0, 9);
        cluster.take_where(|letter| letter.to.node == 2);
        cluster.deliver_where(|letter| !is_proposal(letter));
        cluster.sync(0, 9);
        cluster.sync(1, 9);
    }
    assert!(!cluster.is_acked(request));
    cluster.tell_rows();
    cluster.pass(3_000);
    assert!(cluster.is_acked(request));
}

#[test]
fn r_06_an_emptied_disk_is_not_added_by_a_late_proposal() {
    let mut cluster = with_an_expansion_under_way();
    let proposal = cluster.take_where(is_proposal).remove(0);
    cluster.lose_disk(2);
    cluster.start(2);
    cluster.deliver(proposal);
    assert!(!cluster.isr().contains(&2));
    cluster.settle();
    cluster.pass(500);
    assert_eq!(cluster.isr().len(), 3);
    assert_eq!(cluster.end(2), 1);
}

#[test]
fn r_07_the_last_copy_in_sync_comes_back_from_a_power_loss_with_all_that_was_acked() {
    let mut cluster = Cluster::new(2, 1);
    cluster.lose(1);
    cluster.pass(100);
    assert_eq!(cluster.isr(), [0]);
    let request = cluster.append(0, 2);
    cluster.settle();
    cluster.append(0, 5);
    assert!(cluster.is_acked(request));
    cluster.crash(0);
    cluster.start(1);
    cluster.settle();
    assert!(!cluster.leads(1), "nothing is elected uncleanly");
    cluster.start(0);
    cluster.settle();
    assert!(cluster.leads(0));
    assert_eq!([0, 1].map(|node| cluster.high_watermark(node)), [2, 2]);
}

#[test]
fn r_08_a_copy_that_left_and_was_added_again_is_another_one() {
    let mut cluster = Cluster::new(3, 2);
    cluster.append(0, 2);
    cluster.settle();
    cluster.unlink(2);
    let attach = cluster.take_where(|letter| matches!(letter.message, Message::Attach { .. }));
    // Meanwhile its place in the row went to a new copy; the old one still asks.
    cluster.row.replace(2);
    let row = cluster.row.assignment(0);
    cluster.step(0, Input::Assigned(row));
    cluster.sync(0, 9);
    assert!(cluster.leads(0));
    for letter in attach {
        let Message::Attach {
            from,
            attempt,
            mut request,
        } = letter.message
        else {
            unreachable!()
        };
        request.leader_epoch = LeaderEpoch(epoch(&cluster, 0));
        cluster.deliver(Letter {
            to: letter.to,
            message: Message::Attach {
                from,
                attempt,
                request,
            },
        });
    }
    let members = cluster.nodes[0]
        .replica
        .as_ref()
        .unwrap()
        .members(cluster.now);
    assert!(
        members
            .iter()
            .all(|member| member.spu != SpuId(2) || !member.is_attached)
    );
}

#[test]
fn r_11_what_was_caught_up_is_acknowledged_only_when_it_is_on_the_disk() {
    let mut cluster = Cluster::new(2, 2);
    cluster.crash(1);
    let request = cluster.append(0, 4);
    cluster.settle();
    cluster.start(1);
    for _ in 0..6 {
        cluster.deliver_where(|_| true);
        if cluster.end(1) == 4 {
            break;
        }
        cluster.sync(1, 9);
        cluster.pump(0, 9);
    }
    assert_eq!(cluster.end(1), 4);
    assert!(!cluster.is_acked(request), "it is in memory only");
    cluster.settle();
    assert!(cluster.is_acked(request));
}

#[test]
fn r_15_a_new_copy_during_a_partition_of_the_network_counts_for_nothing_until_it_has_all() {
    let mut cluster = Cluster::new(3, 2);
    let request = cluster.append(0, 3);
    cluster.settle();
    cluster.lose_disk(2);
    cluster.start(2);
    // It reaches nobody; the others go on.
    for _ in 0..20 {
        cluster.tick(100);
        cluster.take_where(|letter| letter.to.node == 2 && !is_row(letter));
        cluster.deliver_where(|_| true);
        (0..3).for_each(|node| cluster.sync(node, 9));
        (0..3).for_each(|node| cluster.pump(node, 9));
    }
    assert!(cluster.is_acked(request) && !cluster.isr().contains(&2));
    cluster.unlink(2);
    cluster.pass(500);
    assert!(cluster.isr().contains(&2));
    assert_eq!(cluster.high_watermark(2), 3);
}

#[test]
fn r_16_acks_that_race_a_later_epoch_commit_nothing() {
    let mut cluster = Cluster::new(3, 2);
    let request = cluster.append(0, 1);
    cluster.pump(0, 9);
    // Both followers have accepted a later epoch when the batches come; the leader knows nothing of it.
    cluster.elect(1);
    cluster.deliver_where(|letter| is_row(letter) && letter.to.node != 0);
    (1..3).for_each(|node| cluster.sync(node, 9));
    cluster.take_where(is_row);
    for _ in 0..4 {
        cluster.deliver_where(|_| true);
        (0..3).for_each(|node| cluster.sync(node, 9));
    }
    assert!(cluster.leads(0) && cluster.leads(1));
    assert!(!cluster.is_acked(request));
    cluster.tell_rows();
    cluster.settle();
    assert_eq!(cluster.replies[&request], Err(Refusal::OutcomeUnknown));
}

#[test]
fn r_18_a_late_row_of_an_earlier_epoch_does_not_stop_a_leader() {
    let mut cluster = Cluster::new(3, 2);
    cluster.elect(1);
    let late = cluster.row.assignment(0);
    cluster.settle();
    cluster.elect(0);
    cluster.settle();
    assert!(cluster.leads(0));
    cluster.step(0, Input::Assigned(late));
    assert!(cluster.leads(0));
    let request = cluster.append(0, 1);
    cluster.settle();
    assert!(cluster.is_acked(request));
}

#[test]
fn r_19_r_20_a_copy_that_is_a_little_behind_is_not_elected_and_repeats_are_found_by_the_next_leader()
 {
    let mut cluster = Cluster::new(3, 1);
    cluster.crash(2);
    cluster.pass(1_100);
    let stamped = |seq| vec![batch(Some((7, 0, seq)), 1, None)];
    let first = cluster.append_as(0, stamped(0), Acks::Quorum);
    cluster.settle();
    let second = cluster.append_as(0, stamped(1), Acks::Quorum);
    cluster.settle();
    assert!(cluster.is_acked(first) && cluster.is_acked(second));
    cluster.start(2);
    cluster.deliver_where(|_| true);
    cluster.lose(0);
    cluster.settle();
    assert!(cluster.leads(1), "two records behind is behind");
    let again = cluster.append_as(1, stamped(1), Acks::Quorum);
    cluster.settle();
    let answer = cluster.replies[&again].unwrap();
    assert!(answer.duplicate && answer.base_offset == Offset::new(1));
}

#[test]
fn r_21_r_22_a_copy_that_was_reset_knows_producers_whose_records_are_gone() {
    let mut cluster = Cluster::new(3, 2);
    let stamped = |seq| vec![batch(Some((7, 0, seq)), 2, None)];
    cluster.append_as(0, stamped(0), Acks::Quorum);
    cluster.settle();
    cluster.lose_disk(2);
    cluster.settle();
    cluster.append(0, 3);
    cluster.settle();
    cluster.step(0, Input::Retain { to: Offset::new(3) });
    cluster.settle();
    cluster.append(0, 1);
    cluster.settle();
    cluster.start(2);
    cluster.pass(1_000);
    assert_eq!(cluster.isr().len(), 3, "its ledger is durable");
    cluster.elect(2);
    cluster.settle();
    let again = cluster.append_as(2, stamped(0), Acks::Quorum);
    let unsafe_start = cluster.append_as(2, vec![batch(Some((9, 0, 4)), 1, None)], Acks::Quorum);
    cluster.settle();
    let answer = cluster.replies[&again].unwrap();
    assert!(answer.duplicate && answer.base_offset == Offset::ZERO);
    cluster.pass(1_100);
    let unknown = Refusal::UnknownProducer {
        producer: ProducerId(9),
    };
    assert_eq!(cluster.replies[&unsafe_start], Err(unknown));
}

#[test]
fn a_shipped_ledger_counts_only_when_it_is_durable() {
    let mut cluster = Cluster::new(3, 2);
    cluster.append_as(0, vec![batch(Some((7, 0, 0)), 2, None)], Acks::Quorum);
    cluster.settle();
    cluster.lose_disk(2);
    cluster.settle();
    cluster.step(0, Input::Retain { to: Offset::new(2) });
    cluster.append(0, 3);
    cluster.settle();
    cluster.step(0, Input::Snapshot);
    cluster.settle();
    cluster.start(2);
    for _ in 0..30 {
        cluster.tick(100);
        (0..2).for_each(|node| cluster.sync(node, 9));
        let before = cluster.nodes[2].disk.unsynced_before_snapshot();
        cluster.sync(2, before.unwrap_or(9));
        cluster.deliver_where(|_| true);
        (0..3).for_each(|node| cluster.pump(node, 9));
    }
    let disk = &cluster.nodes[2].disk;
    assert_eq!(
        (disk.durable.end.get(), disk.unsynced_before_snapshot()),
        (5, Some(0))
    );
    assert!(!cluster.isr().contains(&2));
    cluster.pass(500);
    assert!(cluster.isr().contains(&2));
}

#[test]
fn r_24_the_epoch_is_the_greater_of_metadata_and_log() {
    let mut cluster = Cluster::new(3, 2);
    cluster.elect(1);
    cluster.append(1, 1);
    cluster.settle();
    cluster.crash(1);
    cluster.nodes[1].disk.durable.meta.leader_epoch = LeaderEpoch(1);
    let facts = cluster.nodes[1].disk.facts(SpuId(1), Incarnation(1));
    assert_eq!(
        Replica::new(facts).status().meta.leader_epoch,
        LeaderEpoch(2)
    );
}

#[test]
fn r_25_a_new_leader_with_few_in_sync_admits_a_copy_and_is_written_to_again() {
    let mut cluster = Cluster::new(3, 2);
    cluster.lose(2);
    cluster.pass(100);
    assert_eq!(cluster.isr(), [0, 1]);
    cluster.append(0, 2);
    cluster.settle();
    cluster.lose(0);
    cluster.pass(2_000);
    assert!(cluster.leads(1));
    let refused = cluster.append(1, 1);
    let few = Refusal::NotEnoughReplicas {
        in_sync: 1,
        required: 2,
    };
    assert_eq!(cluster.replies[&refused], Err(few));
    cluster.start(2);
    cluster.pass(1_500);
    assert_eq!(cluster.isr(), [1, 2]);
    let request = cluster.append(1, 1);
    cluster.settle();
    assert!(cluster.is_acked(request));
}

#[test]
fn a_slow_member_leaves_and_comes_back_and_never_below_the_minimum() {
    let mut cluster = Cluster::new(3, 2);
    cluster.append(0, 1);
    cluster.settle();
    cluster.crash(2);
    cluster.crash(1);
    cluster.pass(3_000);
    assert_eq!(cluster.isr().len(), 3, "without them nothing is gained");
    assert!(cluster.leads(0));
    cluster.start(1);
    cluster.pass(1_500);
    assert_eq!(cluster.isr(), [0, 1]);
    cluster.start(2);
    cluster.pass(1_500);
    assert_eq!(cluster.isr().len(), 3);
}

#[test]
fn nothing_committed_is_cut_whatever_a_leader_says() {
    let mut cluster = Cluster::new(2, 2);
    cluster.append(0, 4);
    cluster.settle();
    cluster.unlink(1);
    cluster.letters.clear();
    let attempt = cluster.nodes[1].replica.as_ref().unwrap().standing.attempts;
    let answer = AttachAnswer::Diverged {
        leader_epoch: LeaderEpoch(1),
        epoch: LeaderEpoch(1),
        end: Offset::new(3),
    };
    cluster.step(
        1,
        Input::AttachAnswered {
            attempt,
            answer,
            snapshot: None,
        },
    );
    assert_eq!(
        (cluster.status(1).role, cluster.end(1)),
        (RoleName::Failed, 4)
    );
    assert_eq!(cluster.alarms.len(), 1);
}

#[test]
fn until_its_marker_is_committed_a_leader_does_not_say_what_the_latest_is() {
    let mut cluster = Cluster::new(3, 2);
    cluster.elect(1);
    cluster.deliver_where(|letter| letter.to.node == 1);
    cluster.sync(1, 9);
    cluster.sync(1, 9);
    assert!(cluster.leads(1) && !cluster.status(1).is_latest_known);
    cluster.settle();
    assert!(cluster.status(1).is_latest_known);
}

#[test]
fn a_damaged_copy_follows_and_is_never_proposed() {
    let mut cluster = Cluster::new(3, 2);
    cluster.crash(2);
    cluster.nodes[2].disk.is_intact = false;
    cluster.start(2);
    cluster.append(0, 2);
    cluster.pass(2_000);
    assert_eq!((cluster.end(2), cluster.isr()), (2, vec![0, 1]));
}

#[test]
fn a_keyed_request_of_which_half_survived_a_failover_is_completed_by_its_repetition() {
    let mut cluster = Cluster::new(2, 1);
    let request = || vec![batch(None, 2, Some([9; 16])), batch(None, 3, Some([9; 16]))];
    cluster.append_as(0, request(), Acks::Quorum);
    cluster.sync(0, 9);
    cluster.pump(0, 1);
    cluster.deliver_where(|_| true);
    cluster.sync(1, 9);
    cluster.letters.clear();
    cluster.lose(0);
    cluster.settle();
    assert!(cluster.leads(1));
    assert_eq!(cluster.end(1), 2, "half of it is there");
    let again = cluster.append_as(1, request(), Acks::Quorum);
    cluster.settle();
    let outcome = cluster.replies.get(&again).cloned();
    assert!(
        matches!(outcome, Some(Ok(_))),
        "{outcome:?}, end {}",
        cluster.end(1)
    );
    assert_eq!(cluster.end(1), 5);
}

#[test]
fn after_durability_is_altered_copies_of_before_count_no_more() {
    let mut cluster = Cluster::new(2, 2);
    for node in 0..2 {
        cluster.step(node, Input::Configure(config(true)));
    }
    cluster.append(0, 1);
    cluster.settle();
    // The leader hears of the change first; a change of durability has an epoch of its own.
    let alter = |cluster: &mut Cluster, node: usize| {
        let row = cluster.row.assignment(node);
        cluster.step(node, Input::Assigned(row));
        cluster.step(node, Input::Configure(config(false)));
    };
    cluster.row.elect(0);
    alter(&mut cluster, 0);
    cluster.sync(0, 9);
    let request = cluster.append(0, 2);
    let end = cluster.end(0);
    cluster.pump(0, 9);
    cluster.deliver_where(|_| true);
    // The follower says what it has written, as it did before.
    let position = LogPosition {
        end: Offset::new(cluster.end(1)),
        last_epoch: Some(LeaderEpoch(1)),
    };
    cluster.step(1, Input::Written { round: 0, position });
    cluster.sync(0, 9);
    cluster.deliver_where(|_| true);
    assert!(!cluster.is_acked(request), "one disk has it, of {end}");
    alter(&mut cluster, 1);
    cluster.settle();
    let request = cluster.append(0, 2);
    cluster.settle();
    assert!(cluster.is_acked(request));
}

#[test]
fn a_repetition_of_what_is_stored_is_answered_when_too_few_copies_are_there() {
    let mut cluster = Cluster::new(2, 2);
    let request = || vec![batch(None, 2, Some([9; 16]))];
    let first = cluster.append_as(0, request(), Acks::Quorum);
    cluster.settle();
    assert!(cluster.is_acked(first));
    cluster.crash(1);
    cluster.pass(2_000);
    let again = cluster.append_as(0, request(), Acks::Quorum);
    let outcome = cluster.replies.get(&again).cloned();
    assert!(matches!(outcome, Some(Ok(_))), "{outcome:?}");
}
