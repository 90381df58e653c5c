//! Clusters whose units copy no records: what is empty moves, what is not stays, and nothing gets stuck.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use tidegate_proto::api::cluster::SpuState;
use tidegate_proto::id::{PartitionId, ReplicaGen, SpuId};
use tidegate_proto::position::{LeaderEpoch, Offset, ReplicaKey};

use uuid::Uuid;

use super::world::{World, asking, blank, name};
use crate::decide::decide;
use crate::decision::{Decision, MoveTerms, Outcome, Request, Target};
use crate::refusal::Refusal;
use crate::rows::{OperationRow, OperationState, PartitionRow, SpuRow};
use crate::status::spu_status;

const UNITS: u32 = 5;

#[derive(Debug, Clone)]
enum Step {
    Create(u8, u32),
    Delete(u8),
    Append(u8, usize),
    /// Retention takes all.
    Trim(u8, usize),
    /// What producers sent lately is known, or is not any more.
    Remember(u8, usize),
    /// The last of it: whether what is known of logs is asked for before.
    Reassign(u8, u32, u32, bool),
    Drain(u32),
    Resume(u32),
    Remove(u32),
    Rebalance,
    Recover(u8, u32, bool),
    Cancel(usize),
    Arrive(u32),
    Restart(u32),
    Die(u32),
    Pass(u64),
    Follow,
}

fn step() -> impl Strategy<Value = Step> {
    let (topic, partition, spu) = (0..3_u8, 0..4_u32, 0..UNITS);
    let at = || (0..3_u8, 0..4_usize);
    prop_oneof![
        3 => (topic.clone(), 1..5_u32).prop_map(|(t, count)| Step::Create(t, count)),
        1 => topic.clone().prop_map(Step::Delete),
        4 => at().prop_map(|(t, p)| Step::Append(t, p)),
        2 => at().prop_map(|(t, p)| Step::Trim(t, p)),
        2 => at().prop_map(|(t, p)| Step::Remember(t, p)),
        4 => (topic.clone(), partition.clone(), spu.clone(), any::<bool>())
            .prop_map(|(t, p, to, knows)| Step::Reassign(t, p, to, knows)),
        2 => spu.clone().prop_map(Step::Drain),
        1 => spu.clone().prop_map(Step::Resume),
        1 => spu.clone().prop_map(Step::Remove),
        2 => Just(Step::Rebalance),
        1 => (topic, partition, any::<bool>()).prop_map(|(t, p, force)| Step::Recover(t, p, force)),
        1 => any::<usize>().prop_map(Step::Cancel),
        2 => spu.clone().prop_map(Step::Arrive),
        2 => spu.clone().prop_map(Step::Restart),
        1 => spu.prop_map(Step::Die),
        3 => prop_oneof![Just(1_u64), Just(7_000), Just(61_000)].prop_map(Step::Pass),
        4 => Just(Step::Follow),
    ]
}

fn topic_of(number: u8) -> String {
    format!("topic-{number}")
}

fn rows(world: &World) -> impl Iterator<Item = &PartitionRow> {
    let topics = world.model.topics.values();
    topics.flat_map(|topic| topic.partitions.iter().map(AsRef::as_ref))
}

/// What an operator who asked the leaders knows.
fn terms(world: &World) -> MoveTerms {
    let log = |row: &PartitionRow| world.logs.get(&row.key()).copied().unwrap_or_default();
    let is_empty = |row: &&PartitionRow| log(row).0 == log(row).1;
    let (empty, holding): (Vec<_>, Vec<_>) = rows(world).partition(is_empty);
    let keys = |rows: Vec<&PartitionRow>| rows.into_iter().map(PartitionRow::key).collect();
    MoveTerms {
        empty: keys(empty),
        holding: keys(holding),
        force: true,
        can_copy: false,
        ..MoveTerms::default()
    }
}

fn led(world: &World, topic: u8, partition: usize) -> Option<ReplicaKey> {
    let topic = world.model.topics.get(&name(&topic_of(topic)))?;
    let row = topic.partitions.get(partition)?;
    row.leader.map(|_| row.key())
}

