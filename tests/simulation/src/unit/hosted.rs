//! One replica in its shell: its machine, its log as submitted, and what waits for its answers.
//!
//! The one place that carries out effects, in list order. Invariant: what is in the journal's queue is in
//! the log of memory, in the same order.

use std::collections::BTreeMap;

use bytes::Bytes;
use tidegate_proto::batch::Batch;
use tidegate_proto::id::{Incarnation, ReplicaGen, SpuId};
use tidegate_proto::position::{LogPosition, Offset, ReplicaKey};
use tidegate_proto::produce::{Acks, Durable};
use tidegate_spu_core::{
    Append, Effect, Facts, Input, Refusal, Replica, ReplicaConfig, RequestId, RoleName, Truncated,
    Truncation,
};

use super::{Unit, now};
use crate::disk::{Disk, Entry, Image, cut, recover, trim};
use crate::message::{Context, Message, Note, Produce, Timer};
use crate::network::Node;
use crate::plant::Plant;
use crate::queue::Time;

/// See the module.
#[derive(Debug)]
pub(crate) struct Hosted {
    pub(crate) machine: Replica,
    pub(crate) replica_gen: ReplicaGen,
    pub(crate) log: Vec<Batch>,
    pub(crate) log_start: Offset,
    /// Batches that are gone from the front of it, so that places in it can be counted.
    pub(crate) dropped: u64,
    pub(crate) snapshot: Option<(Offset, Bytes)>,
    /// The newest one that is durable.
    durable_snapshot: Option<Offset>,
    pub(crate) defers_sync: bool,
    /// Who asked, and with which acks.
    requests: BTreeMap<RequestId, (Node, u64, Acks)>,
    /// A cut or a reset is on its way to the disk.
    pub(crate) is_truncating: bool,
    high_watermark: Offset,
}

impl Hosted {
    pub(crate) fn open(
        key: ReplicaKey,
        own: SpuId,
        incarnation: Incarnation,
        image: &Image,
        config: ReplicaConfig,
    ) -> Self {
        let recovered = image.recover();
        let end = image.end();
        let machine = Replica::new(Facts {
            key,
            own,
            incarnation,
            meta: image.meta,
            log_start: image.log_start,
            high_watermark: image.committed(),
            end,
            durable_end: end,
            intact: true,
            last_append_ms: image.log.last().map(|batch| batch.placement.append_time_ms),
            snapshot_as_of: recovered.snapshot_as_of,
            bytes_since_snapshot: recovered.bytes,
            ledger: recovered.ledger,
            attempts_from: 0,
            config,
        });
        Self {
            high_watermark: machine.status().high_watermark,
            machine,
            replica_gen: image.meta.replica_gen,
            log: image.log.clone(),
            log_start: image.log_start,
            dropped: 0,
            snapshot: image.snapshot.clone(),
            durable_snapshot: image.snapshot.as_ref().map(|(as_of, _)| *as_of),
            defers_sync: config.defers_sync(),
            requests: BTreeMap::new(),
            is_truncating: false,
        }
    }

    /// The log as it is after a truncation.
    fn truncated(&mut self, is_reset: bool) -> Input {
        self.is_truncating = false;
        if is_reset {
            self.durable_snapshot = None;
        }
        let found = recover(&self.log, self.log_start, self.snapshot.as_ref());
        Input::Truncated(Box::new(Truncated {
            log_start: self.log_start,
            end: self.log.last().map_or(self.log_start, Batch::next_offset),
            last_append_ms: self.log.last().map(|batch| batch.placement.append_time_ms),
            intact: true,
            snapshot_as_of: found.snapshot_as_of,
            bytes_since_snapshot: found.bytes,
            ledger: found.ledger,
        }))
    }
}

impl Unit {
    /// A gateway wants to append.
    pub(crate) fn append(
        &mut self,
        cx: &mut Context,
        from: Node,
        call: u64,
        produce: Produce,
        patience: Time,
    ) {
        let Produce {
            key,
            batches,
            acks,
            expected_end,
            ..
        } = produce;
        let Some(hosted) = self.replicas.get_mut(&key) else {
            let outcome = Err(tidegate_spu_core::Refusal::NotLeader { leader: None });
            return cx.send(from, Message::Appended { call, outcome });
        };
        let request = RequestId(cx.random.next());
        hosted.requests.insert(request, (from, call, acks));
        let append = Append {
            request,
            batches,
            acks,
            expected_end,
            deadline_ms: cx.monotonic_ms + patience / 1_000,
        };
        self.step(cx, key, Input::Append(append));
    }

