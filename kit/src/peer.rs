//! The node at the other end of a private connection, as handlers see it.
//!
//! A listener puts a [`PeerIdentity`] into every request of a connection whose client showed a certificate
//! that [`NodeTls`](crate::tls::NodeTls) found good. Nothing that a client can send makes one.
//! Invariant: a handler that asks for it is never run without it.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use http::request::Parts;
use tidegate_proto::error::ErrorCode;
use tidegate_proto::id::SpuId;
use tidegate_proto::node::{NodeIdentity, NodeRole};

use crate::http::{ApiError, ApiResult};

/// Who sent a request over a private connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerIdentity(pub NodeIdentity);

/// The serial number of the certificate by which a peer showed who it is, hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerSerial(pub Arc<str>);

impl PeerIdentity {
    /// Goes on only for a node of one of these roles.
    ///
    /// # Errors
    /// 403 `forbidden`.
    pub fn require(&self, roles: &[NodeRole]) -> ApiResult<()> {
        if roles.contains(&self.0.role()) {
            return Ok(());
        }
        Err(ApiError::new(
            ErrorCode::Forbidden,
            format!(
                "{} may not do this: it is of role {}",
                self.0.name(),
                self.0.role()
            ),
        ))
    }

    /// Goes on only for a storage unit: which.
    ///
    /// # Errors
    /// 403 `forbidden`.
    pub fn require_spu(&self) -> ApiResult<SpuId> {
        self.require(&[NodeRole::Spu])?;
        let no_number = || ApiError::new(ErrorCode::Forbidden, "this unit has no number");
        self.0.spu_id().ok_or_else(no_number)
    }

    /// Goes on only for that storage unit: one may not speak for another.
    ///
    /// # Errors
    /// 403 `forbidden`.
    pub fn require_to_be_spu(&self, spu: SpuId) -> ApiResult<()> {
        let found = self.require_spu()?;
        if found == spu {
            return Ok(());
        }
        Err(ApiError::new(
            ErrorCode::Forbidden,
            format!("storage unit {found} may not speak for storage unit {spu}"),
        ))
    }
}

impl<S: Sync> FromRequestParts<S> for PeerIdentity {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> ApiResult<Self> {
        shown(parts)
    }
}

impl<S: Sync> FromRequestParts<S> for PeerSerial {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> ApiResult<Self> {
        shown(parts)
    }
}

fn shown<T: Clone + Send + Sync + 'static>(parts: &Parts) -> ApiResult<T> {
    parts.extensions.get::<T>().cloned().ok_or_else(|| {
        ApiError::new(
            ErrorCode::Unauthenticated,
            "this takes the certificate of a node of the cluster",
        )
    })
}
