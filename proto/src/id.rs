//! Identifiers: newtypes that are compared and printed, never computed with.
//!
//! Invariant: an id means one thing for ever. A topic deleted and made again has another
//! [`TopicId`]; a replica removed and added again has another [`ReplicaGen`].

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl $name {
            /// The id whose 16 bytes these are, in network order.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(Uuid::from_bytes(bytes))
            }

            /// The 16 bytes, in network order: the form on disk and on the wire.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; 16] {
                self.0.as_bytes()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;
            fn from_str(text: &str) -> Result<Self, uuid::Error> {
                text.parse().map(Self)
            }
        }
    };
}

macro_rules! number_id {
    ($(#[$doc:meta])* $name:ident, $number:ty) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
        #[serde(transparent)]
        pub struct $name(pub $number);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl FromStr for $name {
            type Err = std::num::ParseIntError;
            fn from_str(text: &str) -> Result<Self, std::num::ParseIntError> {
                text.parse().map(Self)
            }
        }
    };
}

uuid_id!(
    /// One life of a topic; never used again after the topic is deleted.
    TopicId
);
uuid_id!(
    /// One data directory, written into it when it was made.
    StorageId
);
uuid_id!(
    /// One cluster, so that a data directory cannot join a stranger's.
    ClusterId
);
uuid_id!(
    /// One metadata store of a cluster; new when an operator takes a restored or older one for good.
    StoreId
);
uuid_id!(
    /// One membership of an SPU in a partition's replica set; new at every add.
    ReplicaGen
);
uuid_id!(
    /// One run of a process, so that two processes with one identity are told apart.
    RunId
);

uuid_id!(
    /// One attempt of a data directory to be registered. The directory knows it before the controllers do,
    /// so that one that went back in time is told from one whose process ended in between.
    AttemptId
);

uuid_id!(
    /// One long piece of work of the control plane: a move of replicas, a drain, a recovery.
    OperationId
);

number_id!(
    /// A streaming processing unit, as the operator numbered it.
    SpuId,
    u32
);
number_id!(
    /// One registration of an SPU; later ones are greater and fence earlier ones.
    Incarnation,
    u64
);
number_id!(
    /// One holding of the controller's lease; later ones are greater, and end earlier ones.
    LeaseEpoch,
    u64
);
number_id!(
    /// An idempotent producer.
    ProducerId,
    u64
);
number_id!(
    /// A partition within its topic, counted from 0.
    PartitionId,
    u32
);
