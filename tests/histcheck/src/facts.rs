//! One pass over a history: operations with their outcomes, and who read what, ready to be looked up.
//!
//! It finds what a recorder did wrong and judges nothing else.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};

use crate::event::{Acks, Event, Seen, Send, What};
use crate::verdict::Malformed;

/// How an operation ended. `at` is the place in the history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Not at all, or nobody knows how.
    Unknown,
    Failed,
    Placed {
        partition: u32,
        base: u64,
        at: usize,
    },
}

/// A batch and what came of it.
#[derive(Debug)]
pub(crate) struct Sending<'a> {
    pub(crate) send: &'a Send,
    pub(crate) begun: usize,
    pub(crate) outcome: Outcome,
}

impl Sending<'_> {
    /// Where it stands for good: partition, first offset, and when that was told.
    pub(crate) fn replicated(&self) -> Option<(u32, u64, usize)> {
        match self.outcome {
            Outcome::Placed {
                partition,
                base,
                at,
            } if self.send.acks == Acks::Quorum => Some((partition, base, at)),
            _ => None,
        }
    }
}

/// A record in a reader's hands.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reading {
    pub(crate) at: usize,
    pub(crate) partition: u32,
    pub(crate) seen: Seen,
}

/// A loss that an operator accepted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Loss {
    pub(crate) at: usize,
    pub(crate) partition: u32,
    pub(crate) from: u64,
}

/// A log at the end.
#[derive(Debug)]
pub(crate) struct Scanned<'a> {
    pub(crate) partition: u32,
    pub(crate) replica: u64,
    pub(crate) log_start: u64,
    pub(crate) records: &'a [Seen],
}

/// What other operations asked.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Question {
    Latest {
        partition: u32,
        /// Known when it is answered.
        scope: Option<u64>,
    },
    Commit {
        group: u32,
        partition: u32,
        assignment_epoch: u64,
        offset: u64,
        is_forced: bool,
    },
    Committed {
        group: u32,
        partition: u32,
    },
}

/// An operation that is no send. Its end is missing when nobody knows it, or when it failed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked {
    pub(crate) question: Question,
    pub(crate) begun: usize,
    pub(crate) ended: Option<usize>,
    pub(crate) has_failed: bool,
    /// The offset that was told.
    pub(crate) answer: Option<u64>,
}

#[derive(Debug, Clone, Copy)]
enum Begun {
    Send(usize),
    Asked(usize),
}

/// A history, looked up.
#[derive(Debug, Default)]
pub(crate) struct Facts<'a> {
    pub(crate) sendings: Vec<Sending<'a>>,
    /// Which sending a value belongs to.
    pub(crate) values: HashMap<u64, usize>,
    pub(crate) readings: Vec<Reading>,
    pub(crate) losses: Vec<Loss>,
    pub(crate) scans: Vec<Scanned<'a>>,
    pub(crate) asked: Vec<Asked>,
    operations: HashMap<u64, (Begun, bool)>,
    readers: HashMap<u64, u32>,
    watches: HashSet<u64>,
}

impl<'a> Facts<'a> {
    pub(crate) fn gather(history: &'a [Event]) -> Result<Self, Malformed> {
        let mut facts = Self::default();
        for (at, event) in history.iter().enumerate() {
            facts.take(at, &event.what)?;
        }
        Ok(facts)
    }

    fn take(&mut self, at: usize, what: &'a What) -> Result<(), Malformed> {
        match what {
            What::Send(send) => self.begin_send(at, send),
            What::Sent {
                op,
                partition,
                base_offset,
            } => self.place(at, *op, *partition, *base_offset),
            What::Failed { op } => self.fail(at, *op),
            What::Unknown { op } => self.end(at, *op).map(drop),
            What::ReadFrom {
                reader, partition, ..
            } => match self.readers.insert(*reader, *partition) {
                None => Ok(()),
                Some(_) => Err(Malformed::Reader {
                    at,
                    reader: *reader,
                }),
            },
            What::Read {
                reader, records, ..
            } => self.read(at, *reader, records),
            What::Moved { reader, .. } if !self.readers.contains_key(reader) => {
                Err(Malformed::Reader {
                    at,
                    reader: *reader,
                })
            }
            What::AskLatest { .. } | What::Commit { .. } | What::AskCommitted { .. } => {
                self.begin_question(at, what)
            }
            What::Latest { op, offset, scope } => {
                let index = self.answer(at, *op, Some(*offset))?;
                if let Question::Latest { scope: of, .. } = &mut self.asked[index].question {
                    *of = *scope;
                }
                Ok(())
            }
            What::FoundCommitted { op, offset } => self.answer(at, *op, *offset).map(drop),
            What::Committed { op } => self.answer(at, *op, None).map(drop),
            What::LossAccepted { .. } | What::Scan { .. } => {
                self.take_end(at, what);
                Ok(())
            }
            What::Watched { watch, .. } if !self.watches.insert(*watch) => {
                Err(Malformed::Watch { at, watch: *watch })
            }
            What::Revision { watch, .. } | What::Compacted { watch, .. }
                if !self.watches.contains(watch) =>
            {
                Err(Malformed::Watch { at, watch: *watch })
            }
            What::Moved { .. }
            | What::Owned { .. }
            | What::Led { .. }
            | What::Watched { .. }
            | What::Revision { .. }
            | What::Compacted { .. } => Ok(()),
        }
    }

