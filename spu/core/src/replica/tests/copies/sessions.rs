//! Who may attach, whose acknowledgements count, and what an accepted loss allows.

use super::*;

const OF: SessionId = SessionId(900);

/// What node 1 would say of itself now.
fn request(cluster: &Cluster) -> AttachRequest {
    let replica = cluster.nodes[1].replica.as_ref().unwrap();
    AttachRequest {
        follower: IsrMember {
            spu: SpuId(1),
            incarnation: Incarnation(cluster.nodes[1].incarnation),
        },
        replica_gen: replica.status().meta.replica_gen,
        leader_epoch: replica.status().meta.leader_epoch,
        log_start: Offset::ZERO,
        position: replica.position(),
        is_whole: true,
        is_intact: true,
    }
}

/// What the leader answers; the session is the shell's own.
fn ask(cluster: &mut Cluster, session: u64, request: AttachRequest) -> AttachAnswer {
    let input = Input::Attach {
        session: SessionId(session),
        request,
        readable_from: Offset::ZERO,
    };
    let now = cluster.now;
    let effects = cluster.nodes[0].replica.as_mut().unwrap().step(now, input);
    let answer = effects.iter().find_map(|effect| match effect {
        Effect::Attached { answer, .. } => Some(*answer),
        _ => None,
    });
    answer.expect("each attach is answered")
}

fn reason(answer: AttachAnswer) -> Option<AttachRefusal> {
    match answer {
        AttachAnswer::Refused { reason, .. } => Some(reason),
        _ => None,
    }
}

fn ack(cluster: &mut Cluster, session: SessionId, end: u64) {
    let input = Input::Acked {
        session,
        position: LogPosition {
            end: Offset::new(end),
            last_epoch: Some(LeaderEpoch(1)),
        },
        ledger_as_of: None,
    };
    let now = cluster.now;
    cluster.nodes[0].replica.as_mut().unwrap().step(now, input);
}

#[test]
fn an_attach_of_another_epoch_copy_or_earlier_registration_is_refused() {
    let mut cluster = Cluster::new(2, 2);
    let good = request(&cluster);
    let epoch = |leader_epoch| AttachRequest {
        leader_epoch: LeaderEpoch(leader_epoch),
        ..good
    };
    assert_eq!(
        reason(ask(&mut cluster, 901, epoch(0))),
        Some(AttachRefusal::EpochBehind)
    );
    assert_eq!(
        reason(ask(&mut cluster, 902, epoch(2))),
        Some(AttachRefusal::EpochAhead)
    );
    let mut stranger = good;
    stranger.follower.spu = SpuId(7);
    assert_eq!(
        reason(ask(&mut cluster, 903, stranger)),
        Some(AttachRefusal::NotReplica)
    );
    let mut earlier = good;
    earlier.follower.incarnation = Incarnation(1);
    assert_eq!(
        reason(ask(&mut cluster, 904, earlier)),
        Some(AttachRefusal::Superseded)
    );
    assert_eq!(reason(ask(&mut cluster, 905, good)), None);
}

#[test]
fn what_was_acknowledged_counts_in_its_own_attach_only() {
    let mut cluster = Cluster::new(2, 2);
    cluster.append(0, 3);
    cluster.sync(0, 9);
    let good = request(&cluster);
    assert_eq!(reason(ask(&mut cluster, OF.0, good)), None);
    assert_eq!(reason(ask(&mut cluster, OF.0 + 1, good)), None);
    ack(&mut cluster, OF, 3);
    assert_eq!(cluster.high_watermark(0), 0, "the attach before is over");
    ack(&mut cluster, SessionId(OF.0 + 1), 2);
    assert_eq!(cluster.high_watermark(0), 2);
}

#[test]
fn a_later_registration_of_a_member_does_not_count_for_the_one_that_the_row_names() {
    let mut cluster = Cluster::new(2, 2);
    cluster.append(0, 3);
    cluster.sync(0, 9);
    let mut later = request(&cluster);
    later.follower.incarnation = Incarnation(500);
    assert_eq!(reason(ask(&mut cluster, OF.0, later)), None);
    ack(&mut cluster, OF, 3);
    assert_eq!(cluster.high_watermark(0), 0);
}

#[test]
fn after_an_accepted_loss_what_was_committed_may_be_cut_once_and_also_after_a_restart() {
    for restarts in [false, true] {
        let mut cluster = Cluster::new(2, 1);
        cluster.append(0, 4);
        cluster.settle();
        // The other copy is made the leader with less than was committed.
        cluster.crash(0);
        let accepted = &mut cluster.nodes[1].disk;
        accepted.submit(Entry::Truncate(Truncation::Cut { to: Offset::ZERO }));
        accepted.sync(9);
        cluster.truth = Truth::default();
        cluster.crash(1);
        cluster.row.recovery_gen = 1;
        cluster.row.isr.retain(|member| member.spu == SpuId(1));
        cluster.start(1);
        cluster.elect(1);
        cluster.settle();
        cluster.append(1, 1);
        cluster.settle();
        cluster.start(0);
        if restarts {
            // The epoch is durable, and what to cut is not known yet.
            cluster.deliver_where(|letter| {
                matches!(letter.message, Message::Hear(Input::Assigned(_)))
            });
            cluster.sync(0, 1);
            assert_eq!(
                cluster.nodes[0].disk.durable.meta.leader_epoch.0,
                cluster.row.epoch
            );
            cluster.crash(0);
            cluster.start(0);
        }
        cluster.pass(1_000);
        assert_eq!(
            (cluster.end(0), cluster.status(0).role),
            (1, RoleName::Following)
        );
        assert_eq!(cluster.status(0).meta.recovery_gen, 1);
        assert!(cluster.alarms.is_empty());
    }
}

#[test]
fn a_damaged_copy_leads_when_an_operator_accepted_the_loss_and_not_otherwise() {
    for accepted in [false, true] {
        let mut cluster = Cluster::cold(1, 1);
        cluster.start(0);
        cluster.elect(0);
        cluster.settle();
        cluster.crash(0);
        cluster.nodes[0].disk.is_intact = false;
        cluster.start(0);
        cluster.row.isr = vec![IsrMember {
            spu: SpuId(0),
            incarnation: Incarnation(cluster.nodes[0].incarnation),
        }];
        cluster.row.recovery_gen = u64::from(accepted);
        cluster.elect(0);
        cluster.settle();
        assert_eq!(cluster.leads(0), accepted);
        assert_eq!(cluster.alarms.len(), 1);
    }
}

#[test]
fn an_epoch_that_names_two_leaders_stops_the_replica() {
    for node in [0, 1] {
        let mut cluster = Cluster::new(3, 2);
        let mut row = cluster.row.assignment(node);
        row.leader = Some(SpuId(2));
        row.version += 1;
        let waits = cluster.append(0, 1);
        cluster.step(node, Input::Assigned(row));
        assert_eq!(cluster.status(node).role, RoleName::Idle);
        assert_eq!(cluster.alarms, ["one epoch names two leaders"]);
        if node == 0 {
            assert_eq!(cluster.replies[&waits], Err(Refusal::OutcomeUnknown));
        }
    }
}
