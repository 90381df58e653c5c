//! The SQLite store against the conformance suite, and what only a file can do wrong.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tempfile::TempDir;
use tidegate_proto::id::SpuId;
use uuid::Uuid;

use super::*;
use crate::store::conformance::{Bench, conforms};
use crate::store::migrations::{SQLITE, migrator};
use crate::store::{Ledger as _, chain};

struct File {
    dir: TempDir,
}

impl File {
    fn new() -> Self {
        Self {
            dir: TempDir::new().unwrap(),
        }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("meta.db")
    }
}

async fn open(path: &Path) -> Result<SqliteStore, StoreError> {
    SqliteStore::open(path, ClusterId(Uuid::new_v4()), 1).await
}

impl Bench for File {
    fn open(&self) -> BoxFuture<'_, Arc<dyn MetaStore>> {
        Box::pin(async { Arc::new(open(&self.path()).await.unwrap()) as Arc<dyn MetaStore> })
    }

    fn open_another(&self) -> Option<BoxFuture<'_, Arc<dyn MetaStore>>> {
        None
    }

    fn after_a_crash(&self) -> BoxFuture<'_, Arc<dyn MetaStore>> {
        // What the files hold while the store is still open is what a kill leaves.
        for name in ["meta.db", "meta.db-wal"] {
            let from = self.dir.path().join(name);
            std::fs::copy(&from, self.dir.path().join(format!("crashed-{name}"))).unwrap();
        }
        let path = self.dir.path().join("crashed-meta.db");
        // SQLite finds the log by the name of the file.
        std::fs::rename(
            self.dir.path().join("crashed-meta.db-wal"),
            path.with_extension("db-wal"),
        )
        .unwrap();
        Box::pin(async move { Arc::new(open(&path).await.unwrap()) as Arc<dyn MetaStore> })
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite_conforms() {
    conforms(async || File::new()).await;
}

#[tokio::test]
async fn a_second_controller_on_the_same_file_is_refused_until_the_first_ends() {
    let file = File::new();
    let first = open(&file.path()).await.unwrap();
    let second = open(&file.path()).await;
    assert!(matches!(second, Err(StoreError::InUse(_))), "{second:?}");
    first.close().await;
    let third = open(&file.path()).await.unwrap();
    let fourth = open(&file.path()).await;
    assert!(
        matches!(fourth, Err(StoreError::InUse(_))),
        "a store that was there already"
    );
    third.close().await;
}

#[tokio::test]
async fn a_store_of_a_newer_version_is_refused_and_left_alone() {
    let file = File::new();
    let store = open(&file.path()).await.unwrap();
    sqlx::query(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
         VALUES (9999, 'from the future', true, x'00', 0)",
    )
    .execute(&store.pool)
    .await
    .unwrap();
    store.close().await;
    let refused = open(&file.path()).await;
    assert!(
        matches!(
            refused,
            Err(StoreError::SchemaTooNew {
                found: 9999,
                known: 4
            })
        ),
        "{refused:?}"
    );
    let text = refused.unwrap_err().to_string();
    assert!(text.contains("9999") && text.contains("newer"), "{text}");
}

#[tokio::test]
async fn stores_of_earlier_versions_are_brought_up_to_date() {
    // What each version left, as its own statements did, before rows had one form.
    let written = [
        "INSERT INTO cluster (id, cluster_id, revision, next_producer_id, created_at_ms)
         VALUES (1, '00000000-0000-0000-0000-0000000000cc', 7, 2001, 5)",
        "INSERT INTO spus VALUES (0, 3, '00000000-0000-0000-0000-000000000005',
             '00000000-0000-0000-0000-000000000006', 4, NULL, 0, 1, 'r1')",
        "INSERT INTO topics VALUES ('00000000-0000-0000-0000-000000000001', 'orders', 2, 1, 1, NULL,
             '\"computed\"', '{\"retention_ms\":1000}', 5, 6)",
        "INSERT INTO partitions (topic_id, partition, version, leader, leader_epoch, replicas, isr,
                                 min_isr, recovery_gen)
         VALUES ('00000000-0000-0000-0000-000000000001', 0, 4, 0, 9,
                 '[{\"spu\":0,\"replica_gen\":\"00000000-0000-0000-0000-000000000002\",\"joined\":true}]',
                 '[{\"spu\":0,\"incarnation\":4}]', 1, 0)",
        "INSERT INTO tombstones VALUES ('00000000-0000-0000-0000-000000000003', 'gone', 6, 5)",
        "INSERT INTO commits VALUES (7, 'a', 'tester', 'r', 5)",
    ];
    for version in 1..=2 {
        let file = File::new();
        let path = format!("sqlite://{}?mode=rwc", file.path().display());
        let pool = SqlitePool::connect(&path).await.unwrap();
        migrator(&SQLITE[..version]).run(&pool).await.unwrap();
        for statement in written {
            sqlx::query(statement).execute(&pool).await.unwrap();
        }
        pool.close().await;
        let store = open(&file.path()).await.unwrap();
        let model = store.snapshot().await.unwrap();
        assert_eq!(model.cluster_id, ClusterId(Uuid::from_u128(0xcc)));
        assert_eq!(model.revision, 7);
        let spu = &model.spus[&SpuId(0)];
        assert!(spu.draining && !spu.fenced && spu.rack.as_deref() == Some("r1"));
        let topic = model.topics.values().next().unwrap();
        assert_eq!(topic.row.config.retention_ms, Some(1000));
        let partition = &topic.partitions[0];
        assert_eq!(partition.truncate_before.get(), 0);
        assert!(partition.replicas[0].joined && partition.has_in_sync(SpuId(0)));
        let gone = TopicId(Uuid::from_u128(3));
        assert!(store.is_deleted(gone).await.unwrap());
        assert_eq!(store.lease_producer_ids(1).await.unwrap().start, 2001);
        // Its history begins here.
        let standing = store.standing().await.unwrap();
        assert_eq!((standing.revision, standing.events_floor), (7, 7));
        assert_eq!(standing.chain, chain::start(model.cluster_id));
    }
}

