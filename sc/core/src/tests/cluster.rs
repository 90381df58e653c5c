//! Random histories over random clusters: units come, die and return, operators move things about, and
//! after every step all invariants hold; when the trouble ends, everything comes to rest.

use proptest::prelude::*;
use tidegate_proto::api::spu::SpuRequest;
use tidegate_proto::control::{IsrCandidate, IsrMember};
use tidegate_proto::id::{PartitionId, SpuId, StorageId};
use uuid::Uuid;

use super::histories::rebuilt;
use super::world::{World, asking, blank, name};
use crate::decision::{MoveTerms, Request, SpuWrite, Target};
use crate::rows::{OperationKind, OperationState};

#[derive(Debug, Clone)]
pub(super) enum Event {
    Ask(Ask),
    Arrive(u32),
    Return {
        spu: u32,
        intact: bool,
    },
    OtherDisk {
        spu: u32,
        number: u8,
    },
    OldDisk(u32),
    Die(u32),
    Leave(u32),
    Pass(u64),
    Follow,
    Propose {
        topic: u8,
        partition: u32,
        keep: u8,
        late: bool,
    },
}

#[derive(Debug, Clone)]
pub(super) enum Ask {
    Create(u8, u32, u16),
    Ensure(u8, u32, u16),
    Delete(u8),
    Enter(u32),
    Drain(u32, bool),
    Resume(u32),
    Remove(u32),
    Reassign(u8, u32, Vec<u32>),
    Rebalance,
    Elect(u8),
    Recover(u8, u32, bool),
    Cancel(u8),
}

const UNITS: u32 = 6;

pub(super) fn ask() -> impl Strategy<Value = Ask> {
    let (topic, partitions, copies, spu) = (0..3_u8, 1..6_u32, 1..4_u16, 0..UNITS);
    let partition = 0..6_u32;
    prop_oneof![
        3 => (topic.clone(), partitions.clone(), copies.clone()).prop_map(|(t, p, c)| Ask::Create(t, p, c)),
        2 => (topic.clone(), partitions, copies).prop_map(|(t, p, c)| Ask::Ensure(t, p, c)),
        1 => topic.clone().prop_map(Ask::Delete),
        1 => spu.clone().prop_map(Ask::Enter),
        2 => (spu.clone(), any::<bool>()).prop_map(|(spu, force)| Ask::Drain(spu, force)),
        1 => spu.clone().prop_map(Ask::Resume),
        1 => spu.clone().prop_map(Ask::Remove),
        2 => (topic.clone(), partition.clone(), proptest::collection::vec(spu, 1..4))
            .prop_map(|(t, p, units)| Ask::Reassign(t, p, units)),
        2 => Just(Ask::Rebalance),
        1 => topic.clone().prop_map(Ask::Elect),
        1 => (topic, partition, any::<bool>()).prop_map(|(t, p, loss)| Ask::Recover(t, p, loss)),
        1 => any::<u8>().prop_map(Ask::Cancel),
    ]
}

pub(super) fn event() -> impl Strategy<Value = Event> {
    let spu = 0..UNITS;
    prop_oneof![
        8 => ask().prop_map(Event::Ask),
        2 => spu.clone().prop_map(Event::Arrive),
        3 => (spu.clone(), any::<bool>()).prop_map(|(spu, intact)| Event::Return { spu, intact }),
        1 => (spu.clone(), any::<u8>()).prop_map(|(spu, number)| Event::OtherDisk { spu, number }),
        1 => spu.clone().prop_map(Event::OldDisk),
        2 => spu.clone().prop_map(Event::Die),
        1 => spu.prop_map(Event::Leave),
        3 => prop_oneof![Just(1_u64), Just(3_000), Just(7_000)].prop_map(Event::Pass),
        4 => Just(Event::Follow),
        3 => (0..3_u8, 0..6_u32, any::<u8>(), any::<bool>()).prop_map(|(topic, partition, keep, late)| {
            Event::Propose { topic, partition, keep, late }
        }),
    ]
}

pub(super) fn request(world: &World, ask: &Ask) -> Request {
    let topic = |number: &u8| name(&format!("topic-{number}"));
    let terms = |force| MoveTerms {
        force,
        ..MoveTerms::default()
    };
    let write = |t: &u8, p: u32, c: u16| crate::decision::TopicWrite {
        name: topic(t),
        request: asking(p, c),
        if_match: None,
    };
    match ask {
        Ask::Create(t, p, c) => Request::CreateTopic(write(t, *p, *c)),
        Ask::Ensure(t, p, c) => Request::EnsureTopic(write(t, *p, *c)),
        Ask::Delete(t) => Request::DeleteTopic {
            name: topic(t),
            if_match: None,
        },
        Ask::Enter(spu) => Request::EnterSpu(SpuWrite {
            spu: SpuId(*spu),
            request: SpuRequest {
                rack: format!("rack-{}", spu % 3).into(),
                ..SpuRequest::default()
            },
            if_match: None,
        }),
        Ask::Drain(spu, force) => Request::DrainSpu {
            spu: SpuId(*spu),
            terms: terms(*force),
        },
        Ask::Resume(spu) => Request::ResumeSpu { spu: SpuId(*spu) },
        Ask::Remove(spu) => Request::RemoveSpu {
            spu: SpuId(*spu),
            if_match: None,
        },
        Ask::Reassign(t, partition, units) => Request::Reassign {
            targets: vec![Target {
                topic: topic(t),
                partition: PartitionId(*partition),
                replicas: units.iter().copied().map(SpuId).collect(),
            }],
            terms: terms(true),
        },
        Ask::Rebalance => Request::Rebalance { terms: terms(true) },
        Ask::Elect(t) => Request::ElectPreferred {
            topic: topic(t),
            partitions: Vec::new(),
        },
        Ask::Recover(t, partition, accept_loss) => Request::Recover {
            topic: topic(t),
            partition: PartitionId(*partition),
            accept_loss: *accept_loss,
            force: true,
        },
        Ask::Cancel(number) => {
            let ids: Vec<_> = world.model.operations.keys().copied().collect();
            let at = usize::from(*number).checked_rem(ids.len()).unwrap_or(0);
            let none = tidegate_proto::id::OperationId(Uuid::nil());
            Request::CancelOperation {
                id: ids.get(at).copied().unwrap_or(none),
            }
        }
    }
}

