//! Who a process of the cluster is: its role and its name within one cluster.
//!
//! Nodes prove it to each other with certificates; the identity stands there as the one URI
//! `tidegate://<cluster>/<role>/<name>`. Invariant: an identity has one spelling, and only that one is
//! taken, so that comparing texts and comparing identities are the same. A storage unit is named after
//! its number: `spu-3`.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use thiserror::Error;

use crate::id::{ClusterId, SpuId};
use crate::limits::NODE_NAME_LEN_MAX;

const SCHEME: &str = "tidegate://";
const SPU_PREFIX: &str = "spu-";

/// Why a text does not say who a node is.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NodeError {
    /// The name has a wrong length or a character that names do not have.
    #[error(
        "{0:?} does not name a node: 1 to {NODE_NAME_LEN_MAX} of a-z, 0-9, dot and dash, a letter or digit first and last"
    )]
    Name(String),
    /// There is no such role.
    #[error("{0:?} is no role: sc, spu or gateway")]
    Role(String),
    /// Only storage units are named after numbers, and all of them are.
    #[error(
        "a node of role {role} is not named {name}: storage units, and they alone, are named spu-<number>"
    )]
    NameOfRole {
        /// The role.
        role: NodeRole,
        /// The name that does not go with it.
        name: NodeName,
    },
    /// It is not the URI of a node in its one spelling.
    #[error("{0:?} is not of the form tidegate://<cluster>/<role>/<name>")]
    Uri(String),
}

/// What a process of the cluster is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum NodeRole {
    /// A streaming controller.
    Sc,
    /// A storage unit.
    Spu,
    /// The public edge.
    Gateway,
}

impl NodeRole {
    /// Every role.
    pub const ALL: [Self; 3] = [Self::Sc, Self::Spu, Self::Gateway];

    /// The role as it stands in names, URIs and JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sc => "sc",
            Self::Spu => "spu",
            Self::Gateway => "gateway",
        }
    }
}

impl fmt::Display for NodeRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for NodeRole {
    type Err = NodeError;

    fn from_str(text: &str) -> Result<Self, NodeError> {
        let found = Self::ALL.into_iter().find(|role| role.as_str() == text);
        found.ok_or_else(|| NodeError::Role(text.to_owned()))
    }
}

/// The name of a node, unique among those of its role: 1 to 63 characters of `[a-z0-9.-]`, the first
/// and the last of them a letter or a digit.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(
    value_type = String, example = "gateway-a", min_length = 1, max_length = 63,
    pattern = "^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$"
))]
pub struct NodeName(Arc<str>);

impl NodeName {
    /// Checks `text` and takes it as a name.
    ///
    /// # Errors
    /// [`NodeError::Name`].
    pub fn parse(text: &str) -> Result<Self, NodeError> {
        let is_edge = |byte: Option<&u8>| {
            byte.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
        };
        let bytes = text.as_bytes();
        let is_good = text.len() <= NODE_NAME_LEN_MAX
            && is_edge(bytes.first())
            && is_edge(bytes.last())
            && bytes
                .iter()
                .all(|byte| is_edge(Some(byte)) || matches!(byte, b'.' | b'-'));
        if is_good {
            Ok(Self(Arc::from(text)))
        } else {
            Err(NodeError::Name(text.to_owned()))
        }
    }

    /// The name of the storage unit `spu`.
    #[must_use]
    pub fn of_spu(spu: SpuId) -> Self {
        Self(Arc::from(format!("{SPU_PREFIX}{spu}")))
    }

    /// The name as it was given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The storage unit that has this name, in the one spelling of its number.
    #[must_use]
    pub fn spu_id(&self) -> Option<SpuId> {
        let spu = self.0.strip_prefix(SPU_PREFIX)?.parse().ok()?;
        (Self::of_spu(spu) == *self).then_some(spu)
    }
}

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

impl FromStr for NodeName {
    type Err = NodeError;

    fn from_str(text: &str) -> Result<Self, NodeError> {
        Self::parse(text)
    }
}

impl Serialize for NodeName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for NodeName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(de::Error::custom)
    }
}

/// Who a node is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeIdentity {
    cluster_id: ClusterId,
    role: NodeRole,
    name: NodeName,
}

impl NodeIdentity {
    /// The node of that role and name.
    ///
    /// # Errors
    /// [`NodeError::NameOfRole`].
    pub fn new(cluster_id: ClusterId, role: NodeRole, name: NodeName) -> Result<Self, NodeError> {
        // A controller called spu-3 would be taken for the unit by whoever reads names alone.
        let is_unit = name.spu_id().is_some();
        let looks_like_one = name.as_str().starts_with(SPU_PREFIX);
        let fits = match role {
            NodeRole::Spu => is_unit,
            NodeRole::Sc | NodeRole::Gateway => !looks_like_one,
        };
        if !fits {
            return Err(NodeError::NameOfRole { role, name });
        }
        Ok(Self {
            cluster_id,
            role,
            name,
        })
    }

    /// The storage unit of that number.
    #[must_use]
    pub fn spu(cluster_id: ClusterId, spu: SpuId) -> Self {
        Self {
            cluster_id,
            role: NodeRole::Spu,
            name: NodeName::of_spu(spu),
        }
    }

    /// The cluster it belongs to.
    #[must_use]
    pub fn cluster_id(&self) -> ClusterId {
        self.cluster_id
    }

