//! The cluster: nodes, disks, the network and the store, driven by one queue of events.
//!
//! What a node sends and waits for is put into the queue here, and nowhere else. Invariant: a run is a
//! function of its options; its trace says so.

mod audit;
mod clocks;
mod cuts;
mod delivery;
mod failing;
mod faults;
mod notes;
mod operators;
mod phases;
mod serving;

use std::collections::BTreeMap;

use tidegate_log::testing::MemVfs;
use tidegate_proto::id::{ClusterId, ProducerId, RunId, StorageId};
use tidegate_proto::position::ReplicaKey;

use crate::client::{Consumer, WriterClient};
use crate::controller::Controller;
use crate::coverage::Coverage;
use crate::disk::Disk;
use crate::gateway::Gateway;
use crate::history::History;
use crate::message::{Context, Message, Timer};
use crate::network::{Network, Node};
use crate::options::{CONTROLLERS, GATEWAYS, Options, UNITS};
use crate::queue::{MS, Queue, Time};
use crate::random::Random;
use crate::store::Store;
use crate::truth::Truth;
use crate::unit::{Unit, UnitTerms};
use clocks::Clock;

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
            .map(|_| Disk {
                files: options.is_on_the_log.then(MemVfs::new),
                ..Disk::new(StorageId(random.uuid()))
            })
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

    fn say(&mut self, what: impl FnOnce() -> String) {
        if self.is_loud {
            let at = self.queue.now();
            self.said
                .push(format!("{:>9.3} {}", at as f64 / 1_000.0, what()));
        }
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
