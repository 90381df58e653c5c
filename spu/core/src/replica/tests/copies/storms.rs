//! Bugs of others, by number: repetitions in a storm of kills and pauses, and messages that end what is over.

use std::collections::BTreeSet;

use super::*;

/// A number from a seed: a storm is the same each time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005);
        self.0 = self.0.wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

/// Clients that send each value until it is acknowledged or refused, to whoever leads.
struct Storm {
    cluster: Cluster,
    paused: BTreeSet<usize>,
    /// The attempts of each value; its number is its request key.
    attempts: Vec<Vec<RequestId>>,
}

impl Storm {
    fn new(min_isr: u16) -> Self {
        Self {
            cluster: Cluster::new(3, min_isr),
            paused: BTreeSet::new(),
            attempts: Vec::new(),
        }
    }

    fn key(value: usize) -> [u8; 16] {
        (value as u128 + 1).to_be_bytes()
    }

    fn runs(&self, node: usize) -> bool {
        self.cluster.is_up(node) && !self.paused.contains(&node)
    }

    fn send(&mut self, value: usize) {
        // Whoever thinks that it leads: two may, for a while.
        let leads = |node: &usize| self.runs(*node) && self.cluster.leads(*node);
        for node in (0..3).filter(leads).collect::<Vec<_>>() {
            let batches = vec![batch(None, 1, Some(Self::key(value)))];
            let request = self.cluster.append_as(node, batches, Acks::Quorum);
            self.attempts[value].push(request);
        }
    }

    fn play(&mut self, dice: &mut Dice) {
        let node = dice.below(3) as usize;
        match dice.below(24) {
            0 => self.cluster.crash_and_forget(node),
            1 if self.cluster.isr().len() > 1 => self.cluster.fence(node),
            2 | 3 => drop(self.paused.insert(node)),
            4..=6 => drop(self.paused.remove(&node)),
            7 | 8 if !self.cluster.is_up(node) => self.cluster.start(node),
            9 => {
                if self.runs(node) {
                    self.cluster.unlink(node);
                }
            }
            10..=12 => {
                self.attempts.push(Vec::new());
                self.send(self.attempts.len() - 1);
            }
            13..=15 if !self.attempts.is_empty() => {
                let value = dice.below(self.attempts.len() as u64) as usize;
                // Every third is sent once only: what is said of it is the whole truth.
                if !value.is_multiple_of(3) {
                    self.send(value);
                }
            }
            16 => {
                self.cluster.now.monotonic_ms += 150;
                let running: Vec<usize> = (0..3).filter(|node| self.runs(*node)).collect();
                for node in running {
                    self.cluster.step(node, Input::Tick);
                }
            }
            _ => {
                let paused = self.paused.clone();
                let reaches = |letter: &Letter| !paused.contains(&letter.to.node);
                for _ in 0..=dice.below(6) {
                    let at = self.cluster.letters.iter().position(reaches);
                    if let Some(letter) = at.and_then(|at| self.cluster.letters.remove(at)) {
                        self.cluster.deliver(letter);
                    }
                }
                if self.runs(node) {
                    self.cluster.sync(node, dice.below(5) as usize + 1);
                    self.cluster.pump(node, 3);
                }
            }
        }
    }

    /// Offsets at which a value stands in the end.
    fn places(&self, value: usize) -> Vec<u64> {
        let leader = self.cluster.leader().expect("21: a leader");
        let batches = self.cluster.nodes[leader].disk.log.batches.iter();
        let is_it = |batch: &&Batch| batch.client.request_key() == Some(Self::key(value));
        let base = |batch: &Batch| batch.placement.base_offset.get();
        batches.filter(is_it).map(base).collect()
    }

    fn judge(&self, value: usize) {
        let outcomes = self.attempts[value].iter();
        let outcomes: Vec<Outcome> = outcomes
            .map(|request| self.cluster.replies[request])
            .collect();
        let places = self.places(value);
        let acked: BTreeSet<u64> = outcomes
            .iter()
            .flatten()
            .map(|answer| answer.base_offset.get())
            .collect();
        let is_unknown = outcomes.contains(&Err(Refusal::OutcomeUnknown));
        let told = format!("value {value}: {outcomes:?} stands at {places:?}");
        assert!(places.len() <= 1, "twice: {told}");
        if acked.is_empty() {
            assert!(
                is_unknown || places.is_empty(),
                "refused, and there: {told}"
            );
        } else {
            assert_eq!(places, acked.into_iter().collect::<Vec<_>>(), "{told}");
        }
    }
}

#[test]
fn r_10_in_a_storm_of_repetitions_what_was_refused_is_never_there_and_what_is_unknown_at_most_once()
{
    let (mut acked, mut unknown, mut refused) = (0, 0, 0);
    for seed in 0..60 {
        let mut dice = Dice(seed);
        let mut storm = Storm::new(1 + (seed % 2) as u16);
        for _ in 0..250 {
            storm.play(&mut dice);
        }
        storm.paused.clear();
        storm.cluster.heal();
        storm.cluster.tick(20_000);
        storm.cluster.heal();
        (0..storm.attempts.len()).for_each(|value| storm.judge(value));
        for outcome in storm.cluster.replies.values() {
            match outcome {
                Ok(_) => acked += 1,
                Err(Refusal::OutcomeUnknown) => unknown += 1,
                Err(_) => refused += 1,
            }
        }
    }
    // Otherwise it would show nothing.
    let counts = (acked, unknown, refused);
    assert!(acked > 300 && unknown > 100 && refused > 100, "{counts:?}");
}

