//! What is shown, and to whom when: nobody is woken for what he cannot see yet.

use std::sync::Mutex;
use std::task::{Context, Wake, Waker};

use super::*;
use crate::limits::REVISIONS_PER_ADOPTION;

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
