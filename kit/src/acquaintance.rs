//! Whether somebody on a connection has shown who they are.
//!
//! What strangers may hold is bounded by the listener; the first credential that is accepted on a
//! connection makes it one of the known, for good. Requests of strangers carry an [`Acquaintance`] in
//! their extensions; whoever checks credentials calls [`greet`]. Invariant: only an accepted credential
//! makes a connection known.

use std::any::Any;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use http::Extensions;

/// One connection, as far as it is known. Clones are the same connection.
#[derive(Clone)]
pub struct Acquaintance {
    shared: Arc<Shared>,
}

struct Shared {
    is_known: AtomicBool,
    /// What a stranger holds of the listener's room.
    held: Mutex<Option<Box<dyn Any + Send>>>,
}

impl Acquaintance {
    /// A stranger; `held` is dropped as soon as that changes.
    #[must_use]
    pub fn stranger(held: impl Any + Send) -> Self {
        let shared = Shared {
            is_known: AtomicBool::new(false),
            held: Mutex::new(Some(Box::new(held))),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Whether a credential was accepted on it.
    #[must_use]
    pub fn is_known(&self) -> bool {
        self.shared.is_known.load(Ordering::Relaxed)
    }

    fn make_known(&self) {
        if !self.shared.is_known.swap(true, Ordering::Relaxed) {
            let held = &self.shared.held;
            drop(held.lock().unwrap_or_else(PoisonError::into_inner).take());
        }
    }
}

/// A request's credential was accepted: its connection is no stranger's any more.
pub fn greet(extensions: &Extensions) {
    if let Some(acquaintance) = extensions.get::<Acquaintance>() {
        acquaintance.make_known();
    }
}

impl fmt::Debug for Acquaintance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acquaintance")
            .field("is_known", &self.is_known())
            .finish()
    }
}