/// Makes one event happen; what is refused does not happen.
pub(super) fn happen(world: &mut World, event: &Event) {
    let known = |world: &World, spu: u32| world.model.spu(SpuId(spu)).is_some();
    match event {
        Event::Ask(ask) => {
            let request = request(world, ask);
            let _ = world.ask(&request);
        }
        Event::Arrive(spu) if !known(world, *spu) => {
            world.register(&blank(*spu));
        }
        Event::Return { spu, intact } if known(world, *spu) => {
            let mut report = world.remembered(*spu);
            for replica in &mut report.replicas {
                replica.intact = *intact;
            }
            world.register(&report);
        }
        Event::OtherDisk { spu, number } if known(world, *spu) => {
            let mut report = blank(*spu);
            report.storage_id = StorageId(Uuid::from_u128(5_000 + u128::from(*number)));
            world.register(&report);
        }
        Event::OldDisk(spu) if known(world, *spu) => {
            let mut report = world.remembered(*spu);
            report.last_incarnation = None;
            world.register(&report);
        }
        Event::Die(spu) => world.die(*spu),
        Event::Leave(spu) if known(world, *spu) => {
            let incarnation = world.model.spus[&SpuId(*spu)].incarnation;
            let _ = world.ask(&Request::Leave {
                spu: SpuId(*spu),
                incarnation,
            });
            world.die(*spu);
        }
        Event::Pass(ms) => world.pass(*ms),
        Event::Follow => {
            world.follow();
        }
        Event::Propose {
            topic,
            partition,
            keep,
            late,
        } => {
            propose(world, *topic, *partition, *keep, *late);
        }
        Event::Arrive(_)
        | Event::Return { .. }
        | Event::OtherDisk { .. }
        | Event::OldDisk(_)
        | Event::Leave(_) => {}
    }
}

/// A leader proposes some subset of the replicas, maybe on an old row.
fn propose(world: &mut World, topic: u8, partition: u32, keep: u8, late: bool) {
    let topic = world
        .model
        .topics
        .get(&name(&format!("topic-{topic}")))
        .cloned();
    let row = topic.and_then(|topic| topic.partitions.get(partition as usize).cloned());
    let Some(mut row) = row.map(|row| (*row).clone()) else {
        return;
    };
    let Some(leader) = row.leader else { return };
    row.version -= u64::from(late);
    let unit = |spu| IsrMember {
        spu,
        incarnation: world.model.spus[&spu].incarnation,
    };
    let kept = row
        .replicas
        .iter()
        .enumerate()
        .filter(|(at, _)| keep >> at & 1 == 1);
    let isr = kept.map(|(_, own)| IsrCandidate {
        member: unit(own.spu),
        replica_gen: own.replica_gen,
    });
    let isr = isr.collect();
    let _ = world.propose(unit(leader), &row, isr);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]
    #[test]
    fn after_any_history_all_invariants_hold_and_when_trouble_ends_everything_comes_to_rest(
        spus in 1..5_u32, events in proptest::collection::vec(event(), 1..60)
    ) {
        let mut world = World::new(spus);
        for event in &events {
            happen(&mut world, event);
            prop_assert_eq!(&rebuilt(&world.model), &world.model);
        }
        // Every unit is back, with all it ever had, and the data side does its work.
        let all: Vec<_> = world.model.spus.values().filter(|row| !row.removed).map(|row| row.spu).collect();
        for spu in all {
            world.register(&world.remembered(spu.0));
        }
        world.settle();
        let running = world.model.operations.values().filter(|row| row.state == OperationState::Running);
        for row in running {
            // Only a partition that nobody can lead keeps an operation from its end.
            let stuck = world.model.waiting().filter_map(|key| world.model.partition(key));
            let stuck = stuck.filter(|row| row.leader.is_none()).count();
            let absent = world.model.spus.values().any(|unit| !unit.removed && !unit.is_at_hand());
            let short = world.model.topics.values().flat_map(|topic| &topic.partitions);
            let short = short.filter(|row| row.isr.len() < usize::from(row.min_isr)).count();
            prop_assert!(stuck + short > 0 || absent, "{:?}", row);
        }
        for row in world.model.topics.values().flat_map(|topic| &topic.partitions) {
            let offline = row.is_placed() && row.leader.is_none();
            prop_assert!(!offline || row.isr.is_empty() || row.seal.is_some(), "{:?}", row);
        }
        for row in world.model.operations.values() {
            if let OperationKind::Drain { spu } = row.kind
                && row.state == OperationState::Done
                && world.model.spu(spu).is_some_and(|unit| unit.draining)
            {
                prop_assert_eq!(world.model.load(spu), (0, 0));
            }
        }
    }
}
