//! What is shown, and to whom when: nobody is woken for what he cannot see yet.

use std::sync::Mutex;
use std::task::{Context, Wake, Waker};

use tokio::task::yield_now;
use tokio::time::advance;

use super::*;
use crate::history::After;
use crate::limits::{HISTORY_ALONE_REST, HISTORY_CHANGES_ALONE_MAX, REVISIONS_PER_ADOPTION};

/// Looks at what is shown in the moment in which it is woken.
struct Sleeper {
    shown: watch::Receiver<Shown>,
    found: Mutex<Option<(u64, u64)>>,
}

impl Wake for Sleeper {
    fn wake(self: Arc<Self>) {
        let shown = self.shown.borrow();
        *self.found.lock().unwrap() = Some((shown.generation, shown.model.revision));
    }
}

#[tokio::test]
async fn who_is_woken_because_all_begins_anew_sees_the_new_state() {
    let bench = Bench::new(&[]);
    let store = Arc::clone(&bench.store) as Arc<dyn MetaStore>;
    let mut mirror = Mirror::open(Arc::clone(&store)).await.unwrap();
    change(&bench.controller().await, ensure(1)).await.unwrap();
    let sleeper = Arc::new(Sleeper {
        shown: mirror.published().shown.subscribe(),
        found: Mutex::new(None),
    });
    let mut newest = mirror.published().history.subscribe();
    let mut sleep = std::pin::pin!(newest.changed());
    let waker = Waker::from(Arc::clone(&sleeper));
    assert!(
        sleep
            .as_mut()
            .poll(&mut Context::from_waker(&waker))
            .is_pending()
    );
    let adopted = store.adopt("ann", 1).await.unwrap();
    mirror.adopt(adopted).await.unwrap();
    assert_eq!(
        *sleeper.found.lock().unwrap(),
        Some((1, 1 + REVISIONS_PER_ADOPTION))
    );
    assert_eq!(sleeper.shown.borrow().seen.store_id, adopted);
}

/// Lets the controller do what it does in that time.
async fn pass(time: Duration) {
    for _ in 0..time.as_secs() {
        advance(Duration::from_secs(1)).await;
        for _ in 0..50 {
            yield_now().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_controller_without_others_lets_go_of_a_large_change_once_it_is_at_rest() {
    let bench = Bench::new(&[]);
    let store = Arc::clone(&bench.store) as Arc<dyn MetaStore>;
    let controller = Controller::start(store, ControllerSettings::alone(), &bench.tasks);
    let controller = controller.await.unwrap();
    let history = controller.history();
    let large = u32::try_from(HISTORY_CHANGES_ALONE_MAX).unwrap();
    change(&controller, ensure(large)).await.unwrap();
    let newest = controller.model().revision;
    pass(HISTORY_ALONE_REST / 2).await;
    assert!(matches!(history.after(newest - 1), After::Next(_)));
    pass(HISTORY_ALONE_REST).await;
    assert!(matches!(history.after(newest - 1), After::Gone { floor } if floor == newest));
    assert!(matches!(history.after(newest), After::UpToDate));
    change(&controller, ensure(large + 1)).await.unwrap();
    pass(HISTORY_ALONE_REST * 2).await;
    assert!(
        matches!(history.after(newest), After::Next(_)),
        "a small one stays"
    );
}
