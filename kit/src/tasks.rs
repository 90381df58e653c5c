//! Every task of a process, what becomes of it on shutdown, and what its failure means.
//!
//! Nothing is detached: [`Tasks::spawn`] is the only way to start a task, and [`TaskKind`] is the
//! closed table that says whether a kind is dropped or waited for when its token is cancelled, and
//! whether its failure is logged or ends the process. A process has one root; stages of it are
//! children. `child.shutdown(..)` ends that stage alone, so that sockets can drain while the
//! partitions behind them still answer.
//! Invariant: after `shutdown` has returned, no task of that `Tasks` or of its children runs.

mod apart;
mod kind;

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::FutureExt as _;
use thiserror::Error;
use tokio::task::AbortHandle;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;
use tracing::{Instrument as _, Span};

use crate::aside::Aside;
pub use kind::{OnCancel, OnError, TaskKind};

/// Why the process is ending although nobody asked for it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{kind:?} task failed: {detail}")]
pub struct Failure {
    /// The kind of task that failed.
    pub kind: TaskKind,
    /// Its error, or the message of its panic.
    pub detail: String,
}

/// Work on a blocking thread gave no answer.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BlockingError {
    /// The closure panicked.
    #[error("blocking work panicked: {0}")]
    Panicked(String),
    /// The runtime was going down before the closure started.
    #[error("blocking work was not started: the runtime is going down")]
    NotStarted,
}

/// What a task may end with: nothing, or a result whose error can be shown.
pub trait Outcome {
    /// The error as text, when there is one.
    fn into_failure(self) -> Option<String>;
}

impl Outcome for () {
    fn into_failure(self) -> Option<String> {
        None
    }
}

impl<E: fmt::Display> Outcome for Result<(), E> {
    fn into_failure(self) -> Option<String> {
        self.err().map(|error| error.to_string())
    }
}

// An async block that loops for ever has the type `!`, which has no name in stable Rust except as
// what a function returns.
#[doc(hidden)]
pub trait Returned {
    type Value;
}

impl<T> Returned for fn() -> T {
    type Value = T;
}

impl Outcome for <fn() -> ! as Returned>::Value {
    fn into_failure(self) -> Option<String> {
        self
    }
}

struct Stage {
    parent: Option<Arc<Stage>>,
    tracker: TaskTracker,
    token: CancellationToken,
    // Cancelled when the deadline is over: ends the tasks that are left.
    kill: CancellationToken,
    failure: Arc<OnceLock<Failure>>,
    root: CancellationToken,
}

/// A handle on the tasks of a process or of one stage of it. Clones are the same handle.
#[derive(Clone)]
pub struct Tasks {
    stage: Arc<Stage>,
}

impl fmt::Debug for Tasks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tasks")
            .field("running", &self.running())
            .field("cancelled", &self.is_cancelled())
            .finish_non_exhaustive()
    }
}

impl Default for Tasks {
    fn default() -> Self {
        Self::new()
    }
}

impl Tasks {
    /// The root of a process.
    #[must_use]
    pub fn new() -> Self {
        let token = CancellationToken::new();
        Self {
            stage: Arc::new(Stage {
                parent: None,
                tracker: TaskTracker::new(),
                root: token.clone(),
                token,
                kill: CancellationToken::new(),
                failure: Arc::new(OnceLock::new()),
            }),
        }
    }

    /// A stage that ends with this one, and may be ended before it.
    #[must_use]
    pub fn child(&self) -> Self {
        let parent = &self.stage;
        Self {
            stage: Arc::new(Stage {
                parent: Some(Arc::clone(parent)),
                tracker: TaskTracker::new(),
                token: parent.token.child_token(),
                kill: parent.kill.child_token(),
                failure: Arc::clone(&parent.failure),
                root: parent.root.clone(),
            }),
        }
    }

