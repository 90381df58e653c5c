//! Every scope begins with a cluster that is up.

use tidegate_model::model::Search;
use tidegate_model::scopes;

#[test]
fn every_scope_begins_with_somebody_who_leads_and_nothing_under_way() {
    for scope in scopes::ALL {
        let world = Search::of(scope).start();
        assert_eq!(world.broken, None, "{}", scope.name);
        assert!(world.nodes[0].leads(), "{}", scope.name);
        assert!(world.wire.is_empty(), "{}: {:?}", scope.name, world.wire);
    }
}
