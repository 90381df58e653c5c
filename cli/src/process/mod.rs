//! What the processes of a cluster have in common: how they begin, listen, tell that they are ready, and
//! end.
//!
//! A role gives its parts; here is the life around them. Invariant: the operators' listener is the first
//! to answer and the last to go, so that somebody who looks always sees why.

mod announcement;
mod base;
mod identity;
mod kept;
mod life;

pub(crate) use announcement::NodeFacts;
pub(crate) use base::{Base, DRAIN_GRACE, DRAIN_TIMEOUT, Listening, url_of};
pub(crate) use identity::{IDENTITY_DIR, controllers, enrol};
pub(crate) use kept::{keep_seen, keep_topology, read_seen, read_topology};
pub(crate) use life::{Serving, live};
