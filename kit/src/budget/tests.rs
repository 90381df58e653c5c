//! The tree against a model of it, by one thread and by many.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::FutureExt as _;
use proptest::prelude::*;

use super::*;

#[test]
fn permits_never_sum_above_the_budget() {
    let budget = ByteBudget::new(100);
    let mut first = budget.try_acquire(60).unwrap();
    assert!(budget.try_acquire(41).is_none());
    first.shrink_to(10);
    assert_eq!((first.bytes(), budget.available()), (10, 90));
    let mut second = budget.try_acquire(80).unwrap();
    second.merge(budget.try_acquire(10).unwrap());
    assert_eq!(second.bytes(), 90);
    assert!(!second.grow_to(91));
    assert!(budget.try_acquire(1).is_none());
    drop((first, second));
    assert_eq!(budget.available(), budget.total());
    assert_eq!(budget.holding().refused, 3);
}

#[test]
fn a_permit_counts_in_every_node_above_it() {
    let root = ByteBudget::new(100);
    let (left, right) = (root.child("left", 80), root.child("right", 80));
    let low = left.child("low", 1000);
    let permit = low.try_acquire(70).unwrap();
    assert_eq!(
        [&root, &left, &low, &right].map(ByteBudget::held),
        [70, 70, 70, 0]
    );
    assert!(right.try_acquire(31).is_none());
    assert_eq!(right.held(), 0, "all of the nodes grant it or none does");
    assert_eq!((low.available(), right.available()), (10, 30));
    assert_eq!((root.holding().refused, right.holding().refused), (1, 0));
    drop(permit);
    assert_eq!([&root, &left, &low].map(ByteBudget::held), [0; 3]);
}

#[tokio::test]
async fn what_can_never_fit_is_refused_instead_of_waited_for() {
    let budget = ByteBudget::new(10);
    assert!(budget.acquire(11).await.is_none());
    assert!(budget.acquire(10).await.is_some());
    assert!(budget.child("part", 100).acquire(11).await.is_none());
}

#[test]
fn who_waits_is_served_in_order_and_not_overtaken_by_another_that_waits() {
    let budget = ByteBudget::new(10);
    let held = budget.try_acquire(8).unwrap();
    let mut large = pin!(budget.acquire(9));
    assert!(large.as_mut().now_or_never().is_none());
    let mut small = pin!(budget.acquire(1));
    assert!(
        small.as_mut().now_or_never().is_none(),
        "it would fit, but is not first"
    );
    drop(held);
    let large = large.now_or_never().unwrap().unwrap();
    let small = small.now_or_never().unwrap().unwrap();
    assert_eq!((large.bytes(), small.bytes(), budget.held()), (9, 1, 10));
}

#[test]
fn a_full_part_holds_up_only_those_who_wait_for_it() {
    let root = ByteBudget::new(100);
    let (narrow, wide) = (root.child("narrow", 10), root.child("wide", 100));
    let held = narrow.try_acquire(10).unwrap();
    let mut stuck = pin!(narrow.acquire(5));
    assert!(stuck.as_mut().now_or_never().is_none());
    let passes = pin!(wide.acquire(50)).now_or_never();
    assert!(passes.flatten().is_some());
    drop(held);
    assert!(stuck.now_or_never().flatten().is_some());
    assert_eq!(root.held(), 0);
}

#[test]
fn who_stops_waiting_leaves_nothing_behind() {
    let budget = ByteBudget::new(10);
    let held = budget.try_acquire(10).unwrap();
    {
        let mut gone = pin!(budget.acquire(10));
        assert!(gone.as_mut().now_or_never().is_none());
        let mut granted_too_late = pin!(budget.acquire(3));
        assert!(granted_too_late.as_mut().now_or_never().is_none());
        drop(held);
    }
    assert_eq!(budget.held(), 0);
    assert!(budget.try_acquire(10).is_some());
}

#[test]
fn who_stops_waiting_lets_those_behind_it_have_their_turn() {
    let budget = ByteBudget::new(10);
    let _held = budget.try_acquire(5).unwrap();
    let mut large = Box::pin(budget.acquire(9));
    assert!(large.as_mut().now_or_never().is_none());
    let mut small = pin!(budget.acquire(5));
    assert!(small.as_mut().now_or_never().is_none());
    drop(large);
    assert!(small.now_or_never().flatten().is_some());
}

#[derive(Debug, Clone)]
enum Step {
    Take { node: usize, bytes: usize },
    Wait { node: usize, bytes: usize },
    Shrink { permit: usize, to: usize },
    Drop { permit: usize },
    Cancel { waiting: usize },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..6_usize, 0..60_usize).prop_map(|(node, bytes)| Step::Take { node, bytes }),
        (0..6_usize, 0..60_usize).prop_map(|(node, bytes)| Step::Wait { node, bytes }),
        (0..8_usize, 0..30_usize).prop_map(|(permit, to)| Step::Shrink { permit, to }),
        (0..8_usize).prop_map(|permit| Step::Drop { permit }),
        (0..4_usize).prop_map(|waiting| Step::Cancel { waiting }),
    ]
}

