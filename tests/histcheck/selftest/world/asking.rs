//! Clients of the model that ask for the end of the log, commit positions of groups, and watch revisions.

use tidegate_histcheck::What;

use super::World;

/// A question under way; `answer` is what the server read, when it has.
#[derive(Debug)]
pub(super) struct Asking {
    op: u64,
    about: About,
    answer: Option<What>,
}

#[derive(Debug, Clone, Copy)]
enum About {
    Latest(u32),
    Committed(u32, u32),
    Commit {
        of: (u32, u32),
        epoch: u64,
        offset: u64,
        is_forced: bool,
    },
}

/// A group's state for one partition.
#[derive(Debug, Default)]
pub(super) struct Group {
    epoch: u64,
    committed: Option<u64>,
    member: u64,
}

#[derive(Debug)]
pub(super) struct Watch {
    id: u64,
    filter: Option<u32>,
    next: u64,
}

const FILTERS: u64 = 3;

impl World {
    pub(super) fn ask_or_answer(&mut self) {
        match self.random.below(4) {
            0 => self.ask(),
            1 | 2 => self.serve(),
            _ => self.answer(),
        }
    }

    fn ask(&mut self) {
        let op = self.history.next_id();
        let partition = self.any_partition();
        let group = self.random.below(2) as u32;
        let (about, what) = match self.random.below(5) {
            0 | 1 => {
                let what = What::AskLatest { op, partition };
                (About::Latest(partition), what)
            }
            2 => {
                let what = What::AskCommitted {
                    op,
                    group,
                    partition,
                };
                (About::Committed(group, partition), what)
            }
            _ => {
                let end = self.of(partition).end();
                let offset = self.random.below(end + 1);
                let is_forced = self.random.chance(10);
                let state = self.groups.entry((group, partition)).or_default();
                let assignment_epoch = state.epoch;
                let about = About::Commit {
                    of: (group, partition),
                    epoch: assignment_epoch,
                    offset,
                    is_forced,
                };
                let what = What::Commit {
                    op,
                    group,
                    partition,
                    assignment_epoch,
                    offset,
                    is_forced,
                };
                (about, what)
            }
        };
        self.note(what);
        self.asking.push(Asking {
            op,
            about,
            answer: None,
        });
    }

    fn serve(&mut self) {
        if self.random.chance(10) {
            self.hand_over();
        }
        if self.asking.is_empty() {
            return;
        }
        let at = self.random.below(self.asking.len() as u64) as usize;
        let Asking { op, about, answer } = &self.asking[at];
        if answer.is_some() {
            return;
        }
        let (op, about) = (*op, *about);
        let answer = match about {
            About::Latest(partition) => {
                let offset = self.of(partition).mark;
                let scope = None;
                What::Latest { op, offset, scope }
            }
            About::Committed(group, partition) => {
                let state = self.groups.entry((group, partition)).or_default();
                let offset = state.committed;
                What::FoundCommitted { op, offset }
            }
            About::Commit {
                of,
                epoch,
                offset,
                is_forced,
            } => {
                let state = self.groups.entry(of).or_default();
                let is_behind = state.committed.is_some_and(|at| offset < at);
                if !is_forced && (epoch != state.epoch || is_behind) {
                    What::Failed { op }
                } else {
                    state.committed = Some(offset);
                    What::Committed { op }
                }
            }
        };
        self.asking[at].answer = Some(answer);
    }

    fn answer(&mut self) {
        if self.asking.is_empty() {
            return;
        }
        let at = self.random.below(self.asking.len() as u64) as usize;
        if self.random.chance(5) {
            let op = self.asking.remove(at).op;
            self.note(What::Unknown { op });
        } else if let Some(answer) = self.asking[at].answer.clone() {
            self.asking.remove(at);
            self.note(answer);
        }
    }

    fn hand_over(&mut self) {
        let partition = self.any_partition();
        let group = self.random.below(2) as u32;
        let member = self.random.below(5);
        let state = self.groups.entry((group, partition)).or_default();
        state.epoch += 1;
        state.member = member;
        let assignment_epoch = state.epoch;
        self.note(What::Owned {
            group,
            partition,
            member,
            assignment_epoch,
        });
    }

    pub(super) fn watch(&mut self) {
        if self.watches.len() < 4 || self.random.chance(2) {
            let id = self.history.next_id();
            let filter = self.random.chance(60).then_some(0);
            let after = self.revision;
            self.watches.push(Watch {
                id,
                filter,
                next: after + 1,
            });
            self.note(What::Watched {
                watch: id,
                filter,
                after,
            });
            return;
        }
        self.revision += self.random.below(3);
        let at = self.random.below(self.watches.len() as u64) as usize;
        let last = self.revision;
        let watch = &mut self.watches[at];
        let (id, filter, next) = (watch.id, watch.filter, watch.next);
        watch.next = last + 1;
        if self.random.chance(4) {
            self.note(What::Compacted {
                watch: id,
                revision: last,
            });
            return;
        }
        for revision in next..=last {
            let is_of_filter = filter.is_none_or(|of| revision % FILTERS == u64::from(of));
            if is_of_filter {
                self.note(What::Revision {
                    watch: id,
                    revision,
                });
            }
        }
    }
}
