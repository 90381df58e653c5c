//! A storage unit as every process sees it: where it is, how it is reached, whether it takes part.

use serde::{Deserialize, Serialize};

use super::{Audience, Endpoint};
use crate::id::Incarnation;

/// Whether a unit takes part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SpuStanding {
    /// It does.
    Active,
    /// It does, and is being emptied.
    Draining,
    /// It is shut out until it registers again.
    Fenced,
}

/// A storage unit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpuSpec {
    /// Addresses it serves at, as its last registration said.
    #[serde(default)]
    pub endpoints: Vec<Endpoint>,
    /// Failure domain.
    #[serde(default)]
    pub rack: Option<String>,
    /// Data centre or place.
    #[serde(default)]
    pub site: Option<String>,
    /// Whether it takes part.
    pub standing: SpuStanding,
    /// Number of its last registration; 0 before the first.
    pub incarnation: Incarnation,
}

impl SpuSpec {
    /// Its addresses for them, in the order that it gave.
    pub fn endpoints_for(&self, audience: Audience) -> impl Iterator<Item = &str> {
        let fitting = self.endpoints.iter();
        fitting
            .filter(move |endpoint| endpoint.audience == audience)
            .map(|endpoint| endpoint.url.as_str())
    }

    /// True when it may be asked for what it holds.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.standing != SpuStanding::Fenced
    }
}
