//! Which snapshots of ledgers go to a follower now, and which wait in line.
//!
//! Few are read and sent at once, and no more while the follower holds many bytes of those that its logs have
//! not come up to. Pure. Invariant: of the bytes that were shipped and are not applied, all but the last
//! snapshot are within the bound; in line are attaches of the stream that go on, each once.

use std::collections::{HashMap, VecDeque};

use tidegate_proto::position::Offset;

use crate::limits::{REPLICATION_SHIPMENTS_MAX, REPLICATION_SHIPPED_BYTES_MAX};

/// One that is not applied.
#[derive(Clone, Copy, Debug)]
struct Shipment {
    /// Its bytes and what it is as of, once it was read.
    read: Option<(usize, Offset)>,
    is_sent: bool,
}

/// Those of one stream, by handle.
#[derive(Debug, Default)]
pub(super) struct Shipments {
    line: VecDeque<u32>,
    open: HashMap<u32, Shipment>,
    /// Of those that are open, how many are not sent.
    unsent: usize,
    bytes: usize,
}

impl Shipments {
    pub(super) fn stand_in_line(&mut self, handle: u32) {
        self.line.push_back(handle);
    }

    /// The next that is to be read, if there is room for one. Whoever is not there any more is named too.
    pub(super) fn next(&mut self) -> Option<u32> {
        let is_full = self.unsent >= REPLICATION_SHIPMENTS_MAX;
        if is_full || self.bytes >= REPLICATION_SHIPPED_BYTES_MAX {
            return None;
        }
        self.line.pop_front()
    }

    pub(super) fn begin(&mut self, handle: u32) {
        let shipment = Shipment {
            read: None,
            is_sent: false,
        };
        if self.open.insert(handle, shipment).is_none() {
            self.unsent += 1;
        }
    }

    pub(super) fn read(&mut self, handle: u32, len: usize, as_of: Offset) {
        if let Some(shipment) = self.open.get_mut(&handle) {
            shipment.read = Some((len, as_of));
            self.bytes += len;
        }
    }

    /// All of it went into the stream.
    pub(super) fn sent(&mut self, handle: u32) {
        if let Some(shipment) = self.open.get_mut(&handle) {
            let was_sent = std::mem::replace(&mut shipment.is_sent, true);
            self.unsent -= usize::from(!was_sent);
        }
    }

    /// The follower's log ends there now; true when that made room.
    pub(super) fn acked(&mut self, handle: u32, end: Offset) -> bool {
        let shipment = self.open.get(&handle);
        let is_applied =
            shipment.is_some_and(|it| it.is_sent && it.read.is_some_and(|at| at.1 <= end));
        is_applied && self.gone(handle)
    }

    /// The attach is over; true when that made room.
    pub(super) fn gone(&mut self, handle: u32) -> bool {
        let Some(shipment) = self.open.remove(&handle) else {
            self.line.retain(|waiting| *waiting != handle);
            return false;
        };
        self.unsent -= usize::from(!shipment.is_sent);
        self.bytes -= shipment.read.map_or(0, |(len, _)| len);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begun(shipments: &mut Shipments) -> Vec<u32> {
        let mut begun = Vec::new();
        while let Some(handle) = shipments.next() {
            shipments.begin(handle);
            begun.push(handle);
        }
        begun
    }

    #[test]
    fn few_are_read_at_once_and_the_next_when_one_was_sent() {
        let mut shipments = Shipments::default();
        (0..5).for_each(|handle| shipments.stand_in_line(handle));
        assert_eq!(begun(&mut shipments), [0, 1]);
        shipments.read(0, 100, Offset::new(7));
        assert_eq!(begun(&mut shipments), [0; 0]);
        shipments.sent(0);
        assert_eq!(begun(&mut shipments), [2]);
        assert!(shipments.gone(1));
        assert_eq!(begun(&mut shipments), [3]);
    }

    #[test]
    fn who_goes_leaves_the_line() {
        let mut shipments = Shipments::default();
        (0..4).for_each(|handle| shipments.stand_in_line(handle));
        assert_eq!(begun(&mut shipments), [0, 1]);
        assert!(!shipments.gone(2));
        assert_eq!(shipments.line, [3]);
    }

    #[test]
    fn what_the_follower_holds_counts_until_its_log_has_come_up_to_it() {
        let mut shipments = Shipments::default();
        (0..3).for_each(|handle| shipments.stand_in_line(handle));
        assert_eq!(begun(&mut shipments), [0, 1]);
        for handle in 0..2 {
            shipments.read(handle, REPLICATION_SHIPPED_BYTES_MAX, Offset::new(7));
            shipments.sent(handle);
        }
        assert_eq!(begun(&mut shipments), [0; 0]);
        assert!(!shipments.acked(0, Offset::new(6)));
        assert!(shipments.acked(0, Offset::new(7)));
        assert_eq!(begun(&mut shipments), [0; 0]);
        assert!(shipments.gone(1) && !shipments.gone(1));
        assert_eq!(begun(&mut shipments), [2]);
        shipments.gone(2);
        assert_eq!((shipments.unsent, shipments.bytes), (0, 0));
    }
}