type Asking = std::pin::Pin<Box<dyn Future<Output = Option<BytePermit>>>>;

/// Node numbers from each node to the root, and the bounds.
const PATHS: [&[usize]; 6] = [&[0], &[1, 0], &[2, 0], &[3, 1, 0], &[4, 1, 0], &[5, 2, 0]];
const BOUNDS: [usize; 6] = [100, 70, 60, 40, 50, 30];

proptest! {
    #[test]
    fn the_tree_holds_what_its_permits_say(steps in prop::collection::vec(step(), 1..60)) {
        let root = ByteBudget::new(BOUNDS[0]);
        let (one, two) = (root.child("1", BOUNDS[1]), root.child("2", BOUNDS[2]));
        let [three, four, five] = [
            one.child("3", BOUNDS[3]), one.child("4", BOUNDS[4]), two.child("5", BOUNDS[5]),
        ];
        let mut permits: Vec<(usize, BytePermit)> = Vec::new();
        let nodes = [root, one, two, three, four, five];
        let mut waiting: Vec<(usize, usize, Asking)> = Vec::new();
        for step in steps {
            let sums = |permits: &[(usize, BytePermit)]| {
                let mut sums = [0; 6];
                for (node, permit) in permits {
                    for above in PATHS[*node] {
                        sums[*above] += permit.bytes();
                    }
                }
                sums
            };
            match step {
                Step::Take { node, bytes } => {
                    let before = sums(&permits);
                    let fits = PATHS[node].iter().all(|at| before[*at] + bytes <= BOUNDS[*at]);
                    let taken = nodes[node].try_acquire(bytes);
                    prop_assert_eq!(taken.is_some(), fits);
                    permits.extend(taken.map(|permit| (node, permit)));
                }
                Step::Wait { node, bytes } => {
                    let budget = nodes[node].clone();
                    let asked: Asking = Box::pin(async move { budget.acquire(bytes).await });
                    waiting.push((node, bytes, asked));
                }
                Step::Shrink { permit, to } => {
                    if let Some((_, permit)) = permits.get_mut(permit) {
                        permit.shrink_to(to);
                    }
                }
                Step::Drop { permit } => {
                    if permit < permits.len() {
                        permits.swap_remove(permit);
                    }
                }
                Step::Cancel { waiting: at } => {
                    if at < waiting.len() {
                        drop(waiting.remove(at));
                    }
                }
            }
            // What one of them does when it joins can be the turn of one that was asked before it.
            for _ in 0..2 {
                let mut still = Vec::new();
                for (node, bytes, mut asked) in waiting {
                    match asked.as_mut().now_or_never() {
                        None => still.push((node, bytes, asked)),
                        Some(Some(permit)) => permits.push((node, permit)),
                        Some(None) => prop_assert!(bytes > BOUNDS[node]),
                    }
                }
                waiting = still;
            }
            let now = sums(&permits);
            prop_assert_eq!(nodes.each_ref().map(ByteBudget::held), now);
            for (held, bound) in now.iter().zip(BOUNDS) {
                prop_assert!(*held <= bound);
            }
            // The first that waits is never left waiting for bytes that are there.
            if let Some((node, bytes, _)) = waiting.first() {
                prop_assert!(PATHS[*node].iter().any(|at| now[*at] + bytes > BOUNDS[*at]));
            }
        }
        drop((permits, waiting));
        prop_assert_eq!(nodes.each_ref().map(ByteBudget::held), [0; 6]);
    }
}

#[test]
fn many_threads_stay_within_every_bound_and_all_get_their_turn() {
    const THREADS: usize = 8;
    const ROUNDS: usize = 2_000;
    let root = ByteBudget::new(1_000);
    let parts: Vec<_> = (0..4).map(|_| root.child("part", 400)).collect();
    let outside = Arc::new(AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (part, outside) = (&parts[thread % 4], Arc::clone(&outside));
            let root = &root;
            scope.spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .build()
                    .unwrap();
                runtime.block_on(async {
                    for round in 0..ROUNDS {
                        let bytes = 1 + (round * 37 + thread * 101) % 400;
                        let permit = match round % 3 {
                            0 => part.try_acquire(bytes),
                            // Every one of these must be granted some time, or the test hangs.
                            _ => part.acquire(bytes).await,
                        };
                        let Some(permit) = permit else { continue };
                        let now = outside.fetch_add(permit.bytes(), Ordering::SeqCst) + bytes;
                        assert!(now <= root.total(), "{now} bytes are out");
                        std::thread::yield_now();
                        outside.fetch_sub(permit.bytes(), Ordering::SeqCst);
                    }
                });
            });
        }
    });
    assert_eq!(root.held(), 0);
    assert!(parts.iter().all(|part| part.held() == 0));
}
