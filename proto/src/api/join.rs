//! Control plane: tokens with which nodes join, as requests and answers.
//!
//! Shapes only. Times are milliseconds since 1970.

use serde::{Deserialize, Serialize};

use crate::node::{NodeName, NodeRole};

/// A token to be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct JoinTokenRequest {
    /// What its bearer becomes: `spu` or `gateway`.
    #[cfg_attr(feature = "openapi", schema(value_type = String, pattern = "^(spu|gateway)$", example = "spu"))]
    pub role: NodeRole,
    /// The only node that can use it, `spu-3` for storage unit 3; left out, the bearer chooses its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<NodeName>,
    /// For how long it is good, in seconds, up to a day; 600 unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(minimum = 1, maximum = 86400))]
    pub ttl_s: Option<u64>,
}

/// A token with which one node joins, once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct JoinToken {
    /// Names it in lists and paths; no secret.
    pub id: String,
    pub role: NodeRole,
    pub name: Option<NodeName>,
    /// Who made it.
    pub created_by: String,
    pub created_at: i64,
    pub expires_at: i64,
    /// Set when a node has joined with it.
    pub used: Option<JoinTokenUse>,
    /// The token itself, a secret: in the answer to its creation and never again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
}

/// The use that was made of a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct JoinTokenUse {
    /// The node: its role and its name.
    pub by: String,
    pub at: i64,
}

/// A page of the tokens that have not expired, the oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct JoinTokenList {
    pub items: Vec<JoinToken>,
    /// Pass as `next` to get the following page; `null` on the last one.
    pub next: Option<String>,
}