/// What operators ask for.
fn asked(world: &World, step: &Step) -> Option<Request> {
    Some(match step {
        Step::Reassign(t, partition, to, knows) => Request::Reassign {
            targets: vec![Target {
                topic: name(&topic_of(*t)),
                partition: PartitionId(*partition),
                replicas: vec![SpuId(*to)],
            }],
            terms: if *knows {
                terms(world)
            } else {
                // What was empty when somebody looked may hold records by now.
                MoveTerms {
                    empty: rows(world).map(PartitionRow::key).collect(),
                    ..terms(world)
                }
            },
        },
        Step::Drain(spu) => Request::DrainSpu {
            spu: SpuId(*spu),
            terms: terms(world),
        },
        Step::Resume(spu) => Request::ResumeSpu { spu: SpuId(*spu) },
        Step::Remove(spu) => Request::RemoveSpu {
            spu: SpuId(*spu),
            if_match: None,
        },
        Step::Rebalance => Request::Rebalance {
            terms: terms(world),
        },
        Step::Recover(t, partition, force) => Request::Recover {
            topic: name(&topic_of(*t)),
            partition: PartitionId(*partition),
            accept_loss: false,
            force: *force,
        },
        Step::Cancel(number) => {
            let ids: Vec<_> = world.model.operations.keys().copied().collect();
            let id = *ids.get(number.checked_rem(ids.len()).unwrap_or(0))?;
            Request::CancelOperation { id }
        }
        _ => return None,
    })
}

/// Makes one step; what is refused does not happen.
fn walk(world: &mut World, step: &Step) {
    let known = |world: &World, spu: u32| world.model.spu(SpuId(spu)).is_some();
    match step {
        Step::Append(t, p) => {
            if let Some(key) = led(world, *t, *p) {
                world.logs.entry(key).or_default().1 += 7;
            }
        }
        Step::Trim(t, p) => {
            if let Some(key) = led(world, *t, *p) {
                let log = world.logs.entry(key).or_default();
                log.0 = log.1;
            }
        }
        Step::Remember(t, p) => {
            if let Some(key) = led(world, *t, *p)
                && !world.remembers.remove(&key)
            {
                world.remembers.insert(key);
            }
        }
        Step::Arrive(spu) if !known(world, *spu) => {
            world.register(&blank(*spu));
        }
        Step::Restart(spu) if known(world, *spu) => {
            world.register(&world.remembered(*spu));
        }
        Step::Die(spu) => world.die(*spu),
        Step::Pass(ms) => world.pass(*ms),
        Step::Follow => {
            world.follow();
        }
        Step::Create(t, count) => {
            let _ = world.create(&topic_of(*t), asking(*count, 1));
        }
        Step::Delete(t) => {
            let _ = world.delete(&topic_of(*t), None);
        }
        other => {
            if let Some(request) = asked(world, other) {
                let _ = world.ask(&request);
            }
        }
    }
}

/// What lies on the units' disks: of which membership, and the epoch that it accepted.
type Disks = BTreeMap<(SpuId, ReplicaKey), (ReplicaGen, LeaderEpoch)>;

/// What units do with the rows that they see: they make copies, adopt epochs, and give up those that are
/// empty and that a newer row does not name.
fn apply(world: &World, disks: &mut Disks) {
    let lives = |spu: SpuId| world.alive.contains(&spu) && !world.model.spus[&spu].fenced;
    for row in rows(world) {
        let (start, end) = world.logs.get(&row.key()).copied().unwrap_or_default();
        disks.retain(|(spu, key), (replica_gen, epoch)| {
            let own = row
                .replica(*spu)
                .filter(|own| own.replica_gen == *replica_gen);
            let departed = own.is_none() && row.leader_epoch > *epoch;
            *key != row.key() || !lives(*spu) || !departed || start != end
        });
        for replica in row.replicas.iter().filter(|replica| lives(replica.spu)) {
            let made = (replica.replica_gen, row.leader_epoch);
            let known = disks.entry((replica.spu, row.key())).or_insert(made);
            assert_eq!(known.0, replica.replica_gen, "a former copy is in the way");
            known.1 = known.1.max(row.leader_epoch);
        }
    }
    disks.retain(|(_, key), _| world.model.partition(*key).is_some());
}

/// Where partitions with records are, and where the others ended.
type Places = BTreeMap<ReplicaKey, (PartitionRow, u64, u64)>;

fn places(world: &World) -> Places {
    let place = |row: &PartitionRow| {
        let (start, end) = world.logs.get(&row.key()).copied().unwrap_or_default();
        (row.key(), (row.clone(), start, end))
    };
    rows(world)
        .filter(|row| row.is_placed())
        .map(place)
        .collect()
}

