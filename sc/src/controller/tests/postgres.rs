//! Two controllers on a real Postgres that is stopped and started again.

use super::*;
use crate::local_postgres::{LocalPostgres, Scratch};
use tidegate_sc_core::decide::decide;

use crate::store::{Acquired, ApplyError, Commit, Leases as _, PostgresStore, migrate};

async fn until(controller: &Controller, what: impl Fn(&Condition, &Model) -> bool) {
    let mut condition = controller.condition();
    let mut shown = controller.shared.shown.clone();
    let reached = async {
        while !what(
            &condition.borrow_and_update().clone(),
            &shown.borrow_and_update().model.clone(),
        ) {
            tokio::select! {
                changed = condition.changed() => changed.unwrap(),
                changed = shown.changed() => changed.unwrap(),
            }
        }
    };
    let within = tokio::time::timeout(Duration::from_secs(60), reached);
    within.await.expect("it comes to that");
}

/// Two controllers on that database, which run until `tasks` are shut down.
async fn two(url: &DatabaseUrl, tasks: &Tasks) -> Vec<Controller> {
    let mut controllers = Vec::new();
    for name in ["a", "b"] {
        let store = StoreLocation::Postgres {
            url: url.clone(),
            name: name.to_owned(),
        };
        let settings = ControllerSettings::in_cluster(name.to_owned(), None);
        let tasks = tasks.clone();
        let config = ScConfig {
            store,
            settings,
            tasks,
        };
        controllers.push(Controller::open(config).await.unwrap());
    }
    controllers
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_of_postgres_is_survived_by_every_controller() {
    let scratch = Arc::new(Scratch::start(&[]).unwrap());
    let database = scratch.database().await.unwrap();
    let url = DatabaseUrl::parse(&database.url).unwrap();
    migrate(&url, ClusterId(Uuid::new_v4()), 1).await.unwrap();
    let tasks = Tasks::new();
    let controllers = two(&url, &tasks).await;
    let [first, second] = &controllers[..] else {
        panic!("two")
    };
    change(first, ensure(1)).await.unwrap();
    until(second, |_, model| model.revision == 1).await;
    change(second, ensure(2)).await.unwrap();
    until(first, |_, model| model.revision == 2).await;
    scratch.with(LocalPostgres::stop).unwrap();
    for controller in &controllers {
        until(controller, |condition, _| condition.away_since.is_some()).await;
        let refused = change(controller, ensure(3)).await.unwrap_err();
        assert_eq!(refused.code(), ErrorCode::Unavailable);
        assert!(refused.is_definite());
        assert_eq!(controller.model().revision, 2);
    }
    scratch.with(LocalPostgres::restart).unwrap();
    for controller in &controllers {
        until(controller, |condition, _| condition.away_since.is_none()).await;
    }
    change(first, ensure(3)).await.unwrap();
    until(second, |_, model| model.revision == 3).await;
    assert_eq!(first.model(), second.model());
    assert!(tasks.shutdown(Duration::from_secs(20)).await);
}

/// A real standby: the server itself, started again in recovery, at the address that the controllers know.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p_02_no_decision_is_taken_from_a_standby() {
    let scratch = Arc::new(Scratch::start(&[]).unwrap());
    let database = scratch.database().await.unwrap();
    let url = DatabaseUrl::parse(&database.url).unwrap();
    migrate(&url, ClusterId(Uuid::new_v4()), 1).await.unwrap();
    let tasks = Tasks::new();
    let controllers = two(&url, &tasks).await;
    change(&controllers[0], ensure(1)).await.unwrap();
    until(&controllers[1], |_, model| model.revision == 1).await;

    scratch.with(LocalPostgres::stop).unwrap();
    scratch.with(|server| server.set_standby(true)).unwrap();
    scratch.with(LocalPostgres::restart).unwrap();
    let options: sqlx::postgres::PgConnectOptions = database.url.parse().unwrap();
    let mut reader = sqlx::ConnectOptions::connect(&options).await.unwrap();
    let (recovers, topics): (bool, i64) =
        sqlx::query_as("SELECT pg_is_in_recovery(), (SELECT count(*) FROM topics)")
            .fetch_one(&mut reader)
            .await
            .unwrap();
    assert!(
        recovers && topics == 1,
        "a standby that everything can be read from"
    );
    for controller in &controllers {
        until(controller, |condition, _| condition.away_since.is_some()).await;
        let refused = change(controller, ensure(2)).await.unwrap_err();
        assert_eq!(refused.code(), ErrorCode::Unavailable);
        assert!(refused.is_definite());
        assert_eq!(controller.model().revision, 1);
    }
    let store = StoreLocation::Postgres {
        url: url.clone(),
        name: "c".to_owned(),
    };
    let config = ScConfig {
        store,
        settings: ControllerSettings::in_cluster("c".to_owned(), None),
        tasks: tasks.clone(),
    };
    let refused = Controller::open(config).await.unwrap_err();
    assert!(
        refused.to_string().contains("a standby is not asked"),
        "{refused}"
    );

    drop(reader);
    scratch.with(LocalPostgres::stop).unwrap();
    scratch.with(|server| server.set_standby(false)).unwrap();
    scratch.with(LocalPostgres::restart).unwrap();
    for controller in &controllers {
        until(controller, |condition, _| condition.away_since.is_none()).await;
    }
    change(&controllers[1], ensure(2)).await.unwrap();
    assert!(tasks.shutdown(Duration::from_secs(20)).await);
}

