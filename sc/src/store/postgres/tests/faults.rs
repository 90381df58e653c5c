//! The server is killed, away, read-only, or slow; and what it says about its durability.

use super::*;

/// Where a commit's fate is what matters.
async fn is_made(store: &PostgresStore, commit: &Commit) -> bool {
    store.committed(commit.id).await.unwrap().is_some()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed_under_commits_keeps_what_it_answered_and_no_half() {
    const KILLS: usize = 3;
    let scratch = Arc::new(Scratch::start(&[]).unwrap());
    let server = Server::on(&scratch).await;
    let store = Arc::new(server.store().await.unwrap());
    for tried in 0..KILLS {
        let mut writer = tokio::task::JoinSet::new();
        {
            let store = Arc::clone(&store);
            let mut model = store.snapshot().await.unwrap();
            writer.spawn(async move {
                let mut fates = Vec::new();
                // Until the server goes.
                loop {
                    let commit = creation(&model, &format!("t{tried}-{}", fates.len()), 3);
                    let answer = store.apply(&commit).await;
                    let went = answer.is_err();
                    if let Ok(revision) = answer {
                        model.commit(revision, &commit.changes);
                    }
                    fates.push((commit, answer));
                    if went {
                        return fates;
                    }
                }
            });
        }
        // Some commits get through first.
        let before = store.standing().await.unwrap().revision;
        while store.standing().await.unwrap().revision < before + 5 {
            tokio::task::yield_now().await;
        }
        scratch
            .with(crate::local_postgres::LocalPostgres::crash)
            .unwrap();
        let fates = writer.join_next().await.unwrap().unwrap();
        scratch
            .with(crate::local_postgres::LocalPostgres::restart)
            .unwrap();
        for (commit, answer) in &fates {
            let made = is_made(&store, commit).await;
            match answer {
                Ok(_) => assert!(made, "answered, so made"),
                Err(ApplyError::Failed(_)) => assert!(!made, "refused, so not made"),
                Err(ApplyError::Unknown(_)) => {}
                Err(other) => panic!("{other}"),
            }
        }
        let model = store.snapshot().await.unwrap();
        assert!(
            model
                .topics
                .values()
                .all(|topic| topic.partitions.len() == 3)
        );
        let events = store.events_after(0, u64::MAX).await.unwrap();
        assert_eq!(
            events.len() as u64,
            model.revision * 4,
            "whole commits, densely"
        );
    }
}

#[tokio::test]
async fn a_server_that_is_away_is_unreachable_and_comes_back() {
    let scratch = Arc::new(Scratch::start(&[]).unwrap());
    let server = Server::on(&scratch).await;
    let store = server.store().await.unwrap();
    let model = store.snapshot().await.unwrap();
    scratch
        .with(crate::local_postgres::LocalPostgres::stop)
        .unwrap();
    let refused = store.apply(&creation(&model, "a", 1)).await;
    assert!(matches!(refused, Err(ApplyError::Failed(_))), "{refused:?}");
    let refused = server.store().await;
    assert!(
        matches!(refused, Err(StoreError::Unreachable(_))),
        "{refused:?}"
    );
    scratch
        .with(crate::local_postgres::LocalPostgres::restart)
        .unwrap();
    assert_eq!(store.apply(&creation(&model, "a", 1)).await.unwrap(), 1);
}

#[tokio::test]
async fn a_database_that_takes_no_writes_is_not_used() {
    let server = Server::new().await;
    let store = server.store().await.unwrap();
    server
        .sql(
            "CREATE ROLE reader LOGIN;
             ALTER ROLE reader SET default_transaction_read_only = on;
             DO $$ BEGIN EXECUTE format('GRANT ALL ON ALL TABLES IN SCHEMA %I TO reader',
                                        current_schema());
                         EXECUTE format('GRANT USAGE ON SCHEMA %I TO reader', current_schema());
             END $$",
        )
        .await;
    let as_reader = server.database.url.replace("tidegate@", "reader@");
    let url = DatabaseUrl::parse(&as_reader).unwrap();
    let refused = PostgresStore::open(&url, "tester").await;
    assert!(matches!(refused, Err(StoreError::ReadOnly)), "{refused:?}");
    assert!(store.standing().await.unwrap().is_writable);
}

#[tokio::test]
async fn a_row_that_another_holds_is_waited_for_and_no_longer_than_said() {
    let server = Server::new().await;
    let store = server.store().await.unwrap();
    let model = store.snapshot().await.unwrap();
    let mut other = server.url().connect("other").await.unwrap();
    sqlx::raw_sql("BEGIN; SELECT * FROM cluster FOR UPDATE")
        .execute(&mut other)
        .await
        .unwrap();
    let refused = store.apply(&creation(&model, "a", 1)).await;
    assert!(
        matches!(refused, Err(ApplyError::Failed(StoreError::Slow(limit)))
                 if limit == crate::limits::STORE_LOCK_TIMEOUT),
        "{refused:?}"
    );
    sqlx::raw_sql("ROLLBACK").execute(&mut other).await.unwrap();
    assert_eq!(store.apply(&creation(&model, "a", 1)).await.unwrap(), 1);
}

#[tokio::test]
async fn a_commit_that_waits_for_a_standby_is_never_said_not_to_be_made() {
    let scratch = Arc::new(Scratch::start(&[]).unwrap());
    let server = Server::on(&scratch).await;
    let store = Arc::new(server.store().await.unwrap());
    let model = store.snapshot().await.unwrap();
    server
        .set("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
        .await;
    let commit = creation(&model, "a", 1);
    let (shared, sent) = (Arc::clone(&store), commit.clone());
    let mut applying = tokio::task::JoinSet::new();
    applying.spawn(async move { shared.apply(&sent).await });
    let mut other = server.url().connect("other").await.unwrap();
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
    while sqlx::query_scalar::<_, i64>(waiting)
        .fetch_one(&mut other)
        .await
        .unwrap()
        == 0
    {
        tokio::task::yield_now().await;
    }
    // Whoever made it hears nothing more, as when his connection is lost.
    applying.shutdown().await;
    let asked = store.committed(commit.id).await;
    assert!(matches!(asked, Err(StoreError::Slow(_))), "{asked:?}");
    assert_eq!(
        store.snapshot().await.unwrap(),
        model,
        "it is not there yet"
    );
    server
        .set("ALTER SYSTEM RESET synchronous_standby_names")
        .await;
    assert_eq!(store.committed(commit.id).await.unwrap(), Some(1));
}

#[tokio::test]
async fn taking_the_lease_waits_for_transactions_under_the_old_epoch_and_renewing_does_not() {
    let server = Server::new().await;
    let store = server.store().await.unwrap();
    let expired = store.acquire_lease("a", Duration::ZERO).await.unwrap();
    assert_eq!(expired, Acquired::Ours(LeaseEpoch(1)));
    // A transaction of the first holder that has checked its epoch and not ended.
    let mut under_way = server.url().connect("a").await.unwrap();
    sqlx::raw_sql("BEGIN; SELECT 1 FROM lease WHERE epoch = 1 FOR KEY SHARE")
        .execute(&mut under_way)
        .await
        .unwrap();
    assert!(
        store
            .renew_lease(LeaseEpoch(1), Duration::ZERO)
            .await
            .unwrap()
    );
    let refused = store.acquire_lease("b", Duration::ZERO).await;
    assert!(matches!(refused, Err(StoreError::Slow(_))), "{refused:?}");
    sqlx::raw_sql("COMMIT")
        .execute(&mut under_way)
        .await
        .unwrap();
    let taken = store.acquire_lease("b", Duration::ZERO).await.unwrap();
    assert_eq!(taken, Acquired::Ours(LeaseEpoch(2)));
}

#[tokio::test]
async fn what_a_server_promises_is_read_off_it() {
    let scratch = Arc::new(Scratch::start(&["synchronous_commit=off"]).unwrap());
    let server = Server::on(&scratch).await;
    let store = server.store().await.unwrap();
    let durability = store.standing().await.unwrap().durability;
    assert!(durability.survives_power_loss, "our sessions ask for it");
    assert_eq!(durability.settings["synchronous_commit"], "on");
    assert_eq!(durability.synchronous_copies, 0);
    assert_eq!(durability.warnings().len(), 1, "no standby");
    for fact in ["server_version", "system_identifier", "timeline"] {
        assert!(!durability.settings[fact].is_empty(), "{fact}");
    }
    let unsafe_server = Arc::new(Scratch::start(&["fsync=off"]).unwrap());
    let store = Server::on(&unsafe_server).await.store().await.unwrap();
    let durability = store.standing().await.unwrap().durability;
    assert!(!durability.survives_power_loss);
    assert_eq!(durability.warnings().len(), 2);
}
