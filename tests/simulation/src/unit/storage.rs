//! The real log under a unit, for runs that have one: opened, fed and ended where the plain disk is.
//!
//! Without one nothing here does anything. Invariant: what differs from the plain disk ends the run.

use tidegate_proto::id::{AttemptId, Incarnation, ReplicaGen};
use tidegate_proto::position::ReplicaKey;

use super::Unit;
use crate::disk::Disk;
use crate::files::Files;
use crate::found::{Survives, check_found};
use crate::message::{Context, Note};
use crate::stored::{Stored, recover};

impl Unit {
    /// The process reads its disk.
    pub(super) fn open_log(&mut self, cx: &mut Context, disk: &mut Disk) {
        let Some(files) = disk.files.take() else {
            return;
        };
        let files = Files::new(files);
        disk.files = Some(files.disk());
        let opened = Stored::open(files, disk.storage_id).and_then(|(stored, found)| {
            check_found(&found, &disk.images, &[], Survives::Surely)?;
            if disk.last_incarnation.is_some() && disk.lost_power && stored.is_same_boot {
                return Err("it takes itself for one that had its power all the time".to_owned());
            }
            Ok((stored, found))
        });
        match opened {
            Ok((stored, found)) => {
                disk.images = found;
                self.stored = Some(stored);
            }
            Err(what) => cx.note(Note::Fails(what)),
        }
    }

    pub(super) fn ask_log(
        &self,
        cx: &mut Context,
        work: impl FnOnce(&Stored, &mut Context) -> Result<(), String>,
    ) {
        if let Some(stored) = &self.stored
            && let Err(what) = work(stored, cx)
        {
            cx.note(Note::Fails(what));
        }
    }

    /// The place of a new replica, or of one of a new membership.
    pub(super) fn make_place(&self, cx: &mut Context, key: ReplicaKey, replica_gen: ReplicaGen) {
        self.ask_log(cx, |stored, _| stored.make(key, replica_gen));
    }

    pub(super) fn keep_attempt(&self, cx: &mut Context, disk: &Disk, attempt: AttemptId) {
        let granted = disk.granted;
        self.ask_log(cx, |stored, _| {
            let found = stored.attempt(attempt)?;
            if found == (attempt, granted) {
                return Ok(());
            }
            Err(format!(
                "it holds the attempts {found:?}, not {attempt:?} and {granted:?}"
            ))
        });
    }

    pub(super) fn keep_registration(&self, cx: &mut Context, incarnation: Incarnation) {
        self.ask_log(cx, |stored, _| stored.registered(incarnation));
    }

    /// Whether the real log may hold what the plain disk does not, or lack what it has: a marker or a cut of
    /// one takes no offset, and may still be on its way.
    pub(crate) fn is_writing(&self) -> bool {
        self.stored.is_some() && !self.journal.is_idle()
    }

    /// All that the log serves is what it was given.
    pub(crate) fn check_log(&self, disk: &Disk) -> Result<(), String> {
        let stored = self.stored.as_ref();
        stored.map_or(Ok(()), |stored| stored.check_all(&disk.images))
    }

    /// The replica is closed.
    pub(super) fn forget(&mut self, key: ReplicaKey) {
        self.links.forget(key);
        if self.stored.is_some() {
            self.journal.forget_waiting(key);
        } else {
            self.journal.forget(key);
        }
    }

    /// Ends the process: the real recovery tells what is left.
    pub(super) fn crash_log(
        &mut self,
        disk: &mut Disk,
        is_power: bool,
        cx: &mut Context,
        stored: Stored,
    ) -> Result<(), String> {
        let (round, is_written) = self.journal.end();
        let is_orderly = self.is_stopping && !is_power && cx.random.hits(700);
        let survives = if is_orderly || (is_written && !is_power) {
            Survives::Surely
        } else {
            Survives::Maybe
        };
        let left = if is_orderly {
            stored.close()?
        } else {
            stored.crash(&mut cx.random, is_power, survives)?
        };
        let (left, found) = recover(left, disk.storage_id, is_power, &mut cx.random)?;
        check_found(&found, &disk.images, &round, survives)?;
        (disk.files, disk.images) = (Some(left), found);
        Ok(())
    }
}