/// Its lease lasts for an hour by its own reckoning; the row says that somebody else has it since.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p_01_a_controller_whose_lease_looks_valid_to_it_changes_nothing() {
    const HOUR: Duration = Duration::from_secs(3_600);
    let scratch = Scratch::shared().unwrap();
    let database = scratch.database().await.unwrap();
    let url = DatabaseUrl::parse(&database.url).unwrap();
    migrate(&url, ClusterId(Uuid::new_v4()), 1).await.unwrap();
    let zombie = PostgresStore::open(&url, "zombie").await.unwrap();
    let heir = PostgresStore::open(&url, "heir").await.unwrap();
    let Acquired::Ours(old) = zombie.acquire_lease("zombie", HOUR).await.unwrap() else {
        panic!("it is free")
    };
    let model = zombie.snapshot().await.unwrap();
    let decided = decide(&model, 0, Uuid::from_u128(3), &ensure(1)).unwrap();
    let mut commit = Commit::new(decided.changes, "zombie".to_owned(), String::new(), 0);
    commit.lease = Some(old);
    // It stands still between deciding and committing; the database's clock, meanwhile, goes on.
    let options: sqlx::postgres::PgConnectOptions = database.url.parse().unwrap();
    let mut clock = sqlx::ConnectOptions::connect(&options).await.unwrap();
    sqlx::query("UPDATE lease SET until_ms = 0")
        .execute(&mut clock)
        .await
        .unwrap();
    let Acquired::Ours(new) = heir.acquire_lease("heir", HOUR).await.unwrap() else {
        panic!("it has expired")
    };
    assert!(new > old);
    for _ in 0..2 {
        let refused = zombie.apply(&commit).await;
        assert!(
            matches!(refused, Err(ApplyError::Fenced(epoch)) if epoch == old),
            "{refused:?}"
        );
        assert!(!zombie.renew_lease(old, HOUR).await.unwrap());
        zombie.release_lease(old).await.unwrap();
    }
    assert_eq!(heir.snapshot().await.unwrap().revision, 0);
    let third = zombie.acquire_lease("zombie", HOUR).await.unwrap();
    assert!(matches!(third, Acquired::Theirs { .. }), "{third:?}");
    commit.lease = Some(new);
    assert_eq!(heir.apply(&commit).await.unwrap(), 1);
}
