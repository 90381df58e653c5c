//! Many readers of one partition share what comes of it.

use std::sync::atomic::Ordering;

use super::wire::{Gate, Wire};
use super::*;

async fn read_to(far: &Far, key: ReplicaKey, next: &mut Offset, end: u64) {
    let mut tail = far.remote.tail(key).await.unwrap();
    while next.get() < end {
        let behind = tail.wait_for(|tail| tail.high_watermark > *next);
        tokio::time::timeout(LONG, behind).await.unwrap().unwrap();
        let chunk = far.remote.read(key, *next, 1 << 20).await.unwrap();
        assert!(chunk.batches.is_empty() || chunk.next > *next);
        *next = chunk.next;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_at_the_tail_cost_the_unit_one_read_however_many_they_are() {
    let mut gated = None;
    let far = Far::over(|memory| {
        let made = Gate::before(memory, true);
        gated = Some(Arc::clone(&made));
        made
    });
    let gated = gated.unwrap();
    let key = far.partition();
    let mut places = vec![Offset::ZERO; 40];
    far.remote
        .append(key, request(batch(&["first"], None)))
        .await
        .unwrap();
    for place in &mut places {
        read_to(&far, key, place, 1).await;
    }
    let before = gated.keeper.reads.load(Ordering::SeqCst);
    for round in 0..20 {
        far.remote
            .append(key, request(batch(&["more"], None)))
            .await
            .unwrap();
        for place in &mut places {
            read_to(&far, key, place, round + 2).await;
        }
    }
    let reads = gated.keeper.reads.load(Ordering::SeqCst) - before;
    assert!(
        reads <= 2 * 20,
        "{reads} reads for 20 batches and 40 readers"
    );
    far.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_go_on_where_they_were_when_the_connection_broke() {
    let far = Far::new();
    let wire = Wire::to(far.unit.port, &far.tasks).await;
    far.memory.enter(SPU, Some(at_port(wire.port)));
    let key = far.partition();
    let mut place = Offset::ZERO;
    for round in 0..6 {
        far.remote
            .append(key, request(batch(&["a", "b"], Some(stamp(round * 2)))))
            .await
            .unwrap();
        read_to(&far, key, &mut place, u64::from(round) * 2 + 2).await;
        wire.cut();
    }
    assert_eq!(all_values(&*far.remote, key).await.len(), 12);
    far.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_far_behind_gets_everything_in_order_while_others_are_at_the_tail() {
    let far = Far::new();
    let key = far.partition();
    let large = "x".repeat(100_000);
    let mut at_tail = Offset::ZERO;
    for number in 0..40_u64 {
        let value = format!("{number}{large}");
        far.remote
            .append(key, request(batch(&[&value], None)))
            .await
            .unwrap();
        read_to(&far, key, &mut at_tail, number + 1).await;
    }
    // Four megabytes are more than the window.
    let all = all_values(&*far.remote, key).await;
    let numbers: Vec<_> = all
        .iter()
        .map(|value| value.trim_end_matches('x').to_owned())
        .collect();
    let expected: Vec<_> = (0..40).map(|number| number.to_string()).collect();
    assert_eq!(numbers, expected);
    far.end().await;
}
