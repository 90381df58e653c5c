//! One stream of events: whose records are next, and what else there is to tell.
//!
//! One event is made when the connection has taken the one before; nothing is kept for a reader that is
//! slow. Invariant: an event's id covers exactly the records up to it.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use futures_util::FutureExt as _;
use tidegate_kit::budget::ByteBudget;
use tidegate_kit::clock;
use tidegate_kit::tasks::Tasks;
use tidegate_proto::api::away::BackEvent;
use tidegate_proto::api::records::{CaughtUpEvent, DrainEvent, PingEvent};
use tidegate_proto::control::{TopicSpec, Topology};
use tidegate_proto::error::{ErrorCode, Problem};
use tidegate_proto::id::PartitionId;
use tidegate_proto::limits::FRAME_BYTES_TARGET;
use tidegate_proto::position::StartPosition;
use tokio::sync::watch;
use tokio::time::{Interval, sleep_until};

use super::absences::Absences;
use super::overloaded;
use crate::encode::events::{begin_event, end_event, write_event};
use crate::encode::json::{write_number, write_record_line};
use crate::encode::walk::walk_records;
use crate::follow::{self, Follower, any_moved};
use crate::limits::DRAIN_RETRY_MS;
use crate::metrics::{self, ReadBy};
use crate::opening::{self, Absent, Opened, Present, away, is_absence};
use crate::position::Start;
use crate::state::DataPlane;
use crate::topics::topic_not_found;

/// Room for the records of one event and for what they become.
const EVENT_BYTES: usize = 2 * FRAME_BYTES_TARGET;

pub(super) struct Session {
    pub(super) state: DataPlane,
    pub(super) answers: ByteBudget,
    pub(super) tasks: Tasks,
    pub(super) topology: watch::Receiver<Arc<Topology>>,
    pub(super) topic: Arc<TopicSpec>,
    pub(super) follows_all: bool,
    pub(super) followers: Vec<Follower>,
    /// Those that cannot be reached.
    pub(super) absences: Absences,
    /// Whose turn it is, so that a busy partition does not starve the others.
    pub(super) turn: usize,
    pub(super) has_caught_up: bool,
    pub(super) has_ended: bool,
    pub(super) ends_at: Instant,
    pub(super) ping: Interval,
}

impl Session {
    pub(super) async fn next_event(&mut self) -> Option<Bytes> {
        if self.has_ended {
            return None;
        }
        match self.make_event().await {
            Ok(event) => Some(event),
            Err(problem) => {
                self.has_ended = true;
                Some(event(None, "error", &problem).into())
            }
        }
    }

    async fn make_event(&mut self) -> Result<Bytes, Problem> {
        loop {
            if self.tasks.token().is_cancelled() || clock::monotonic() >= self.ends_at {
                return Ok(self.drain()?.into());
            }
            if self.ping.tick().now_or_never().is_some() {
                return Ok(self.tails().into());
            }
            // One that is behind all the time hears of these too.
            if let Some(joined) = self.absences.next().now_or_never() {
                self.join(joined).await?;
            }
            if self.topology.has_changed().is_ok_and(|changed| changed) {
                self.follow_added().await?;
            }
            if let Some(news) = self.absences.news() {
                return Ok(news);
            }
            if let Some(index) = self.next_behind()
                && let Some(event) = self.records(index).await?
            {
                return Ok(event);
            }
            if self.followers.iter_mut().any(Follower::is_behind) {
                continue;
            }
            if !self.has_caught_up {
                self.has_caught_up = true;
                let cursor = self.cursor()?;
                return Ok(event(
                    Some(&cursor),
                    "caught_up",
                    &CaughtUpEvent {
                        cursor: cursor.clone(),
                    },
                )
                .into());
            }
            tokio::select! {
                () = self.tasks.cancelled() => {}
                () = sleep_until(self.ends_at.into()) => {}
                moved = any_moved(&mut self.followers) => {
                    if moved.is_err() {
                        return Err(self.gone());
                    }
                }
                _ = self.ping.tick() => return Ok(self.tails().into()),
                joined = self.absences.next() => self.join(joined).await?,
                Ok(()) = self.topology.changed() => self.follow_added().await?,
            }
        }
    }

