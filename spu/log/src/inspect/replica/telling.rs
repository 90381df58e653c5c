//! What a check of a replica says, each finding with the replica's name on it.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use tidegate_proto::position::Offset;

use super::ReplicaCheck;
use crate::compacted::Compacted;
use crate::damage::FileDamage;
use crate::fold::FoldedSnapshot;
use crate::inspect::finding::{Finding, FindingKind};
use crate::layout;
use crate::snapshot::{self, Untold};

impl ReplicaCheck<'_> {
    /// What the log noted of damage that it met.
    pub(super) fn noted(&mut self) {
        if let Some(noted) = FileDamage::load(&*self.place.vfs, &self.place.root) {
            let what = format!("the log met it before: {}", noted.what);
            let finding = Finding::new(FindingKind::Rot, noted.path, what);
            self.tell(finding.offsets(noted.from..noted.until));
        }
    }

    pub(super) fn snapshot(&mut self, compacted: &Compacted) {
        let path = self.place.path(layout::SNAPSHOT);
        let is_there = match self.place.vfs.exists(&path) {
            Ok(is_there) => is_there,
            Err(error) => return self.unreadable(path, &error),
        };
        let untold = Untold {
            log_start: self.state.log_start,
            thinned_end: compacted.thinned_end,
        };
        let what = match snapshot::recover(&self.place.vfs, &self.place.root, untold) {
            // The journal has a newer one, or took that one away.
            Err(_) if self.folded.snapshot != FoldedSnapshot::Untold => return,
            Err(what) => what,
            Ok(Some((as_of, _))) if as_of <= self.folded.state.end => return,
            Ok(Some((as_of, _))) if self.folded.lowest_cut.is_some_and(|to| as_of > to) => return,
            Ok(Some(_)) => "it knows more than the log holds",
            Ok(None) if !is_there => return,
            Ok(None) => "it is damaged; what producers did is read from the whole log instead",
        };
        self.tell(Finding::new(FindingKind::Snapshot, path, what));
    }

    pub(super) fn path(&self, base: Offset) -> PathBuf {
        self.place.path(layout::segment(base))
    }

    pub(super) fn leftover(&mut self, base: Offset, what: &str) {
        let path = self.path(base);
        self.tell(Finding::new(FindingKind::Leftover, path, what));
    }

    pub(super) fn torn_segment(&mut self, base: Offset, what: &str) {
        let path = self.path(base);
        self.tell(Finding::new(FindingKind::Torn, path, what));
    }

    pub(super) fn torn(&mut self, path: &Path, bytes: Range<u64>, what: &str) {
        let finding = Finding::new(FindingKind::Torn, path.to_path_buf(), what);
        self.tell(finding.bytes(bytes));
    }

    pub(super) fn missing(&mut self, path: PathBuf, offsets: Range<Offset>, what: &str) {
        self.judge.rot = true;
        self.tell(Finding::new(FindingKind::Missing, path, what).offsets(offsets));
    }

    pub(super) fn unreadable(&mut self, path: PathBuf, error: &io::Error) {
        self.tell(Finding::new(
            FindingKind::Unreadable,
            path,
            error.to_string(),
        ));
    }

    pub(super) fn unreadable_from(
        &mut self,
        path: &Path,
        bytes: Range<u64>,
        from: Offset,
        error: &io::Error,
    ) {
        let finding = Finding::new(
            FindingKind::Unreadable,
            path.to_path_buf(),
            error.to_string(),
        );
        self.tell(finding.bytes(bytes).offsets(from..from));
    }

    pub(super) fn tell(&mut self, finding: Finding) {
        let (key, replica_gen) = (self.state.key, self.state.meta.replica_gen);
        self.sink.tell(finding.of(key, replica_gen));
    }
}
