//! Control plane: requests about storage units, and groups of them.
//!
//! Shapes only. What may be asked is decided by the streaming controller. Times are milliseconds since
//! 1970.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::topic::Setting;
use crate::id::SpuId;
use crate::name::SpuGroupName;

/// What is said of a storage unit: the body of `POST /v1/spus` and `PUT /v1/spus/{spu}`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct SpuRequest {
    /// Number of the unit. Required by POST; with PUT the path names the unit, and an id here must be
    /// the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<u32>))]
    pub id: Option<SpuId>,
    /// Failure domain, 1 to 128 bytes; `null` = the one that the unit itself names.
    #[serde(default, skip_serializing_if = "Setting::is_absent")]
    #[cfg_attr(
        feature = "openapi",
        schema(value_type = Option<String>, min_length = 1, max_length = 128, example = "rack-a")
    )]
    pub rack: Setting<String>,
    /// Data centre or place, 1 to 128 bytes; `null` = the one that the unit itself names.
    #[serde(default, skip_serializing_if = "Setting::is_absent")]
    #[cfg_attr(
        feature = "openapi",
        schema(value_type = Option<String>, min_length = 1, max_length = 128, example = "fra1")
    )]
    pub site: Setting<String>,
    /// All labels of the unit, at most 32 of 1 to 128 bytes; `null` = none.
    #[serde(default, skip_serializing_if = "Setting::is_absent")]
    #[cfg_attr(
        feature = "openapi",
        schema(value_type = Option<BTreeMap<String, String>>, example = json!({"disk": "nvme"}))
    )]
    pub labels: Setting<BTreeMap<String, String>>,
}

/// What a group of storage units should be: the body of `POST /v1/spu-groups` and
/// `PUT /v1/spu-groups/{group}`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct SpuGroupRequest {
    /// Name of the group. Required by POST; with PUT the path names the group, and a name here must be
    /// the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<SpuGroupName>,
    /// Units wanted, 1 to 1000; more are not taken in. A new group needs it.
    #[serde(default, skip_serializing_if = "Setting::is_absent")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<u32>, minimum = 1, maximum = 1000))]
    pub replicas: Setting<u32>,
    /// Its units have the ids from here on; default: after all units and groups there are.
    #[serde(default, skip_serializing_if = "Setting::is_absent")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<u32>))]
    pub first_id: Setting<SpuId>,
    /// Racks of its units, dealt out in turn to those that name none; `null` or empty = any.
    #[serde(default, skip_serializing_if = "Setting::is_absent")]
    #[cfg_attr(
        feature = "openapi",
        schema(value_type = Option<Vec<String>>, example = json!(["rack-a", "rack-b"]))
    )]
    pub racks: Setting<Vec<String>>,
    /// Data centre or place of its units; `null` = none said.
    #[serde(default, skip_serializing_if = "Setting::is_absent")]
    #[cfg_attr(
        feature = "openapi",
        schema(value_type = Option<String>, min_length = 1, max_length = 128)
    )]
    pub site: Setting<String>,
}

/// A group of storage units as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SpuGroup {
    pub name: SpuGroupName,
    /// Units wanted.
    pub replicas: u32,
    /// Units that belong to it now.
    pub units: u64,
    /// Its units have the ids from here on.
    pub first_id: SpuId,
    /// Racks of its units; empty = any.
    pub racks: Vec<String>,
    /// Data centre or place of its units.
    pub site: Option<String>,
    /// Grows with every change; the `ETag` of this answer, and what `If-Match` takes.
    pub version: u64,
    /// When it was created, in milliseconds since 1970.
    pub created_at: i64,
    /// When it was last changed, in milliseconds since 1970.
    pub updated_at: i64,
}

/// A page of groups of storage units, by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SpuGroupList {
    pub items: Vec<SpuGroup>,
    /// Pass as `next` to get the following page; `null` on the last one.
    pub next: Option<String>,
}