    fn next_behind(&mut self) -> Option<usize> {
        let count = self.followers.len();
        let found = (0..count)
            .map(|step| (self.turn + step) % count)
            .find(|index| self.followers[*index].is_behind())?;
        self.turn = found + 1;
        Some(found)
    }

    /// One event with records of one partition; `None` when there turned out to be none.
    async fn records(&mut self, index: usize) -> Result<Option<Bytes>, Problem> {
        // Those who wait here hold nothing that others wait for.
        let mut permit = tokio::select! {
            permit = self.answers.acquire(EVENT_BYTES) => permit.ok_or_else(overloaded)?,
            () = self.tasks.cancelled() => return Ok(None),
        };
        let partitions = Arc::clone(self.state.partitions());
        let follower = &mut self.followers[index];
        let read = follower.read(&*partitions, &self.topic, FRAME_BYTES_TARGET);
        let chunk = match read.await {
            Ok(chunk) => chunk,
            Err(problem) if self.followers.len() > 1 && is_absence(&problem) => {
                let follower = self.followers.remove(index);
                self.leave_for_later(vec![follower.into_absent(problem)]);
                return Ok(None);
            }
            Err(problem) => return Err(self.lost(problem).await),
        };
        let mut body = Vec::with_capacity(FRAME_BYTES_TARGET / 4);
        let mut count = 0_u64;
        let from = follower.next;
        let walked = walk_records(&chunk.batches, from, |batch, offset, record| {
            if count > 0 {
                body.push(b',');
            }
            write_record_line(&mut body, batch, offset, record);
            count += 1;
            match body.len() < FRAME_BYTES_TARGET {
                true => ControlFlow::Continue(()),
                false => ControlFlow::Break(()),
            }
        })?;
        if count == 0 {
            self.followers[index].next = chunk.next.max(walked);
            let is_stuck = self.followers[index].next == from && chunk.high_watermark > from;
            return match is_stuck {
                false => Ok(None),
                true => Err(Problem::new(ErrorCode::Internal, "a read brought nothing")),
            };
        }
        self.followers[index].next = walked;
        let cursor = self.cursor()?;
        let mut event = Vec::with_capacity(body.len() + cursor.len() + 96);
        begin_event(&mut event, Some(&cursor), "records");
        event.extend_from_slice(b"{\"partition\":");
        write_number(&mut event, u64::from(self.followers[index].partition.0));
        event.extend_from_slice(b",\"records\":[");
        event.extend_from_slice(&body);
        event.extend_from_slice(b"]}");
        end_event(&mut event);
        // One record may be larger than all that an event is meant to hold.
        if !permit.grow_to(event.len()) {
            return Err(overloaded());
        }
        event.shrink_to_fit();
        permit.shrink_to(event.len());
        metrics::fetched(ReadBy::Events, count, event.len() as u64);
        Ok(Some(permit.around(event)))
    }

    fn tails(&self) -> Vec<u8> {
        let tail = |follower: &Follower| {
            (
                follower.partition.to_string(),
                follower.high_watermark().get(),
            )
        };
        let tails = self.followers.iter().map(tail).collect();
        event(None, "ping", &PingEvent { tails })
    }

    fn drain(&mut self) -> Result<Vec<u8>, Problem> {
        self.has_ended = true;
        let cursor = self.cursor()?;
        let drain = DrainEvent {
            retry_after_ms: DRAIN_RETRY_MS,
            cursor: cursor.clone(),
        };
        let mut text = format!("retry: {DRAIN_RETRY_MS}\n").into_bytes();
        text.extend(event(Some(&cursor), "drain", &drain));
        Ok(text)
    }

