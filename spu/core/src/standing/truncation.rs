//! How a log is cut or begun anew at the word of a leader (T2, T3, T5).
//!
//! Asked for here, carried out by the shell, and known again when it is durable. Invariant: nothing that was
//! committed is cut, unless an operator accepted that.

use super::{Standing, is_whole};
use crate::attach::Truncation;
use crate::effect::{Effect, Effects};
use crate::guard::{self, Guard};
use crate::input::Truncated;
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
        let keeps = (loses && to >= self.log_start) || to >= self.promised;
        if !guard::holds(Guard::KeepCommitted, keeps) {
            return false;
        }
        match truncation {
            Truncation::Cut { to } => {
                self.end = self.end.min(to);
                self.ledger.epochs.cut(to);
            }
            Truncation::Reset { to } => {
                (self.log_start, self.end) = (to, to);
                self.ledger = Ledger::default();
                self.is_whole = false;
            }
        }
        self.snapshot.pending = None;
        self.truncating = Some(truncation);
        effects.push(Effect::Truncate(truncation));
        true
    }

    /// The log is as it was asked to be, and durable; false when nothing was asked.
    pub(crate) fn truncated(&mut self, mut found: Truncated, effects: &mut Effects) -> bool {
        let Some(truncation) = self.truncating.take() else {
            return false;
        };
        if matches!(truncation, Truncation::Reset { .. }) {
            self.intact = true; // Nothing is left of what was damaged.
            // What an old snapshot knows ends before what is missing.
            (found.ledger, found.snapshot_as_of) = (Ledger::default(), None);
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
