//! Ways through the states that are drawn by lot: deep at once, where a search of all of them is not.
//!
//! Each walk has its own mood: some things happen often, some seldom, some not at all, so that one walk is
//! about a slow unit and another about late rows. Invariant: a walk is a function of the search and its seed.

use crate::healing::heal;
use crate::model::{Search, fingerprint, scattered};
use crate::witness::LIVENESS;
use crate::world::{Action, UNITS, World};

/// Steps of one walk: what the budgets allow is done by then.
pub const STEPS_MAX: usize = 90;

/// What walks came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Walked {
    /// Walks that were gone.
    pub walks: u64,
    /// Their steps in all.
    pub steps: u64,
    /// What broke, and on which way.
    pub broken: Option<(String, Vec<Action>)>,
}

/// Draws numbers.
#[derive(Debug, Clone, Copy)]
struct Lot(u64);

impl Lot {
    const fn draw(&mut self, below: u64) -> u64 {
        self.0 = scattered(self.0);
        self.0 % below
    }
}

/// How often what happens on one walk.
#[derive(Debug)]
struct Mood {
    by_unit: [u64; UNITS],
    rows: [u64; UNITS],
    sync: [u64; UNITS],
    messages: u64,
    trouble: u64,
    /// Messages are taken in order of their sending, mostly.
    is_orderly: bool,
}

impl Mood {
    fn new(lot: &mut Lot) -> Self {
        let mut speed = || [1, 8, 24, 24][usize::try_from(lot.draw(4)).unwrap_or(0)];
        Self {
            by_unit: [speed(), speed(), speed()],
            rows: [speed(), speed(), speed()],
            sync: [speed(), speed(), speed()],
            messages: speed() + 7,
            trouble: speed().min(8),
            is_orderly: lot.draw(2) == 0,
        }
    }

    fn weight(&self, world: &World, action: Action) -> u64 {
        match action {
            Action::Deliver(at) => {
                let first = if self.is_orderly && at > 0 { 4 } else { 1 };
                let unit = world.wire[at].receiver().map_or(8, |own| self.by_unit[own]);
                (self.messages * unit / 8 / first).max(1)
            }
            Action::Row(own) => self.rows[own],
            Action::Sync(own) => self.sync[own],
            Action::Push(..) | Action::Survey(_) => self.messages,
            Action::Start(own) | Action::StartLate(own) => self.by_unit[own],
            Action::Append(_) => 8,
            Action::Tick | Action::Add(_) | Action::CommitLate => 6,
            Action::Wait(_) => 4,
            Action::Checkpoint(_) => 2,
            _ => self.trouble,
        }
    }
}

impl Search {
    /// Goes so many walks, from this seed on, until something breaks.
    #[must_use]
    pub fn walk(&self, seed: u64, walks_max: u64) -> Walked {
        let start = self.start();
        let mut walked = Walked {
            walks: 0,
            steps: 0,
            broken: None,
        };
        while walked.walks < walks_max && walked.broken.is_none() {
            let (way, last) = self.one_walk(&start, seed + walked.walks);
            walked.walks += 1;
            walked.steps += way.len() as u64;
            walked.broken = self.judge_end(&last).map(|what| (what, way));
        }
        walked
    }

    fn judge_end(&self, last: &World) -> Option<String> {
        if let Some(broken) = last.broken {
            return Some(broken.to_owned());
        }
        let heals = self.heals_every > 0 && fingerprint(last).is_multiple_of(self.heals_every);
        let healed = heals.then(|| heal(&self.steps, last));
        let what = healed.and_then(Result::err)?;
        Some(format!("{LIVENESS}: {what}"))
    }

    fn one_walk(&self, start: &World, seed: u64) -> (Vec<Action>, World) {
        let mut lot = Lot(scattered(seed));
        let mood = Mood::new(&mut lot);
        let mut world = start.clone();
        let (mut way, mut actions) = (Vec::new(), Vec::new());
        while way.len() < STEPS_MAX && world.broken.is_none() {
            actions.clear();
            world.actions(&self.steps.scope, &mut actions);
            let Some((action, next)) = self.one_step(&world, &mood, &mut lot, &mut actions) else {
                break;
            };
            if let Some(sketch) = &self.sketch {
                sketch.note(fingerprint(&next));
            }
            way.push(action);
            world = next;
        }
        (way, world)
    }

    /// Draws until something changes.
    fn one_step(
        &self,
        world: &World,
        mood: &Mood,
        lot: &mut Lot,
        actions: &mut Vec<Action>,
    ) -> Option<(Action, World)> {
        while !actions.is_empty() {
            let weights = actions.iter().map(|action| mood.weight(world, *action));
            let sum: u64 = weights.clone().sum();
            let mut drawn = lot.draw(sum.max(1));
            let mut chosen = 0;
            for (at, weight) in weights.enumerate() {
                if drawn < weight {
                    chosen = at;
                    break;
                }
                drawn -= weight;
            }
            let action = actions.swap_remove(chosen);
            if let Some(next) = self.steps.act(world, action) {
                return Some((action, next));
            }
        }
        None
    }

    /// A shorter way on which the same breaks, as far as leaving single steps out gets.
    #[must_use]
    pub fn shorten(&self, way: &[Action]) -> Vec<Action> {
        let broken = self.replay_leniently(way).1.broken;
        let mut way = self.replay_leniently(way).0;
        let mut size = way.len() / 2;
        while size > 0 {
            let mut at = 0;
            while at + size <= way.len() {
                let shorter: Vec<Action> = [&way[..at], &way[at + size..]].concat();
                let (gone, last) = self.replay_leniently(&shorter);
                if last.broken == broken && broken.is_some() && gone.len() < way.len() {
                    way = gone;
                } else {
                    at += 1;
                }
            }
            size /= 2;
        }
        way
    }

    /// What is not possible is left out.
    fn replay_leniently(&self, way: &[Action]) -> (Vec<Action>, World) {
        let mut world = self.start();
        let (mut gone, mut actions) = (Vec::new(), Vec::new());
        for action in way {
            actions.clear();
            world.actions(&self.steps.scope, &mut actions);
            if !actions.contains(action) {
                continue;
            }
            if let Some(next) = self.steps.act(&world, *action) {
                gone.push(*action);
                world = next;
            }
        }
        (gone, world)
    }
}
