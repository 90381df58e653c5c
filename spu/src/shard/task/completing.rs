//! What became durable, or is written: machines are told, and what waited for it is done.

use std::sync::Arc;

use tidegate_kit::clock;
use tidegate_proto::position::ReplicaKey;
use tidegate_spu_core::{Input, Now};

use super::super::inbox::{Completion, Stage, Waiting};
use super::Shard;

impl Shard {
    /// Steps what became durable; answers leave with the next flush.
    pub(super) fn complete(&mut self, now: Now, taken: &mut Waiting) {
        let mut last_round = None;
        for Completion { stage, round, key } in taken.completions.drain(..) {
            if stage == Stage::Written {
                self.written(now, key, round);
                continue;
            }
            if last_round.replace(round) != Some(round) {
                self.outbox.counters.rounds(1);
            }
            self.durable(now, key, round);
        }
        if let Some(no_space) = taken.dead.take() {
            self.fail(no_space);
        }
    }

    fn written(&mut self, now: Now, key: ReplicaKey, round: u64) {
        let Some(hosted) = self.hosted.get_mut(&key) else {
            return;
        };
        let position = hosted.reader.log.written_position();
        let input = Input::Written { round, position };
        self.outbox.step(hosted, &mut self.replies, now, input);
    }

    fn durable(&mut self, now: Now, key: ReplicaKey, round: u64) {
        let Some(hosted) = self.hosted.get_mut(&key) else {
            return;
        };
        let log = Arc::clone(&hosted.reader.log);
        let position = log.durable_position();
        let end = position.end;
        let (outbox, replies) = (&mut self.outbox, &mut self.replies);
        let input = Input::Durable {
            round,
            position,
            snapshot_as_of: log.durable_snapshot(),
        };
        outbox.step(hosted, replies, now, input);
        // The round may have been submitted before the epoch was (E1): the disk's word counts.
        if hosted.machine.awaits_epoch()
            && let Some(meta) = log.durable_meta()
        {
            let epoch = meta.leader_epoch;
            outbox.step(hosted, replies, now, Input::Persisted { epoch });
        }
        hosted.release(end);
        self.unsettled.note(hosted);
        if hosted.is_truncating && log.is_shortened() {
            hosted.is_truncating = false;
            self.outbox.peers.read_again(key);
        }
        if !self.surveys.is_empty() {
            self.survey(now, key);
        }
        if let Some((_, _, since)) = self
            .measured
            .take_if(|(measured, until, _)| *measured == key && *until <= end)
        {
            let took = clock::monotonic().saturating_duration_since(since);
            self.outbox.counters.durable_after(took);
        }
    }
}