    /// Starts a task. `future` ends with `()` or with a `Result<(), impl Display>`. The returned
    /// handle aborts it and may be ignored.
    pub fn spawn<F>(&self, kind: TaskKind, span: Span, future: F) -> AbortHandle
    where
        F: Future + Send + 'static,
        F::Output: Outcome + Send,
    {
        let guarded = self.guarded(kind, future).instrument(span);
        #[expect(
            clippy::disallowed_methods,
            reason = "this is the one place that starts tasks"
        )]
        let handle = tokio::spawn(guarded);
        handle.abort_handle()
    }

    /// Runs `work` on a blocking thread. It starts at once and is waited for on shutdown even when
    /// the returned future is dropped.
    pub fn spawn_blocking<T, W>(
        &self,
        kind: TaskKind,
        span: Span,
        work: W,
    ) -> impl Future<Output = Result<T, BlockingError>> + Send + use<T, W>
    where
        T: Send + 'static,
        W: FnOnce() -> T + Send + 'static,
    {
        let tracked = self.tracked();
        let stage = Arc::clone(&self.stage);
        let handle = tokio::task::spawn_blocking(move || {
            let _tracked = tracked;
            let _entered = span.entered();
            catch_unwind(AssertUnwindSafe(work)).map_err(|panic| {
                let detail = panic_text(&*panic);
                stage.failed(kind, format!("panic: {detail}"));
                BlockingError::Panicked(detail)
            })
        });
        async move { handle.await.unwrap_or(Err(BlockingError::NotStarted)) }
    }

    /// Ends when this stage is to stop.
    pub fn cancelled(&self) -> WaitForCancellationFutureOwned {
        self.stage.token.clone().cancelled_owned()
    }

    /// True once this stage is to stop.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.stage.token.is_cancelled()
    }

    /// The token of this stage, for code that selects on it.
    #[must_use]
    pub fn token(&self) -> CancellationToken {
        self.stage.token.clone()
    }

    /// Asks this stage to stop without waiting for it.
    pub fn cancel(&self) {
        self.stage.token.cancel();
    }

    /// Tasks of this stage and of its children that have not ended.
    #[must_use]
    pub fn running(&self) -> usize {
        self.stage.tracker.len()
    }

    /// The first failure that ends the process, if there was one.
    #[must_use]
    pub fn failure(&self) -> Option<&Failure> {
        self.stage.failure.get()
    }

    /// Stops this stage in phases: cancel; wait up to `deadline` for what ends by itself; drop the
    /// rest. True when nothing had to be dropped. Blocking work cannot be dropped; it is left.
    pub async fn shutdown(&self, deadline: Duration) -> bool {
        self.stage.token.cancel();
        self.stage.tracker.close();
        if tokio::time::timeout(deadline, self.stage.tracker.wait())
            .await
            .is_ok()
        {
            return true;
        }
        tracing::warn!(
            tasks = self.running(),
            "tasks did not end in time and are dropped"
        );
        self.stage.kill.cancel();
        // Dropping takes one turn of the scheduler unless a task is stuck without an await.
        let _ = tokio::time::timeout(Duration::from_secs(1), self.stage.tracker.wait()).await;
        false
    }

    fn tracked(&self) -> Vec<TaskTrackerToken> {
        let mut tokens = Vec::with_capacity(2);
        let mut stage = Some(&self.stage);
        while let Some(at) = stage {
            tokens.push(at.tracker.token());
            stage = at.parent.as_ref();
        }
        tokens
    }

    fn guarded<F>(&self, kind: TaskKind, future: F) -> impl Future<Output = ()> + Send + use<F>
    where
        F: Future + Send + 'static,
        F::Output: Outcome + Send,
    {
        let (tracked, stage) = (self.tracked(), Arc::clone(&self.stage));
        async move {
            let _tracked = tracked;
            let stopped = pin!(async {
                tokio::select! {
                    () = stage.token.cancelled(), if kind.on_cancel() == OnCancel::Abort => {}
                    // A stage killed at its deadline drops tasks of both sorts.
                    () = stage.kill.cancelled() => {}
                }
            });
            let ended = tokio::select! {
                biased;
                ended = AssertUnwindSafe(future).catch_unwind() => ended,
                () = Aside::new(stopped) => return,
            };
            match ended {
                Ok(outcome) => {
                    if let Some(detail) = outcome.into_failure() {
                        stage.failed(kind, detail);
                    }
                }
                Err(panic) => stage.failed(kind, format!("panic: {}", panic_text(&*panic))),
            }
        }
    }
}

impl Stage {
    fn failed(&self, kind: TaskKind, detail: String) {
        match kind.on_error() {
            OnError::Log => tracing::warn!(?kind, detail, "task failed"),
            OnError::Exit => {
                tracing::error!(?kind, detail, "task failed, the process ends");
                let _ = self.failure.set(Failure { kind, detail });
                self.root.cancel();
            }
        }
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(ToString::to_string)
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "without a message".to_owned())
}

#[cfg(test)]
mod tests;
