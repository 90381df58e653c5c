//! The partitions of a stream that cannot be reached: waited for beside those that can.
//!
//! Invariant: a partition is here or followed, never both.

use std::collections::VecDeque;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tidegate_proto::error::Problem;

use crate::opening::{Absent, Present};
use crate::partitions::BoxFuture;

/// Those that are waited for.
#[derive(Default)]
pub(super) struct Absences {
    all: Vec<Absent>,
    waiting: FuturesUnordered<BoxFuture<'static, Result<Present, Problem>>>,
    /// What is to be told of them: one event for each that went or came.
    news: VecDeque<Bytes>,
}

impl Absences {
    /// Waits for one more; `waiting` ends when it is back, or never will be.
    pub(super) fn add(
        &mut self,
        absent: Absent,
        waiting: BoxFuture<'static, Result<Present, Problem>>,
    ) {
        self.all.push(absent);
        self.waiting.push(waiting);
    }

    /// The next that is back, or why one never will be; never when none is waited for.
    pub(super) async fn next(&mut self) -> Result<Present, Problem> {
        let Some(joined) = self.waiting.next().await else {
            return std::future::pending().await;
        };
        let present = joined?;
        let is_other = |absent: &Absent| absent.partition != present.partition;
        self.all.retain(is_other);
        Ok(present)
    }

    pub(super) fn all(&self) -> &[Absent] {
        &self.all
    }

    pub(super) fn tell(&mut self, event: Bytes) {
        self.news.push_back(event);
    }

    pub(super) fn news(&mut self) -> Option<Bytes> {
        self.news.pop_front()
    }
}
