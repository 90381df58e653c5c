//! What a socket does while its client takes nothing.
//!
//! A write that waits has an end: the stall limit, a shorter one while others need the room that it
//! holds, the drain's once the process stops. Meanwhile the socket's work goes on, so that a read that came
//! back keeps no one from reading; and what was read for it is let go after a while, or at once when
//! frames are short of room: the client's place is an offset, and it is read again from there.
//!
//! Invariant: a socket that waits for longer than [`LET_GO_AFTER`] holds no frame that others may share.

use std::collections::VecDeque;
use std::future::ready;
use std::pin::pin;

use futures_util::{FutureExt as _, StreamExt as _};
use tidegate_kit::clock;
use tidegate_proto::api::socket::CloseCode;
use tidegate_proto::limits::FRAME_BYTES_TARGET;
use tokio::time::{interval_at, sleep};

use super::effect::{Effect, Input, LetGo};
use super::limits::{
    DRAIN_WAIT, LET_GO_AFTER, ROOM_LOOK_EVERY, ROOM_SHORT_PART, WRITE_STALL_SHORT,
};
use super::pump::Pump;
use super::wake::Done;
use super::wire::{Goal, Over};

impl Pump {
    /// Waits for the wire. `effects` are what is still to be carried out: records at their end may be
    /// let go.
    pub(super) async fn write_out(
        &mut self,
        goal: Goal,
        effects: &mut VecDeque<Effect>,
    ) -> Result<(), Over> {
        if let Some(reached) = self.wire.reach(goal).now_or_never() {
            return reached;
        }
        Box::pin(self.wait_out(goal, effects)).await
    }

    async fn wait_out(&mut self, goal: Goal, effects: &mut VecDeque<Effect>) -> Result<(), Over> {
        let since = clock::monotonic();
        let (stop, write_stall) = (self.stop.clone(), self.sockets.times.write_stall);
        let mut stall = pin!(async move {
            tokio::select! {
                () = sleep(write_stall) => {}
                () = async { stop.cancelled().await; sleep(DRAIN_WAIT).await } => {}
            }
        });
        let mut look = interval_at((since + ROOM_LOOK_EVERY).into(), ROOM_LOOK_EVERY);
        let (memory, is_holding) = (self.wire.memory().clone(), self.wire.is_holding());
        let frames = self.sockets.frames.budget();
        let mut has_let_go = false;
        let mut done = Vec::new();
        {
            // In one piece, so that it keeps its place in the line of those who wait for room.
            let mut reach = pin!(self.wire.reach(goal));
            loop {
                tokio::select! {
                    biased;
                    reached = &mut reach => {
                        reached?;
                        break;
                    }
                    () = &mut stall => return Err(Over::Close(CloseCode::SlowConsumer)),
                    Some(came) = self.work.next(), if !self.work.is_empty() => done.push(came),
                    _ = look.tick() => {
                        let waited = since.elapsed();
                        let is_in_the_way = is_holding && memory.available() < FRAME_BYTES_TARGET;
                        if is_in_the_way && waited >= WRITE_STALL_SHORT {
                            return Err(Over::Close(CloseCode::SlowConsumer));
                        }
                        let is_short = frames.available() < frames.total() / ROOM_SHORT_PART;
                        has_let_go |= is_short || waited >= LET_GO_AFTER;
                    }
                }
                if has_let_go {
                    let gone = let_go(effects, &mut done);
                    let now = clock::monotonic().saturating_duration_since(self.opened_at);
                    // Places move back and nothing else, until the next flush.
                    let none = self.session.step(now, Input::Stuck(gone));
                    debug_assert!(none.is_empty(), "a socket that waits has more to do");
                }
            }
        }
        if has_let_go {
            self.wire.expect_flush();
        }
        for came in done {
            self.work.push(Box::pin(ready(came)));
        }
        Ok(())
    }
}

/// Takes out what was read and not handed over to the wire.
fn let_go(effects: &mut VecDeque<Effect>, done: &mut Vec<Done>) -> LetGo {
    let mut unsent = VecDeque::new();
    while let Some(Effect::SendRecords(_)) = effects.back() {
        if let Some(Effect::SendRecords(sending)) = effects.pop_back() {
            unsent.push_front(sending);
        }
    }
    let mut unread = Vec::new();
    done.retain(|came| match came {
        Done::Input(Input::Read { of, partition, .. }) => {
            unread.push((of.clone(), *partition));
            false
        }
        _ => true,
    });
    LetGo {
        unsent: unsent.into(),
        unread,
    }
}
