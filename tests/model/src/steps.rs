//! Steps of a world with all guards, or without one.

use tidegate_sc_core::rule::{self, Rule};
use tidegate_spu_core::guard::{self, Guard};

use crate::scope::Scope;
use crate::world::{Action, World};

/// A guard that is taken away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removed {
    /// None.
    Nothing,
    /// One of the replica machine.
    Machine(Guard),
    /// One of the control state.
    Control(Rule),
    /// X1, which is the shell's: the model plays it.
    RollbackNoticed,
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
        let run = || world.act(&self.scope, action);
        match self.removed {
            Removed::Nothing | Removed::RollbackNoticed => run(),
            Removed::Machine(guard) => guard::without(Some(guard), run),
            Removed::Control(rule) => rule::without(Some(rule), run),
        }
    }
}
