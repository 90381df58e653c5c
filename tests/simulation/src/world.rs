//! The cluster: nodes, disks, the network and the store, driven by one queue of events.
//!
//! What a node sends and waits for is put into the queue here, and nowhere else. Invariant: a run is a
//! function of its options; its trace says so.

mod audit;
mod faults;
mod phases;

use std::collections::BTreeMap;

use tidegate_proto::id::{ClusterId, ProducerId, RunId, StorageId};
use tidegate_proto::position::{Offset, ReplicaKey};

use crate::client::{Consumer, WriterClient};
use crate::controller::{Controller, LEASE};
use crate::coverage::Coverage;
use crate::disk::Disk;
use crate::gateway::Gateway;
use crate::history::History;
use crate::message::{Context, Message, Note, StoreCall, Timer, Told};
use crate::network::{Network, Node};
use crate::options::{CONTROLLERS, GATEWAYS, Options, UNITS};
use crate::queue::{MS, Queue, Time};
use crate::random::Random;
use crate::store::{Fate, Store};
use crate::truth::Truth;
use crate::unit::{Unit, UnitTerms};

/// What is to happen.
#[derive(Debug)]
enum Event {
    /// A message arrives, for that life of its receiver, from that one of its sender.
    Arrives {
        from: Node,
        to: Node,
        lives: (u32, u32),
        message: Box<Message>,
    },
    /// A node wakes up, if it still lives that life.
    Wakes { node: Node, life: u32, timer: Timer },
    /// A fault begins or ends.
    Fault { at: usize, begins: bool },
    /// A node's process starts.
    Starts { node: Node },
    /// What the store was asked, and nobody was told, happens.
    StoreDoes { id: u64 },
    /// A node that stood still goes on, unless another pause holds it.
    Resumes { node: Node },
    /// A unit's process ends, if it still lives that life.
    Ends { node: Node, life: u32 },
    /// A phase of the run.
    Phase,
}

/// A machine's clocks.
#[derive(Debug, Clone, Copy, Default)]
struct Clock {
    wall_skew_ms: i64,
    drift_per_mille: i64,
    began_ms: u64,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct World {
    options: Options,
    queue: Queue<Event>,
    random: Random,
    network: Network,
    store: Store,
    units: Vec<Option<Unit>>,
    disks: Vec<Disk>,
    controllers: Vec<Option<Controller>>,
    gateways: Vec<Option<Gateway>>,
    writers: Vec<WriterClient>,
    consumers: Vec<Consumer>,
    clocks: BTreeMap<Node, Clock>,
    lives: BTreeMap<Node, u32>,
    /// Nodes that stand still, until when.
    paused: BTreeMap<Node, Time>,
    /// Faults that are on a node now.
    troubled: BTreeMap<Node, u32>,
    pub(crate) truth: Truth,
    pub(crate) history: History,
    pub(crate) coverage: Coverage,
    keys: Vec<ReplicaKey>,
    backups: BTreeMap<usize, Disk>,
    /// When each disk lost something last.
    lost_at: BTreeMap<usize, Time>,
    /// Which unit each fault that lasts is on.
    targets: BTreeMap<usize, u32>,
    /// The least that each partition needed in sync so far.
    least_min_isr: BTreeMap<ReplicaKey, u16>,
    /// Versions of rows that were looked at.
    checked: BTreeMap<ReplicaKey, u64>,
    phase: phases::Phase,
    phase_since: Time,
    /// Whether faults may still begin.
    is_calm: bool,
    pub(crate) events: u64,
    trace: u64,
    pub(crate) failure: Option<String>,
    /// Whether what happens is told as it does.
    is_loud: bool,
    pub(crate) said: Vec<String>,
}

impl World {
    pub(crate) fn new(options: Options, is_loud: bool) -> Self {
        let mut random = Random::new(options.seed);
        let cluster = ClusterId(random.uuid());
        let (delay_us, late, lost) = (
            options.delay_us,
            options.late_per_mille,
            options.lost_per_mille,
        );
        let network = Network::new(random.apart(), delay_us, late, lost);
        let disks = (0..UNITS)
            .map(|_| Disk::new(StorageId(random.uuid())))
            .collect();
        let mut world = Self {
            network,
            store: Store::new(cluster),
            units: (0..UNITS).map(|_| None).collect(),
            disks,
            controllers: (0..CONTROLLERS).map(|_| None).collect(),
            gateways: (0..GATEWAYS).map(|_| None).collect(),
            writers: Vec::new(),
            consumers: Vec::new(),
            clocks: BTreeMap::new(),
            lives: BTreeMap::new(),
            paused: BTreeMap::new(),
            troubled: BTreeMap::new(),
            truth: Truth::default(),
            history: History::default(),
            coverage: Coverage::default(),
            keys: Vec::new(),
            backups: BTreeMap::new(),
            lost_at: BTreeMap::new(),
            targets: BTreeMap::new(),
            least_min_isr: BTreeMap::new(),
            checked: BTreeMap::new(),
            phase: phases::Phase::Begin,
            phase_since: 0,
            is_calm: false,
            events: 0,
            trace: 0xcbf2_9ce4_8422_2325,
            failure: None,
            is_loud,
            said: Vec::new(),
            queue: Queue::new(),
            random,
            options,
        };
        world.set_clocks();
        world.plan();
        world
    }

