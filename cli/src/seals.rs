//! Tells the controllers what copies hold that nobody leads, and which failed, so that they find a leader.
//!
//! The storage node asks its copies; this brings what they say where it is wanted, until one takes it.

use std::sync::Arc;
use std::time::Duration;

use tidegate_kit::tasks::{TaskKind, Tasks};
use tidegate_proto::control::{Registered, Topology};
use tidegate_spu::{Failures, Node, Seals};
use tokio::sync::watch;
use tracing::info_span;

use crate::control::Control;

/// Between an answer that nobody took and the next attempt.
const TELL_AGAIN_AFTER: Duration = Duration::from_millis(500);
/// Answers in one request: some 300 bytes each, and a request has a mebibyte.
const ANSWERS_AT_ONCE: usize = 1_000;

/// Tells both as long as `tasks` run.
pub(crate) fn spawn<C: Control>(
    controller: &C,
    node: &Node,
    registered: Registered,
    topology: watch::Receiver<Arc<Topology>>,
    tasks: &Tasks,
) {
    let answers = follow(controller.clone(), node.seals(registered));
    tasks.spawn(TaskKind::Watch, info_span!("seals"), answers);
    let failures = node.failures(registered, topology);
    let failures = follow_failures(controller.clone(), failures);
    tasks.spawn(TaskKind::Watch, info_span!("failures"), failures);
}

/// Runs until the node is gone.
async fn follow<C: Control>(controller: C, mut seals: Seals) {
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

/// Tells which copies failed. Runs until the node is gone.
async fn follow_failures<C: Control>(controller: C, mut failures: Failures) {
    while let Some(request) = failures.next().await {
        match controller.report_failed(request.clone()).await {
            Ok(()) => failures.told(&request),
            Err(problem) => {
                let why = problem.detail();
                tracing::debug!(why, "no controller took which copies failed");
                tokio::time::sleep(TELL_AGAIN_AFTER).await;
            }
        }
    }
}