/// One copy each; one with records, or one that knows producers, stays the very copy that it was, and one
/// that moved begins where it ended.
fn check(before: &Places, world: &World) {
    for row in rows(world).filter(|row| row.is_placed()) {
        assert_eq!(row.replicas.len(), 1, "{row:?}");
        let Some((old, start, end)) = before.get(&row.key()) else {
            continue;
        };
        if (old.replicas[0].spu, old.replicas[0].replica_gen)
            == (row.replicas[0].spu, row.replicas[0].replica_gen)
        {
            continue;
        }
        assert_eq!(start, end, "records were left behind: {old:?} {row:?}");
        assert!(!world.remembers.contains(&row.key()), "{old:?} {row:?}");
        assert_eq!(row.begins_at, Offset::new(*end));
        assert!(row.leader_epoch > old.leader_epoch);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]
    #[test]
    fn no_history_leaves_records_behind_or_a_partition_without_a_way_to_a_leader(
        spus in 1..4_u32, steps in proptest::collection::vec(step(), 1..60)
    ) {
        let mut world = World::new(spus);
        let mut disks = Disks::new();
        for step in &steps {
            let before = places(&world);
            walk(&mut world, step);
            if matches!(step, Step::Follow) {
                apply(&world, &mut disks);
            }
            // A deleted topic takes its logs along; one of the same name is another.
            let model = &world.model;
            world.logs.retain(|key, _| model.partition(*key).is_some());
            check(&before, &world);
        }
        let all: Vec<u32> = world.model.spus.values().filter(|row| !row.removed).map(|row| row.spu.0).collect();
        for spu in all {
            world.register(&world.remembered(spu));
        }
        let before = places(&world);
        world.settle();
        check(&before, &world);
        apply(&world, &mut disks);
        let held: BTreeSet<_> = rows(&world).flat_map(|row| {
            row.replicas.iter().map(|replica| (replica.spu, row.key()))
        }).collect();
        let on_disk: BTreeSet<_> = disks.keys().copied().collect();
        prop_assert_eq!(on_disk, held, "no former copy is left");
        for row in rows(&world).filter(|row| row.is_placed()) {
            prop_assert!(row.leader.is_some() && row.seal.is_none(), "{:?}", row);
            prop_assert!(row.moving.is_none(), "{:?}", row);
        }
        for row in world.model.operations.values() {
            let waits_for_units = matches!(row.kind, crate::rows::OperationKind::Drain { .. });
            prop_assert!(row.state.is_ended() || waits_for_units, "{:?}", row);
        }
    }
}

fn drained(world: &mut World, spu: u32) -> Result<Decision, Refusal> {
    let terms = terms(world);
    world.ask(&Request::DrainSpu {
        spu: SpuId(spu),
        terms,
    })
}

fn operation<'a>(world: &'a World, decision: &Decision) -> &'a OperationRow {
    match decision.outcome {
        Outcome::Operation(id) => world.operation(id),
        ref other => panic!("{other:?}"),
    }
}

#[test]
fn a_drain_moves_what_is_empty_and_tells_what_stays_and_why() {
    let mut world = World::new(2);
    world.create("orders", asking(6, 1)).unwrap();
    let on_0: Vec<ReplicaKey> = world.model.held_by(SpuId(0)).collect();
    world.logs.insert(on_0[0], (3, 5));
    world.logs.insert(on_0[1], (5, 5));
    let terms = terms(&world);
    let spu = SpuId(0);
    let drain = Request::DrainSpu { spu, terms };
    let plan = decide(&world.model, 0, Uuid::from_u128(9), &drain).unwrap();
    let [warning] = &plan.warnings[..] else {
        panic!("{:?}", plan.warnings)
    };
    let number = on_0[0].partition;
    let told = format!(
        "the drain will fail: 1 partition with one copy on storage unit 0 holds records and stays: \
         partition {number} of topic orders; "
    );
    assert!(warning.starts_with(&told), "{warning}");
    let begun = drained(&mut world, 0).unwrap();
    world.settle();
    let row = operation(&world, &begun);
    assert_eq!(row.state, OperationState::Failed);
    let status = spu_status(&world.model, world.model.spu(spu).unwrap());
    assert_eq!(status.state, SpuState::Cordoned);
    let why = status.reason.unwrap();
    assert!(why.starts_with("its drain failed: 1 of"), "{why}");
    assert!(why.ends_with("drain it again, or resume it"), "{why}");
    let progress = (row.progress.total, row.progress.done, row.progress.failed);
    assert_eq!(progress, (3, 2, 1));
    let reason = row.reason.clone().unwrap();
    let told = format!(
        "1 of the partitions on storage unit 0 hold records and stay: partition {number} of topic orders; "
    );
    assert!(reason.starts_with(&told), "{reason}");
    assert_eq!(world.model.held_by(SpuId(0)).collect::<Vec<_>>(), on_0[..1]);
    let moved = world.model.partition(on_0[1]).unwrap();
    assert_eq!(moved.begins_at, Offset::new(5));

    let remove = Request::RemoveSpu {
        spu: SpuId(0),
        if_match: None,
    };
    assert!(matches!(world.ask(&remove), Err(Refusal::Conflict(_))));
    // Retention takes the last records: now it can go.
    world.logs.insert(on_0[0], (5, 5));
    let begun = drained(&mut world, 0).unwrap();
    assert!(begun.warnings.is_empty());
    let row = world.model.spu(spu).unwrap();
    assert_eq!(spu_status(&world.model, row).state, SpuState::Draining);
    world.settle();
    assert_eq!(operation(&world, &begun).state, OperationState::Done);
    world.ask(&remove).unwrap();
}

