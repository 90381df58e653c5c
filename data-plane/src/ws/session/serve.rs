//! The consuming half of a session: positions that were looked up, chunks that were read, and which
//! frame goes out next.
//!
//! One place decides that a frame may go ([`Session::serve_frame`]); everything else only says that
//! something may have changed.

use std::time::Duration;

use tidegate_proto::api::socket::{CaughtUp, CloseCode, Gap, ServerFrame, Subscribed};
use tidegate_proto::error::{ErrorCode, Problem};
use tidegate_proto::id::PartitionId;
use tidegate_proto::limits::FRAME_BYTES_TARGET;
use tidegate_proto::name::TopicName;

use super::Session;
use super::away::{back, gone, wait_for};
use crate::opening::is_absence;
use crate::ws::effect::{Effect, Effects, Form, LetGo, Of, ReadOutcome, Sending, Speech};
use crate::ws::limits::{AHEAD_BYTES_MAX, FOLLOWED_PARTITIONS_MAX, WINDOW_BYTES, WINDOW_RECORDS};
use crate::ws::protocol::{encode, error_text};
use crate::ws::slow::OnSlow;
use crate::ws::subscription::{self, Cause, Resolution, Subscription, Turn};

impl Session {
    pub(super) fn resolved(
        &mut self,
        of: &Of,
        outcome: Result<Resolution, Problem>,
        out: &mut Effects,
    ) {
        let followed: usize = self
            .subscriptions
            .values()
            .map(Subscription::partition_count)
            .sum();
        let waiting = self.subscriptions.get_mut(&of.topic);
        let waiting = waiting.filter(|subscription| {
            subscription
                .opening
                .is_some_and(|opening| opening.generation == of.generation)
        });
        let Some(subscription) = waiting else {
            out.push(Effect::Forget {
                generation: of.generation,
            });
            return;
        };
        let id = subscription.opening.and_then(|opening| opening.id);
        let outcome = outcome.and_then(|resolution| {
            let others = followed - subscription.partition_count();
            let wanted = resolution.starts.len() + resolution.absent.len();
            if others + wanted > FOLLOWED_PARTITIONS_MAX {
                return Err(Problem::new(
                    ErrorCode::InvalidParameter,
                    format!(
                        "a socket follows at most {FOLLOWED_PARTITIONS_MAX} partitions; name some"
                    ),
                )
                .at("/partitions", "too many"));
            }
            Ok(resolution)
        });
        match outcome {
            Ok(resolution) => self.install(of, id, resolution, out),
            Err(problem) => {
                out.push(Effect::Send(error_text(id, Some(&of.topic), problem)));
                out.push(Effect::Forget {
                    generation: of.generation,
                });
                if subscription.topic_id().is_none() {
                    self.subscriptions.remove(&of.topic);
                } else {
                    // A seek that failed leaves the subscription where it was.
                    subscription.opening = None;
                    self.serve_all(&of.topic, out);
                }
            }
        }
    }

    fn install(&mut self, of: &Of, id: Option<u32>, resolution: Resolution, out: &mut Effects) {
        let Some(subscription) = self.subscriptions.get_mut(&of.topic) else {
            return;
        };
        if subscription.topic_id().is_some() {
            out.push(Effect::Forget {
                generation: subscription.generation,
            });
        }
        let topic_number = resolution.topic_number;
        let absent = resolution.absent.clone();
        subscription.install(of.generation, resolution);
        let Some(cursor) = subscription.cursor() else {
            let problem = Problem::new(
                ErrorCode::CursorTooLarge,
                "too many partitions for one cursor",
            )
            .at("/partitions", "name fewer");
            out.push(Effect::Send(error_text(id, Some(&of.topic), problem)));
            self.end(&of.topic, out);
            return;
        };
        let partitions = subscription.partitions().into_iter();
        let partitions = partitions.map(|partition| partition.0).collect();
        let topic = of.topic.as_str().to_owned();
        let frame = Subscribed {
            id,
            topic,
            partitions,
            cursor,
            topic_number: (self.speech == Speech::Batches).then_some(topic_number),
        };
        out.push(Effect::Send(encode(&ServerFrame::Subscribed(frame))));
        wait_for(of, absent, out);
        self.serve_all(&of.topic, out);
    }

