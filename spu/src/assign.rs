//! Follows the topology: opens, reassigns, reconfigures and closes this node's replicas.
//!
//! One task, so that a replica is never opened and closed at once. It removes nothing (S7): what a
//! snapshot does not name is closed and stays on disk, since it may be the snapshot that is wrong. What
//! was deleted goes to the trash on the word of whoever keeps the tombstones; empty copies that changed
//! their place, on that of a newer row. Rows of a later registration of this node are not applied (S5).

mod rows;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use tidegate_kit::tasks::{TaskKind, Tasks};
use tidegate_log::Log;
use tidegate_proto::control::{PartitionSpec, TopicSpec, Topology};
use tidegate_proto::id::{Incarnation, ReplicaGen, SpuId, TopicId};
use tidegate_proto::position::ReplicaKey;
use tidegate_spu_core::Assignment;
use tokio::sync::{oneshot, watch};
use tracing::Span;

use self::rows::{assignment, compaction, replica_config, segment};
use crate::departed::Departed;
use crate::limits::{OPEN_CHUNK, OPEN_RETRY};
use crate::seals::{Asked, Sealed};
use crate::shard::{Directory, Message, PartitionHandle, Retention, ShardHandle};
use crate::storage::{self, OpenPlan};

/// Carries the topology to the shards.
#[derive(Debug)]
pub(crate) struct Assigner {
    pub(crate) own: SpuId,
    pub(crate) incarnation: Incarnation,
    pub(crate) log: Log,
    pub(crate) shards: Vec<ShardHandle>,
    pub(crate) directory: Directory,
    /// Replicas that must not lead.
    pub(crate) damaged: HashMap<ReplicaKey, ReplicaGen>,
    /// Replicas that were here once and whose files are gone: never made anew by ourselves (S4).
    pub(crate) missing: HashMap<ReplicaKey, ReplicaGen>,
    pub(crate) departed: Departed,
    pub(crate) tasks: Tasks,
    /// Topics of the snapshot that was applied last.
    pub(crate) seen: BTreeMap<TopicId, Arc<TopicSpec>>,
    /// Whether some replica could not be opened and is to be tried again.
    pub(crate) incomplete: bool,
    /// Whether it was said what the topology does not name.
    pub(crate) reported: bool,
    /// Counts snapshots that closed something.
    pub(crate) closings: watch::Sender<u64>,
    /// Which replicas are asked what they hold.
    pub(crate) sealed: watch::Sender<Sealed>,
}

impl Assigner {
    /// Runs until the topology's owner or this node stops.
    pub(crate) async fn run(mut self, mut topology: watch::Receiver<Arc<Topology>>) {
        let cancelled = self.tasks.token();
        let mut seen = None;
        loop {
            let snapshot = Arc::clone(&topology.borrow_and_update());
            if snapshot
                .spu(self.own)
                .is_some_and(|unit| unit.incarnation > self.incarnation)
            {
                // Another process acts under this number: its rows are not for us (S5).
                tracing::warn!("a later registration took this node's place: everything is closed");
                self.close_all().await;
                return;
            }
            let place = (snapshot.store_id, snapshot.revision);
            // Revisions of one store only grow; an older snapshot would take topics away.
            if seen.is_none_or(|(store, revision)| store != place.0 || revision <= place.1) {
                seen = Some(place);
                self = self.apply_apart(snapshot).await;
            }
            let retry = self.incomplete;
            tokio::select! {
                changed = topology.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(OPEN_RETRY), if retry => {}
                () = cancelled.cancelled() => return,
            }
        }
    }

    /// Apart: what is planned for thousands of replicas is megabytes for a moment.
    async fn apply_apart(mut self, topology: Arc<Topology>) -> Self {
        let tasks = self.tasks.clone();
        let work = async move {
            self.apply(&topology).await;
            self
        };
        tasks.apart(work).await
    }

