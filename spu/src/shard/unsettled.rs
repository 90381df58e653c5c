//! Which replicas want to be looked at many times a second: an attach is to be tried again, a proposal is
//! not settled, somebody falls behind.
//!
//! Invariant: each is named once; one that is settled leaves with the next look.

use tidegate_proto::position::ReplicaKey;

use super::hosted::Hosted;

#[derive(Debug, Default)]
pub(super) struct Unsettled {
    keys: Vec<ReplicaKey>,
}

impl Unsettled {
    /// A replica was stepped.
    pub(super) fn note(&mut self, hosted: &mut Hosted) {
        if !hosted.is_unsettled && hosted.machine.is_unsettled() {
            hosted.is_unsettled = true;
            self.keys.push(hosted.reader.key);
        }
    }

    /// Takes them out; the caller takes their marks away.
    pub(super) fn take(&mut self) -> Vec<ReplicaKey> {
        std::mem::take(&mut self.keys)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }
}
