//! Steps of a world with all guards, or without one.

use tidegate_sc_core::rule::{self, Rule};
use tidegate_spu_core::guard::{self, Guard};

use crate::scope::Scope;
use crate::world::{Action, World};

/// What is taken away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Removed {
    /// Of the replica machine.
    pub machine: &'static [Guard],
    /// Of the control state.
    pub control: &'static [Rule],
    /// X1, which is the shell's: the model plays it.
    pub notice_of_rollback: bool,
}

/// What can happen, and what does not hold it back.
#[derive(Debug, Clone, Copy)]
pub struct Steps {
    pub scope: Scope,
    pub removed: Removed,
}

impl Steps {
    /// One step; none when it changes nothing.
    #[must_use]
    pub fn act(&self, world: &World, action: Action) -> Option<World> {
        let Removed {
            machine, control, ..
        } = self.removed;
        guard::without(machine, || {
            rule::without(control, || world.act(&self.scope, action))
        })
    }
}
