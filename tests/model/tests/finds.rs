//! Faults that the model found, by the way in which it found them; all are mended.

use tidegate_model::model::Search;
use tidegate_model::scopes;
use tidegate_model::world::Action;
use tidegate_spu_core::SessionId;

/// S2: a disk of one registration before is told from a start that failed half-way. Where it was not, a
/// member of the in-sync set lacked what it had acknowledged.
#[test]
fn a_disk_put_back_by_one_registration_leaves_the_in_sync_set() {
    let search = Search::of(scopes::BACKUPS);
    let way = [
        Action::Copy(1),
        Action::Append(0),
        Action::Push(0, SessionId(0)),
        Action::Deliver(0),
        Action::Push(0, SessionId(1)),
        Action::Deliver(0),
        Action::Deliver(0),
        Action::Crash(1),
        Action::Start(1),
        Action::Crash(1),
        Action::PutBack(1),
        Action::Deliver(0),
        Action::Start(1),
    ];
    let world = search.replay(&way).expect("each step is possible");
    assert_eq!(world.broken, None);
}

/// L3, S2: a survey that accepts loss may name a damaged copy, which leads then. Mended: it never did.
#[test]
fn a_damaged_copy_that_an_operator_accepted_leads() {
    let mut search = Search::of(scopes::WRECKS);
    search.heals_every = 1;
    assert_eq!(search.walk(0, 400).broken, None);
}
