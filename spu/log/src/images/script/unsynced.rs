//! The part of a script about rounds that nobody syncs at once.

use super::{Moment, Script};
use crate::images::setting::key;

impl Script {
    /// Lets the records of a replica wait for a sync.
    pub fn defer(&self, partition: u32) {
        let replica = self.log.replica(key(partition));
        replica.expect("it was made").set_sync_deferred(true);
    }

    /// Runs rounds until nothing waits, of which nobody knows whether they are synced.
    pub fn write(&mut self) {
        while self.log.run_round().expect("the disk does not fail") {}
        self.written = self.history.len() - 1;
        self.note(Moment::Written(self.written));
    }

    /// Syncs what is written.
    pub fn sync(&mut self) {
        self.log.run_sync().expect("the disk does not fail");
        self.durable = self.written;
        self.note(Moment::Durable(self.durable));
    }
}
