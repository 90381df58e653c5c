//! What nodes say of themselves, and what is looked at then.
//!
//! Invariant: a note changes nothing that a node could see, but for units that say they have to begin again.

use tidegate_proto::position::Offset;

use super::World;
use crate::message::Note;
use crate::network::Node;
use crate::queue::{MS, Time};

/// By then copies of new topics are attached.
const FIRST_ATTACH: Time = 400 * MS;

impl World {
    /// What a node tells the world itself.
    pub(super) fn note(&mut self, node: Node, note: Note) {
        let Node::Unit(unit) = node else { return };
        match note {
            Note::Appended { key, epoch } => {
                let outcome = self.truth.appended(unit, key, epoch);
                self.check(outcome);
            }
            Note::Promised { key, end } => {
                self.check_ghost(unit, key, end);
                self.check_promise(unit, key, end);
            }
            Note::Acked { key, epoch, end } => self.truth.acks(unit, key, epoch, end),
            Note::Trims { key, to, leads } => {
                let outcome = self.truth.trims(unit, key, to, leads);
                self.check(outcome);
            }
            Note::GivesUp { key, replica_gen } => self.check_given_up(unit, key, replica_gen),
            Note::Committed { key, from, to } => {
                self.check_ghost(unit, key, to);
                self.check_superset(key);
                let hosted = self.units[unit as usize]
                    .as_ref()
                    .and_then(|at| at.replicas.get(&key));
                if let Some(hosted) = hosted {
                    let outcome = self.truth.committed(unit, key, &hosted.log, (from, to));
                    self.check(outcome);
                }
                self.mix(to.get());
            }
            Note::Leads { key, epoch } => {
                self.history.led(unit, key, epoch);
                self.check_leader(unit, key);
                self.check_superset(key);
            }
            Note::Cuts { key, dropped } => {
                // What the leader gave up by retention may go in any way.
                let leader = self.store.model.partition(key).and_then(|row| row.leader);
                let led = leader.and_then(|leader| self.units[leader.0 as usize].as_ref());
                let led = led.and_then(|unit| unit.replicas.get(&key));
                let gone = led.map_or(Offset::ZERO, |hosted| hosted.log_start);
                let kept = dropped.iter().position(|batch| batch.next_offset() > gone);
                let outcome = self
                    .truth
                    .cuts(unit, key, &dropped[kept.unwrap_or(dropped.len())..]);
                self.check(outcome);
            }
            Note::Alarm { key, what } => self.alarm(unit, key, what),
            Note::Excluded => self.restart_unit(unit),
            Note::Fails(what) => self.fail(format!("log: unit {unit}: {what}")),
            Note::TooFew => {
                // Topics are made when the chaos begins, and their copies attach for the first time.
                if self.queue.now() > self.phase_since + FIRST_ATTACH {
                    self.coverage.reached("too few copies are attached");
                }
            }
            Note::Reached(what) => self.coverage.reached(what),
            Note::Says(what) => {
                let at = self.queue.now();
                self.said
                    .push(format!("{:>9.3} {node:?}: {what}", at as f64 / 1_000.0));
            }
        }
    }
}