    async fn apply(&mut self, topology: &Topology) {
        let mut wanted: Vec<OpenPlan> = Vec::new();
        let retry = std::mem::take(&mut self.incomplete);
        let mut now: BTreeMap<TopicId, Arc<TopicSpec>> = BTreeMap::new();
        for topic in topology.topics.values() {
            now.insert(topic.id, Arc::clone(topic));
            let before = self.seen.get(&topic.id).cloned();
            if !retry
                && before
                    .as_ref()
                    .is_some_and(|before| Arc::ptr_eq(before, topic))
            {
                continue;
            }
            for partition in &topic.partitions {
                self.assign(topic, partition, before.as_deref(), &mut wanted)
                    .await;
            }
        }
        let before = std::mem::replace(&mut self.seen, now);
        self.sealed.send_if_modified(|sealed| {
            let count = sealed.len();
            sealed.retain(|key, _| self.seen.contains_key(&key.topic_id));
            sealed.len() != count
        });
        let gone = before
            .values()
            .filter(|topic| !self.seen.contains_key(&topic.id));
        let mut is_closed = false;
        for topic in gone {
            is_closed = true;
            let keys = topic.partitions.iter();
            self.close(keys.map(|partition| topic.key(partition.partition)))
                .await;
        }
        if is_closed {
            self.closings.send_modify(|count| *count += 1);
        }
        self.report_unknown();
        self.open(wanted).await;
    }

    /// Says once which replicas are here that nobody asks for. They are left as they are: that the
    /// topology lacks them may be its loss.
    fn report_unknown(&mut self) {
        if std::mem::replace(&mut self.reported, true) {
            return;
        }
        let replicas = self.log.replicas();
        let unknown = replicas.iter().map(|replica| replica.key()).filter(|key| {
            let topic = self.seen.get(&key.topic_id);
            topic
                .and_then(|topic| topic.partition(key.partition))
                .is_none()
        });
        let keys: Vec<String> = unknown.map(|key| key.to_string()).collect();
        if !keys.is_empty() {
            tracing::warn!(
                count = keys.len(),
                ?keys,
                "replicas that no topic has are left alone"
            );
        }
    }

    /// Brings one partition to what its row says, or notes that it is to be opened.
    async fn assign(
        &mut self,
        topic: &TopicSpec,
        partition: &PartitionSpec,
        before: Option<&TopicSpec>,
        wanted: &mut Vec<OpenPlan>,
    ) {
        let key = topic.key(partition.partition);
        let mut handle = self.directory.get(key);
        let assignment = assignment(self.own, partition);
        self.ask_or_not(key, partition, assignment.as_ref());
        let wanted_gen = assignment.as_ref().map(|row| row.replica_gen);
        if let Some(open) = &handle
            && wanted_gen != Some(open.reader.log.replica_gen())
        {
            self.close([key]).await;
            handle = None;
        }
        if handle.is_none() {
            self.departed.discard(key, partition);
        }
        let Some(assignment) = assignment else {
            return;
        };
        let Some(handle) = handle else {
            wanted.push(self.plan(topic, partition, assignment));
            return;
        };
        let unchanged = before.and_then(|before| before.partition(partition.partition));
        let truncated = unchanged.map(|before| before.truncate_before);
        let row = (unchanged != Some(partition)).then(|| {
            storage::replicate(&handle.reader.log, unchanged, partition);
            assignment
        });
        if before.is_none_or(|before| before.config != topic.config)
            || truncated != Some(partition.truncate_before)
        {
            handle.reader.log.set_config(segment(&topic.config));
            handle.reader.log.set_compaction(compaction(&topic.config));
            let config = replica_config(&topic.config);
            handle.reader.log.set_sync_deferred(config.defers_sync());
            let retention = Retention::of(&topic.config, partition);
            let row = row.map(Box::new);
            handle
                .shard
                .tell(Message::Configure(key, config, retention, row));
        } else if let Some(row) = row {
            handle.shard.tell(Message::Assign(key, row));
        }
    }

    /// Notes whether the copy here is asked what it holds.
    fn ask_or_not(
        &self,
        key: ReplicaKey,
        partition: &PartitionSpec,
        assignment: Option<&Assignment>,
    ) {
        let asked = assignment.filter(|_| partition.is_sealed).map(|row| Asked {
            epoch: row.leader_epoch,
            replica_gen: row.replica_gen,
        });
        self.sealed.send_if_modified(|sealed| {
            let before = match asked {
                Some(asked) => sealed.insert(key, asked),
                None => sealed.remove(&key),
            };
            before != asked
        });
    }

