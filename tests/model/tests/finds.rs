//! Faults that the model found and that are not mended yet: each test holds while its fault does.
//!
//! Whoever mends one turns its test around, and takes the trouble that shows it into the scopes that are
//! searched.

use tidegate_model::model::Search;
use tidegate_model::scopes;
use tidegate_model::witness::CANDIDATE_COMPLETENESS;
use tidegate_model::world::Action;
use tidegate_spu_core::SessionId;

/// S2: the store knows what a unit had on its disk when it registered last, which is the registration
/// before. So a disk that goes back by one is not told from a start that failed half-way, and a member of
/// the in-sync set lacks what it acknowledged.
#[test]
fn a_disk_put_back_by_one_registration_is_taken_for_current() {
    let mut scope = scopes::BACKUPS;
    scope.puts_back_late = true;
    let search = Search::of(scope);
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
    assert_eq!(world.broken, Some(CANDIDATE_COMPLETENESS));
}

/// L3, S2: a survey that accepts loss may name a damaged copy, which leads then. Mended: it never did.
#[test]
fn a_damaged_copy_that_an_operator_accepted_leads() {
    let mut search = Search::of(scopes::WRECKS);
    search.heals_every = 1;
    assert_eq!(search.walk(0, 400).broken, None);
}