    fn set_clocks(&mut self) {
        let nodes = (0..UNITS)
            .map(Node::Unit)
            .chain((0..CONTROLLERS).map(Node::Controller));
        for node in nodes.chain((0..GATEWAYS).map(Node::Gateway)) {
            let skew = self.options.skew_ms;
            let drift = self.options.drift_per_mille;
            let clock = Clock {
                wall_skew_ms: signed(self.random.below(2 * skew + 1)) - signed(skew),
                drift_per_mille: signed(self.random.below(2 * drift + 1)) - signed(drift),
                began_ms: 0,
            };
            self.clocks.insert(node, clock);
        }
    }

    /// Runs to the end: what went wrong, if anything did, and the trace of all that happened.
    pub(crate) fn run(&mut self) -> u64 {
        while self.failure.is_none() && self.phase != phases::Phase::Over {
            let Some(event) = self.queue.take() else {
                break;
            };
            self.events += 1;
            self.happen(event);
        }
        self.trace
    }

    const fn mix(&mut self, word: u64) {
        self.trace = (self.trace ^ word).wrapping_mul(0x0000_0100_0000_01b3);
    }

    fn fail(&mut self, what: String) {
        if self.failure.is_none() {
            let at_ms = self.queue.now() / MS;
            self.failure = Some(format!("{what} (at {at_ms} ms)"));
        }
    }

    fn check(&mut self, outcome: Result<(), String>) {
        if let Err(what) = outcome {
            self.fail(what);
        }
    }

    fn life(&self, node: Node) -> u32 {
        self.lives.get(&node).copied().unwrap_or_default()
    }

    fn is_up(&self, node: Node) -> bool {
        match node {
            Node::Unit(at) => self.units[at as usize].is_some(),
            Node::Controller(at) => self.controllers[at as usize].is_some(),
            Node::Gateway(at) => self.gateways[at as usize].is_some(),
            Node::Client(_) | Node::Store => true,
        }
    }

    fn happen(&mut self, event: Event) {
        self.mix(self.queue.now());
        match event {
            Event::Arrives {
                from,
                to,
                lives,
                message,
            } => self.arrives(from, to, lives, message),
            Event::Wakes { node, life, timer } => {
                if self.life(node) != life || !self.is_up(node) {
                    return;
                }
                match self.paused.get(&node) {
                    Some(until) => {
                        let until = *until;
                        self.queue.put_at(until, Event::Wakes { node, life, timer });
                    }
                    None => self.wake(node, timer),
                }
            }
            Event::Fault { at, begins } => self.fault(at, begins),
            Event::Starts { node } => self.start(node),
            Event::StoreDoes { id } => {
                let before = self.store.model.revision;
                let outcome = self.store.let_through(id);
                self.check(outcome);
                self.ring(before);
            }
            Event::Resumes { node } => {
                if self
                    .paused
                    .get(&node)
                    .is_some_and(|until| *until <= self.queue.now())
                {
                    self.paused.remove(&node);
                }
            }
            Event::Ends { node, life } => {
                if let Node::Unit(unit) = node
                    && self.life(node) == life
                {
                    self.crash_unit(unit, false);
                }
            }
            Event::Phase => self.next_phase(),
        }
    }

