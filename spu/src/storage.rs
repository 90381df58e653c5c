//! From what the log found on disk to what a machine must know.
//!
//! Blocks on the disk: only the opening lane calls it. It reads; the log has repaired what could be
//! repaired, and whether a replica may lead is the machine's decision.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use thiserror::Error;
use tidegate_log::{
    CompactionConfig, CreateError, Log, NewReplica, ReadError, Replica as LogReplica, SegmentConfig,
};
use tidegate_proto::control::Damage;
use tidegate_proto::control::PartitionSpec;
use tidegate_proto::id::{Incarnation, ReplicaGen, SpuId};
use tidegate_proto::position::{LogPosition, Offset, ReplicaKey};
use tidegate_spu_core::{
    Assignment, BatchFacts, Facts, Input, Ledger, Replica, ReplicaConfig, ReplicaMeta,
};

use crate::limits::RECOVERY_READ_BYTES;
use crate::shard::{Hosted, Reader, Retention};

/// How many replicas this process has made: each has attempts of its own, whatever the node.
static REPLICAS_OPENED: AtomicU64 = AtomicU64::new(0);

/// So many attempts, one every 200 ms at the least, take a replica decades; and so many replicas a node never
/// opens.
const ATTEMPT_BITS: u32 = 32;

/// What is needed to open one replica.
#[derive(Clone, Debug)]
pub(crate) struct OpenPlan {
    pub(crate) key: ReplicaKey,
    pub(crate) own: SpuId,
    pub(crate) incarnation: Incarnation,
    pub(crate) intact: bool,
    pub(crate) assignment: Assignment,
    pub(crate) config: ReplicaConfig,
    pub(crate) segment: SegmentConfig,
    pub(crate) compaction: Option<CompactionConfig>,
    pub(crate) retention: Retention,
}

impl OpenPlan {
    fn new_replica(&self) -> NewReplica {
        NewReplica {
            key: self.key,
            replica_gen: self.assignment.replica_gen,
            config: self.segment,
        }
    }
}

