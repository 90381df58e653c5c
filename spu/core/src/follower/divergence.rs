//! Where a follower's log differs from its leader's, and what is cut because of that (T1-T3).
//!
//! It says what of the own log can be compared, and finds the point of the cut in what the leader answered; the
//! log is changed by whoever carries that out. Invariant: what is committed is cut only if an operator gave it up.

use tidegate_proto::position::{LeaderEpoch, LogPosition, Offset};

use super::{Follower, Link, Violation};
use crate::attach::Truncation;
use crate::effect::Effects;
use crate::guard::{self, Guard};
use crate::standing::Standing;

const CUT_OF_COMMITTED: Violation =
    Violation("the leader's log lacks what was committed here: nothing is cut (T3)");

impl Follower {
    /// The position, with an epoch as far as there is anything to compare: of a log that is all committed
    /// nothing can differ, and the leader may not know its epochs any more. A marker at the end is not
    /// covered by a high watermark.
    pub(super) fn comparable(&self, standing: &Standing) -> LogPosition {
        let LogPosition { end, last_epoch } = standing.position();
        let ends_in_records = standing.ledger.epochs().at(end) == last_epoch;
        let is_committed = end <= standing.promised && ends_in_records && !self.loses(standing);
        let is_settled = end == standing.log_start && ends_in_records;
        let last_epoch = last_epoch.filter(|_| !(is_committed || is_settled));
        LogPosition { end, last_epoch }
    }

    /// An operator accepted that what was committed here may go.
    pub(super) fn loses(&self, standing: &Standing) -> bool {
        self.recovery_gen > standing.meta.recovery_gen
    }

    /// T2: where the log is cut: at the end of that epoch in the leader's log or in the own one, whichever
    /// comes first. Epochs never decrease along a log, so all that is of a later epoch goes with it. Where
    /// none is known to be common, what is committed is.
    pub(super) fn point_of_cut(
        &self,
        standing: &Standing,
        epoch: LeaderEpoch,
        end: Offset,
    ) -> Offset {
        if guard::holds(Guard::CutAtBothEnds, false) {
            return end.min(standing.end);
        }
        let own_end = standing.ledger.epochs().end_of(epoch, standing.end);
        let own_end = own_end.map_or_else(
            || {
                if self.loses(standing) {
                    standing.log_start
                } else {
                    standing.promised
                }
            },
            |(_, end)| end,
        );
        end.min(own_end)
    }

    pub(super) fn truncate(
        &mut self,
        standing: &mut Standing,
        truncation: Truncation,
        effects: &mut Effects,
    ) -> Result<(), Violation> {
        let loses = self.loses(standing);
        // All that is common lies below what this copy still has: it begins anew, with the leader's records.
        let truncation = match truncation {
            Truncation::Cut { to } if loses && to < standing.log_start => {
                Truncation::Reset { to: Offset::ZERO }
            }
            other => other,
        };
        if !standing.truncate(truncation, loses, effects) {
            return Err(CUT_OF_COMMITTED);
        }
        self.link = Link::Down;
        Ok(())
    }
}