    fn arrives(&mut self, from: Node, to: Node, lives: (u32, u32), message: Box<Message>) {
        let (sent_by, life) = lives;
        if self.life(to) != life || !self.is_up(to) || !self.network.is_open(from, to) {
            return;
        }
        if let Some(until) = self.paused.get(&to) {
            let until = *until;
            return self.queue.put_at(
                until,
                Event::Arrives {
                    from,
                    to,
                    lives,
                    message,
                },
            );
        }
        let is_gone = !self.is_up(from) || self.life(from) != sent_by;
        if is_gone && matches!((from, &*message), (Node::Unit(_), Message::Call { .. })) {
            return; // Its connection is gone with its process, and with it the request.
        }
        self.deliver(from, to, *message);
    }

    fn context(&mut self, node: Node) -> Context {
        let now = self.queue.now();
        let clock = self.clocks.get(&node).copied().unwrap_or_default();
        let ms = now / MS;
        let drifted = signed(ms) + signed(ms) * clock.drift_per_mille / 1_000;
        let drifted = drifted.max(0);
        Context {
            now,
            wall_ms: 1_700_000_000_000 + drifted + clock.wall_skew_ms,
            monotonic_ms: drifted.unsigned_abs() + clock.began_ms,
            random: self.random.clone(),
            sent: Vec::new(),
            timers: Vec::new(),
            notes: Vec::new(),
            is_loud: self.is_loud,
        }
    }

    /// Carries out what a node asked for.
    fn carry_out(&mut self, node: Node, cx: Context) {
        self.random = cx.random;
        let life = self.life(node);
        for note in cx.notes {
            self.note(node, note);
        }
        for (to, message) in cx.sent {
            if let Some(at) = self.network.send(self.queue.now(), node, to) {
                let (from, lives) = (node, (life, self.life(to)));
                self.queue.put_at(
                    at,
                    Event::Arrives {
                        from,
                        to,
                        lives,
                        message: Box::new(message),
                    },
                );
            }
        }
        for (delay, timer) in cx.timers {
            self.queue.put_in(delay, Event::Wakes { node, life, timer });
        }
    }

    fn wake(&mut self, node: Node, timer: Timer) {
        let mut cx = self.context(node);
        match node {
            Node::Unit(at) => {
                if let Some(unit) = &mut self.units[at as usize] {
                    unit.wakes(&mut cx, &mut self.disks[at as usize], timer);
                }
            }
            Node::Controller(at) => {
                if let Some(controller) = &mut self.controllers[at as usize] {
                    controller.beat(&mut cx);
                }
            }
            Node::Gateway(at) => {
                if let Some(gateway) = &mut self.gateways[at as usize] {
                    gateway.wakes(&mut cx, timer);
                }
            }
            Node::Client(at) => self.wake_client(at, &mut cx, timer),
            Node::Store => {}
        }
        self.carry_out(node, cx);
    }

    fn wake_client(&mut self, at: u32, cx: &mut Context, timer: Timer) {
        let at = at as usize;
        let writers = self.writers.len();
        if let Some(writer) = self.writers.get_mut(at) {
            writer.wakes(cx, &mut self.history, timer);
        } else if let Some(consumer) = self.consumers.get_mut(at - writers) {
            consumer.poll(cx);
        }
    }

    fn deliver(&mut self, from: Node, to: Node, message: Message) {
        if to == Node::Store {
            return self.ask_store(from, message);
        }
        let mut cx = self.context(to);
        match to {
            Node::Unit(at) => {
                let (unit, disk) = (&mut self.units[at as usize], &mut self.disks[at as usize]);
                if let Some(unit) = unit {
                    deliver_to_unit(unit, disk, &mut cx, from, message);
                }
            }
            Node::Controller(at) => {
                if let Some(controller) = &mut self.controllers[at as usize] {
                    deliver_to_controller(controller, &mut cx, from, message);
                }
            }
            Node::Gateway(at) => {
                if let Some(gateway) = &mut self.gateways[at as usize] {
                    deliver_to_gateway(gateway, &mut cx, from, message);
                }
            }
            Node::Client(at) => self.deliver_to_client(at as usize, &mut cx, message),
            Node::Store => {}
        }
        self.carry_out(to, cx);
    }

    fn deliver_to_client(&mut self, at: usize, cx: &mut Context, message: Message) {
        let writers = self.writers.len();
        match message {
            Message::Produced { call, outcome } => {
                if let Some(writer) = self.writers.get_mut(at) {
                    writer.ended(cx, &mut self.history, call, outcome);
                }
            }
            Message::Fetched { call, page } => {
                if let Some(consumer) = self.consumers.get_mut(at.saturating_sub(writers)) {
                    consumer.fetched(&mut self.history, call, page);
                }
            }
            _ => {}
        }
    }

