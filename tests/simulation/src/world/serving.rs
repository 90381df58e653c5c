//! The store's answers, and the bell that tells controllers of commits.
//!
//! Invariant: an answer that is lost says nothing about what became of the question.

use super::{Event, World};
use crate::controller::LEASE;
use crate::message::{Message, StoreCall, Told};
use crate::network::Node;
use crate::options::CONTROLLERS;
use crate::queue::MS;
use crate::store::Fate;

impl World {
    pub(super) fn ask_store(&mut self, from: Node, message: Message) {
        let Message::Ask(call) = message else { return };
        if self.store.down > 0 {
            return;
        }
        let before = self.store.model.revision;
        let told = match call {
            StoreCall::Commit(commit) => {
                if self.store.unknown > 0 && self.random.hits(700) {
                    self.coverage.reached("an answer of the store is lost");
                    match self.random.below(3) {
                        0 => {}
                        1 => {
                            let outcome = self.store.apply(&commit).map(drop);
                            self.check(outcome);
                            self.ring(before);
                        }
                        _ => {
                            let id = commit.id;
                            self.store.hang(commit);
                            let delay = self.random.between(5, 3_000) * MS;
                            self.queue.put_in(delay, Event::StoreDoes { id });
                        }
                    }
                    return;
                }
                let (id, outcome) = (commit.id, self.store.apply(&commit));
                match outcome {
                    Ok(fate) => {
                        if fate == Fate::Conflict {
                            self.coverage.reached("a commit loses");
                        } else if fate == Fate::Fenced {
                            self.coverage
                                .reached("a controller without the lease is fenced");
                        }
                        Told::Committed {
                            id,
                            fate,
                            model: self.store.model.clone(),
                        }
                    }
                    Err(what) => return self.fail(what),
                }
            }
            StoreCall::LookUp { id } => match self.store.look_up(id) {
                Ok(fate) => Told::Committed {
                    id,
                    fate,
                    model: self.store.model.clone(),
                },
                Err(what) => return self.fail(what),
            },
            StoreCall::Look => Told::Looked {
                model: self.store.model.clone(),
            },
            StoreCall::Lease { holder } => {
                let epoch = self.store.acquire(holder, self.queue.now(), LEASE);
                Told::Leased {
                    epoch,
                    model: self.store.model.clone(),
                }
            }
        };
        let mut cx = self.context(Node::Store);
        cx.send(from, Message::Told(told));
        self.carry_out(Node::Store, cx);
        self.ring(before);
    }

    /// Tells controllers of what was committed since.
    pub(super) fn ring(&mut self, before: u64) {
        if self.store.model.revision == before {
            return;
        }
        self.mix(self.store.model.revision);
        self.check_candidates();
        for key in self.keys.clone() {
            self.check_superset(key);
        }
        let mut cx = self.context(Node::Store);
        for at in 0..CONTROLLERS {
            cx.send(
                Node::Controller(at),
                Message::Bell(self.store.model.clone()),
            );
        }
        self.carry_out(Node::Store, cx);
    }
}
