//! What a link has to say, without the streams that it is said on.

use tidegate_proto::control::IsrMember;
use tidegate_proto::id::{Incarnation, PartitionId, ReplicaGen, TopicId};
use tidegate_proto::position::LeaderEpoch;
use uuid::Uuid;

use super::*;

fn key(partition: u32) -> ReplicaKey {
    ReplicaKey {
        topic_id: TopicId::from_bytes([1; 16]),
        partition: PartitionId(partition),
    }
}

fn request() -> AttachRequest {
    AttachRequest {
        follower: IsrMember {
            spu: SpuId(1),
            incarnation: Incarnation(1),
        },
        replica_gen: ReplicaGen(Uuid::nil()),
        leader_epoch: LeaderEpoch(1),
        log_start: Offset::ZERO,
        position: LogPosition::default(),
        is_whole: true,
        is_intact: true,
    }
}

fn said(state: &mut LinkState, lane: Lane) -> Vec<u32> {
    let (attaches, _) = state.attaches(lane, clock::monotonic());
    attaches.iter().map(|(_, key, _)| key.partition.0).collect()
}

#[test]
fn an_attach_is_said_once_and_what_was_said_is_not_looked_at_again() {
    let mut state = LinkState::default();
    for partition in 0..3 {
        state.want(key(partition), 1, request(), clock::monotonic());
    }
    assert_eq!(said(&mut state, Lane::CatchUp), [0; 0]);
    assert_eq!(said(&mut state, Lane::Tail), [0, 1, 2]);
    assert!(state.unsaid.iter().all(BTreeSet::is_empty));
    assert!(state.is_wanted(Lane::Tail) && !state.is_wanted(Lane::CatchUp));
    // The next attempt of one of them.
    assert_eq!(state.forget(key(1)), Some(Lane::Tail));
    state.want(key(1), 2, request(), clock::monotonic());
    assert_eq!(state.unsaid[0].len(), 1);
    assert_eq!(said(&mut state, Lane::Tail), [1]);
}

#[test]
fn an_attach_that_rests_is_said_later_and_one_that_is_given_up_never() {
    let mut state = LinkState::default();
    let now = clock::monotonic();
    for partition in 0..2 {
        let hint = Hint {
            lane: Lane::CatchUp,
            not_before: now + ATTACH_REST,
        };
        state.hints.insert(key(partition), hint);
        assert_eq!(state.want(key(partition), 1, request(), now), Lane::CatchUp);
    }
    let (none, rests) = state.attaches(Lane::CatchUp, now);
    assert!(none.is_empty() && rests);
    // Nobody was told of it: nobody is to be told that it is over.
    assert_eq!(state.forget(key(0)), None);
    let (attaches, rests) = state.attaches(Lane::CatchUp, now + ATTACH_REST);
    assert!(!rests);
    assert_eq!(attaches.len(), 1);
    assert_eq!(attaches[0].1, key(1));
}

#[test]
fn a_handle_is_not_given_twice_however_many_there_were() {
    let mut state = LinkState::default();
    state.want(key(0), 1, request(), clock::monotonic());
    said(&mut state, Lane::Tail);
    // Four thousand million attaches later.
    state.next_handle = u32::MAX;
    for partition in 1..3 {
        state.want(key(partition), 1, request(), clock::monotonic());
    }
    said(&mut state, Lane::Tail);
    let mut handles: Vec<u32> = state.handles[0].keys().copied().collect();
    handles.sort_unstable();
    assert_eq!(handles, [0, 1, u32::MAX]);
}

#[test]
fn an_end_of_an_earlier_attach_leaves_the_later_one_alone() {
    let mut state = LinkState::default();
    state.want(key(0), 1, request(), clock::monotonic());
    let (first, _) = state.attaches(Lane::Tail, clock::monotonic());
    // The lane has looked up who is behind the handle, and then the machine attaches anew.
    let hint = Hint {
        lane: Lane::CatchUp,
        not_before: clock::monotonic(),
    };
    state.forget(key(0));
    state.want(key(0), 2, request(), clock::monotonic());
    state.over(key(0), first[0].0, hint);
    assert_eq!(state.wanted[&key(0)].attempt, 2);
    assert_eq!(said(&mut state, Lane::Tail), [0]);
}

#[test]
fn an_acknowledgement_goes_out_in_the_attach_that_it_is_of() {
    let mut state = LinkState::default();
    let position = LogPosition::default();
    state.want(key(0), 7, request(), clock::monotonic());
    assert_eq!(
        state.acked(key(0), 7, (position, None)),
        None,
        "not attached"
    );
    said(&mut state, Lane::Tail);
    assert_eq!(state.acked(key(0), 6, (position, None)), None);
    assert_eq!(state.acked(key(1), 7, (position, None)), None);
    assert_eq!(state.acked(key(0), 7, (position, None)), Some(Lane::Tail));
    assert_eq!(state.acks[0].len(), 1);
    state.forget(key(0));
    assert!(state.acks[0].is_empty());
}
