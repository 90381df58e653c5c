//! The controllers and their store: the real decisions, made under the versions that rows have.
//!
//! Every request is decided by `tidegate_sc_core` on the rows as they are, or as they were a moment ago,
//! and committed only if the store accepts it. Every row that a partition ever had is kept in order:
//! units read them one by one, each at its own pace.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use tidegate_proto::api::topic::TopicRequest;
use tidegate_proto::control::{IsrOutcome, NodeSite, PartitionSpec, Register};
use tidegate_proto::id::{AttemptId, ClusterId, Incarnation, PartitionId, RunId, SpuId, StorageId};
use tidegate_proto::name::{SpuGroupName, TopicName};
use tidegate_proto::position::ReplicaKey;
use tidegate_sc_core::change::{Change, Guard};
use tidegate_sc_core::decide::decide;
use tidegate_sc_core::decision::{MoveTerms, Outcome, Request, Target, TopicWrite};
use tidegate_sc_core::holdings::Untold;
use tidegate_sc_core::invariant::{check_state, check_step};
use tidegate_sc_core::liveness::Liveness;
use tidegate_sc_core::model::Model;
use tidegate_sc_core::rows::PartitionRow;
use tidegate_sc_core::tick::{Clocks, tick};
use uuid::Uuid;

/// States of the store that a rollback can go back to.
const EARLIER_MAX: usize = 3;

/// A decision that was made and not carried out yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Late {
    changes: Vec<Change>,
    guards: Vec<Guard>,
}

/// The store and what was told of it.
#[derive(Debug, Clone)]
pub struct Store {
    model: Arc<Model>,
    /// The partition's rows as they were published.
    rows: Vec<Arc<PartitionSpec>>,
    /// X1: it was found to have gone back; nothing changes until an operator looked.
    pub is_frozen: bool,
    /// What a rollback finds, oldest first.
    earlier: Vec<Arc<Model>>,
    late: Option<Box<Late>>,
    keeps_earlier: bool,
}

/// What came of a request.
#[derive(Debug, Clone, Default)]
pub struct Answer {
    /// Nothing was decided or committed.
    pub is_refused: bool,
    /// Of a registration.
    pub incarnation: Option<Incarnation>,
    /// Of proposals.
    pub isr: Vec<IsrOutcome>,
    /// An invariant of the rows that does not hold any more.
    pub breach: Option<&'static str>,
}

impl Store {
    /// Units are registered, and the partition is placed on the first of them.
    ///
    /// # Panics
    /// When the controllers refuse that.
    #[must_use]
    pub fn new(units: u32, copies: u16, min_isr: u16, keeps_earlier: bool) -> Self {
        let mut store = Self {
            model: Arc::new(Model::empty(ClusterId(Uuid::from_u128(1)))),
            rows: Vec::new(),
            is_frozen: false,
            earlier: Vec::new(),
            late: None,
            keeps_earlier: false,
        };
        for spu in 0..units {
            let answer = store.ask(&Request::Register(Register {
                attempt: Some(attempt(SpuId(spu), 1)),
                ..blank(SpuId(spu))
            }));
            assert!(!answer.is_refused, "unit {spu} is not taken in");
        }
        let write = TopicWrite {
            name: topic(),
            request: TopicRequest {
                partitions: 1.into(),
                replication_factor: copies.into(),
                min_in_sync: min_isr.into(),
                ..TopicRequest::default()
            },
            if_match: None,
        };
        let answer = store.ask(&Request::CreateTopic(write));
        assert!(!answer.is_refused && answer.breach.is_none(), "{answer:?}");
        store.keeps_earlier = keeps_earlier;
        store
    }

    /// The partition as it is now.
    #[must_use]
    pub fn row(&self) -> &PartitionRow {
        let topic = self.model.topics.get(&topic());
        topic
            .and_then(|topic| topic.partitions.first())
            .expect("the partition stays")
    }

    /// Its rows as they were published, oldest first.
    #[must_use]
    pub fn rows(&self) -> &[Arc<PartitionSpec>] {
        &self.rows
    }

    /// Registration of a unit, and whether it is shut out.
    #[must_use]
    pub fn unit(&self, spu: SpuId) -> (Incarnation, bool) {
        let row = self.model.spus.get(&spu).expect("units stay");
        (row.incarnation, row.fenced)
    }

    /// Decides and commits at once.
    pub fn ask(&mut self, request: &Request) -> Answer {
        if self.is_frozen {
            return refused();
        }
        let seed = Uuid::from_u128(u128::from(self.model.revision) << 64 | 7);
        let Ok(decision) = decide(&self.model, 0, seed, request) else {
            return refused();
        };
        let mut answer = self.commit(&decision.changes, &decision.guards);
        if !answer.is_refused {
            answer.incarnation = decision.incarnation();
            if let Outcome::Isr(outcomes) = decision.outcome {
                answer.isr = outcomes;
            }
        }
        answer
    }

    /// What a controller does by itself: elections, moves.
    pub fn tick(&mut self) -> Answer {
        let (changes, guards) = self.due();
        if changes.is_empty() || self.is_frozen {
            return refused();
        }
        self.commit(&changes, &guards)
    }

