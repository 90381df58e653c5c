//! Snapshots of ledgers that a leader ships, piece by piece, until each is whole.
//!
//! Every piece is paid for before it is kept, twice: as bytes, and as the ledger that they become. What was
//! paid goes to the shard with the snapshot, which gives it back when the log has come up to it. Pure.
//! Invariant: all that is held here and behind it is within one budget of the node, or is a single snapshot.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tidegate_kit::budget::{ByteBudget, BytePermit};
use tidegate_proto::position::Offset;
use tidegate_proto::private::FrameError;
use tidegate_proto::private::replicate::{SNAPSHOT, SnapshotPiece};
use tidegate_spu_core::AttachAnswer;

use crate::limits::{REPLICATION_SNAPSHOT_BYTES_MAX, SHIPPED_REST_BASE, SHIPPED_REST_MAX};

/// Bytes and ledger.
const PAID_TIMES: usize = 2;

/// A snapshot that is whole.
#[derive(Debug)]
pub(super) struct Delivered {
    pub(super) as_of: Offset,
    pub(super) bytes: Bytes,
    /// None for one that is larger than the budget.
    pub(super) permit: Option<BytePermit>,
}

/// What a piece made of it.
#[derive(Debug)]
pub(super) enum Progress {
    /// Nobody waits for it.
    Unknown,
    /// More pieces come.
    Incomplete,
    /// The answer that waited for it.
    Whole(AttachAnswer, Delivered),
    /// Others have all the room: it is given up, and is not to be asked for before this is over.
    NoRoom(Duration),
}

/// An answer whose snapshot is on its way.
#[derive(Debug)]
struct Parcel {
    handle: u32,
    answer: AttachAnswer,
    bytes: BytesMut,
    permit: Option<BytePermit>,
}

/// Those of one stream.
#[derive(Debug)]
pub(super) struct Parcels {
    budget: ByteBudget,
    open: Vec<Parcel>,
    /// The next pause of one that finds no room.
    rest: Duration,
}

impl Parcels {
    pub(super) fn new(budget: ByteBudget) -> Self {
        Self {
            budget,
            open: Vec::new(),
            rest: SHIPPED_REST_BASE,
        }
    }

    /// Pieces come before that answer counts.
    pub(super) fn begin(&mut self, handle: u32, answer: AttachAnswer) {
        self.give_up(handle);
        self.open.push(Parcel {
            handle,
            answer,
            bytes: BytesMut::new(),
            permit: None,
        });
    }

    /// Its attach is over.
    pub(super) fn give_up(&mut self, handle: u32) {
        self.open.retain(|parcel| parcel.handle != handle);
    }

    /// Takes the next piece.
    ///
    /// # Errors
    /// When the snapshot is longer than any may be.
    pub(super) fn take(&mut self, piece: SnapshotPiece) -> Result<Progress, FrameError> {
        let known = |parcel: &Parcel| parcel.handle == piece.handle;
        let Some(at) = self.open.iter().position(known) else {
            return Ok(Progress::Unknown);
        };
        let len = self.open[at].bytes.len() + piece.bytes.len();
        if len > REPLICATION_SNAPSHOT_BYTES_MAX {
            return Err(FrameError::TooLong {
                kind: SNAPSHOT,
                len,
                max: REPLICATION_SNAPSHOT_BYTES_MAX,
            });
        }
        if !self.open[at].pay(len * PAID_TIMES, &self.budget) {
            self.open.swap_remove(at);
            let rest = self.rest;
            self.rest = (rest * 2).min(SHIPPED_REST_MAX);
            return Ok(Progress::NoRoom(rest));
        }
        self.open[at].bytes.extend_from_slice(&piece.bytes);
        if !piece.is_last {
            return Ok(Progress::Incomplete);
        }
        self.rest = SHIPPED_REST_BASE;
        let Parcel {
            answer,
            bytes,
            permit,
            ..
        } = self.open.swap_remove(at);
        let delivered = Delivered {
            as_of: piece.as_of,
            bytes: bytes.freeze(),
            permit,
        };
        Ok(Progress::Whole(answer, delivered))
    }
}

