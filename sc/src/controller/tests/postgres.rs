//! Two controllers on a real Postgres that is stopped and started again.

use super::*;
use crate::local_postgres::{LocalPostgres, Scratch};
use crate::store::migrate;

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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_of_postgres_is_survived_by_every_controller() {
    let scratch = Arc::new(Scratch::start(&[]).unwrap());
    let database = scratch.database().await.unwrap();
    let url = DatabaseUrl::parse(&database.url).unwrap();
    migrate(&url, ClusterId(Uuid::new_v4()), 1).await.unwrap();
    let tasks = Tasks::new();
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