#[test]
fn a_drain_whose_end_nobody_knows_says_so_and_one_that_failed_is_told_also_of_a_unit_that_is_away()
{
    let mut world = World::new(2);
    world.create("orders", asking(2, 1)).unwrap();
    let spu = SpuId(0);
    let on_0: Vec<ReplicaKey> = world.model.held_by(spu).collect();
    world.logs.insert(on_0[0], (3, 5));
    let number = on_0[0].partition;
    let terms = MoveTerms {
        holding: BTreeSet::new(),
        ..terms(&world)
    };
    let drain = Request::DrainSpu { spu, terms };
    let plan = decide(&world.model, 0, Uuid::from_u128(9), &drain).unwrap();
    let told = format!(
        "the drain waits until it is known whether 1 partition with one copy on storage unit 0 can go: \
         partition {number} of topic orders; with records they stay, and it fails"
    );
    assert_eq!(plan.warnings, [told]);

    let status = |world: &World| spu_status(&world.model, world.model.spu(spu).unwrap());
    drained(&mut world, 0).unwrap();
    world.die(0);
    world.pass(61_000);
    let why = status(&world).reason.unwrap();
    assert!(why.contains("it is being emptied"), "{why}");
    world.register(&world.remembered(0));
    world.settle();
    let failed = status(&world);
    assert_eq!(failed.state, SpuState::Cordoned);
    let shut_out = SpuRow {
        fenced: true,
        ..world.model.spu(spu).unwrap().clone()
    };
    let status = spu_status(&world.model, &shut_out);
    assert_eq!(status.state, SpuState::Offline);
    let failed = failed.reason.unwrap();
    let told = format!("it is shut out until it registers again; {failed}");
    assert_eq!(status.reason, Some(told));
}

#[test]
fn what_got_records_after_somebody_looked_stays_and_is_led_where_it_was() {
    let mut world = World::new(2);
    world.create("orders", asking(1, 1)).unwrap();
    let row = world.partition("orders", 0).clone();
    let (from, to) = (row.leader.unwrap(), SpuId(1 - row.leader.unwrap().0));
    let terms = terms(&world);
    world.logs.insert(row.key(), (0, 1));
    let reassign = Request::Reassign {
        targets: vec![Target {
            topic: name("orders"),
            partition: PartitionId(0),
            replicas: vec![to],
        }],
        terms,
    };
    let begun = world.ask(&reassign).unwrap();
    world.settle();
    let row = operation(&world, &begun);
    assert_eq!(row.state, OperationState::Failed);
    assert_eq!(
        row.reason.as_deref(),
        Some("partition 0 of topic orders has got records meanwhile and stays where it is")
    );
    assert_eq!(world.partition("orders", 0).leader, Some(from));
}

#[test]
fn what_remembers_producers_keeps_its_leader_while_a_drain_waits() {
    let mut world = World::new(2);
    world.create("orders", asking(2, 1)).unwrap();
    let key = world.model.held_by(SpuId(0)).next().unwrap();
    world.remembers.insert(key);
    let begun = drained(&mut world, 0).unwrap();
    world.settle();
    let tried = world.model.partition(key).unwrap().clone();
    assert_eq!(tried.leader, Some(SpuId(0)));
    let row = operation(&world, &begun).clone();
    assert_eq!(row.state, OperationState::Running);
    assert_eq!((row.progress.total, row.progress.failed), (1, 1));
    let reason = row.reason.unwrap();
    assert!(
        reason.contains("remembers for some minutes what producers sent"),
        "{reason}"
    );
    let revision = world.model.revision;
    for _ in 0..50 {
        world.pass(1_000);
        assert!(!world.follow());
    }
    assert_eq!(world.model.revision, revision, "nothing is tried or noted");

    // Then once more, which is not counted twice. Now it says for how long, and is left alone.
    world.remembers_ms = 300_000;
    world.pass(15_000);
    world.settle();
    let again = world.model.partition(key).unwrap().clone();
    assert_eq!(again.leader, Some(SpuId(0)));
    assert_eq!(again.leader_epoch.0, tried.leader_epoch.0 + 2);
    assert_eq!(operation(&world, &begun).progress, row.progress);

    let revision = world.model.revision;
    for _ in 0..29 {
        world.pass(10_000);
        assert!(!world.follow());
    }
    assert_eq!(world.model.revision, revision, "its leader stays");

    world.remembers.clear();
    world.pass(11_000);
    world.settle();
    assert_eq!(operation(&world, &begun).state, OperationState::Done);
    let moved = world.model.partition(key).unwrap();
    let noted = (moved.leader, moved.stayed_at_ms, moved.remembers_ms);
    assert_eq!(noted, (Some(SpuId(1)), None, 0));
}