#[tokio::test]
async fn used_tokens_and_deleted_topics_of_the_version_before_are_still_known() {
    let file = File::new();
    let path = format!("sqlite://{}?mode=rwc", file.path().display());
    let pool = SqlitePool::connect(&path).await.unwrap();
    migrator(&SQLITE[..3]).run(&pool).await.unwrap();
    for statement in [
        "INSERT INTO cluster (id, cluster_id, store_id, revision, events_floor, next_producer_id,
                              created_at_ms, chain)
         VALUES (1, '00000000-0000-0000-0000-0000000000cc', '00000000-0000-0000-0000-0000000000dd',
                 7, 7, 2001, 5, zeroblob(32))",
        "INSERT INTO tombstones VALUES ('topic', '00000000-0000-0000-0000-000000000003', 'gone', 6, 5)",
        "INSERT INTO join_tokens VALUES (zeroblob(32), 'spu', '{}', 'ann', 1, 100, 'x', 2)",
    ] {
        sqlx::query(statement).execute(&pool).await.unwrap();
    }
    pool.close().await;
    let store = open(&file.path()).await.unwrap();
    assert_eq!(store.standing().await.unwrap().revision, 7);
    let gone = TopicId(Uuid::from_u128(3));
    assert!(store.is_deleted(gone).await.unwrap());
    let used = store.join_token(&[0; 32]).await.unwrap().unwrap().used;
    assert_eq!(
        used.map(|used| (used.by, used.at_ms)),
        Some(("x".to_owned(), 2))
    );
    let again = store.redeem_join_token(&[0; 32], "y", Some("spu/spu-1"), 3);
    assert!(matches!(again.await.unwrap(), Redeemed::Before(_)));
    let fresh = JoinToken {
        hash: [1; 32],
        role: "spu".to_owned(),
        scope: "{}".to_owned(),
        created_by: "ann".to_owned(),
        created_at_ms: 1,
        expires_at_ms: 100,
        used: None,
    };
    assert!(store.add_join_token(&fresh).await.unwrap());
    let taken = store.redeem_join_token(&[1; 32], "y", Some("spu/spu-1"), 3);
    assert!(matches!(taken.await.unwrap(), Redeemed::Now(_)));
}

#[tokio::test]
async fn a_schema_that_was_edited_is_refused() {
    let file = File::new();
    let store = open(&file.path()).await.unwrap();
    sqlx::query("UPDATE _sqlx_migrations SET checksum = x'00'")
        .execute(&store.pool)
        .await
        .unwrap();
    store.close().await;
    let refused = open(&file.path()).await;
    assert!(
        matches!(refused, Err(StoreError::SchemaDiffers { version: 1 })),
        "{refused:?}"
    );
}

#[tokio::test]
async fn a_file_that_is_no_store_and_a_place_that_is_none_are_told_apart() {
    let file = File::new();
    std::fs::write(file.path(), vec![b'x'; 8192]).unwrap();
    let damaged = open(&file.path()).await;
    assert!(
        matches!(damaged, Err(StoreError::Damaged(_))),
        "{damaged:?}"
    );
    let nowhere = open(&file.dir.path().join("none").join("meta.db")).await;
    assert!(
        matches!(nowhere, Err(StoreError::NotWritable { .. })),
        "{nowhere:?}"
    );
}

#[tokio::test]
async fn commits_are_synced_to_disk() {
    let file = File::new();
    let store = open(&file.path()).await.unwrap();
    let pragma = |sql| sqlx::query_scalar::<_, i64>(sql).fetch_one(&store.pool);
    assert_eq!(pragma("PRAGMA synchronous").await.unwrap(), 2, "FULL");
    let mode: String = sqlx::query_scalar("PRAGMA journal_mode")
        .fetch_one(&store.pool)
        .await
        .unwrap();
    assert_eq!(mode, "wal");
}