    fn plan(
        &self,
        topic: &TopicSpec,
        partition: &PartitionSpec,
        assignment: Assignment,
    ) -> OpenPlan {
        let key = topic.key(partition.partition);
        OpenPlan {
            key,
            own: self.own,
            incarnation: self.incarnation,
            intact: self.damaged.get(&key) != Some(&assignment.replica_gen),
            assignment,
            config: replica_config(&topic.config),
            segment: segment(&topic.config),
            compaction: compaction(&topic.config),
            retention: Retention::of(&topic.config, partition),
        }
    }

    /// Opens replicas in chunks on a blocking thread, and hands each to its shard.
    async fn open(&mut self, wanted: Vec<OpenPlan>) {
        let mut wanted = wanted
            .into_iter()
            .filter(|plan| !self.is_missing(plan))
            .peekable();
        let mut incomplete = false;
        while wanted.peek().is_some() && !self.tasks.is_cancelled() {
            let chunk: Vec<OpenPlan> = wanted.by_ref().take(OPEN_CHUNK).collect();
            let opening = self.opening();
            let opened = self
                .tasks
                .spawn_blocking(TaskKind::Blocking, Span::current(), move || {
                    opening.run(chunk)
                })
                .await;
            incomplete |= !matches!(opened, Ok(true));
        }
        self.incomplete |= incomplete;
    }

    fn is_missing(&self, plan: &OpenPlan) -> bool {
        let key = plan.key;
        let missing = self.missing.get(&key) == Some(&plan.assignment.replica_gen);
        if missing {
            tracing::error!(topic_id = %key.topic_id, partition = %key.partition,
                "the files of a replica are gone: it is not made anew");
        }
        missing
    }

    async fn close_all(&mut self) {
        let seen = std::mem::take(&mut self.seen);
        let keys = seen.values().flat_map(|topic| {
            let numbers = topic.partitions.iter();
            numbers.map(|partition| topic.key(partition.partition))
        });
        let keys: Vec<ReplicaKey> = keys.collect();
        self.close(keys).await;
    }

    /// Partitions went away: their machines end, their files stay.
    async fn close(&self, keys: impl IntoIterator<Item = ReplicaKey>) {
        let keys: Vec<ReplicaKey> = keys.into_iter().collect();
        // All are told before the first is waited for: one by one is a round trip each.
        let mut answers = Vec::with_capacity(keys.len());
        for handle in keys.iter().filter_map(|key| self.directory.get(*key)) {
            let (done, answer) = oneshot::channel();
            handle.shard.tell(Message::Close(handle.reader.key, done));
            answers.push(answer);
        }
        for answer in answers {
            // A shard that is gone has closed everything.
            let _ = answer.await;
        }
        self.directory.remove(&keys);
    }

    fn opening(&self) -> Opening {
        Opening {
            log: self.log.clone(),
            shards: self.shards.clone(),
            directory: self.directory.clone(),
        }
    }
}

/// Opens replicas and hands each to its shard, on a thread for blocking work: all that stays of thousands
/// is made there, and lies close together when that thread has ended.
struct Opening {
    log: Log,
    shards: Vec<ShardHandle>,
    directory: Directory,
}

impl Opening {
    /// False when some could not be opened.
    fn run(self, plans: Vec<OpenPlan>) -> bool {
        let mut is_complete = true;
        let mut ready = Vec::new();
        for (key, outcome) in storage::open_all(&self.log, plans) {
            match outcome {
                Ok(hosted) => ready.push(hosted),
                Err(error) => {
                    is_complete = false;
                    tracing::error!(topic_id = %key.topic_id, partition = %key.partition, %error,
                        "a replica cannot be opened");
                }
            }
        }
        let handles = ready.iter().map(|hosted| {
            let reader = Arc::clone(&hosted.reader);
            let shard = self.shard(reader.key).clone();
            Arc::new(PartitionHandle::new(reader, shard))
        });
        self.directory.insert(handles);
        for hosted in ready {
            let shard = self.shard(hosted.reader.key);
            shard.tell(Message::Open(Box::new(hosted)));
        }
        is_complete
    }

    fn shard(&self, key: ReplicaKey) -> &ShardHandle {
        // Topic ids are random; partitions of a topic go round, so that one topic uses every core.
        let topic = key.topic_id.0.as_u64_pair().1;
        let at = topic.wrapping_add(u64::from(key.partition.0)) % self.shards.len() as u64;
        &self.shards[at as usize]
    }
}
