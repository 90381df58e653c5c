//! Tells the controllers what copies hold that nobody leads, so that they can find a leader.
//!
//! The storage node asks its copies; this brings the answers where they are wanted, until one takes them.

use std::time::Duration;

use tidegate_spu::Seals;

use crate::control::Control;

/// Between an answer that nobody took and the next attempt.
const TELL_AGAIN_AFTER: Duration = Duration::from_millis(500);
/// Answers in one request: some 300 bytes each, and a request has a mebibyte.
const ANSWERS_AT_ONCE: usize = 1_000;

/// Runs until the node is gone.
pub(crate) async fn follow<C: Control>(controller: C, mut seals: Seals) {
    while let Some(answers) = seals.next().await {
        for answers in answers.chunks(ANSWERS_AT_ONCE) {
            match controller.answer_seals(answers.to_vec()).await {
                Ok(()) => seals.told(answers),
                Err(problem) => {
                    let why = problem.detail();
                    tracing::debug!(why, "no controller took what sealed copies hold");
                    tokio::time::sleep(TELL_AGAIN_AFTER).await;
                }
            }
        }
    }
}
