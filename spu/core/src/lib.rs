//! The replica machine of one partition on one storage node, as a pure function of its inputs.
//!
//! [`Replica::step`] takes the time and one [`Input`] and returns [`Effects`]: a list whose order is
//! meaning. Nothing here waits, reads a clock, draws a random number or does I/O; production, tests
//! and simulation run the same code. Rules are cited by their names in the replication contract.
//!
//! ```text
//!   Idle --Assigned(leader = own)--> Opening --Persisted--> Leading
//!     |                                 ^                      | higher epoch (E3)
//!     +--Assigned(other leader)--> Following <-----------------+
//!   any --LogFailed, T3--> Failed    any --Close--> Closed
//!
//!   Following: Persisted -> Attach -> attached -> Pushed ... Ack ...
//!                 ^           |
//!                 +-Truncated-+ diverged, reset: Truncate
//! ```
//!
//! Leading and following are the same at both ends: a leader holds a session for each attached follower,
//! counts what each acknowledged in it, and proposes the in-sync set; a partition with one copy has none.
//!
//! Invariants kept here, by their numbers in the contract: 3 what may be in sync counts, 4 logs of one
//! epoch agree, 6 epochs never decrease, 7 no cut below the high watermark, 9 no answer on the word of who
//! follows somebody else, 12 one offset per (producer, epoch, sequence), 13 the high watermark only
//! grows and never passes what may be seen.

pub mod guard;
pub mod limits;

mod age;
mod epoch;
mod request_key;
mod unordered;

mod producer;

mod ledger;

pub mod attach;
pub mod effect;
pub mod input;
pub mod invariant;

mod parking;
mod standing;
mod status;
mod waiting;
mod watermark;

mod judgement;
mod sessions;

mod proposals;

mod follower;
mod leader;

mod replica;

pub use attach::{AttachAnswer, AttachRefusal, AttachRequest, MemberStatus, SessionId, Truncation};
pub use effect::{
    Acknowledged, Effect, Effects, Refusal, ReplicaMeta, RequestId, RoleName, Survey,
};
pub use epoch::EpochIndex;
pub use input::{Append, Assignment, Facts, Input, Now, ReplicaConfig, Truncated};
pub use ledger::{BatchFacts, Ledger, SnapshotError, records_crc};
pub use replica::Replica;
pub use status::Status;