    /// Partitions that the topic was given since.
    async fn follow_added(&mut self) -> Result<(), Problem> {
        let topology = Arc::clone(&self.topology.borrow_and_update());
        let Some(topic) = topology
            .topic(&self.topic.name)
            .filter(|now| now.id == self.topic.id)
        else {
            return Err(topic_not_found(&self.topic.name));
        };
        let topic = Arc::clone(topic);
        self.leave_missed(&topology, &topic);
        if !self.follows_all || topic.partitions.len() <= self.topic.partitions.len() {
            return Ok(());
        }
        let added: Vec<PartitionId> = topic.partitions[self.topic.partitions.len()..]
            .iter()
            .map(|spec| spec.partition)
            .collect();
        let partitions = Arc::clone(self.state.partitions());
        let earliest = StartPosition::Earliest;
        let start = Start::At(earliest);
        let opened = match opening::open(&*partitions, &topic, Some(&added), &start).await {
            Ok(opened) => opened,
            // None of them is there yet.
            Err(problem) if is_absence(&problem) => Opened::all_absent(&added, earliest, &problem),
            Err(problem) => return Err(problem),
        };
        self.topic = topic;
        let present = opened.present.into_iter().map(Follower::from);
        self.followers.extend(present);
        self.leave_for_later(opened.absent);
        Ok(())
    }

    /// Those that no unit serves: a stream that has caught up would not find out by reading.
    fn leave_missed(&mut self, topology: &Topology, topic: &TopicSpec) {
        let mut absent = Vec::new();
        let mut left = Vec::with_capacity(self.followers.len());
        for follower in std::mem::take(&mut self.followers) {
            let row = topic.partition(follower.partition);
            match row.and_then(|row| opening::missed(topology, topic, row)) {
                Some(problem) => absent.push(follower.into_absent(problem)),
                None => left.push(follower),
            }
        }
        self.followers = left;
        self.leave_for_later(absent);
    }

    /// Goes on without them until they are back.
    pub(super) fn leave_for_later(&mut self, absent: Vec<Absent>) {
        if let Some(away) = away(&absent) {
            self.absences.tell(event(None, "away", &away).into());
        }
        for absent in absent {
            let (partitions, seed) = (Arc::clone(self.state.partitions()), self.state.next_turn());
            let topic = Arc::clone(&self.topic);
            let waiting = opening::join(partitions, seed, topic, absent.clone());
            self.absences.add(absent, Box::pin(waiting));
        }
    }

    async fn join(&mut self, joined: Result<Present, Problem>) -> Result<(), Problem> {
        let present = match joined {
            Ok(present) => present,
            Err(problem) => return Err(self.lost(problem).await),
        };
        let partitions = vec![present.partition.0];
        self.followers.push(Follower::from(present));
        self.has_caught_up = false;
        let back = event(None, "back", &BackEvent { partitions });
        self.absences.tell(back.into());
        Ok(())
    }

    fn cursor(&self) -> Result<String, Problem> {
        follow::cursor(&self.topic, &self.followers, self.absences.all())
    }

    fn gone(&self) -> Problem {
        follow::gone(&self.state.topology(), &self.topic)
    }

    async fn lost(&mut self, problem: Problem) -> Problem {
        follow::lost(
            &**self.state.partitions(),
            &self.topic,
            &self.followers,
            self.absences.all(),
            problem,
        )
        .await
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        metrics::events_ended();
    }
}

fn event(id: Option<&str>, name: &str, data: &impl serde::Serialize) -> Vec<u8> {
    let mut text = Vec::with_capacity(256);
    // Plain structs of strings and numbers; nothing in them can fail to serialize.
    let data = serde_json::to_vec(data).unwrap_or_else(|_| b"{}".to_vec());
    write_event(&mut text, id, name, &data);
    text
}
