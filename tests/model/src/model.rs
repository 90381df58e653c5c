//! The world as a model that a checker can search, with one guard taken away or none.
//!
//! A search begins where a lead-in ends: a list of actions that brings the cluster up. Invariant: every way
//! through the states is a function of the scope and the actions, and so can be replayed.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use crate::healing::heal;
use crate::scope::Scope;
use crate::sketch::Sketch;
use crate::steps::{Removed, Steps};
use crate::witness::LIVENESS;
use crate::world::{Action, World};
use stateright::{Checker, HasDiscoveries, Model, Property};

/// A search.
#[derive(Debug, Clone)]
pub struct Search {
    pub steps: Steps,
    /// Another order of the same actions for each; 0 is the plain one.
    pub order: u64,
    /// One state of so many is healed, to see that everything comes to rest; 0 is none.
    pub heals_every: u64,
    /// Counts the states that were looked at.
    pub sketch: Option<Arc<Sketch>>,
}

impl Search {
    /// One with all guards.
    #[must_use]
    pub const fn of(scope: Scope) -> Self {
        Self {
            steps: Steps {
                scope,
                removed: Removed {
                    machine: &[],
                    control: &[],
                    notice_of_rollback: false,
                },
            },
            order: 0,
            heals_every: 0,
            sketch: None,
        }
    }

    /// The same without a guard.
    #[must_use]
    pub fn without(mut self, removed: Removed) -> Self {
        if removed.notice_of_rollback {
            self.steps.scope.notices_rollback = false;
        }
        self.steps.removed = removed;
        self
    }

    /// The cluster is up: rows are read, followers are attached and in sync, nothing is appended yet.
    #[must_use]
    pub fn start(&self) -> World {
        let mut world = World::new(&self.steps.scope);
        let mut actions = Vec::new();
        // What brings a cluster up by itself, in a fixed order; each state has finitely many of them.
        for _ in 0..LEAD_IN_MAX {
            actions.clear();
            world.actions(&self.steps.scope, &mut actions);
            let next = actions
                .iter()
                .filter(|action| is_of_itself(**action))
                .find_map(|action| self.steps.act(&world, *action));
            match next {
                Some(next) => world = next,
                None => break,
            }
        }
        world
    }
}

/// Steps of a lead-in.
const LEAD_IN_MAX: usize = 200;

/// What happens without trouble.
#[must_use]
pub const fn is_of_itself(action: Action) -> bool {
    matches!(
        action,
        Action::Sync(_)
            | Action::Row(_)
            | Action::Deliver(_)
            | Action::Push(..)
            | Action::Tick
            | Action::Start(_)
    )
}

impl Model for Search {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        vec![self.start()]
    }

    fn actions(&self, state: &World, actions: &mut Vec<Action>) {
        state.actions(&self.steps.scope, actions);
        if self.order > 0 {
            shuffle(actions, self.order ^ fingerprint(state));
        }
    }

    fn next_state(&self, state: &World, action: Action) -> Option<World> {
        self.steps.act(state, action)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let unbroken = |search: &Self, world: &World| {
            if let Some(sketch) = &search.sketch {
                sketch.note(fingerprint(world));
            }
            world.broken.is_none()
        };
        let rests = |search: &Self, world: &World| {
            let is_chosen =
                search.heals_every > 0 && fingerprint(world).is_multiple_of(search.heals_every);
            !is_chosen || heal(&search.steps, world).is_ok()
        };
        vec![
            Property::always(INVARIANTS, unbroken),
            Property::always(LIVENESS, rests),
        ]
    }
}

/// Nothing is broken. Which invariant is, the state says.
pub const INVARIANTS: &str = "invariants";

/// What a search found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Different states.
    pub states: usize,
    /// Steps that were taken.
    pub steps: usize,
    /// The longest way.
    pub depth: usize,
    /// What broke, and on which way.
    pub broken: Option<(String, Vec<Action>)>,
}

impl Search {
    /// Searches until so many steps were taken, or something is broken: the plain order breadth first, any
    /// other one depth first.
    #[must_use]
    pub fn run(&self, steps_max: usize) -> Report {
        let checker = self.clone().checker();
        let checker = checker.target_state_count(steps_max);
        let checker = checker.finish_when(HasDiscoveries::Any);
        if self.order == 0 {
            self.report(checker.spawn_bfs().join())
        } else {
            self.report(checker.spawn_dfs().join())
        }
    }

    fn report(&self, checker: impl Checker<Self>) -> Report {
        let found = checker.discoveries().into_values().next();
        let broken = found.map(|path| {
            let last = path.last_state().clone();
            let what = match (last.broken, heal(&self.steps, &last)) {
                (Some(broken), _) => broken.to_owned(),
                (None, Err(what)) => format!("{LIVENESS}: {what}"),
                (None, Ok(())) => "nothing, when looked at again".to_owned(),
            };
            (what, path.into_actions())
        });
        Report {
            states: checker.unique_state_count(),
            steps: checker.state_count(),
            depth: checker.max_depth(),
            broken,
        }
    }

    /// Goes one way again.
    ///
    /// # Errors
    /// The number of the action that is not possible.
    pub fn replay(&self, way: &[Action]) -> Result<World, usize> {
        let mut world = self.start();
        let mut actions = Vec::new();
        for (at, action) in way.iter().enumerate() {
            actions.clear();
            world.actions(&self.steps.scope, &mut actions);
            let next = actions
                .contains(action)
                .then(|| self.steps.act(&world, *action));
            world = next.flatten().ok_or(at)?;
        }
        Ok(world)
    }
}

/// A number that differs for different states.
#[must_use]
pub fn fingerprint(world: &World) -> u64 {
    let mut hasher = DefaultHasher::new();
    world.hash(&mut hasher);
    hasher.finish()
}

/// In another order, which the seed says.
fn shuffle(actions: &mut [Action], mut seed: u64) {
    for at in (1..actions.len()).rev() {
        seed = scattered(seed);
        let other = usize::try_from(seed % (at as u64 + 1)).unwrap_or(0);
        actions.swap(at, other);
    }
}

/// SplitMix64.
#[must_use]
pub const fn scattered(seed: u64) -> u64 {
    let seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (seed ^ (seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
