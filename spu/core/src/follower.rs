//! The role of a replica that another node leads, or that must not lead because it is damaged.
//!
//! It points writers to the leader, attaches to it once the epoch is durable (E1), changes its log where it
//! differs (T2, T5), takes what the leader sends in order, and says what is durable of it. Invariant: while
//! it is attached its log is a prefix of the leader's.

use bytes::Bytes;
use tidegate_proto::batch::Batch;
use tidegate_proto::control::IsrMember;
use tidegate_proto::id::SpuId;
use tidegate_proto::position::{LogPosition, Offset};

use crate::attach::{AttachAnswer, AttachRequest, Truncation};
use crate::effect::{Effect, Effects, Refusal};
use crate::guard::{self, Guard};
use crate::input::{Append, Assignment, Now};
use crate::ledger::Ledger;
use crate::limits::{ATTACH_ANSWER_MS_MAX, ATTACH_RETRY_MS};
use crate::standing::Standing;

mod divergence;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Follower {
    /// None while the partition has no leader.
    pub(crate) leader: Option<SpuId>,
    /// The row names this replica leader, and it must not be: it is not intact (S2), or was leader of this
    /// epoch in an earlier life.
    pub(crate) is_barred: bool,
    /// The epoch is journalled: what it forbids will not happen, whatever comes.
    pub(crate) is_durable: bool,
    /// What the row says; the log's own is older until it agrees with the leader's.
    recovery_gen: u64,
    link: Link,
    /// Shipped, and waiting for the log to end where it does.
    shipped: Option<Box<Shipped>>,
}

/// How it stands with its leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Link {
    /// Nothing is under way.
    Down,
    /// The leader is asked; anew at this time if nothing came of it.
    Asked { until_ms: u64 },
    /// Batches come; what was acknowledged last.
    Up {
        acked: Option<(LogPosition, Option<Offset>)>,
    },
    /// Asked in vain; again at this time.
    Waiting { until_ms: u64 },
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Shipped {
    as_of: Offset,
    bytes: Bytes,
    ledger: Ledger,
}

/// A rule forbids to go on: the replica fails, and keeps what it has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Violation(pub(crate) &'static str);

impl Follower {
    pub(crate) fn new(row: &Assignment) -> Self {
        Self {
            leader: row.leader,
            is_barred: false,
            is_durable: false,
            recovery_gen: row.recovery_gen,
            link: Link::Down,
            shipped: None,
        }
    }

    /// Named leader, and not to be.
    pub(crate) fn barred(row: &Assignment) -> Self {
        Self {
            leader: None,
            is_barred: true,
            ..Self::new(row)
        }
    }

    pub(crate) fn append(&self, standing: &Standing, append: &Append, effects: &mut Effects) {
        let outcome = Err(if self.is_barred && !standing.intact {
            Refusal::Damaged
        } else {
            Refusal::NotLeader {
                leader: self.leader,
            }
        });
        effects.push(Effect::Reply {
            request: append.request,
            outcome,
        });
    }

    /// Whether time decides when it goes on.
    pub(crate) fn is_unsettled(&self) -> bool {
        matches!(self.link, Link::Waiting { .. } | Link::Asked { .. })
    }

    /// Whether it holds a ledger that was shipped to it and is not its own yet.
    pub(crate) const fn holds_shipped(&self) -> bool {
        self.shipped.is_some()
    }

    /// Attaches, if all that comes before it is done.
    pub(crate) fn attach(&mut self, standing: &mut Standing, now: Now, effects: &mut Effects) {
        let Some(leader) = self.leader else {
            return;
        };
        let is_durable = guard::holds(Guard::PersistBeforeActing, self.is_durable);
        if !is_durable || standing.is_truncating() {
            return;
        }
        standing.attempts += 1;
        let until_ms = now.monotonic_ms.saturating_add(ATTACH_ANSWER_MS_MAX);
        self.link = Link::Asked { until_ms };
        self.shipped = None;
        effects.push(Effect::Attach {
            attempt: standing.attempts,
            leader,
            request: AttachRequest {
                follower: IsrMember {
                    spu: standing.own,
                    incarnation: standing.incarnation,
                },
                replica_gen: standing.meta.replica_gen,
                leader_epoch: standing.meta.leader_epoch,
                log_start: standing.log_start,
                position: self.comparable(standing),
                is_whole: standing.is_whole,
                is_intact: standing.intact,
            },
        });
    }

    pub(crate) fn answered(
        &mut self,
        standing: &mut Standing,
        now: Now,
        (attempt, answer): (u64, AttachAnswer),
        snapshot: Option<(Offset, Bytes)>,
        effects: &mut Effects,
    ) -> Result<(), Violation> {
        let is_awaited = attempt == standing.attempts && self.is_asked();
        let is_same = answer.leader_epoch() == standing.meta.leader_epoch;
        if !guard::holds(Guard::AnswerEpoch, is_awaited && is_same) || standing.is_truncating() {
            if is_awaited {
                self.wait(now);
            }
            return Ok(());
        }
        match answer {
            AttachAnswer::Attached {
                high_watermark,
                log_start,
                ships_snapshot,
                ..
            } => {
                if ships_snapshot != snapshot.is_some() {
                    self.wait(now);
                    return Ok(());
                }
                standing.commit(high_watermark.min(standing.end), effects);
                self.attached(standing, now, snapshot, effects);
                self.hear(standing, high_watermark, log_start, effects);
                Ok(())
            }
            AttachAnswer::Diverged { epoch, end, .. } => {
                let to = self.point_of_cut(standing, epoch, end);
                self.truncate(standing, Truncation::Cut { to }, effects)
            }
            AttachAnswer::Reset { log_start: to, .. } if to > standing.end => {
                self.truncate(standing, Truncation::Reset { to }, effects)
            }
            AttachAnswer::Reset { .. } | AttachAnswer::Refused { .. } => {
                self.wait(now);
                Ok(())
            }
        }
    }