    /// Steps one replica and carries its effects out.
    pub(crate) fn step(&mut self, cx: &mut Context, key: ReplicaKey, input: Input) {
        let Some(hosted) = self.replicas.get_mut(&key) else {
            return;
        };
        let before = hosted.high_watermark;
        let effects = hosted.machine.step(now(cx), input);
        let mut moved = false;
        for effect in effects {
            moved |= matches!(effect, Effect::Submit(_) | Effect::Publish);
            self.carry_out(cx, key, effect);
        }
        let Some(hosted) = self.replicas.get_mut(&key) else {
            return;
        };
        let status = hosted.machine.status();
        if status.high_watermark != before {
            hosted.high_watermark = status.high_watermark;
            cx.note(Note::Committed {
                key,
                from: before,
                to: status.high_watermark,
            });
        }
        if moved {
            self.push(cx, key);
        }
        self.begin_round(cx);
    }

    pub(crate) fn begin_round(&mut self, cx: &mut Context) {
        let slow = u64::from(self.slow);
        if let Some((round, written, synced)) =
            self.journal.begin(&mut cx.random, self.terms.sync_us, slow)
        {
            let entries = self.journal.round();
            self.ask_log(cx, |stored, _| stored.submit(entries));
            cx.after(written, Timer::Written { round });
            cx.after(synced, Timer::Synced { round });
        }
    }

    fn carry_out(&mut self, cx: &mut Context, key: ReplicaKey, effect: Effect) {
        let Some(hosted) = self.replicas.get_mut(&key) else {
            return;
        };
        match effect {
            Effect::Persist(meta) => self.journal.submit(key, Entry::Meta(meta)),
            Effect::Submit(batch) => {
                if hosted.machine.role() == RoleName::Leading {
                    let epoch = batch.placement.leader_epoch;
                    cx.note(Note::Appended { key, epoch });
                }
                hosted.log.push(batch.clone());
                self.journal.submit(key, Entry::Batch(batch));
            }
            Effect::Snapshot { as_of, bytes } => {
                hosted.snapshot = Some((as_of, bytes.clone()));
                self.journal.submit(key, Entry::Snapshot { as_of, bytes });
            }
            Effect::Checkpoint { high_watermark } => {
                self.journal
                    .submit(key, Entry::HighWatermark(high_watermark));
            }
            Effect::Trim { to } => self.trim(cx, key, to),
            Effect::Truncate(truncation) => self.truncate(cx, key, truncation),
            Effect::Reply { request, outcome } => {
                let Some((node, call, acks)) = hosted.requests.remove(&request) else {
                    return;
                };
                if let (Acks::Quorum, Ok(answer)) = (acks, &outcome)
                    && answer.durable == Durable::Quorum
                {
                    cx.note(Note::Promised {
                        key,
                        end: answer.end,
                    });
                }
                if matches!(outcome, Err(Refusal::NotEnoughReplicas { .. })) {
                    cx.note(Note::TooFew);
                }
                cx.send(node, Message::Appended { call, outcome });
            }
            Effect::Publish => {}
            Effect::Became(role) => {
                cx.say(|| format!("{key} became {role:?}"));
                if role == RoleName::Leading {
                    let epoch = hosted.machine.status().meta.leader_epoch;
                    cx.note(Note::Leads { key, epoch });
                }
            }
            Effect::Alarm(what) => cx.note(Note::Alarm { key, what }),
            other => self.link_effect(cx, key, other),
        }
    }

    fn trim(&mut self, cx: &mut Context, key: ReplicaKey, to: Offset) {
        let Some(hosted) = self.replicas.get_mut(&key) else {
            return;
        };
        let leads = hosted.machine.role() == RoleName::Leading;
        cx.note(Note::Trims { key, to, leads });
        let before = hosted.log.len();
        trim(&mut hosted.log, &mut hosted.log_start, to);
        hosted.dropped += (before - hosted.log.len()) as u64;
        self.journal.submit(key, Entry::Trim(to));
    }

    /// A follower that takes retention into its own hands.
    pub(super) fn trims_alone(&mut self, cx: &mut Context, key: ReplicaKey) {
        let hosted = self.replicas.get(&key);
        let status = hosted.map(|hosted| hosted.machine.status());
        if let Some(status) = status.filter(|status| status.role == RoleName::Following) {
            self.trim(cx, key, status.high_watermark);
        }
    }

