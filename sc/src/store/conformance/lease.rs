//! The lease: one holder at a time, and no commit by one that was replaced.

use std::sync::Arc;
use std::time::Duration;

use tidegate_proto::id::LeaseEpoch;
use tidegate_sc_core::decision::Request;

use super::{ApplyError, Bench, commit, decided, topic};
use crate::store::{Acquired, Commit, MetaStore};

const LONG: Duration = Duration::from_secs(3600);
/// Held, and expired at once.
const EXPIRED: Duration = Duration::ZERO;

pub(super) async fn check<B: Bench>(bench: &impl AsyncFn() -> B) {
    one_holds_the_lease_until_it_is_given_back(&bench().await).await;
    a_holder_that_was_replaced_changes_nothing(&bench().await).await;
}

async fn two(bench: &impl Bench) -> [Arc<dyn MetaStore>; 2] {
    let one = bench.open().await;
    let other = match bench.open_another() {
        Some(another) => another.await,
        None => Arc::clone(&one),
    };
    [one, other]
}

async fn one_holds_the_lease_until_it_is_given_back(bench: &impl Bench) {
    let [one, other] = two(bench).await;
    let first = one.acquire_lease("a", LONG).await.unwrap();
    let Acquired::Ours(epoch) = first else {
        panic!("{first:?}")
    };
    let refused = other.acquire_lease("b", LONG).await.unwrap();
    let Acquired::Theirs {
        holder,
        epoch: theirs,
        left,
    } = refused
    else {
        panic!("{refused:?}")
    };
    assert_eq!((holder.as_str(), theirs), ("a", epoch));
    assert!(left > LONG / 2 && left <= LONG, "{left:?}");
    assert!(one.renew_lease(epoch, LONG).await.unwrap());
    assert!(
        !other
            .renew_lease(LeaseEpoch(epoch.0 + 1), LONG)
            .await
            .unwrap(),
        "nobody holds that epoch"
    );
    // The same run asks again: it may have lost the answer.
    let again = one.acquire_lease("a", LONG).await.unwrap();
    assert_eq!(again, Acquired::Ours(LeaseEpoch(epoch.0 + 1)));
    one.release_lease(epoch).await.unwrap();
    let still = other.acquire_lease("b", LONG).await.unwrap();
    assert!(matches!(still, Acquired::Theirs { .. }), "an old epoch");
    one.release_lease(LeaseEpoch(epoch.0 + 1)).await.unwrap();
    let taken = other.acquire_lease("b", LONG).await.unwrap();
    assert_eq!(taken, Acquired::Ours(LeaseEpoch(epoch.0 + 2)));
}

async fn a_holder_that_was_replaced_changes_nothing(bench: &impl Bench) {
    let [zombie, heir] = two(bench).await;
    let model = zombie.snapshot().await.unwrap();
    let under = |epoch, name: &str| Commit {
        lease: Some(epoch),
        ..commit(decided(&model, &Request::CreateTopic(topic(name, 1))))
    };
    let old = zombie.acquire_lease("zombie", EXPIRED).await.unwrap();
    let Acquired::Ours(old) = old else {
        panic!("{old:?}")
    };
    // Expired, but nobody took it: its epoch is still the newest, so its work is still right.
    zombie.apply(&under(old, "before")).await.unwrap();
    let new = heir.acquire_lease("heir", LONG).await.unwrap();
    let Acquired::Ours(new) = new else {
        panic!("{new:?}")
    };
    assert!(new > old);
    let refused = zombie.apply(&under(old, "after")).await;
    assert!(
        matches!(refused, Err(ApplyError::Fenced(epoch)) if epoch == old),
        "{refused:?}"
    );
    assert!(!zombie.renew_lease(old, LONG).await.unwrap());
    zombie.release_lease(old).await.unwrap();
    let third = zombie.acquire_lease("third", LONG).await.unwrap();
    assert!(matches!(third, Acquired::Theirs { .. }), "{third:?}");
    heir.apply(&under(new, "heir")).await.unwrap();
    // What clients ask for needs no lease.
    let free = commit(decided(&model, &Request::CreateTopic(topic("free", 1))));
    zombie.apply(&free).await.unwrap();
    let end = heir.snapshot().await.unwrap();
    let names: Vec<_> = end.topics.keys().map(ToString::to_string).collect();
    assert_eq!(names, ["before", "free", "heir"]);
}
