//! One run: hosts, phases, faults, the end.
//!
//! Invariant: a run ends, well or with a sentence, after a bounded time on the simulated clock.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tidegate_log::Vfs as _;
use tidegate_log::testing::{Dice, MemVfs};
use turmoil::Sim;

use crate::audit::{audit, unrest};
use crate::client;
use crate::controller;
use crate::options::{CLIENTS, CONTROLLER, Options, UNITS, What, unit_name};
use crate::shared::{Phase, ROOT, Shared};
use crate::unit;
use crate::wire::Wires;

const BEGIN_MAX_MS: u64 = 20_000;
/// Clients go on for so long after the last fault.
const HEAL_MS: u64 = 2_000;
/// Until everything is at rest again; connections that a partition broke are found dead within 15 s.
const QUIET_MAX_MS: u64 = 90_000;

/// How a run went.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// What is wrong.
    pub failure: Option<String>,
    /// Appends that were acknowledged.
    pub acknowledged: u64,
    /// Records that were read while it ran.
    pub read: u64,
    /// Bytes of the partitions at the end.
    pub bytes: u64,
    /// Connections that were made.
    pub connections: u64,
    /// Processes of units that began.
    pub lives: u64,
    /// Units that were excluded.
    pub exclusions: u64,
    /// Milliseconds on the simulated clock.
    pub took_ms: u64,
    /// Faults as they came and went, with their times.
    pub said: Vec<String>,
}

struct World<'a> {
    sim: Sim<'a>,
    shared: Shared,
    /// When something that was done is undone: milliseconds of the run, and what.
    undo: Vec<(u64, What)>,
    phase_since_ms: u64,
    next_fault: usize,
    said: Vec<String>,
}

/// Plays a seed.
#[must_use]
pub fn run(options: &Options) -> Report {
    let mut world = World::new(options);
    let mut report = Report::default();
    match world.play() {
        Ok(bytes) => report.bytes = bytes,
        Err(what) => report.failure = Some(what),
    }
    let inside = world.shared.lock();
    report.acknowledged = inside.history.acknowledged;
    report.read = inside.history.read;
    report.lives = inside.lives;
    report.exclusions = inside.exclusions;
    drop(inside);
    report.connections = world.shared.wires.count.load(Ordering::Relaxed);
    report.took_ms = world.now_ms();
    report.said = std::mem::take(&mut world.said);
    world.shared.lock().disks.values().for_each(empty);
    report
}

/// A log and its shards hold one another, as they may for as long as a process lives: what was killed here
/// is never dropped, so its disk gives up what it holds.
fn empty(disk: &MemVfs) {
    for path in disk.files() {
        disk.damage(&path, |bytes| *bytes = Vec::new());
    }
    // Faults of the disk itself are not played.
    let _ = disk.remove_dir_all(Path::new(ROOT));
    let _ = disk.sync_dir(Path::new("/"));
}

