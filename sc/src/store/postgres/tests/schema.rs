//! What `migrate` does, and what a start says about a schema that does not fit.

use super::*;
use crate::store::Ledger as _;

#[tokio::test]
async fn a_database_that_was_not_migrated_says_what_to_do() {
    let database = Scratch::shared().unwrap().database().await.unwrap();
    let server = Server { database };
    let refused = server.store().await.unwrap_err();
    assert!(matches!(refused, StoreError::SchemaMissing), "{refused:?}");
    assert!(refused.to_string().contains("tidegate sc migrate"));
}

#[tokio::test]
async fn migrating_again_does_nothing_and_many_at_once_do_it_once() {
    let database = Scratch::shared().unwrap().database().await.unwrap();
    let server = Server { database };
    let mut runs = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let url = server.url();
        runs.spawn(async move { migrate(&url, ClusterId(Uuid::new_v4()), 1).await.unwrap() });
    }
    let applied = runs.join_all().await.concat();
    let applied: Vec<_> = applied
        .iter()
        .map(|script| (script.version, script.name.as_str()))
        .collect();
    assert_eq!(applied, [(1, "metadata"), (2, "names")]);
    let first = server.store().await.unwrap().snapshot().await.unwrap();
    let again = migrate(&server.url(), ClusterId(Uuid::new_v4()), 1).await;
    assert!(again.unwrap().is_empty());
    let second = server.store().await.unwrap().snapshot().await.unwrap();
    assert_eq!(first, second, "the cluster keeps its identity");
}

#[tokio::test]
async fn a_schema_that_does_not_fit_is_refused_with_the_way_out() {
    let server = Server::new().await;
    // A newer version that only added: both may run.
    server
        .sql(
            "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
             VALUES (9999, 'from the future', true, 'x', 0)",
        )
        .await;
    server.store().await.unwrap().close().await;
    let migrated = migrate(&server.url(), ClusterId(Uuid::new_v4()), 1).await;
    assert!(migrated.unwrap().is_empty());
    server.sql("UPDATE schema_floor SET floor = 9999").await;
    let refused = server.store().await.unwrap_err();
    assert!(
        matches!(
            refused,
            StoreError::SchemaTooNew {
                found: 9999,
                known: 2
            }
        ),
        "{refused:?}"
    );
    server
        .sql("UPDATE schema_floor SET floor = 1; UPDATE _sqlx_migrations SET checksum = 'x'")
        .await;
    let refused = server.store().await.unwrap_err();
    assert!(
        matches!(refused, StoreError::SchemaDiffers { version: 1 }),
        "{refused:?}"
    );
    server
        .sql("DELETE FROM _sqlx_migrations WHERE version = 1")
        .await;
    let refused = server.store().await.unwrap_err();
    assert!(
        matches!(
            refused,
            StoreError::SchemaTooOld {
                found: 0,
                needed: 2
            }
        ),
        "{refused:?}"
    );
}

#[tokio::test]
async fn who_runs_goes_on_while_a_newer_version_adds_columns() {
    let server = Server::new().await;
    let store = server.store().await.unwrap();
    let token = JoinToken {
        hash: [1; 32],
        role: "spu".to_owned(),
        scope: "{}".to_owned(),
        created_by: "ann".to_owned(),
        created_at_ms: 1,
        expires_at_ms: 100,
        used: None,
    };
    assert!(store.add_join_token(&token).await.unwrap());
    let certificate = NodeCertificate {
        serial: "0a".to_owned(),
        node: "spu/spu-1".to_owned(),
        issued_at_ms: 1,
        expires_at_ms: 100,
        revoked_at_ms: None,
    };
    assert!(store.add_certificate(&certificate).await.unwrap());
    for added in ["", "later"] {
        if !added.is_empty() {
            server
                .sql(
                    "ALTER TABLE join_tokens ADD COLUMN later text;
                     ALTER TABLE node_certificates ADD COLUMN later text",
                )
                .await;
        }
        // Often, so that each connection has its statements prepared.
        for _ in 0..20 {
            let found = store.join_token(&[1; 32]).await.unwrap();
            assert_eq!(found.as_ref(), Some(&token));
            assert_eq!(store.join_tokens().await.unwrap().len(), 1);
            let found = store.certificate("0a").await.unwrap();
            assert_eq!(found.as_ref(), Some(&certificate));
            assert_eq!(store.certificates(None).await.unwrap().len(), 1);
        }
    }
    let redeemed = store.redeem_join_token(&[1; 32], "x", Some("spu/spu-1"), 2);
    assert!(matches!(redeemed.await.unwrap(), Redeemed::Now(_)));
}

#[tokio::test]
async fn a_row_whose_in_sync_set_or_leader_is_no_replica_cannot_be_written() {
    let server = Server::new().await;
    let store = server.store().await.unwrap();
    let model = store.snapshot().await.unwrap();
    store.apply(&creation(&model, "orders", 1)).await.unwrap();
    for (set, constraint) in [
        (
            r#"{"isr": [{"spu": 9, "incarnation": 1}]}"#,
            "isr_is_of_replicas",
        ),
        (r#"{"leader": 9}"#, "leader_is_a_replica"),
    ] {
        let mut conn = server.url().connect("tester").await.unwrap();
        let statement = format!("UPDATE partitions SET value = value || '{set}'");
        let refused = sqlx::raw_sql(sqlx::AssertSqlSafe(statement))
            .execute(&mut conn)
            .await;
        let words = refused.unwrap_err().to_string();
        assert!(words.contains(constraint), "{words}");
    }
}

#[test]
fn an_address_is_never_repeated_with_its_password() {
    let url =
        DatabaseUrl::parse("postgres://ann:hush@db.example:5433/t?sslmode=verify-full").unwrap();
    assert_eq!(format!("{url:?}"), "DatabaseUrl(db.example:5433)");
    for bad in [
        "mysql://ann:hush@db/t",
        "postgres://ann:hush@db:port/t",
        "postgres://ann:hush@db/t?sslmode=hush",
        "",
    ] {
        let refused = DatabaseUrl::parse(bad).unwrap_err();
        assert!(matches!(refused, StoreError::Address(_)), "{bad}");
        assert!(
            !format!("{refused:?}{refused}").contains("hush"),
            "{refused:?}"
        );
    }
}
