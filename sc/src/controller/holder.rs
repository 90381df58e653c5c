//! Keeps the lease: who runs the controllers of the cluster.
//!
//! A task of its own over a connection of its own, so that a slow commit does not delay a renewal. Time
//! decides only when to try; what keeps an old holder out is the epoch in its commits. Invariant: nobody
//! takes himself for the holder longer than the lease lasts after the last renewal was *asked for*.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use tidegate_kit::clock;
use tidegate_proto::id::LeaseEpoch;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::limits::{LEASE_RETRY, Pace};
use crate::metrics;
use crate::store::{Acquired, MetaStore};

/// What stands in the lease row: who holds it, and where it is reached by other controllers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HolderName {
    pub(crate) name: String,
    /// `host:port` of its private listener, if it has one.
    pub(crate) address: Option<String>,
    /// One run of one process.
    pub(crate) run: Uuid,
}

impl fmt::Display for HolderName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = self.address.as_deref().unwrap_or("-");
        write!(f, "{} {address} {}", self.name, self.run)
    }
}

impl HolderName {
    /// The other way round; none for what another version wrote.
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.rsplitn(3, ' ');
        let (run, address, name) = (parts.next()?, parts.next()?, parts.next()?);
        Some(Self {
            name: name.to_owned(),
            address: (address != "-").then(|| address.to_owned()),
            run: run.parse().ok()?,
        })
    }
}

/// Who holds the lease, as far as we know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Lease {
    Unknown,
    Ours { epoch: LeaseEpoch, until: Instant },
    Theirs(Option<HolderName>),
}

impl Lease {
    /// The epoch under which we hold it now.
    pub(crate) fn epoch(&self) -> Option<LeaseEpoch> {
        match self {
            Self::Ours { epoch, until } if clock::monotonic() < *until => Some(*epoch),
            Self::Ours { .. } | Self::Unknown | Self::Theirs(_) => None,
        }
    }
}

/// The task.
#[derive(Debug)]
pub(super) struct Holder {
    pub(super) store: Arc<dyn MetaStore>,
    pub(super) name: HolderName,
    pub(super) lease: Arc<watch::Sender<Lease>>,
    pub(super) pace: Pace,
}

impl Holder {
    pub(super) async fn run(self, stop: CancellationToken) {
        let mut changes = self.lease.subscribe();
        loop {
            let wait = self.turn().await;
            changes.borrow_and_update();
            tokio::select! {
                () = stop.cancelled() => break,
                () = tokio::time::sleep(wait) => {}
                // Somebody found out that it is not ours any more.
                _ = changes.changed() => {}
            }
        }
        let held = self.lease.borrow().epoch();
        if let Some(epoch) = held {
            self.set(Lease::Unknown);
            if let Err(error) = self.store.release_lease(epoch).await {
                tracing::warn!(%error, "the lease could not be given back; it ends by itself");
            }
        }
    }

    /// Renews or tries to take it; tells when to come again.
    async fn turn(&self) -> std::time::Duration {
        let held = self.lease.borrow().epoch();
        let asked = clock::monotonic();
        let Pace { lease, renewal, .. } = self.pace;
        let until = asked + lease;
        if let Some(epoch) = held {
            return match self.store.renew_lease(epoch, lease).await {
                Ok(true) => {
                    self.set(Lease::Ours { epoch, until });
                    renewal
                }
                Ok(false) => {
                    tracing::warn!(%epoch, "the lease has gone to another controller");
                    self.set(Lease::Unknown);
                    LEASE_RETRY
                }
                Err(error) => {
                    tracing::warn!(%error, "the lease could not be renewed");
                    LEASE_RETRY
                }
            };
        }
        match self
            .store
            .acquire_lease(&self.name.to_string(), lease)
            .await
        {
            Ok(Acquired::Ours(epoch)) => {
                tracing::info!(%epoch, "this controller holds the lease");
                self.set(Lease::Ours { epoch, until });
                renewal
            }
            Ok(Acquired::Theirs { holder, left, .. }) => {
                self.set(Lease::Theirs(HolderName::parse(&holder)));
                left.clamp(LEASE_RETRY / 10, renewal)
            }
            Err(error) => {
                tracing::debug!(%error, "the lease could not be asked for");
                // Whoever held it may hold it still, and wants to hear what we hear.
                LEASE_RETRY
            }
        }
    }

    fn set(&self, lease: Lease) {
        metrics::holds_lease(lease.epoch());
        self.lease.send_replace(lease);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_holder_is_read_back_from_the_lease_row() {
        for address in [None, Some("[::1]:7443".to_owned())] {
            let name = HolderName {
                name: "sc one".to_owned(),
                address,
                run: Uuid::from_u128(5),
            };
            assert_eq!(HolderName::parse(&name.to_string()), Some(name));
        }
        assert_eq!(HolderName::parse("tester"), None);
    }
}
