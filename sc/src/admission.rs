//! Who becomes a node of the cluster: the controller as its certificate authority.
//!
//! A join token lets one node ask for its first certificate; the certificate lets it ask for the next.
//! Tokens and certificates are noted in the ledger of the metadata store, so that any controller can go on
//! where another was; the authority's key is a file that each of them is given, and never in the database.
//! A certificate that was taken back is not renewed; what its bearer may still do until it ends is decided
//! by the rows of the control state (a unit that was removed or fenced).
//! Invariant: two nodes never get certificates for one token.

mod join;
mod tokens;

use std::fmt;
use std::sync::Arc;

use axum::Router;
use axum::routing::post;
use thiserror::Error;
use tidegate_kit::clock;
use tidegate_kit::tasks::{TaskKind, Tasks};
use tidegate_kit::tls::{ClusterAuthority, NodeTls, PkiError};
use tidegate_proto::id::ClusterId;
use tidegate_proto::node::{NodeError, NodeIdentity, NodeName, NodeRole};
use tokio::sync::Semaphore;

use crate::controller::Controller;
use crate::limits::{JOINS_AT_ONCE_MAX, NODE_CERTIFICATE_LIFE, OWN_CERTIFICATE_RETRY};
use crate::store::{NodeCertificate, StoreError};

/// Why a controller cannot admit nodes.
#[derive(Debug, Error)]
pub enum AdmissionError {
    /// The key is that of another cluster.
    #[error("the authority is that of cluster {authority}, the metadata store that of {store}")]
    OtherCluster {
        authority: ClusterId,
        store: ClusterId,
    },
    /// A controller cannot have that name.
    #[error(transparent)]
    Name(#[from] NodeError),
    /// No certificate could be made.
    #[error(transparent)]
    Pki(#[from] PkiError),
    /// It could not be noted.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The authority at work. Clones are the same.
#[derive(Clone)]
pub struct Admission {
    controller: Controller,
    authority: Arc<ClusterAuthority>,
    /// Places for nodes that join, whose requests cost the store's connections.
    joins: Arc<Semaphore>,
}

impl fmt::Debug for Admission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admission")
            .field("authority", &self.authority)
            .finish_non_exhaustive()
    }
}

impl Admission {
    /// Puts the authority to work for a controller.
    ///
    /// # Errors
    /// [`AdmissionError::OtherCluster`].
    pub fn new(
        controller: Controller,
        authority: ClusterAuthority,
    ) -> Result<Self, AdmissionError> {
        let (ours, store) = (authority.cluster_id(), controller.cluster_id());
        if ours != store {
            return Err(AdmissionError::OtherCluster {
                authority: ours,
                store,
            });
        }
        Ok(Self {
            controller,
            authority: Arc::new(authority),
            joins: Arc::new(Semaphore::new(JOINS_AT_ONCE_MAX)),
        })
    }

    /// The controller that it belongs to.
    #[must_use]
    pub fn controller(&self) -> &Controller {
        &self.controller
    }

    /// What nodes ask over the private plane: `join`, without a certificate, and `certificate`.
    pub fn internal_router(&self) -> Router {
        Router::new()
            .route("/internal/v1/join", post(join::join))
            .route("/internal/v1/certificate", post(join::renew))
            .with_state(self.clone())
    }

    /// The identity of the controller itself, under a certificate that it issues and renews for as long as
    /// `tasks` run. Its key is never on a disk.
    ///
    /// # Errors
    /// [`AdmissionError`].
    pub async fn own_tls(&self, name: NodeName, tasks: &Tasks) -> Result<NodeTls, AdmissionError> {
        let identity = NodeIdentity::new(self.authority.cluster_id(), NodeRole::Sc, name)?;
        let life = NODE_CERTIFICATE_LIFE;
        let credentials = self.authority.issue(&identity, clock::now_s(), life)?;
        let tls = NodeTls::new(&credentials)?;
        self.note(&identity, tls.serial(), tls.validity_s().1)
            .await?;
        let (admission, own) = (self.clone(), tls.clone());
        let span = tracing::info_span!("own_certificate");
        tasks.spawn(TaskKind::Upkeep, span, async move {
            loop {
                let renew_at = clock::monotonic() + own.until_renewal(clock::now_s());
                tokio::time::sleep_until(renew_at.into()).await;
                if let Err(error) = admission.renew_own(&own).await {
                    tracing::warn!(%error, "the controller's own certificate was not renewed");
                    let retry_at = clock::monotonic() + OWN_CERTIFICATE_RETRY;
                    tokio::time::sleep_until(retry_at.into()).await;
                }
            }
        });
        Ok(tls)
    }

    async fn renew_own(&self, tls: &NodeTls) -> Result<(), AdmissionError> {
        let identity = tls.identity();
        let life = NODE_CERTIFICATE_LIFE;
        let credentials = self.authority.issue(identity, clock::now_s(), life)?;
        tls.replace(&credentials)?;
        self.note(identity, tls.serial(), tls.validity_s().1).await
    }

    /// Notes a certificate in the ledger.
    async fn note(
        &self,
        node: &NodeIdentity,
        serial: String,
        expires_at_s: i64,
    ) -> Result<(), AdmissionError> {
        let certificate = NodeCertificate {
            serial,
            node: node_text(node),
            issued_at_ms: clock::now_ms(),
            expires_at_ms: expires_at_s.saturating_mul(1000),
            revoked_at_ms: None,
        };
        // Serial numbers are 126 random bits: one that is there already is this one.
        let ledger = self.controller.store();
        ledger.add_certificate(&certificate).await?;
        let (node, serial) = (certificate.node, certificate.serial);
        tracing::info!(node, serial, "certificate issued");
        Ok(())
    }
}

/// A node in the ledger and in lists: names are unique within a role only.
fn node_text(identity: &NodeIdentity) -> String {
    format!("{}/{}", identity.role(), identity.name())
}

#[cfg(test)]
mod tests;