    pub(super) fn read_done(
        &mut self,
        of: &Of,
        partition: PartitionId,
        outcome: ReadOutcome,
        out: &mut Effects,
    ) {
        let Some(subscription) = self.current(of) else {
            return;
        };
        let was_ahead =
            subscription.has_pending(partition) && !matches!(outcome, ReadOutcome::Frames { .. });
        if was_ahead || subscription.is_stale(partition) {
            // What is there goes out first, or was let go; the next read will tell again.
            subscription.read_may_retry(partition);
            self.serve_one(&of.topic, partition, out);
            return;
        }
        match outcome {
            ReadOutcome::Frames { frames, next, tail } => {
                let stuck = subscription.read_done(partition, frames, next, tail);
                if subscription.comes_back(partition, Cause::Read) {
                    out.push(back(&of.topic, partition));
                }
                if stuck {
                    out.push(Effect::RetryLater {
                        of: of.clone(),
                        partition,
                    });
                    return;
                }
            }
            ReadOutcome::Gap { to, reason } => {
                let Some(from) = subscription.jump(partition, to) else {
                    return;
                };
                if subscription.comes_back(partition, Cause::Read) {
                    out.push(back(&of.topic, partition));
                }
                let topic = of.topic.as_str().to_owned();
                let reason = reason.to_owned();
                let gap = Gap {
                    topic,
                    partition: partition.0,
                    from: from.get(),
                    to: to.get(),
                    reason,
                };
                out.push(Effect::Send(encode(&ServerFrame::Gap(gap))));
            }
            ReadOutcome::Failed(problem) if problem.code().is_retryable() => {
                if is_absence(&problem) && subscription.goes(partition, Cause::Read) {
                    out.push(gone(&of.topic, partition, problem));
                }
                subscription.rest(partition);
                out.push(Effect::RetryLater {
                    of: of.clone(),
                    partition,
                });
                self.say_caught_up(&of.topic, out);
                return;
            }
            ReadOutcome::Failed(problem) => {
                out.push(Effect::Send(error_text(None, Some(&of.topic), problem)));
                self.end(&of.topic, out);
                return;
            }
        }
        self.serve_one(&of.topic, partition, out);
    }

    pub(super) fn flushed(&mut self, now: Duration, out: &mut Effects) {
        // A peer that takes whole frames is alive, though its pong may stand behind megabytes; one
        // that is gone blocks the writes within a few of them.
        if self.unflushed_bytes >= FRAME_BYTES_TARGET {
            self.heard_at = now;
        }
        self.unflushed_bytes = 0;
        self.unflushed_records = 0;
        for topic in std::mem::take(&mut self.held_back) {
            self.serve_all(&topic, out);
        }
    }

    /// All that was read and not written goes; [`Input::Flushed`] says when to read it again.
    pub(super) fn let_go(&mut self, let_go: LetGo) {
        for (of, partition) in let_go.unread {
            if let Some(subscription) = self.current(&of) {
                subscription.read_may_retry(partition);
            }
        }
        for sending in let_go.unsent.into_iter().rev() {
            let (records, bytes) = (sending.frame.records, sending.frame.bytes());
            self.unflushed_records = self.unflushed_records.saturating_sub(records);
            self.unflushed_bytes = self.unflushed_bytes.saturating_sub(bytes);
            if let Some(subscription) = self.current(&sending.of) {
                subscription.take_back(sending.partition, &sending.frame);
            }
        }
        for (topic, subscription) in &mut self.subscriptions {
            subscription.let_go();
            self.held_back.insert(topic.clone());
        }
    }

    /// Whether another read may begin: what is read and not sent is bounded over all subscriptions.
    fn may_read(&self) -> bool {
        let ahead = self.subscriptions.values().map(Subscription::ahead_bytes);
        ahead.sum::<usize>() < AHEAD_BYTES_MAX
    }

    /// Lets those read who had to wait for it.
    pub(super) fn serve_waiting(&mut self, out: &mut Effects) {
        while !self.waiting.is_empty() && self.may_read() && !self.closed {
            let Some((of, partition)) = self.waiting.pop_front() else {
                return;
            };
            if let Some(subscription) = self.current(&of) {
                subscription.may_read_now(partition);
                self.serve_one(&of.topic, partition, out);
            }
        }
    }

    pub(super) fn window_is_open(&self) -> bool {
        self.unflushed_bytes < WINDOW_BYTES && self.unflushed_records < WINDOW_RECORDS
    }