impl Parcel {
    /// Pays for so many bytes in all. One that is larger than the budget comes alone.
    fn pay(&mut self, bytes: usize, budget: &ByteBudget) -> bool {
        let wanted = bytes.min(budget.total());
        match &mut self.permit {
            Some(permit) => permit.grow_to(wanted),
            None => {
                self.permit = budget.try_acquire(wanted);
                self.permit.is_some()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tidegate_proto::position::LeaderEpoch;
    use tidegate_spu_core::AttachRefusal;

    use super::*;

    const ANSWER: AttachAnswer = AttachAnswer::Refused {
        leader_epoch: LeaderEpoch(1),
        reason: AttachRefusal::NotReady,
    };

    fn piece(handle: u32, len: usize, is_last: bool) -> SnapshotPiece {
        SnapshotPiece {
            handle,
            as_of: Offset::new(9),
            is_last,
            bytes: vec![7; len].into(),
        }
    }

    #[test]
    fn what_is_shipped_is_paid_for_until_it_is_applied() {
        let budget = ByteBudget::new(1_000);
        let mut parcels = Parcels::new(budget.clone());
        parcels.begin(1, ANSWER);
        let first = parcels.take(piece(1, 200, false)).unwrap();
        assert!(matches!(first, Progress::Incomplete));
        assert_eq!(budget.held(), 400);
        let Progress::Whole(_, delivered) = parcels.take(piece(1, 100, true)).unwrap() else {
            panic!("it is whole");
        };
        assert_eq!((delivered.bytes.len(), budget.held()), (300, 600));
        drop(delivered);
        assert_eq!(budget.held(), 0);
    }

    #[test]
    fn a_snapshot_for_which_there_is_no_room_is_given_up_and_others_go_on() {
        let budget = ByteBudget::new(1_000);
        let mut parcels = Parcels::new(budget.clone());
        parcels.begin(1, ANSWER);
        parcels.begin(2, ANSWER);
        parcels.take(piece(1, 300, false)).unwrap();
        parcels.take(piece(2, 100, false)).unwrap();
        let refused = parcels.take(piece(2, 200, true)).unwrap();
        assert!(matches!(refused, Progress::NoRoom(rest) if rest == SHIPPED_REST_BASE));
        assert_eq!(budget.held(), 600);
        // Each attempt in vain makes the next one later.
        parcels.begin(2, ANSWER);
        let refused = parcels.take(piece(2, 300, true)).unwrap();
        assert!(matches!(refused, Progress::NoRoom(rest) if rest == SHIPPED_REST_BASE * 2));
        let late = parcels.take(piece(2, 1, true)).unwrap();
        assert!(matches!(late, Progress::Unknown));
        let whole = parcels.take(piece(1, 100, true)).unwrap();
        assert!(matches!(whole, Progress::Whole(..)));
    }

    #[test]
    fn one_that_is_larger_than_the_budget_comes_alone() {
        let budget = ByteBudget::new(1_000);
        let mut parcels = Parcels::new(budget.clone());
        parcels.begin(1, ANSWER);
        parcels.take(piece(1, 5_000, false)).unwrap();
        assert_eq!(budget.held(), 1_000);
        parcels.begin(2, ANSWER);
        let refused = parcels.take(piece(2, 1, true)).unwrap();
        assert!(matches!(refused, Progress::NoRoom(_)));
        parcels.give_up(1);
        assert_eq!(budget.held(), 0);
    }

    #[test]
    fn no_snapshot_grows_without_end() {
        let mut parcels = Parcels::new(ByteBudget::new(1_000));
        parcels.begin(1, ANSWER);
        parcels
            .take(piece(1, REPLICATION_SNAPSHOT_BYTES_MAX, false))
            .unwrap();
        assert!(parcels.take(piece(1, 1, false)).is_err());
    }
}
