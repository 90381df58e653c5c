//! Invariant 21: when the trouble ends, everything comes to rest.
//!
//! From any state: processes run again, messages arrive, time passes, and nothing else goes wrong. Then
//! somebody leads unless nobody may, copies are equal, and nothing waits.

use crate::node::spu;
use crate::scope::Budget;
use crate::steps::Steps;
use crate::world::{Action, UNITS, World};

/// Rounds of healing; each lets everything arrive and then some time pass.
const ROUNDS_MAX: usize = 30;
/// Steps within a round.
const STEPS_MAX: usize = 400;

/// Lets everything come to rest.
///
/// # Errors
/// What did not.
pub fn heal(steps: &Steps, world: &World) -> Result<(), &'static str> {
    let mut world = world.clone();
    if world.store.is_frozen || world.broken.is_some() {
        return Ok(()); // Until an operator looked.
    }
    world.left = Budget {
        waits: u8::MAX,
        crashes: u8::MAX,
        ..Budget::default()
    };
    // What was lost or overtaken on a stream is what a stream breaks by: they are all made anew.
    world.wire.retain(|message| message.link().is_none());
    for own in 0..UNITS {
        world.left.breaks = u8::MAX;
        world = steps.act(&world, Action::Unlink(own)).unwrap_or(world);
    }
    for round in 0..ROUNDS_MAX {
        world = revive(steps, world);
        world = calm(steps, world)?;
        for own in 0..UNITS {
            if is_cut_off(&world, own) {
                world.left.breaks = u8::MAX;
                world = steps.act(&world, Action::Unlink(own)).unwrap_or(world);
            }
            world.left.waits = u8::MAX;
            if let Some(next) = steps.act(&world, Action::Wait(own)) {
                world = next;
            }
            if let Some(next) = steps.act(&world, Action::Survey(own)) {
                world = next;
            }
        }
        world = calm(steps, world)?;
        if let Some(broken) = world.broken {
            return Err(broken);
        }
        if rests(&world).is_ok() && round > 0 {
            return Ok(());
        }
    }
    rests(&world)
}

/// Units that were shut out end and start again.
fn revive(steps: &Steps, mut world: World) -> World {
    for own in 0..UNITS {
        let is_fenced = world.store.unit(spu(own)).1;
        let incarnation = world.store.unit(spu(own)).0;
        let runs = world.nodes[own].process.as_ref();
        let is_old = runs.is_some_and(|process| process.incarnation != incarnation);
        if runs.is_some() && (is_fenced || is_old) {
            world.left.crashes = u8::MAX;
            world = steps.act(&world, Action::Crash(own)).unwrap_or(world);
        }
        if world.nodes[own].process.is_none() {
            world = steps.act(&world, Action::Start(own)).unwrap_or(world);
        }
    }
    world
}

/// Whether a follower's stream has nobody at its other end.
fn is_cut_off(world: &World, own: usize) -> bool {
    let process = world.nodes[own].process.as_ref();
    let Some(link) = process.and_then(|process| process.link) else {
        return false;
    };
    !world.nodes[link.leader].has_open(link)
}

/// Everything that is on its way arrives, in the order in which it was sent.
fn calm(steps: &Steps, mut world: World) -> Result<World, &'static str> {
    let mut actions = Vec::new();
    for _ in 0..STEPS_MAX {
        actions.clear();
        world.actions(&steps.scope, &mut actions);
        let by_itself = |action: &&Action| {
            matches!(
                action,
                Action::Sync(_)
                    | Action::Row(_)
                    | Action::Deliver(_)
                    | Action::Push(..)
                    | Action::CommitLate
                    | Action::Tick
            )
        };
        let mut due = actions.iter().filter(by_itself);
        match due.find_map(|action| steps.act(&world, *action)) {
            Some(next) => world = next,
            None => return Ok(world),
        }
    }
    Err("it never comes to rest")
}

fn rests(world: &World) -> Result<(), &'static str> {
    let row = world.store.row();
    let Some(leader) = row.leader else {
        let may_lead = row.isr.iter().any(|member| {
            let (incarnation, is_fenced) = world.store.unit(member.spu);
            !is_fenced && incarnation == member.incarnation
        });
        return if may_lead && row.seal.is_none() {
            Err("nobody leads, and somebody may")
        } else {
            Ok(())
        };
    };
    let leader = &world.nodes[leader.0 as usize];
    let (true, Some(replica), Some(log)) = (leader.leads(), leader.replica(), leader.log()) else {
        return Err("the leader of the row does not lead");
    };
    let status = replica.status();
    // Damaged copies never count: with too few others, nothing is committed until an operator acts.
    let is_enough = row.isr.len() >= usize::from(row.min_isr);
    if is_enough && (status.high_watermark != status.end || replica.is_waiting()) {
        return Err("what was appended is never committed");
    }
    for copy in &row.replicas {
        let node = &world.nodes[copy.spu.0 as usize];
        let Some(own) = node.log() else {
            return Err("a copy is not made");
        };
        if own.position() != log.position() {
            return Err("a copy does not get what the leader has");
        }
        if own.is_intact && !row.has_in_sync(copy.spu) {
            return Err("a whole copy is not taken in");
        }
    }
    Ok(())
}
