//! Tells the controller what the storage node of the same process did.
//!
//! Topics are told as a whole: a copy of every partition's state would cost the memory of idle partitions.

use std::collections::BTreeMap;
use std::time::Duration;

use tidegate_kit::tasks::{TaskKind, Tasks};
use tidegate_proto::control::{Heartbeat, Registered, TopicSpec};
use tidegate_proto::id::{RunId, SpuId};
use tidegate_sc::{Amounts, Controller};
use tidegate_spu::{Node, Statuses};
use tracing::info_span;

/// Twice in a bucket of the controller's; ten thousand partitions are looked through in milliseconds.
const INTERVAL: Duration = Duration::from_secs(5);

/// See the module.
#[derive(Debug)]
pub(crate) struct Counting {
    controller: Controller,
    statuses: Statuses,
    identity: (SpuId, RunId),
    registered: Registered,
}

impl Counting {
    pub(crate) fn new(controller: &Controller, node: &Node, registered: Registered) -> Self {
        Self {
            controller: controller.clone(),
            statuses: node.statuses(),
            identity: node.identity(),
            registered,
        }
    }

    /// Counts, as a task of `tasks`.
    pub(crate) fn spawn(self, tasks: &Tasks) {
        tasks.spawn(TaskKind::Watch, info_span!("counting"), self.go_on());
    }

    async fn go_on(self) {
        loop {
            self.count();
            tokio::time::sleep(INTERVAL).await;
        }
    }

    fn count(&self) {
        let topology = self.controller.topology().borrow().clone();
        let topics: BTreeMap<_, _> = topology
            .topics
            .values()
            .map(|topic| (topic.id, self.of(topic)))
            .collect();
        let (spu_id, run_id) = self.identity;
        let heartbeat = Heartbeat {
            spu_id,
            run_id,
            incarnation: self.registered.incarnation,
            seen: None,
            draining: false,
            disk: self.statuses.disk(),
            traffic: self.statuses.traffic(),
            beat: 0,
            untold: 0,
            statuses: Vec::new(),
        };
        self.controller.count(heartbeat, topics);
    }

    fn of(&self, topic: &TopicSpec) -> Amounts {
        let mut amounts = Amounts::default();
        for partition in &topic.partitions {
            let key = topic.key(partition.partition);
            if let Some(report) = self.statuses.report(key) {
                amounts.appended_records += report.status.end.get();
                amounts.appended_bytes += report.traffic.appended_bytes;
                amounts.read_bytes += report.traffic.read_bytes;
            }
        }
        amounts
    }
}