    /// What a node tells the world itself.
    fn note(&mut self, node: Node, note: Note) {
        let Node::Unit(unit) = node else { return };
        match note {
            Note::Appended { key, epoch } => {
                let outcome = self.truth.appended(unit, key, epoch);
                self.check(outcome);
            }
            Note::Promised { key, end } => self.check_promise(unit, key, end),
            Note::Committed { key, from, to } => {
                let hosted = self.units[unit as usize]
                    .as_ref()
                    .and_then(|at| at.replicas.get(&key));
                if let Some(hosted) = hosted {
                    let outcome = self.truth.committed(unit, key, &hosted.log, (from, to));
                    self.check(outcome);
                }
                self.mix(to.get());
            }
            Note::Leads { key, epoch } => {
                self.history.led(unit, key, epoch);
                self.check_leader(unit, key);
            }
            Note::Cuts { key, dropped } => {
                // What the leader gave up by retention may go in any way.
                let leader = self.store.model.partition(key).and_then(|row| row.leader);
                let led = leader.and_then(|leader| self.units[leader.0 as usize].as_ref());
                let led = led.and_then(|unit| unit.replicas.get(&key));
                let gone = led.map_or(Offset::ZERO, |hosted| hosted.log_start);
                let kept = dropped.iter().position(|batch| batch.next_offset() > gone);
                let outcome = self
                    .truth
                    .cuts(unit, key, &dropped[kept.unwrap_or(dropped.len())..]);
                self.check(outcome);
            }
            Note::Alarm { key, what } => self.alarm(unit, key, what),
            Note::Excluded => self.restart_unit(unit),
            Note::Reached(what) => self.coverage.reached(what),
            Note::Says(what) => {
                let at = self.queue.now();
                self.said
                    .push(format!("{:>9.3} {node:?}: {what}", at as f64 / 1_000.0));
            }
        }
    }

    fn say(&mut self, what: impl FnOnce() -> String) {
        if self.is_loud {
            let at = self.queue.now();
            self.said
                .push(format!("{:>9.3} {}", at as f64 / 1_000.0, what()));
        }
    }

    fn ask_store(&mut self, from: Node, message: Message) {
        let Message::Ask(call) = message else { return };
        if self.store.down > 0 {
            return;
        }
        let before = self.store.model.revision;
        let told = match call {
            StoreCall::Commit(commit) => {
                if self.store.unknown > 0 && self.random.hits(700) {
                    self.coverage.reached("an answer of the store is lost");
                    match self.random.below(3) {
                        0 => {}
                        1 => {
                            let outcome = self.store.apply(&commit).map(drop);
                            self.check(outcome);
                            self.ring(before);
                        }
                        _ => {
                            let id = commit.id;
                            self.store.hang(commit);
                            let delay = self.random.between(5, 3_000) * MS;
                            self.queue.put_in(delay, Event::StoreDoes { id });
                        }
                    }
                    return;
                }
                let (id, outcome) = (commit.id, self.store.apply(&commit));
                match outcome {
                    Ok(fate) => {
                        if fate == Fate::Conflict {
                            self.coverage.reached("a commit loses");
                        } else if fate == Fate::Fenced {
                            self.coverage
                                .reached("a controller without the lease is fenced");
                        }
                        Told::Committed {
                            id,
                            fate,
                            model: self.store.model.clone(),
                        }
                    }
                    Err(what) => return self.fail(what),
                }
            }
            StoreCall::LookUp { id } => match self.store.look_up(id) {
                Ok(fate) => Told::Committed {
                    id,
                    fate,
                    model: self.store.model.clone(),
                },
                Err(what) => return self.fail(what),
            },
            StoreCall::Look => Told::Looked {
                model: self.store.model.clone(),
            },
            StoreCall::Lease { holder } => {
                let epoch = self.store.acquire(holder, self.queue.now(), LEASE);
                Told::Leased {
                    epoch,
                    model: self.store.model.clone(),
                }
            }
        };
        let mut cx = self.context(Node::Store);
        cx.send(from, Message::Told(told));
        self.carry_out(Node::Store, cx);
        self.ring(before);
    }

