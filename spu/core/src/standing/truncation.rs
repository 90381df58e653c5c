//! How a log is cut or begun anew at the word of a leader (T2, T3, T5).
//!
//! Asked for here, carried out by the shell, and known again when it is durable. Invariant: nothing that was
//! committed is cut, unless an operator accepted that.

use super::{Standing, Truncating, is_whole};
use crate::age::Ages;
use crate::attach::Truncation;
use crate::effect::{Effect, Effects};
use crate::guard::{self, Guard};
use crate::input::Truncated;
use crate::invariant;
use crate::ledger::Ledger;

impl Standing {
    pub(crate) const fn is_truncating(&self) -> bool {
        self.truncating.is_some()
    }

    /// T2, T5: changes the log; nothing is known of it until that is durable. With `loses`, an operator
    /// accepted that what was committed may go; otherwise false, and nothing happened, when it would (T3).
    #[must_use]
    pub(crate) fn truncate(
        &mut self,
        truncation: Truncation,
        loses: bool,
        effects: &mut Effects,
    ) -> bool {
        let (Truncation::Cut { to } | Truncation::Reset { to }) = truncation;
        let keeps = loses || to >= self.promised;
        if !guard::holds(Guard::KeepCommitted, keeps) {
            return false;
        }
        match truncation {
            Truncation::Cut { to } => {
                self.end = self.end.min(to);
                self.ledger.epochs.cut(to);
                self.ages.cut(to);
            }
            Truncation::Reset { to } => {
                (self.log_start, self.end) = (to, to);
                self.ledger = Ledger::default();
                self.ages = Ages::default();
                self.is_whole = false;
            }
        }
        self.high_watermark = self.high_watermark.clamp(self.log_start, self.end);
        self.snapshot.pending = None;
        self.truncating = Some(Truncating { truncation, loses });
        effects.push(Effect::Truncate(truncation));
        true
    }

    /// What is left cannot be read: where the log ends is known, and nothing else; false when nothing was
    /// asked.
    pub(crate) fn truncation_failed(&mut self) -> bool {
        if self.truncating.take().is_none() {
            return false;
        }
        self.intact = false;
        self.is_whole = false;
        // The cut itself is durable: nothing waits for this log any more.
        (self.durable_end, self.written_end) = (self.end, self.end);
        self.high_watermark = self.high_watermark.min(self.end).max(self.log_start);
        true
    }

    /// The log is as it was asked to be, and durable; false when nothing was asked.
    pub(crate) fn truncated(&mut self, mut found: Truncated, effects: &mut Effects) -> bool {
        let Some(Truncating { truncation, loses }) = self.truncating.take() else {
            return false;
        };
        if matches!(truncation, Truncation::Reset { .. }) {
            self.intact = true; // Nothing is left of what was damaged.
            found.intact = true;
            // What an old snapshot knows ends before what is missing.
            (found.ledger, found.snapshot_as_of) = (Ledger::default(), None);
        }
        self.intact &= found.intact;
        if !guard::holds(Guard::KeepCommitted, loses) {
            invariant::no_cut_below_high_watermark(found.end, self.high_watermark);
        }
        (self.log_start, self.end) = (found.log_start, found.end);
        (self.durable_end, self.written_end) = (found.end, found.end);
        self.ledger = found.ledger;
        self.durable_epoch = self.ledger.epochs().last();
        self.written_epoch = self.durable_epoch;
        self.high_watermark = self.high_watermark.min(found.end).max(found.log_start);
        self.promised = self.promised.min(found.end).max(self.high_watermark);
        self.checkpointed = self.checkpointed.min(self.high_watermark);
        self.last_append_ms = found.last_append_ms;
        self.ledger_as_of = found.snapshot_as_of;
        self.is_whole = self.intact && is_whole(found.log_start, found.snapshot_as_of);
        self.snapshot.as_of = found.snapshot_as_of.unwrap_or(found.log_start);
        self.snapshot.bytes_since = found.bytes_since_snapshot;
        effects.push(Effect::Publish);
        true
    }
}