    /// Serves every partition in turn, one frame each, until none can go on.
    pub(super) fn serve_all(&mut self, topic: &TopicName, out: &mut Effects) {
        let Some(subscription) = self.subscriptions.get(topic) else {
            return;
        };
        let mut order = subscription.in_turn();
        while !order.is_empty() {
            order.retain(|partition| self.serve_frame(topic, *partition, out));
        }
        self.say_caught_up(topic, out);
    }

    pub(super) fn serve_one(
        &mut self,
        topic: &TopicName,
        partition: PartitionId,
        out: &mut Effects,
    ) {
        while self.serve_frame(topic, partition, out) {}
        self.say_caught_up(topic, out);
    }

    /// Sends one frame or starts one read; whether the partition may have more to send.
    pub(super) fn serve_frame(
        &mut self,
        topic: &TopicName,
        partition: PartitionId,
        out: &mut Effects,
    ) -> bool {
        if self.draining {
            return false;
        }
        let (may_send, may_read) = (self.window_is_open(), self.may_read());
        let Some(subscription) = self.subscriptions.get_mut(topic) else {
            return false;
        };
        let generation = subscription.generation;
        let of = || Of {
            topic: topic.clone(),
            generation,
        };
        match subscription.turn(partition, may_send, may_read) {
            Turn::Send(frame) => {
                let left_out = subscription.skip_to_sample(partition, frame.records);
                self.unflushed_bytes += frame.bytes();
                self.unflushed_records += frame.records;
                out.push(Effect::SendRecords(Sending {
                    of: of(),
                    partition,
                    frame,
                }));
                if let Some(gap) = left_out {
                    out.push(too_slow(topic, partition, gap));
                }
                true
            }
            Turn::Read {
                key,
                from,
                is_ahead,
            } => {
                let form = match self.speech {
                    Speech::Json => Form::Text,
                    Speech::Batches => subscription.form(),
                };
                let latest = subscription.wants_latest(partition);
                out.push(Effect::Read {
                    of: of(),
                    key,
                    from,
                    form,
                    latest,
                });
                is_ahead
            }
            Turn::HeldBack => {
                self.held_back.insert(topic.clone());
                false
            }
            Turn::Wait => {
                self.waiting.push_back((of(), partition));
                false
            }
            Turn::Nothing => false,
        }
    }

    /// Does what clients want who do not take what comes.
    pub(super) fn look_for_slow(&mut self, out: &mut Effects) {
        let mut slow = Vec::new();
        for (topic, subscription) in &mut self.subscriptions {
            let (on_slow, partitions) = subscription.look();
            slow.extend(partitions.into_iter().map(|p| (topic.clone(), p, on_slow)));
        }
        for (topic, partition, on_slow) in slow {
            match on_slow {
                // These change what is read from here on.
                OnSlow::Block | OnSlow::LatestPerKey | OnSlow::Sample => {}
                OnSlow::Disconnect => return self.close(CloseCode::SlowConsumer, out),
                OnSlow::Drop => {
                    let subscription = self.subscriptions.get_mut(&topic);
                    let gap = subscription.and_then(|found| found.skip(partition, None));
                    out.extend(gap.map(|gap| too_slow(&topic, partition, gap)));
                }
            }
            self.serve_one(&topic, partition, out);
        }
    }

    pub(super) fn say_caught_up(&mut self, topic: &TopicName, out: &mut Effects) {
        let Some(subscription) = self.subscriptions.get_mut(topic) else {
            return;
        };
        if self.draining || !subscription.owes_caught_up || !subscription.is_caught_up() {
            return;
        }
        subscription.owes_caught_up = false;
        if let Some(cursor) = subscription.cursor() {
            let frame = CaughtUp {
                topic: topic.as_str().to_owned(),
                cursor,
            };
            out.push(Effect::Send(encode(&ServerFrame::CaughtUp(frame))));
        }
    }
}

/// Says what a reader that is too slow does not get.
fn too_slow(topic: &TopicName, partition: PartitionId, gap: subscription::Gap) -> Effect {
    Effect::Send(encode(&ServerFrame::Gap(Gap {
        topic: topic.as_str().to_owned(),
        partition: partition.0,
        from: gap.from.get(),
        to: gap.to.get(),
        reason: "slow".to_owned(),
    })))
}