    /// Tells controllers of what was committed since.
    fn ring(&mut self, before: u64) {
        if self.store.model.revision == before {
            return;
        }
        self.mix(self.store.model.revision);
        self.check_candidates();
        let mut cx = self.context(Node::Store);
        for at in 0..CONTROLLERS {
            cx.send(
                Node::Controller(at),
                Message::Bell(self.store.model.clone()),
            );
        }
        self.carry_out(Node::Store, cx);
    }

    fn start(&mut self, node: Node) {
        if self.is_up(node) {
            return;
        }
        *self.lives.entry(node).or_default() += 1;
        self.paused.remove(&node);
        let mut cx = self.context(node);
        match node {
            Node::Unit(at) => {
                let terms = UnitTerms {
                    sync_us: self.options.sync_us,
                    replica_lag_ms: self.options.replica_lag_ms,
                    push_max: 8,
                };
                let (run, controller) = (RunId(cx.random.uuid()), at + self.life(node));
                let mut unit = Unit::new(at, run, terms, controller);
                unit.start(&mut cx);
                self.units[at as usize] = Some(unit);
            }
            Node::Controller(at) => {
                let mut controller = Controller::new(at, self.options.spu_timeout_ms);
                controller.start(&mut cx);
                self.controllers[at as usize] = Some(controller);
            }
            Node::Gateway(at) => {
                let producer =
                    ProducerId(1_000 + u64::from(at) * 1_000 + u64::from(self.life(node)));
                let mut gateway = Gateway::new(producer, at + self.life(node));
                gateway.start(&mut cx);
                self.gateways[at as usize] = Some(gateway);
            }
            Node::Client(_) | Node::Store => {}
        }
        self.carry_out(node, cx);
    }
}

fn deliver_to_unit(
    unit: &mut Unit,
    disk: &mut Disk,
    cx: &mut Context,
    from: Node,
    message: Message,
) {
    match message {
        Message::News { model, standing } => unit.news(cx, disk, model, standing),
        Message::Answer { call, outcome } => unit.answered(cx, disk, call, outcome),
        Message::Attach {
            key,
            attempt,
            request,
        } => {
            unit.attach_wanted(cx, from, key, attempt, request);
        }
        Message::Ack {
            key,
            attempt,
            number,
            position,
        } => unit.acked(cx, from, key, (attempt, number), position),
        Message::Detach { key, attempt } => unit.detached(cx, from, key, attempt),
        Message::Attached {
            key,
            attempt,
            answer,
            snapshot,
        } => {
            unit.attach_answered(cx, key, attempt, answer, snapshot);
        }
        Message::Push {
            key,
            attempt,
            number,
            batches,
            high_watermark,
            log_start,
        } => {
            unit.pushed(
                cx,
                key,
                (attempt, number),
                batches,
                (high_watermark, log_start),
            );
        }
        Message::Ended { key, attempt } => unit.ended(cx, key, attempt),
        Message::Append {
            call,
            produce,
            patience,
        } => unit.append(cx, from, call, produce, patience),
        Message::Read {
            call,
            key,
            from: at,
        } => unit.read(cx, from, call, key, at),
        _ => {}
    }
}

fn deliver_to_controller(
    controller: &mut Controller,
    cx: &mut Context,
    from: Node,
    message: Message,
) {
    match message {
        Message::Hello { unit, revision } => controller.hello(cx, from, unit, revision),
        Message::Relay { spu, incarnation } => controller.hear(cx, spu, incarnation),
        Message::Call { call, request } => controller.call(cx, from, call, *request),
        Message::Told(told) => controller.told(cx, told),
        Message::Bell(model) => controller.rung(cx, &model),
        _ => {}
    }
}

fn deliver_to_gateway(gateway: &mut Gateway, cx: &mut Context, from: Node, message: Message) {
    match message {
        Message::News { model, .. } => gateway.news(cx, model),
        Message::Produce {
            call,
            produce,
            patience,
        } => gateway.produce(cx, from, call, produce, patience),
        Message::Fetch {
            call,
            key,
            from: at,
        } => gateway.fetch(cx, from, call, key, at),
        Message::Appended { call, outcome } => gateway.appended(cx, call, outcome),
        Message::ReadAnswer { call, answer } => gateway.read_answered(cx, call, answer),
        _ => {}
    }
}

/// Small numbers only.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