    fn take_end(&mut self, at: usize, what: &'a What) {
        match what {
            What::LossAccepted { partition, from } => {
                self.losses.push(Loss {
                    at,
                    partition: *partition,
                    from: *from,
                });
            }
            What::Scan {
                partition,
                replica,
                log_start,
                records,
            } => {
                self.scans.push(Scanned {
                    partition: *partition,
                    replica: *replica,
                    log_start: *log_start,
                    records,
                });
            }
            _ => {}
        }
    }

    fn begin(&mut self, at: usize, op: u64, begun: Begun) -> Result<(), Malformed> {
        match self.operations.insert(op, (begun, false)) {
            None => Ok(()),
            Some(_) => Err(Malformed::BegunTwice { at, op }),
        }
    }

    fn end(&mut self, at: usize, op: u64) -> Result<Begun, Malformed> {
        let found = self.operations.get_mut(&op);
        let (begun, is_over) = found.ok_or(Malformed::NotBegun { at, op })?;
        if std::mem::replace(is_over, true) {
            return Err(Malformed::EndedTwice { at, op });
        }
        Ok(*begun)
    }

    fn begin_send(&mut self, at: usize, send: &'a Send) -> Result<(), Malformed> {
        let index = self.sendings.len();
        self.begin(at, send.op, Begun::Send(index))?;
        for value in &send.values {
            match self.values.entry(*value) {
                Entry::Vacant(entry) => entry.insert(index),
                Entry::Occupied(_) => return Err(Malformed::ValueTwice { at, value: *value }),
            };
        }
        self.sendings.push(Sending {
            send,
            begun: at,
            outcome: Outcome::Unknown,
        });
        Ok(())
    }

    fn begin_question(&mut self, at: usize, what: &What) -> Result<(), Malformed> {
        let (op, question) = match *what {
            What::AskLatest { op, partition } => {
                let scope = None;
                (op, Question::Latest { partition, scope })
            }
            What::Commit {
                op,
                group,
                partition,
                assignment_epoch,
                offset,
                is_forced,
            } => (
                op,
                Question::Commit {
                    group,
                    partition,
                    assignment_epoch,
                    offset,
                    is_forced,
                },
            ),
            What::AskCommitted {
                op,
                group,
                partition,
            } => (op, Question::Committed { group, partition }),
            _ => return Ok(()),
        };
        self.begin(at, op, Begun::Asked(self.asked.len()))?;
        self.asked.push(Asked {
            question,
            begun: at,
            ended: None,
            has_failed: false,
            answer: None,
        });
        Ok(())
    }

    fn place(&mut self, at: usize, op: u64, partition: u32, base: u64) -> Result<(), Malformed> {
        let Begun::Send(index) = self.end(at, op)? else {
            return Err(Malformed::NotBegun { at, op });
        };
        let sending = &mut self.sendings[index];
        if sending.send.partition.is_some_and(|sent| sent != partition) {
            return Err(Malformed::OtherPartition { at, op });
        }
        sending.outcome = Outcome::Placed {
            partition,
            base,
            at,
        };
        Ok(())
    }

    fn fail(&mut self, at: usize, op: u64) -> Result<(), Malformed> {
        match self.end(at, op)? {
            Begun::Send(index) => self.sendings[index].outcome = Outcome::Failed,
            Begun::Asked(index) => self.asked[index].has_failed = true,
        }
        Ok(())
    }

    fn answer(&mut self, at: usize, op: u64, answer: Option<u64>) -> Result<usize, Malformed> {
        let Begun::Asked(index) = self.end(at, op)? else {
            return Err(Malformed::NotBegun { at, op });
        };
        self.asked[index].ended = Some(at);
        self.asked[index].answer = answer;
        Ok(index)
    }

    fn read(&mut self, at: usize, reader: u64, records: &[Seen]) -> Result<(), Malformed> {
        let found = self.readers.get(&reader);
        let partition = *found.ok_or(Malformed::Reader { at, reader })?;
        self.readings.extend(records.iter().map(|seen| Reading {
            at,
            partition,
            seen: *seen,
        }));
        Ok(())
    }

    /// Whether what was known at this time of this offset may be gone.
    pub(crate) fn is_forgiven(&self, partition: u32, offset: u64, known_at: usize) -> bool {
        self.losses
            .iter()
            .any(|loss| loss.partition == partition && loss.from <= offset && known_at <= loss.at)
    }
}
