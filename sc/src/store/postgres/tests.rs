//! The Postgres store against the conformance suite, and what only a server can do wrong.

mod faults;
mod figures;
mod schema;
mod tls;

use std::sync::Arc;

use tidegate_proto::api::topic::TopicRequest;
use tidegate_proto::id::ClusterId;
use tidegate_proto::name::TopicName;
use tidegate_sc_core::decide::decide;
use tidegate_sc_core::decision::{Request, TopicWrite};
use uuid::Uuid;

use super::*;
use crate::local_postgres::{Scratch, ScratchDatabase};
use crate::store::conformance::{Bench, conforms};
use crate::store::migrations::POSTGRES;

struct Server {
    database: ScratchDatabase,
}

impl Server {
    async fn new() -> Self {
        Self::on(&Scratch::shared().unwrap()).await
    }

    async fn on(scratch: &Arc<Scratch>) -> Self {
        let database = scratch.database().await.unwrap();
        let server = Self { database };
        let new = migrate(&server.url(), ClusterId(Uuid::new_v4()), 1).await;
        assert_eq!(new.unwrap().len(), POSTGRES.len());
        server
    }

    fn url(&self) -> DatabaseUrl {
        DatabaseUrl::parse(&self.database.url).unwrap()
    }

    async fn store(&self) -> Result<PostgresStore, StoreError> {
        PostgresStore::open(&self.url(), "tester").await
    }

    /// Somebody at the database with a client of his own.
    async fn sql(&self, statement: &'static str) {
        let mut conn = self.url().connect("tester").await.unwrap();
        sqlx::raw_sql(statement).execute(&mut conn).await.unwrap();
    }

    /// Changes a setting of the server, at once.
    async fn set(&self, statement: &'static str) {
        self.sql(statement).await;
        self.sql("SELECT pg_reload_conf()").await;
    }
}

impl Bench for Server {
    fn open(&self) -> BoxFuture<'_, Arc<dyn MetaStore>> {
        Box::pin(async { Arc::new(self.store().await.unwrap()) as Arc<dyn MetaStore> })
    }

    fn after_a_crash(&self) -> BoxFuture<'_, Arc<dyn MetaStore>> {
        self.open()
    }
}

fn creation(model: &Model, name: &str, partitions: u32) -> Commit {
    let write = TopicWrite {
        name: TopicName::parse(name).unwrap(),
        request: TopicRequest {
            partitions: partitions.into(),
            ..TopicRequest::default()
        },
        if_match: None,
    };
    let decided = decide(model, 7, Uuid::new_v4(), &Request::CreateTopic(write));
    Commit::new(
        decided.unwrap().changes,
        "tester".to_owned(),
        String::new(),
        7,
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_conforms() {
    conforms(Server::new).await;
}
