//! The Postgres store against the conformance suite, and what only a server can do wrong.

use std::sync::Arc;

use tidegate_proto::id::ClusterId;
use uuid::Uuid;

use super::*;
use crate::local_postgres::{Scratch, ScratchDatabase};
use crate::store::conformance::{Bench, conforms};

struct Server {
    database: ScratchDatabase,
}

impl Server {
    async fn new() -> Self {
        let database = Scratch::shared().unwrap().database().await.unwrap();
        let server = Self { database };
        let new = migrate(&server.url(), ClusterId(Uuid::new_v4()), 1).await;
        assert_eq!(new.unwrap().len(), 1);
        server
    }

    fn url(&self) -> DatabaseUrl {
        DatabaseUrl::parse(&self.database.url).unwrap()
    }

    async fn store(&self) -> Result<PostgresStore, StoreError> {
        PostgresStore::open(&self.url(), "tester").await
    }
}

impl Bench for Server {
    fn open(&self) -> BoxFuture<'_, Arc<dyn MetaStore>> {
        Box::pin(async { Arc::new(self.store().await.unwrap()) as Arc<dyn MetaStore> })
    }

    fn after_a_crash(&self) -> BoxFuture<'_, Arc<dyn MetaStore>> {
        Box::pin(async { Arc::new(self.store().await.unwrap()) as Arc<dyn MetaStore> })
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_conforms() {
    conforms(Server::new).await;
}
