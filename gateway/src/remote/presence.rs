//! Whether a storage unit can be reached, as far as this process knows without asking.
//!
//! Two things tell: connections to it that cannot be made, and the topology, which shuts a silent unit
//! out. A unit is in doubt from the first sign on: who can choose goes elsewhere. It is away when that has
//! lasted longer than a restart takes: nobody waits for it any more. Invariant: a unit that is in doubt is
//! dialled again and again, whether or not somebody asks for it, so that the doubt ends.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tidegate_kit::clock;
use tidegate_proto::control::SpuSpec;
use tokio::sync::Notify;

/// What is known of one unit.
#[derive(Debug, Default)]
pub(super) struct Presence {
    /// Looked at without the lock of the state, by everybody who asks for something.
    is_in_doubt: AtomicBool,
    state: Mutex<State>,
    failing: Notify,
}

#[derive(Debug, Default)]
struct State {
    failing: Option<Failing>,
    shut_out: Option<Since>,
    /// What the topology said last.
    spec: Option<SpuSpec>,
}

#[derive(Debug)]
struct Failing {
    since: Instant,
    reason: String,
}

#[derive(Debug, Clone, Copy)]
enum Since {
    /// It was so at the first look.
    Ever,
    At(Instant),
}

impl Presence {
    /// It answered.
    pub(super) fn answers(&self) {
        if self.is_in_doubt() {
            self.change(|state| state.failing = None);
        }
    }

    /// A connection to it could not be made.
    pub(super) fn fails(&self, reason: &str) {
        self.change(|state| {
            let since = state.failing.as_ref().map(|failing| failing.since);
            state.failing = Some(Failing {
                since: since.unwrap_or_else(clock::monotonic),
                reason: reason.to_owned(),
            });
        });
        self.failing.notify_one();
    }

    /// What the topology says of it. A unit that has registered again, perhaps at another address, may be
    /// reached whatever was before.
    pub(super) fn note(&self, spec: &SpuSpec, is_first: bool) {
        self.change(|state| {
            if state.spec.as_ref() == Some(spec) {
                return;
            }
            if spec.is_up() {
                (state.failing, state.shut_out) = (None, None);
            } else if state.shut_out.is_none() {
                state.shut_out = Some(match is_first {
                    true => Since::Ever,
                    false => Since::At(clock::monotonic()),
                });
            }
            state.spec = Some(spec.clone());
        });
    }

    /// Whether there is a sign that it cannot be reached.
    pub(super) fn is_in_doubt(&self) -> bool {
        self.is_in_doubt.load(Ordering::Relaxed)
    }

    /// Why it is not waited for any more, if it is not: it has been silent for longer than that.
    pub(super) fn away(&self, after: Duration) -> Option<String> {
        let state = self.lock();
        let is_long = |since: Instant| clock::monotonic() >= since + after;
        if let Some(failing) = &state.failing
            && is_long(failing.since)
        {
            return Some(failing.reason.clone());
        }
        let is_away = match state.shut_out? {
            Since::Ever => true,
            Since::At(since) => is_long(since),
        };
        is_away.then(|| "it is offline: it was shut out until it registers again".to_owned())
    }

    /// Waits until a connection cannot be made.
    pub(super) async fn until_failing(&self) {
        while !self.is_failing() {
            self.failing.notified().await;
        }
    }

    /// Whether the last connection could not be made, and nothing was heard since.
    pub(super) fn is_failing(&self) -> bool {
        self.is_in_doubt() && self.lock().failing.is_some()
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.lock();
        change(&mut state);
        let is_in_doubt = state.failing.is_some() || state.shut_out.is_some();
        self.is_in_doubt.store(is_in_doubt, Ordering::Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // It is whole after every statement.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use tidegate_proto::control::SpuStanding;
    use tidegate_proto::id::Incarnation;

    use super::*;

    #[test]
    fn silence_is_borne_for_as_long_as_somebody_may_take_over() {
        let presence = Presence::default();
        let long = Duration::from_secs(3600);
        assert_eq!(presence.away(Duration::ZERO), None);
        presence.fails("refused");
        assert!(presence.is_in_doubt());
        assert_eq!(presence.away(Duration::ZERO).unwrap(), "refused");
        assert_eq!(presence.away(long), None);
        presence.answers();
        assert_eq!(presence.away(Duration::ZERO), None);
        let spec = SpuSpec {
            endpoints: Vec::new(),
            rack: None,
            site: None,
            standing: SpuStanding::Fenced,
            incarnation: Incarnation(1),
        };
        presence.note(&spec, false);
        assert!(presence.away(Duration::ZERO).is_some());
        assert_eq!(presence.away(long), None);
    }
}
