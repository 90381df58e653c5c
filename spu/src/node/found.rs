//! What a node finds in its data directory, before anybody has said what is to become of it.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tidegate_log::{Log, Opened};
use tidegate_proto::control::ReplicaReport;
use tidegate_proto::id::{AttemptId, Incarnation, ReplicaGen, StorageId};
use tidegate_proto::position::{LeaderEpoch, ReplicaKey};

/// What was in the data directory.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) storage_id: StorageId,
    pub(super) last_incarnation: Option<Incarnation>,
    /// The attempt to be registered, and the one that was granted last.
    pub(super) attempt: (AttemptId, Option<AttemptId>),
    pub(super) same_boot: bool,
    /// Until the node is started: ten thousand of them are a megabyte.
    reports: Mutex<Vec<ReplicaReport>>,
    pub(super) missing: HashMap<ReplicaKey, ReplicaGen>,
}

impl Found {
    pub(super) fn reports(&self) -> MutexGuard<'_, Vec<ReplicaReport>> {
        self.reports.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes what was found out of what was opened, and tells operators.
pub(super) fn judge(opened: Opened, attempt: (AttemptId, Option<AttemptId>)) -> (Log, Found) {
    let report = |facts: &tidegate_log::ReplicaFacts| ReplicaReport {
        key: facts.key,
        replica_gen: facts.replica_gen,
        intact: facts.intact,
        end: facts.end,
        leader_epoch: facts.leader_epoch,
    };
    let reports: Vec<ReplicaReport> = opened.replicas.iter().map(report).collect();
    let damaged = reports.iter().filter(|report| !report.intact).count();
    // Their only mark is in the journal; the controllers learn of it here (S4).
    let gone = opened.missing.iter().map(|gone| ReplicaReport {
        key: gone.key,
        replica_gen: gone.replica_gen,
        intact: false,
        end: gone.end,
        leader_epoch: LeaderEpoch(0),
    });
    let reports: Vec<ReplicaReport> = reports.into_iter().chain(gone).collect();
    let missing = opened.missing.iter();
    let missing: HashMap<ReplicaKey, ReplicaGen> =
        missing.map(|at| (at.key, at.replica_gen)).collect();
    tracing::info!(
        storage_id = %opened.storage_id,
        replicas = reports.len() - missing.len(),
        clean = opened.clean,
        same_boot = opened.same_boot,
        damaged,
        missing = missing.len(),
        "data directory opened"
    );
    let found = Found {
        storage_id: opened.storage_id,
        last_incarnation: opened.last_incarnation,
        attempt,
        same_boot: opened.same_boot,
        reports: Mutex::new(reports),
        missing,
    };
    (opened.log, found)
}