/// Why a replica cannot be opened. Its files are left as they are.
#[derive(Debug, Error)]
pub(crate) enum OpenFailure {
    #[error("the directory belongs to another membership: {found}, the topology says {wanted}")]
    Generation {
        found: ReplicaGen,
        wanted: ReplicaGen,
    },
    #[error("the replica cannot be made: {0}")]
    Create(#[from] CreateError),
    #[error("the replica was given up just now")]
    Gone,
    #[error("what its producers did cannot be read: {0}")]
    Read(#[from] ReadError),
}

/// Opens the replicas, and makes those that the log has never heard of, all at once.
pub(crate) fn open_all(
    log: &Log,
    plans: Vec<OpenPlan>,
) -> Vec<(ReplicaKey, Result<Hosted, OpenFailure>)> {
    let unknown = plans.iter().filter(|plan| log.replica(plan.key).is_none());
    let wanted: Vec<NewReplica> = unknown.map(OpenPlan::new_replica).collect();
    let mut failures: HashMap<ReplicaKey, CreateError> = HashMap::new();
    match log.create_replicas(&wanted) {
        Ok(made) => {
            let failed = wanted.iter().zip(made);
            failures.extend(failed.filter_map(|(new, made)| Some((new.key, made.err()?))));
        }
        Err(dead) => {
            let dead = wanted.iter().map(|new| (new.key, dead.clone().into()));
            failures.extend(dead);
        }
    }
    let open_one = |plan: OpenPlan| {
        let key = plan.key;
        let outcome = match (log.replica(key), failures.remove(&key)) {
            (Some(replica), _) => open(replica, plan),
            (None, Some(error)) => Err(error.into()),
            (None, None) => Err(OpenFailure::Gone),
        };
        (key, outcome)
    };
    plans.into_iter().map(open_one).collect()
}

fn open(replica: Arc<LogReplica>, plan: OpenPlan) -> Result<Hosted, OpenFailure> {
    let wanted = plan.assignment.replica_gen;
    let found = replica.replica_gen();
    if found != wanted {
        return Err(OpenFailure::Generation { found, wanted });
    }
    replica.set_config(plan.segment);
    replica.set_compaction(plan.compaction);
    replica.set_sync_deferred(plan.config.defers_sync());
    let recovered = recover(&replica)?;
    if plan.assignment.replicas.len() > 1 {
        replica.set_replicated(recovered.snapshot_as_of);
    }
    let meta = replica.meta();
    let machine = Replica::new(Facts {
        key: plan.key,
        own: plan.own,
        incarnation: plan.incarnation,
        meta: ReplicaMeta {
            replica_gen: meta.replica_gen,
            leader_epoch: meta.leader_epoch,
            version: meta.version,
            recovery_gen: meta.recovery_gen,
        },
        log_start: replica.log_start(),
        high_watermark: replica.high_watermark().max(recovered.committed),
        end: replica.end(),
        durable_end: replica.durable_end(),
        intact: plan.intact && recovered.intact,
        last_append_ms: replica.last_append_ms(),
        snapshot_as_of: recovered.snapshot_as_of,
        bytes_since_snapshot: recovered.bytes,
        ledger: recovered.ledger,
        attempts_from: REPLICAS_OPENED.fetch_add(1, Ordering::Relaxed) << ATTEMPT_BITS,
        config: plan.config,
    });
    let reader = Arc::new(Reader::new(replica, &machine.status()));
    if !(plan.intact && recovered.intact) {
        reader.damaged(recovered.damage);
    }
    Ok(Hosted::new(
        machine,
        reader,
        plan.retention,
        Input::Assigned(plan.assignment),
    ))
}

/// What the log says of producers, keys and epochs.
#[derive(Debug)]
pub(crate) struct Recovered {
    pub(crate) ledger: Ledger,
    pub(crate) snapshot_as_of: Option<Offset>,
    /// Of the batches behind the snapshot.
    pub(crate) bytes: u64,
    /// So much is known to be committed, by the snapshot and the batches behind it (T3).
    committed: Offset,
    /// False when rot hides a part of it, or the snapshot is needed and of no use.
    pub(crate) intact: bool,
    /// Where that is, for a replica that is not intact.
    pub(crate) damage: Damage,
}

/// The newest snapshot, and every batch behind it, up to the first that is damaged.
pub(crate) fn recover(replica: &LogReplica) -> Result<Recovered, ReadError> {
    let (log_start, end) = (replica.log_start(), replica.end());
    let (decoded, intact) = match snapshot(replica, end) {
        Ok(decoded) => (decoded, true),
        Err(what) => {
            let key = replica.key();
            tracing::error!(topic_id = %key.topic_id, partition = %key.partition, what,
                "what producers did is not known any more, and would be done again: nothing is written");
            (None, false)
        }
    };
    let snapshot_as_of = decoded.as_ref().map(|(as_of, _)| *as_of);
    let (from, ledger) = decoded.unwrap_or((log_start, Ledger::default()));
    let mut recovered = Recovered {
        ledger,
        snapshot_as_of,
        bytes: 0,
        committed: snapshot_as_of.unwrap_or_default(),
        intact,
        damage: Damage {
            read_only: true,
            from: None,
            until: None,
        },
    };
    let mut at = LogPosition {
        end: from.max(log_start),
        last_epoch: None,
    };
    loop {
        // Markers at the end as well: an epoch without records is one (E4).
        let batches = match replica.read_after(at, RECOVERY_READ_BYTES) {
            Ok(batches) => batches,
            Err(error) => {
                (recovered.damage.from, recovered.damage.until) = match (&error, replica.damage()) {
                    (ReadError::Corrupt { at, until, .. }, _) => (Some(*at), *until),
                    // The log could not read it either, twice: it is no passing trouble.
                    (ReadError::Io { .. }, Some(_)) => (Some(at.end), None),
                    _ => return Err(error),
                };
                let key = replica.key();
                tracing::error!(topic_id = %key.topic_id, partition = %key.partition, %error,
                    "a replica is damaged: what is good of it is read, nothing is written to it");
                recovered.intact = false;
                return Ok(recovered);
            }
        };
        let Some(last) = batches.last() else {
            break;
        };
        at = LogPosition {
            end: last.next_offset().max(at.end),
            last_epoch: Some(last.placement.leader_epoch),
        };
        for batch in batches
            .iter()
            .filter(|batch| batch.placement.base_offset >= from)
        {
            let told = batch.placement.high_watermark;
            recovered.committed = recovered
                .committed
                .max(told.min(batch.placement.base_offset));
            recovered.ledger.observe(&BatchFacts::of(batch));
            recovered.bytes += batch.encoded_len() as u64;
        }
    }
    if let Some(last_epoch) = recovered.ledger.epochs().last() {
        replica.found_last_epoch(last_epoch);
    }
    Ok(recovered)
}

/// The newest snapshot that can be used; what is wrong when the log that is left does not tell what
/// was in it (D3).
fn snapshot(replica: &LogReplica, end: Offset) -> Result<Option<(Offset, Ledger)>, String> {
    let found = replica.snapshot().map_err(|lost| lost.to_string())?;
    let Some((as_of, bytes)) = found.filter(|(as_of, _)| *as_of <= end) else {
        return Ok(None);
    };
    match Ledger::decode(&bytes) {
        Ok(ledger) => Ok(Some((as_of, ledger))),
        Err(error) if replica.is_whole() => {
            let key = replica.key();
            tracing::warn!(topic_id = %key.topic_id, partition = %key.partition, %error,
                "a producer snapshot is of no use: the whole log is read instead");
            Ok(None)
        }
        Err(error) => Err(error.to_string()),
    }
}
/// If others are to follow from now on, they need what the log's snapshots know. Blocks on the disk then.
pub(crate) fn replicate(replica: &LogReplica, before: Option<&PartitionSpec>, now: &PartitionSpec) {
    let has_copies = |row: &PartitionSpec| row.replicas.len() > 1;
    if has_copies(now) && !before.is_some_and(has_copies) {
        // Beginning with what is in the journal alone: the segment writer may not come by for long.
        replica.set_replicated(None);
        let newest = replica.snapshot().ok().flatten();
        replica.set_replicated(newest.map(|(as_of, _)| as_of));
    }
}
