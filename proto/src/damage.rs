//! What a storage node says of records that it cannot read any more.
//!
//! A report for operators: nothing is decided by it.

use serde::{Deserialize, Serialize};

use crate::position::Offset;

/// Stored records that cannot be read, as far as somebody has met them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Damage {
    /// Whether records are refused because of it. Damage that came up while the server ran makes the
    /// partition read-only at the next start.
    pub read_only: bool,
    /// First offset that cannot be read; `null` when it is not known.
    pub from: Option<Offset>,
    /// The next offset that can be read; `null` when it is not known.
    pub until: Option<Offset>,
}