    /// What it is there for.
    #[must_use]
    pub fn role(&self) -> NodeRole {
        self.role
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &NodeName {
        &self.name
    }

    /// Its number when it is a storage unit.
    #[must_use]
    pub fn spu_id(&self) -> Option<SpuId> {
        match self.role {
            NodeRole::Spu => self.name.spu_id(),
            NodeRole::Sc | NodeRole::Gateway => None,
        }
    }
}

impl fmt::Display for NodeIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}/{}/{}", self.cluster_id, self.role, self.name)
    }
}

impl FromStr for NodeIdentity {
    type Err = NodeError;

    fn from_str(text: &str) -> Result<Self, NodeError> {
        let no_uri = || NodeError::Uri(text.to_owned());
        let mut parts = text.strip_prefix(SCHEME).ok_or_else(no_uri)?.splitn(3, '/');
        let mut part = || parts.next().ok_or_else(no_uri);
        let (cluster, role, name) = (part()?, part()?, part()?);
        let cluster_id = cluster.parse().map_err(|_| no_uri())?;
        let found = Self::new(cluster_id, role.parse()?, NodeName::parse(name)?)?;
        // Ids have other spellings (upper case, braces), which are not ours.
        (found.to_string() == text)
            .then_some(found)
            .ok_or_else(no_uri)
    }
}

impl Serialize for NodeIdentity {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for NodeIdentity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CLUSTER: &str = "0190cf3e-5d7a-7c9e-8a44-2f8f3f1f0a01";

    fn cluster() -> ClusterId {
        CLUSTER.parse().unwrap()
    }

    fn named(role: NodeRole, name: &str) -> Result<NodeIdentity, NodeError> {
        NodeIdentity::new(cluster(), role, NodeName::parse(name)?)
    }

    #[test]
    fn an_identity_is_a_uri_and_back() {
        let unit = NodeIdentity::spu(cluster(), SpuId(3));
        assert_eq!(unit.to_string(), format!("tidegate://{CLUSTER}/spu/spu-3"));
        assert_eq!(unit.to_string().parse(), Ok(unit.clone()));
        assert_eq!(unit.spu_id(), Some(SpuId(3)));
        assert_eq!(named(NodeRole::Spu, "spu-3"), Ok(unit));
        let gateway = named(NodeRole::Gateway, "gateway-a.eu").unwrap();
        assert_eq!(gateway.spu_id(), None);
        let json = serde_json::to_string(&gateway).unwrap();
        assert_eq!(
            json,
            format!("\"tidegate://{CLUSTER}/gateway/gateway-a.eu\"")
        );
        assert_eq!(
            serde_json::from_str::<NodeIdentity>(&json).unwrap(),
            gateway
        );
    }

    #[test]
    fn other_spellings_are_nobody() {
        let upper = CLUSTER.to_uppercase();
        let bare = CLUSTER.replace('-', "");
        for bad in [
            String::new(),
            format!("tidegate://{CLUSTER}"),
            format!("tidegate://{CLUSTER}/spu"),
            format!("tidegate://{CLUSTER}/spu/"),
            format!("tidegate://{CLUSTER}/spu/spu-03"),
            format!("tidegate://{CLUSTER}/spu/spu-+3"),
            format!("tidegate://{CLUSTER}/spu/spu-4294967296"),
            format!("tidegate://{CLUSTER}/spu/spu-3/"),
            format!("tidegate://{CLUSTER}/spu/spu-3?x"),
            format!("tidegate://{CLUSTER}/spu/three"),
            format!("tidegate://{CLUSTER}/sc/spu-3"),
            format!("tidegate://{CLUSTER}/gateway/spu-x"),
            format!("tidegate://{CLUSTER}/SC/a"),
            format!("tidegate://{CLUSTER}/admin/a"),
            format!("tidegate://{CLUSTER}/sc/A"),
            format!("tidegate://{CLUSTER}/sc/a b"),
            format!("tidegate://{CLUSTER}/sc/-a"),
            format!("tidegate://{CLUSTER}/sc/a."),
            format!("tidegate://{CLUSTER}/sc/{}", "a".repeat(64)),
            format!("tidegate://{upper}/sc/a"),
            format!("tidegate://{bare}/sc/a"),
            format!("tidegate:///{CLUSTER}/sc/a"),
            format!("TIDEGATE://{CLUSTER}/sc/a"),
            format!(" tidegate://{CLUSTER}/sc/a"),
        ] {
            assert!(bad.parse::<NodeIdentity>().is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn whatever_parses_is_spelt_as_it_prints(
            bytes: [u8; 16], role in "sc|spu|gateway|spu-1", name in "(spu-)?[a-z0-9.-]{0,5}[0-9]{0,3}",
        ) {
            let text = format!("tidegate://{}/{role}/{name}", ClusterId::from_bytes(bytes));
            if let Ok(identity) = text.parse::<NodeIdentity>() {
                prop_assert_eq!(identity.to_string(), text);
                prop_assert_eq!(identity.spu_id().is_some(), identity.role() == NodeRole::Spu);
            }
        }

        #[test]
        fn no_text_makes_the_codec_panic(text in ".{0,120}") {
            let _ = text.parse::<NodeIdentity>();
            let _ = format!("tidegate://{text}").parse::<NodeIdentity>();
        }
    }
}
