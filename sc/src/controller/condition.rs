//! Whether a controller may be believed and may change things: is the store at hand, and is it the right
//! one (X1, X2).
//!
//! An alarm is about one store, by its identity, and stays as long as that is the one at hand: until an
//! operator adopted it, which gives it another identity, or the right one is back. What a controller finds
//! itself counts always; what a node said of a store may come after that was adopted. Invariant: while there
//! is an alarm, nothing is committed by this controller.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tidegate_kit::clock;
use tidegate_proto::error::{ErrorCode, Problem};
use tidegate_proto::id::StoreId;
use tokio::sync::watch;

use crate::metrics;

/// What is wrong with the store, as proven by something that was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alarm {
    /// The store that is not to be believed.
    pub store_id: StoreId,
    /// The store that was seen instead, where it was another one.
    pub expected: Option<StoreId>,
    /// What was seen, for people.
    pub detail: String,
    /// Since when, in milliseconds since 1970.
    pub since_ms: i64,
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Condition {
    /// Since when the store cannot be reached; what is served may be old.
    pub away_since: Option<Instant>,
    /// Why nothing is changed.
    pub alarm: Option<Arc<Alarm>>,
    /// What the store was before it was adopted last.
    superseded: Option<StoreId>,
}

impl Condition {
    /// How old what is served may be, when the store cannot be reached or cannot be believed.
    #[must_use]
    pub fn stale_for(&self) -> Option<Duration> {
        let away = self.away_since.map(|since| clock::monotonic() - since);
        away.or(self.alarm.as_ref().map(|_| Duration::ZERO))
    }

    /// Why a change is refused now, if it is. Definite: nothing was done.
    #[must_use]
    pub fn refusal(&self) -> Option<Problem> {
        if let Some(alarm) = &self.alarm {
            let problem = Problem::new(ErrorCode::MetadataForked, alarm.detail.clone());
            return Some(problem.retry_after(RETRY_AFTER_ALARM_S));
        }
        self.away_since?;
        let detail = "the metadata store cannot be reached; nothing was changed";
        let problem = Problem::new(ErrorCode::Unavailable, detail);
        Some(problem.retry_after(RETRY_AFTER_AWAY_S))
    }

    /// Sets the alarm, unless there is one; true when it did.
    fn set_alarm(&mut self, store_id: StoreId, expected: Option<StoreId>, detail: String) -> bool {
        if self.alarm.is_some() {
            return false;
        }
        tracing::error!(
            detail,
            "the metadata store is not what it was: nothing is changed until `tidegate sc adopt`"
        );
        let since_ms = clock::now_ms();
        self.alarm = Some(Arc::new(Alarm {
            store_id,
            expected,
            detail,
            since_ms,
        }));
        metrics::alarmed(true);
        true
    }
}

/// An operator has to act.
const RETRY_AFTER_ALARM_S: u64 = 60;
/// A failover of a database takes seconds.
const RETRY_AFTER_AWAY_S: u64 = 2;

/// Who may set it.
#[derive(Debug)]
pub(crate) struct Conditions {
    condition: watch::Sender<Condition>,
    /// Somebody knows the store under another identity: it is time to ask.
    is_doubted: AtomicBool,
}

impl Conditions {
    pub(crate) fn new() -> Self {
        Self {
            condition: watch::channel(Condition::default()).0,
            is_doubted: AtomicBool::new(false),
        }
    }

    pub(crate) fn now(&self) -> Condition {
        self.condition.borrow().clone()
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<Condition> {
        self.condition.subscribe()
    }

    /// The store may have been adopted.
    pub(crate) fn doubt(&self) {
        self.is_doubted.store(true, Ordering::Relaxed);
    }

    /// True once after each doubt.
    pub(crate) fn take_doubt(&self) -> bool {
        self.is_doubted.swap(false, Ordering::Relaxed)
    }

    /// Notes whether the store answers.
    pub(crate) fn set_reachable(&self, is_reachable: bool) {
        self.condition.send_if_modified(|condition| {
            let was = condition.away_since.is_none();
            if was == is_reachable {
                return false;
            }
            condition.away_since = (!is_reachable).then(clock::monotonic);
            metrics::store_away(!is_reachable);
            if is_reachable {
                tracing::info!("the metadata store is back");
            } else {
                tracing::warn!(
                    "the metadata store cannot be reached: reads go on, writes are refused"
                );
            }
            true
        });
    }

    /// Stops changing things, because of what this controller found at hand. The first alarm stays.
    pub(crate) fn raise(&self, store_id: StoreId, expected: Option<StoreId>, detail: String) {
        self.condition.send_if_modified(|condition| {
            // A store may be at hand again that was adopted long ago.
            condition.superseded = None;
            condition.set_alarm(store_id, expected, detail)
        });
    }

    /// The same because of what a node said: of a store that was adopted meanwhile it comes too late.
    pub(crate) fn raise_late(&self, store_id: StoreId, expected: Option<StoreId>, detail: String) {
        self.condition.send_if_modified(|condition| {
            condition.superseded != Some(store_id)
                && condition.set_alarm(store_id, expected, detail)
        });
    }

    /// True when there is an alarm about another store than that.
    pub(crate) fn is_about_another(&self, store_id: StoreId) -> bool {
        let condition = self.condition.borrow();
        let alarm = condition.alarm.as_ref();
        alarm.is_some_and(|alarm| alarm.store_id != store_id)
    }

    /// An operator adopted the store that was known as `old`, or another one than an alarm was about is at
    /// hand.
    pub(crate) fn clear(&self, old: Option<StoreId>) {
        self.condition.send_if_modified(|condition| {
            condition.superseded = old.or(condition.superseded);
            metrics::alarmed(false);
            condition.alarm.take().is_some()
        });
    }
}