    fn due(&self) -> (Vec<Change>, Vec<Guard>) {
        let seed = Uuid::from_u128(u128::from(self.model.revision) << 64 | 9);
        let clocks = Clocks {
            wall_ms: 0,
            monotonic_ms: 0,
        };
        let due = tick(
            &self.model,
            clocks,
            seed,
            &Liveness::with_default(0),
            &Untold,
        );
        (due.changes, due.guards)
    }

    /// Decides, and leaves the commit for later. False when there is nothing to do.
    pub fn prepare(&mut self, request: &Request) -> bool {
        let seed = Uuid::from_u128(u128::from(self.model.revision) << 64 | 11);
        let Ok(decision) = decide(&self.model, 0, seed, request) else {
            return false;
        };
        if decision.changes.is_empty() || self.late.is_some() {
            return false;
        }
        self.late = Some(Box::new(Late {
            changes: decision.changes,
            guards: decision.guards,
        }));
        true
    }

    /// Whether a decision waits for its commit.
    #[must_use]
    pub fn has_late(&self) -> bool {
        self.late.is_some()
    }

    /// Commits what was decided earlier, if the store still accepts it.
    pub fn commit_late(&mut self) -> Answer {
        match self.late.take() {
            Some(late) if !self.is_frozen => self.commit(&late.changes, &late.guards),
            _ => refused(),
        }
    }

    fn commit(&mut self, changes: &[Change], guards: &[Guard]) -> Answer {
        if !self.model.accepts(changes, guards) {
            return refused();
        }
        let mut answer = Answer::default();
        if changes.is_empty() {
            return answer;
        }
        let before = Arc::clone(&self.model);
        Arc::make_mut(&mut self.model).commit(before.revision + 1, changes);
        let breach = check_state(&self.model).and_then(|()| check_step(&before, &self.model));
        answer.breach = breach.err().map(|breach| breach.name);
        if self.keeps_earlier {
            self.earlier.push(before);
            if self.earlier.len() > EARLIER_MAX {
                self.earlier.remove(0);
            }
        }
        self.publish();
        answer
    }

    fn publish(&mut self) {
        let topology = self.model.topology();
        let spec = topology.topic(&topic()).and_then(|topic| {
            let spec = topic.partition(PartitionId(0));
            spec.cloned()
        });
        if let Some(spec) = spec
            && self.rows.last().is_none_or(|last| **last != spec)
        {
            self.rows.push(Arc::new(spec));
        }
    }

    /// States that a rollback could go back to.
    #[must_use]
    pub fn earlier(&self) -> usize {
        self.earlier.len()
    }

    /// The last commits are gone. X1: whoever saw them tells, and then nothing changes any more.
    pub fn roll_back(&mut self, to: usize, is_noticed: bool) {
        if let Some(model) = self.earlier.get(to).cloned() {
            self.model = model;
            self.earlier.clear();
            self.keeps_earlier = false;
            self.late = None;
            self.is_frozen = is_noticed;
            self.publish();
        }
    }

    /// Unit of a report, its disk as the store knows it.
    #[must_use]
    pub fn key(&self) -> ReplicaKey {
        self.row().key()
    }
}

fn refused() -> Answer {
    Answer {
        is_refused: true,
        ..Answer::default()
    }
}

/// The topic that there is.
#[must_use]
pub fn topic() -> TopicName {
    TopicName::parse("orders").expect("a good name")
}

/// A request to have the copies on these units.
#[must_use]
pub fn reassign(replicas: Vec<SpuId>) -> Request {
    Request::Reassign {
        targets: vec![Target {
            topic: topic(),
            partition: PartitionId(0),
            replicas,
        }],
        terms: MoveTerms {
            force: true,
            ..MoveTerms::default()
        },
    }
}

/// A request to need so many copies for a commit.
#[must_use]
pub fn edit(min_isr: u16) -> Request {
    Request::EnsureTopic(TopicWrite {
        name: topic(),
        request: TopicRequest {
            min_in_sync: min_isr.into(),
            ..TopicRequest::default()
        },
        if_match: None,
    })
}

/// A unit's attempt of that number to be registered.
#[must_use]
pub fn attempt(spu: SpuId, number: u8) -> AttemptId {
    AttemptId(Uuid::from_u128(u128::from(spu.0) << 8 | u128::from(number)))
}

/// The report of a unit whose disk was never used.
#[must_use]
pub fn blank(spu: SpuId) -> Register {
    let number = u128::from(spu.0);
    Register {
        spu_id: spu,
        storage_id: StorageId(Uuid::from_u128(1_000 + number)),
        run_id: RunId(Uuid::from_u128(2_000 + number)),
        last_incarnation: None,
        attempt: None,
        granted: None,
        same_boot: true,
        replicas: Vec::new(),
        group: Some(SpuGroupName::default()),
        site: NodeSite::default(),
    }
}

impl Hash for Store {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let said = |model: &Model, state: &mut H| {
            // Rows are plain data, and print as what they are.
            format!("{:?}{:?}", model.spus, model.operations).hash(state);
            for topic in model.topics.values() {
                format!("{:?}{:?}", topic.row.version, topic.partitions).hash(state);
            }
        };
        said(&self.model, state);
        for earlier in &self.earlier {
            said(earlier, state);
        }
        format!("{:?}", self.late).hash(state);
        format!("{:?}", self.rows).hash(state);
        (self.is_frozen, self.keeps_earlier).hash(state);
    }
}