impl World<'_> {
    fn new(options: &Options) -> Self {
        let wires = Wires {
            cuts: options.cuts,
            is_tls: options.is_tls,
            seed: options.seed,
            count: Arc::default(),
            is_calm: Arc::new(AtomicBool::new(true)),
        };
        let disks: BTreeMap<u32, MemVfs> = (1..=UNITS).map(|at| (at, MemVfs::new())).collect();
        let shared = Shared::new(options.clone(), wires, disks);
        let mut sim = turmoil::Builder::new()
            .simulation_duration(Duration::from_secs(3_600))
            .tick_duration(Duration::from_millis(2))
            .min_message_latency(Duration::from_millis(1))
            .max_message_latency(Duration::from_millis(options.latency_max_ms))
            .tcp_capacity(1 << 16)
            .rng_seed(options.seed)
            .build();
        let of = shared.clone();
        sim.host(CONTROLLER, move || controller::run(of.clone()));
        for number in 1..=UNITS {
            let of = shared.clone();
            sim.host(unit_name(number), move || unit::run(number, of.clone()));
        }
        for number in 0..CLIENTS {
            let of = shared.clone();
            sim.host(format!("client-{number}"), move || {
                client::run(number, of.clone())
            });
        }
        Self {
            sim,
            shared,
            undo: Vec::new(),
            phase_since_ms: 0,
            next_fault: 0,
            said: Vec::new(),
        }
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.sim.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn play(&mut self) -> Result<u64, String> {
        loop {
            self.sim
                .step()
                .map_err(|error| format!("a host: {error}"))?;
            let now = self.now_ms();
            let since = now - self.phase_since_ms;
            let phase = {
                let inside = self.shared.lock();
                let breach = inside.finding.as_ref().or(inside.control.breach.as_ref());
                if let Some(what) = breach {
                    return Err(what.clone());
                }
                inside.phase
            };
            match phase {
                Phase::Begin => self.begin(since)?,
                Phase::Chaos => self.chaos(now, since),
                Phase::Heal if since >= HEAL_MS => self.enter(Phase::Quiet),
                Phase::Heal => {}
                Phase::Quiet => {
                    if let Some(bytes) = self.quiet(since)? {
                        return Ok(bytes);
                    }
                }
            }
        }
    }

    fn enter(&mut self, phase: Phase) {
        self.phase_since_ms = self.now_ms();
        self.said.push(format!("phase {phase:?}"));
        self.shared.lock().phase = phase;
        let is_calm = phase != Phase::Chaos;
        self.shared.wires.is_calm.store(is_calm, Ordering::Relaxed);
    }

    fn begin(&mut self, since: u64) -> Result<(), String> {
        let unrest = unrest(&self.shared.lock());
        match unrest {
            None => self.enter(Phase::Chaos),
            Some(what) if since > BEGIN_MAX_MS => {
                return Err(format!("liveness: it does not begin: {what}"));
            }
            Some(_) => {}
        }
        Ok(())
    }

    fn quiet(&mut self, since: u64) -> Result<Option<u64>, String> {
        let mut inside = self.shared.lock();
        let is_over = inside.ended == CLIENTS;
        let what = if is_over {
            unrest(&inside)
        } else {
            Some("writers do not end".to_owned())
        };
        match what {
            None => audit(&mut inside).map(Some),
            Some(what) if since > QUIET_MAX_MS => Err(format!("liveness: {what}")),
            Some(_) => Ok(None),
        }
    }

    fn chaos(&mut self, now: u64, since: u64) {
        let options = Arc::clone(&self.shared.options);
        let due: Vec<What> = {
            let (over, left) = self.undo.drain(..).partition(|(at, _)| *at <= now);
            self.undo = left;
            let over: Vec<(u64, What)> = over;
            over.into_iter().map(|(_, what)| what).collect()
        };
        for what in due {
            self.end(&what);
        }
        while let Some(fault) = options.faults.get(self.next_fault)
            && fault.at_ms <= since
        {
            self.next_fault += 1;
            self.said.push(format!("{since} begins {:?}", fault.what));
            self.strike(&fault.what);
            self.undo.push((now + fault.for_ms, fault.what.clone()));
        }
        if since >= options.chaos_ms {
            for (_, what) in std::mem::take(&mut self.undo) {
                self.end(&what);
            }
            self.mend();
            self.enter(Phase::Heal);
        }
    }

    fn strike(&mut self, what: &What) {
        match what {
            What::Partition(one, other) => self.sim.partition(one.as_str(), other.as_str()),
            What::OneWay(from, to) => self.sim.partition_oneway(from.as_str(), to.as_str()),
            What::Hold(one, other) => self.sim.hold(one.as_str(), other.as_str()),
            What::Slow(one, other, ms) => {
                let longest = Duration::from_millis(*ms);
                let (one, other) = (one.as_str(), other.as_str());
                self.sim.set_link_max_message_latency(one, other, longest);
            }
            What::Isolate(unit) => {
                let unit = unit_name(*unit);
                for other in hosts().into_iter().filter(|other| *other != unit) {
                    self.sim.partition(unit.as_str(), other);
                }
            }
            What::Kill(unit) => self.crash(*unit, false),
            What::PowerLoss(unit) => self.crash(*unit, true),
            What::KillController => {
                if self.sim.is_host_running(CONTROLLER) {
                    self.sim.crash(CONTROLLER);
                }
            }
        }
    }

    /// What a unit's disk holds after its process ended.
    fn crash(&mut self, unit: u32, loses_power: bool) {
        let name = unit_name(unit);
        if !self.sim.is_host_running(name.as_str()) {
            return;
        }
        self.sim.crash(name.as_str());
        let mut inside = self.shared.lock();
        inside.logs.remove(&unit);
        let seed = self.shared.options.seed ^ self.phase_since_ms ^ u64::from(unit);
        if let Some(disk) = inside.disks.get_mut(&unit) {
            let left = if loses_power {
                disk.power_lost(&mut Dice::new(seed))
            } else {
                disk.killed()
            };
            empty(&std::mem::replace(disk, left));
        }
    }

    fn end(&mut self, what: &What) {
        match what {
            What::Partition(one, other) | What::OneWay(one, other) => {
                self.sim.repair(one.as_str(), other.as_str());
            }
            What::Hold(one, other) => self.sim.release(one.as_str(), other.as_str()),
            What::Slow(one, other, _) => {
                let longest = Duration::from_millis(self.shared.options.latency_max_ms);
                let (one, other) = (one.as_str(), other.as_str());
                self.sim.set_link_max_message_latency(one, other, longest);
            }
            What::Isolate(unit) => {
                let unit = unit_name(*unit);
                for other in hosts().into_iter().filter(|other| *other != unit) {
                    self.sim.repair(unit.as_str(), other);
                }
            }
            What::Kill(unit) | What::PowerLoss(unit) => self.bounce(&unit_name(*unit)),
            What::KillController => self.bounce(CONTROLLER),
        }
    }

    fn bounce(&mut self, host: &str) {
        if !self.sim.is_host_running(host) {
            self.sim.bounce(host);
        }
    }

    /// All links are as they should be.
    fn mend(&mut self) {
        let hosts = hosts();
        for (at, one) in hosts.iter().enumerate() {
            for other in &hosts[at + 1..] {
                self.sim.release(one.as_str(), other.as_str());
                self.sim.repair(one.as_str(), other.as_str());
            }
        }
    }
}

fn hosts() -> Vec<String> {
    let units = (1..=UNITS).map(unit_name);
    let clients = (0..CLIENTS).map(|number| format!("client-{number}"));
    units
        .chain(clients)
        .chain([CONTROLLER.to_owned()])
        .collect()
}
