//! Who is calling and what they may do.
//!
//! Identity is a type: a handler that takes [`Authenticated`] cannot run without a credential, and
//! a router without [`Auth::layer`] refuses everybody. Tickets are bearer credentials for one use,
//! for browsers that cannot set headers. Invariant: rights are decided on concrete names only; a
//! narrowed credential is checked against its own limits *and* its issuer's.

mod credential;
mod grants;
mod tickets;

pub use credential::{Auth, Authenticated, AuthenticatedOrTicket};
pub use grants::{Grants, InvalidPattern, Op, Principal, TopicPattern, UnknownOp, require};
pub use tickets::{Ticket, Tickets};
