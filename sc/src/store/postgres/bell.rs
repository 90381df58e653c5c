//! The doorbell: NOTIFY, for speed only.
//!
//! Notifications are lost while there is no connection, so a new connection rings at once; whoever
//! waits reads the events themselves and polls besides.

use sqlx::PgPool;
use sqlx::postgres::PgListener;
use tidegate_proto::id::ClusterId;

use crate::limits::DOORBELL_RETRY;
use crate::store::fault::BoxFuture;
use crate::store::meta_store::Doorbell;

/// The name under which commits of a cluster are announced: databases may hold several clusters in
/// schemas of their own.
pub(super) mod channel {
    use tidegate_proto::id::ClusterId;

    /// What stands before the cluster's id.
    pub(crate) const PREFIX: &str = "tidegate_";

    pub(crate) fn of(cluster_id: ClusterId) -> String {
        format!("{PREFIX}{}", cluster_id.0.simple())
    }
}

pub(super) struct Bell {
    pool: PgPool,
    cluster_id: ClusterId,
    listener: Option<PgListener>,
}

impl Bell {
    pub(super) const fn new(pool: PgPool, cluster_id: ClusterId) -> Self {
        Self {
            pool,
            cluster_id,
            listener: None,
        }
    }

    async fn listen(&self) -> Result<PgListener, sqlx::Error> {
        let mut listener = PgListener::connect_with(&self.pool).await?;
        listener.eager_reconnect(false);
        listener.listen(&channel::of(self.cluster_id)).await?;
        Ok(listener)
    }

    async fn wait(&mut self) {
        let Some(listener) = &mut self.listener else {
            match self.listen().await {
                Ok(listener) => self.listener = Some(listener),
                Err(_) => tokio::time::sleep(DOORBELL_RETRY).await,
            }
            return;
        };
        match listener.try_recv().await {
            // Those that came with it say the same.
            Ok(Some(_)) => while listener.next_buffered().is_some() {},
            Ok(None) => self.listener = None,
            Err(_) => {
                self.listener = None;
                tokio::time::sleep(DOORBELL_RETRY).await;
            }
        }
    }
}

impl Doorbell for Bell {
    fn rung(&mut self) -> BoxFuture<'_, ()> {
        Box::pin(self.wait())
    }
}