    fn truncate(&mut self, cx: &mut Context, key: ReplicaKey, truncation: Truncation) {
        let Some(hosted) = self.replicas.get_mut(&key) else {
            return;
        };
        hosted.is_truncating = true;
        cx.say(|| format!("{key} truncates: {truncation:?}"));
        match truncation {
            Truncation::Cut { to } => {
                let to = match cx.plant {
                    Some(Plant::CutsAll) => hosted.log_start,
                    _ => to,
                };
                let kept = hosted
                    .log
                    .partition_point(|batch| batch.placement.base_offset < to);
                let dropped = hosted.log[kept..].to_vec();
                cx.note(Note::Cuts { key, dropped });
                cx.note(Note::Reached("a follower cuts"));
                cut(&mut hosted.log, to);
                self.journal.submit(key, Entry::Cut(to));
            }
            Truncation::Reset { to } => {
                let leads = false;
                cx.note(Note::Trims { key, to, leads });
                cx.note(Note::Reached("a follower resets"));
                hosted.dropped += hosted.log.len() as u64;
                hosted.log.clear();
                hosted.log_start = to;
                hosted.snapshot = None;
                self.journal.submit(key, Entry::Reset(to));
            }
        }
    }

    /// A round is written: topics that do not wait for the disk go on.
    pub(crate) fn written(&mut self, cx: &mut Context, round: u64) {
        let mut ends: BTreeMap<ReplicaKey, LogPosition> = BTreeMap::new();
        let entries = self.journal.write(round).to_vec();
        let defers = |(key, _): &(ReplicaKey, Entry)| {
            let hosted = self.replicas.get(key);
            hosted.is_some_and(|hosted| hosted.defers_sync)
        };
        if !entries.is_empty() && entries.iter().all(defers) {
            self.ask_log(cx, |stored, _| stored.write());
        }
        for (key, entry) in &entries {
            if let Entry::Batch(batch) = entry {
                ends.insert(*key, position_behind(batch));
            }
        }
        for (key, position) in ends {
            let hosted = self.replicas.get(&key);
            if cx.plant == Some(Plant::AcksUnsynced)
                && let Some(hosted) = hosted.filter(|hosted| !hosted.is_truncating)
            {
                let snapshot_as_of = hosted.durable_snapshot;
                let input = Input::Durable {
                    round,
                    position,
                    snapshot_as_of,
                };
                self.step(cx, key, input);
            } else if hosted.is_some_and(|hosted| hosted.defers_sync && !hosted.is_truncating) {
                self.step(cx, key, Input::Written { round, position });
            }
        }
    }

    /// A round is on the disk.
    pub(crate) fn synced(&mut self, cx: &mut Context, disk: &mut Disk, round: u64) {
        let entries = self.journal.sync(disk, round);
        if !entries.is_empty() {
            self.ask_log(cx, |stored, _| stored.sync());
        }
        let mut inputs: Vec<(ReplicaKey, Input)> = Vec::new();
        let mut touched: BTreeMap<ReplicaKey, bool> = BTreeMap::new();
        for (key, entry) in entries {
            let Some(hosted) = self.replicas.get_mut(&key) else {
                continue;
            };
            match entry {
                Entry::Meta(meta) => {
                    let epoch = meta.leader_epoch;
                    inputs.push((key, Input::Persisted { epoch }));
                }
                Entry::Snapshot { as_of, .. } => {
                    hosted.durable_snapshot = Some(as_of);
                    touched.insert(key, true);
                }
                Entry::Batch(_) | Entry::Trim(_) => drop(touched.insert(key, true)),
                Entry::HighWatermark(_) => {}
                Entry::Cut(_) | Entry::Reset(_) => {
                    touched.remove(&key);
                    inputs.push((key, hosted.truncated(matches!(entry, Entry::Reset(_)))));
                }
            }
        }
        for key in touched.into_keys() {
            let hosted = self
                .replicas
                .get(&key)
                .filter(|hosted| !hosted.is_truncating);
            if let (Some(hosted), Some(image)) = (hosted, disk.images.get(&key)) {
                self.ask_log(cx, |stored, _| stored.check_position(key, image));
                let (position, snapshot_as_of) = (image.position(), hosted.durable_snapshot);
                inputs.push((
                    key,
                    Input::Durable {
                        round,
                        position,
                        snapshot_as_of,
                    },
                ));
            }
        }
        for (key, input) in inputs {
            self.step(cx, key, input);
        }
        self.begin_round(cx);
    }

    /// The process ends, with or without the power. An error when the log breaks its word.
    pub(crate) fn crash(
        &mut self,
        disk: &mut Disk,
        is_power: bool,
        cx: &mut Context,
    ) -> Result<(), String> {
        if let Some(stored) = self.stored.take() {
            return self.crash_log(disk, is_power, cx, stored);
        }
        self.journal.crash(disk, is_power, &mut cx.random);
        if is_power {
            disk.lose_power(&mut cx.random);
        }
        Ok(())
    }
}

fn position_behind(batch: &Batch) -> LogPosition {
    LogPosition {
        end: batch.next_offset(),
        last_epoch: Some(batch.placement.leader_epoch),
    }
}
