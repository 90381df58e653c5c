//! Several controllers on one database in memory, under one clock that the test moves.

use std::collections::BTreeMap;
use std::sync::Mutex;

use tidegate_proto::control::{
    DiskSpace, Heartbeat, NodeSite, Register, Registered, RelayRequest, Reports, ReportsQuery,
    Standing, Traffic,
};
use tidegate_proto::id::{Incarnation, RunId, SpuId, StorageId};
use tidegate_proto::name::SpuGroupName;

use super::*;
use crate::store::BoxFuture;

/// Steps of the clock: finer than anything that controllers do by it.
const STEP: Duration = Duration::from_millis(50);

/// The private plane between the controllers of a test.
#[derive(Debug, Default)]
pub(super) struct Wires(Mutex<BTreeMap<String, Controller>>);

impl HolderLink for Wires {
    fn relay<'a>(
        &'a self,
        address: &'a str,
        request: RelayRequest,
    ) -> BoxFuture<'a, Result<(), Problem>> {
        let found = self.0.lock().unwrap().get(address).cloned();
        Box::pin(async move {
            match found {
                Some(controller) => controller.take_relayed(request).await,
                None => Err(Problem::new(ErrorCode::Unavailable, "nobody is there")),
            }
        })
    }

    fn reports<'a>(
        &'a self,
        address: &'a str,
        query: ReportsQuery,
    ) -> BoxFuture<'a, Result<Reports, Problem>> {
        let found = self.0.lock().unwrap().get(address).cloned();
        let nobody = || Problem::new(ErrorCode::Unavailable, "nobody is there");
        Box::pin(async move { found.ok_or_else(nobody)?.reports(query) })
    }
}

pub(super) struct Cluster {
    pub(super) database: MemoryDatabase,
    wires: Arc<Wires>,
    began: std::time::Instant,
    /// How far the database's clock is ahead of ours.
    pub(super) skew: Duration,
    /// Most copies that units can keep.
    pub(super) replication_factor_max: u16,
}

pub(super) struct Sc {
    pub(super) controller: Controller,
    pub(super) store: Arc<MemoryStore>,
    tasks: Tasks,
    pub(super) name: String,
}

impl Cluster {
    /// Call it with the runtime's clock paused.
    pub(super) fn new() -> Self {
        let ids = (Uuid::from_u128(1), Uuid::from_u128(2));
        Self {
            database: MemoryDatabase::new(ClusterId(ids.0), StoreId(ids.1)),
            wires: Arc::new(Wires::default()),
            began: clock::monotonic(),
            skew: Duration::ZERO,
            replication_factor_max: u16::MAX,
        }
    }

    pub(super) async fn sc(&self, name: &str) -> Sc {
        self.sc_on(name, self.database.open()).await
    }

    /// One that is not told when others commit.
    pub(super) async fn deaf_sc(&self, name: &str) -> Sc {
        let store = self.database.open();
        store.set_deaf();
        self.sc_on(name, store).await
    }

    async fn sc_on(&self, name: &str, store: MemoryStore) -> Sc {
        let store = Arc::new(store);
        let tasks = Tasks::new();
        let address = Some(name.to_owned());
        let settings = ControllerSettings {
            replication_factor_max: self.replication_factor_max,
            ..ControllerSettings::in_cluster(name.to_owned(), address)
        };
        let shared = Arc::clone(&store) as Arc<dyn MetaStore>;
        let controller = Controller::start(shared, settings, &tasks).await.unwrap();
        let link = Arc::clone(&self.wires) as Arc<dyn HolderLink>;
        controller.relay_over(link, &tasks);
        let mut wires = self.wires.0.lock().unwrap();
        wires.insert(name.to_owned(), controller.clone());
        Sc {
            controller,
            store,
            tasks,
            name: name.to_owned(),
        }
    }

    /// As `kill -9` does: nothing is given back, nothing more is said.
    pub(super) async fn kill(&self, sc: Sc) {
        self.wires.0.lock().unwrap().remove(&sc.name);
        sc.store.set_down(true);
        sc.tasks.shutdown(Duration::from_secs(10)).await;
    }

    pub(super) fn now(&self) -> Duration {
        clock::monotonic() - self.began
    }

    /// Lets everybody do what is due now.
    pub(super) async fn settle(&self) {
        let now = i64::try_from((self.now() + self.skew).as_millis()).unwrap();
        self.database.set_clock_ms(now);
        for _ in 0..40 {
            tokio::task::yield_now().await;
        }
    }

    /// Lets so much time pass.
    pub(super) async fn pass(&self, time: Duration) {
        let end = self.now() + time;
        while self.now() < end {
            tokio::time::advance(STEP).await;
            self.settle().await;
        }
    }

    pub(super) async fn end(&self) -> Model {
        self.database.open().snapshot().await.unwrap()
    }
}

impl Sc {
    /// Stops in order.
    pub(super) async fn stop(self) {
        assert!(self.tasks.shutdown(Duration::from_secs(10)).await);
    }

    pub(super) async fn register(&self, number: u32) -> Unit {
        self.try_register(number).await.unwrap()
    }

    pub(super) async fn try_register(&self, number: u32) -> Result<Unit, Problem> {
        self.try_register_as(number, 100 + u128::from(number)).await
    }

    /// In that run of its process.
    pub(super) async fn try_register_as(&self, number: u32, run: u128) -> Result<Unit, Problem> {
        let id = Uuid::from_u128(100 + u128::from(number));
        let run_id = RunId(Uuid::from_u128(run));
        let report = Register {
            spu_id: SpuId(number),
            storage_id: StorageId(id),
            run_id,
            last_incarnation: None,
            attempt: None,
            granted: None,
            same_boot: true,
            replicas: Vec::new(),
            group: Some(SpuGroupName::default()),
            site: NodeSite::default(),
        };
        let Registered { incarnation, .. } = self.controller.register(report).await?;
        Ok(Unit {
            number,
            run_id,
            incarnation,
        })
    }

    pub(super) async fn make(&self, name: &str) -> Result<Decided, Problem> {
        let write = TopicWrite {
            name: TopicName::parse(name).unwrap(),
            request: TopicRequest {
                replication_factor: 1.into(),
                ..TopicRequest::default()
            },
            if_match: None,
        };
        change(&self.controller, Request::CreateTopic(write)).await
    }

    pub(super) fn has(&self, topic: &str) -> bool {
        let name = TopicName::parse(topic).unwrap();
        self.controller.model().topics.get(&name).is_some()
    }
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Unit {
    pub(super) number: u32,
    pub(super) run_id: RunId,
    pub(super) incarnation: Incarnation,
}

impl Unit {
    pub(super) fn heartbeat(&self) -> Heartbeat {
        Heartbeat {
            spu_id: SpuId(self.number),
            run_id: self.run_id,
            incarnation: self.incarnation,
            seen: None,
            draining: false,
            disk: DiskSpace::default(),
            traffic: Traffic::default(),
            beat: 0,
            untold: 0,
            statuses: Vec::new(),
        }
    }

    /// Says that it lives.
    pub(super) async fn beat(&self, sc: &Sc) -> Standing {
        sc.controller.heartbeat(self.heartbeat()).await.standing
    }

    pub(super) fn is_fenced(&self, sc: &Sc) -> bool {
        let model = sc.controller.model();
        model.spu(SpuId(self.number)).unwrap().fenced
    }
}