    fn attached(
        &mut self,
        standing: &mut Standing,
        now: Now,
        snapshot: Option<(Offset, Bytes)>,
        effects: &mut Effects,
    ) {
        self.link = Link::Up { acked: None };
        if self.loses(standing) {
            // What the operator gave up is given up here too: from now on nothing committed is cut.
            standing.meta.recovery_gen = self.recovery_gen;
            effects.push(Effect::Persist(standing.meta));
        }
        let Some((as_of, bytes)) = snapshot else {
            return self.ack(standing, effects);
        };
        match Ledger::decode(&bytes) {
            Ok(_) if as_of <= standing.end => {
                // The log knows what came since: it is read again behind the snapshot, once that is in it.
                effects.push(Effect::Snapshot { as_of, bytes });
                let to = standing.end;
                let cuts_nothing = standing.truncate(Truncation::Cut { to }, true, effects);
                debug_assert!(cuts_nothing, "the end is never below what is committed");
                self.link = Link::Down;
            }
            Ok(ledger) => {
                self.shipped = Some(Box::new(Shipped {
                    as_of,
                    bytes,
                    ledger,
                }));
                self.ack(standing, effects);
            }
            Err(_) => self.fail(now, "a shipped snapshot is damaged", effects),
        }
    }

    pub(crate) fn pushed(
        &mut self,
        standing: &mut Standing,
        now: Now,
        attempt: u64,
        batches: Vec<Batch>,
        (high_watermark, log_start): (Offset, Offset),
        effects: &mut Effects,
    ) {
        if attempt != standing.attempts || !matches!(self.link, Link::Up { .. }) {
            return;
        }
        for batch in batches {
            let LogPosition { end, last_epoch } = standing.position();
            let at = &batch.placement;
            let is_known_marker = batch.next_offset() == at.base_offset
                && at.base_offset <= end
                && last_epoch >= Some(at.leader_epoch);
            if is_known_marker {
                continue; // The leader finds it by its offset, and that tells nothing of who has it.
            }
            let is_next = at.key == standing.key
                && at.base_offset == end
                && last_epoch <= Some(at.leader_epoch)
                && at.leader_epoch <= standing.meta.leader_epoch;
            if !is_next {
                let what = "the leader sent a batch that does not follow the last one";
                return self.fail(now, what, effects);
            }
            standing.take(now, batch, effects);
            self.complete_ledger(standing);
        }
        self.hear(standing, high_watermark, log_start, effects);
    }

    /// What a leader says in every push (H4), and what comes of it.
    fn hear(
        &mut self,
        standing: &mut Standing,
        high_watermark: Offset,
        log_start: Offset,
        effects: &mut Effects,
    ) {
        if !matches!(self.link, Link::Up { .. }) {
            return;
        }
        standing.commit(high_watermark.min(standing.end), effects);
        standing.retain(log_start, effects);
    }

    fn complete_ledger(&mut self, standing: &mut Standing) {
        let is_due = |shipped: &mut Box<Shipped>| shipped.as_of <= standing.end;
        if let Some(shipped) = self.shipped.take_if(is_due) {
            let Shipped {
                as_of,
                bytes,
                ledger,
            } = *shipped;
            // Inside a batch no snapshot ends; one that did would be asked for again.
            if as_of == standing.end {
                standing.complete_ledger(ledger, bytes);
            }
        }
    }

    /// The connection is gone.
    pub(crate) fn unlinked(
        &mut self,
        standing: &mut Standing,
        now: Now,
        attempt: u64,
        effects: &mut Effects,
    ) {
        let is_linked = self.is_asked() || matches!(self.link, Link::Up { .. });
        if attempt == standing.attempts && is_linked {
            self.attach(standing, now, effects);
        }
    }

    /// Says what is durable, unless that was said.
    pub(crate) fn ack(&mut self, standing: &Standing, effects: &mut Effects) {
        let Link::Up { acked } = &mut self.link else {
            return;
        };
        let (position, ledger_as_of) = (standing.own_position(), standing.ledger_as_of);
        if acked.replace((position, ledger_as_of)) != Some((position, ledger_as_of)) {
            effects.push(Effect::Ack {
                attempt: standing.attempts,
                position,
                ledger_as_of,
            });
        }
    }

    pub(crate) fn tick(&mut self, standing: &mut Standing, now: Now, effects: &mut Effects) {
        match self.link {
            Link::Waiting { until_ms } | Link::Asked { until_ms }
                if until_ms <= now.monotonic_ms =>
            {
                self.attach(standing, now, effects);
            }
            Link::Down | Link::Asked { .. } | Link::Up { .. } | Link::Waiting { .. } => {}
        }
    }

    pub(crate) const fn is_asked(&self) -> bool {
        matches!(self.link, Link::Asked { .. })
    }

    /// The role ends, or the node stops.
    pub(crate) fn end(&mut self, effects: &mut Effects) {
        self.shipped = None;
        if std::mem::replace(&mut self.link, Link::Down) != Link::Down {
            effects.push(Effect::StopFollowing);
        }
    }

    /// The leader, or what carries its words, is not to be trusted in this attach.
    fn fail(&mut self, now: Now, what: &'static str, effects: &mut Effects) {
        effects.push(Effect::Alarm(what));
        effects.push(Effect::StopFollowing);
        self.wait(now);
    }

    fn wait(&mut self, now: Now) {
        let until_ms = now.monotonic_ms.saturating_add(ATTACH_RETRY_MS);
        self.link = Link::Waiting { until_ms };
        self.shipped = None;
    }
}