#[test]
fn r_12_two_paused_one_without_power_and_the_others_resumed_in_turn_make_no_second_truth() {
    for first in [1, 2] {
        let second = 3 - first;
        let mut cluster = Cluster::new(3, 2);
        let before = cluster.append(0, 3);
        cluster.settle();
        assert!(cluster.is_acked(before));
        // Both followers are paused: what the leader appends now reaches nobody.
        let lost = cluster.append(0, 2);
        cluster.sync(0, 9);
        assert!(!cluster.is_acked(lost));
        cluster.pump(0, 9);
        cluster.crash(0);
        cluster.fence(0);
        // One goes on while the other still stands; then it is the other way round.
        for awake in [first, second, first] {
            for _ in 0..4 {
                cluster.deliver_where(|letter| letter.to.node == awake);
                cluster.sync(awake, 9);
                cluster.pump(awake, 9);
            }
            let alone = (1..3).find(|node| cluster.leads(*node));
            if let Some(leader) = alone.filter(|leader| *leader == awake) {
                let request = cluster.append(leader, 1);
                cluster.sync(leader, 9);
                assert!(!cluster.is_acked(request), "nobody else has it");
            }
        }
        cluster.start(0);
        cluster.settle();
        cluster.pass(2_000);
        let leaders: Vec<usize> = (0..3).filter(|node| cluster.leads(*node)).collect();
        assert_eq!(leaders.len(), 1);
        let logs = [0, 1, 2].map(|node| cluster.nodes[node].disk.log.batches.clone());
        assert!(logs[0] == logs[1] && logs[1] == logs[2]);
        let request = cluster.append(leaders[0], 1);
        cluster.settle();
        assert!(cluster.is_acked(request));
        assert_eq!(cluster.isr().len(), 3);
    }
}

#[test]
fn r_17_batches_that_come_again_or_overlap_change_neither_log_nor_ledger() {
    for back in [1, 2, 3] {
        let mut cluster = Cluster::new(2, 1);
        cluster.append_as(0, vec![batch(Some((7, 0, 0)), 3, None)], Acks::Quorum);
        cluster.settle();
        let replica = |cluster: &Cluster| {
            let replica = cluster.nodes[1].replica.as_ref().unwrap();
            (replica.end(), replica.ledger().clone())
        };
        let before = replica(&cluster);
        let mut again = cluster.nodes[1].disk.log.batches.last().unwrap().clone();
        again.placement.base_offset = Offset::new(3 - back);
        let attempt = cluster.nodes[1].replica.as_ref().unwrap().standing.attempts;
        let input = Input::Pushed {
            attempt,
            batches: vec![again],
            high_watermark: Offset::new(3),
            log_start: Offset::ZERO,
        };
        cluster.step(1, input);
        assert_eq!(replica(&cluster), before, "{back}");
        assert_eq!(cluster.alarms.len(), 1);
        // It attaches anew, and all is well.
        cluster.append_as(0, vec![batch(Some((7, 0, 3)), 1, None)], Acks::Quorum);
        cluster.pass(500);
        assert_eq!(cluster.end(1), 4);
    }
}

#[test]
fn r_23_what_ends_an_earlier_step_never_hits_a_later_one() {
    let mut cluster = Cluster::new(3, 2);
    cluster.append(0, 2);
    cluster.settle();
    let session = *cluster.nodes[0].sessions.keys().next().unwrap();
    let attempt = cluster.nodes[1].replica.as_ref().unwrap().standing.attempts;
    cluster.unlink(1);
    cluster.settle();
    let picture = |cluster: &Cluster| {
        let members = |node: &Node| node.replica.as_ref().unwrap().members(cluster.now);
        let status = [0, 1].map(|node| cluster.status(node));
        (status, members(&cluster.nodes[0]), cluster.isr())
    };
    let before = picture(&cluster);
    assert!(before.1.iter().all(|member| member.is_attached));
    let version = cluster.row.version - 1;
    let outcome = IsrOutcome::Refused {
        reason: IsrRefusal::NotCurrent,
        version,
    };
    let far = LogPosition {
        end: Offset::new(99),
        last_epoch: Some(LeaderEpoch(1)),
    };
    // The leader hears of a session that is over, and of a proposal on a row that is not the last.
    cluster.append(0, 1);
    cluster.sync(0, 9);
    cluster.step(0, Input::Detached { session });
    cluster.step(0, Input::IsrAnswered { version, outcome });
    let input = Input::Acked {
        session,
        position: far,
        ledger_as_of: None,
    };
    cluster.step(0, input);
    assert_eq!(cluster.high_watermark(0), 2, "nobody of now has it");
    // The follower hears of an attempt that is over, of an epoch before and of a cut that nobody asked for.
    cluster.step(1, Input::Unlinked { attempt });
    let epoch = LeaderEpoch(0);
    cluster.step(1, Input::Persisted { epoch });
    cluster.step(1, Input::TruncationFailed);
    let found = Box::new(cluster.nodes[1].disk.truncated());
    cluster.step(1, Input::Truncated(found));
    let after = picture(&cluster);
    assert_eq!((after.0[1], &after.2), (before.0[1], &before.2));
    assert!(after.1.iter().all(|member| member.is_attached));
    cluster.settle();
    assert_eq!([0, 1, 2].map(|node| cluster.high_watermark(node)), [3; 3]);
    assert!(cluster.letters.is_empty() && cluster.alarms.is_empty());
}
