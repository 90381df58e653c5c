//! When the journal thread begins a round, with its waiting called by hand.

use super::*;
use crate::limits::GATHERING_MIN;
use crate::log::Wake;
use crate::testing::MemVfs;

const MANY: u32 = 8 * GATHERING_MIN as u32;

fn opened() -> (Log, Arc<Replica>) {
    let log = open(&MemVfs::new()).log;
    let replica = create(&log, 0);
    log.run_round().unwrap();
    (log, replica)
}

fn append_each(log: &Log, replica: &Replica, count: u32) {
    for _ in 0..count {
        append(log, replica, 1, 10, 5);
    }
}

fn enough(log: &Log) -> usize {
    log.inner.lock_queue().gathering.enough()
}

#[test]
fn a_round_waits_for_no_others_while_few_are_under_way() {
    let (log, replica) = opened();
    for _ in 0..10 {
        append_each(&log, &replica, 3);
        assert_eq!(log.inner.wait(None), Wake::Submissions);
        log.run_round().unwrap();
        assert_eq!(enough(&log), 1);
    }
}

#[test]
fn those_who_stay_away_are_waited_for_once() {
    let (log, replica) = opened();
    append_each(&log, &replica, MANY);
    log.run_round().unwrap();
    assert!(enough(&log) > 1, "many were under way");
    append_each(&log, &replica, 1);
    assert_eq!(log.inner.wait(None), Wake::Submissions);
    assert_eq!(enough(&log), 1, "waiting was in vain");
    assert!(log.run_round().unwrap());
    assert_eq!(replica.durable_end(), replica.end());
}

#[test]
fn a_round_of_many_begins_when_most_are_there_again() {
    let (log, replica) = opened();
    append_each(&log, &replica, MANY);
    log.run_round().unwrap();
    let wanted = enough(&log);
    append_each(&log, &replica, u32::try_from(wanted).unwrap());
    assert_eq!(log.inner.wait(None), Wake::Submissions);
    assert_eq!(enough(&log), wanted, "nobody was waited for");
}

#[test]
fn what_is_large_waits_for_nobody() {
    let (log, replica) = opened();
    append_each(&log, &replica, MANY);
    log.run_round().unwrap();
    let wanted = enough(&log);
    append(&log, &replica, 1, 300_000, 5);
    assert_eq!(log.inner.wait(None), Wake::Submissions);
    assert_eq!(enough(&log), wanted, "nobody was waited for");
}

#[test]
fn a_stop_ends_the_waiting() {
    let (log, replica) = opened();
    append_each(&log, &replica, MANY);
    log.run_round().unwrap();
    append_each(&log, &replica, 1);
    log.close().unwrap();
    assert_eq!(replica.durable_end(), replica.end());
}
