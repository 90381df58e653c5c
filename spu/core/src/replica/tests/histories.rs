//! Random histories of producers, syncs, crashes and stops; the world checks every effect.

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Op {
    /// A producer sends a run: next in line, an old one again, or one from the future.
    Send {
        producer: u64,
        back: u32,
        ahead: u32,
        sizes: Vec<u32>,
        acks: Acks,
    },
    Plain {
        count: u32,
        expect: bool,
    },
    Bump {
        producer: u64,
    },
    Sync {
        part: usize,
    },
    Write {
        batches: usize,
    },
    Configure {
        interval: bool,
    },
    Kill,
    Wait {
        ms: u64,
    },
    Stop,
    Crash,
}

fn op() -> impl Strategy<Value = Op> {
    let acks = prop_oneof![Just(Acks::None), Just(Acks::Leader), Just(Acks::Quorum)];
    let sizes = proptest::collection::vec(1u32..4, 1..4);
    prop_oneof![
        8 => (0u64..3, 0u32..6, 0u32..3, sizes, acks).prop_map(|(producer, back, ahead, sizes, acks)| {
            Op::Send { producer, back: back.saturating_sub(2), ahead: ahead.saturating_sub(1), sizes, acks }
        }),
        2 => (1u32..4, any::<bool>()).prop_map(|(count, expect)| Op::Plain { count, expect }),
        1 => (0u64..3).prop_map(|producer| Op::Bump { producer }),
        4 => (0usize..4).prop_map(|part| Op::Sync { part }),
        4 => (1usize..4).prop_map(|batches| Op::Write { batches }),
        1 => any::<bool>().prop_map(|interval| Op::Configure { interval }),
        1 => Just(Op::Kill),
        1 => (0u64..3_000).prop_map(|ms| Op::Wait { ms }),
        1 => Just(Op::Stop),
        1 => Just(Op::Crash),
    ]
}

/// Producers as they see themselves: epoch and next sequence number.
type Senders = BTreeMap<u64, (u16, u32)>;

fn play(world: &mut World, senders: &mut Senders, op: Op) {
    match op {
        Op::Send {
            producer,
            back,
            ahead,
            sizes,
            acks,
        } => {
            let (epoch, next) = *senders.entry(producer).or_default();
            let mut seq = next.wrapping_sub(back).wrapping_add(ahead);
            let mut batches = Vec::new();
            for count in sizes {
                batches.push(batch(Some((producer, epoch, seq)), count, None));
                seq = seq.wrapping_add(count);
            }
            world.append(batches, acks, None);
            let id = ProducerId(producer);
            let mut line = (0..).map(|n: u32| next.wrapping_add(n));
            let missing = line.find(|seq| !world.placed.contains_key(&(id, epoch, *seq)));
            senders.insert(producer, (epoch, missing.unwrap_or_default()));
        }
        Op::Plain { count, expect } => {
            let end = world.replica.status().end.get();
            world.append(
                vec![batch(None, count, None)],
                Acks::Quorum,
                expect.then_some(end),
            );
        }
        Op::Bump { producer } => {
            let sender = senders.entry(producer).or_default();
            *sender = (sender.0 + 1, 0);
        }
        Op::Sync { part } => {
            // A sync takes at least what was written before.
            let more = (world.log.len() - world.durable).div_ceil(part + 1);
            world.durable = world.written.max(world.durable + more);
            world.step(durable(world.durable_end()));
        }
        Op::Wait { ms } => {
            world.now.monotonic_ms += ms;
            world.now.wall_ms += ms as i64;
            world.step(Input::Tick);
        }
        Op::Stop => {
            world.step(Input::Stop);
            world.sync();
            world.step(Input::Checkpoint);
            crash(world, senders);
        }
        Op::Crash => crash(world, senders),
        Op::Write { batches } => world.write(batches),
        Op::Configure { interval } => world.configure(interval),
        Op::Kill => {
            world.durable = world.written.max(world.durable);
            crash(world, senders);
        }
    }
}

/// Producers go on behind the last record of theirs that survived.
fn crash(world: &mut World, senders: &mut Senders) {
    world.crash();
    senders.clear();
    for (id, epoch, seq) in world.placed.keys() {
        senders.insert(id.0, (*epoch, seq + 1));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// The world asserts on every step: dense offsets, no early answer, one answer per request, a
    /// high watermark that only grows and is durable, and one place per sequence number.
    #[test]
    fn random_histories_keep_every_promise(ops in proptest::collection::vec(op(), 1..60), interval: bool) {
        let mut world = World::new(interval);
        let mut senders = Senders::new();
        for op in ops {
            play(&mut world, &mut senders, op);
        }
        world.sync();
        world.now.monotonic_ms += 60_000;
        world.step(Input::Tick);
        prop_assert_eq!(world.replies.len(), world.wanted.len() - world.abandoned, "each request ends");
        prop_assert_eq!(&world.recovered(), world.replica.ledger());
    }
}
