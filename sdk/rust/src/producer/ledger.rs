//! Counts of what a producer has sent, and the memory that unsent records hold.
//!
//! Memory is a semaphore in bytes: taken before a record enters a queue, given back when its batch
//! is settled, so that a slow server makes `send` wait instead of memory grow.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Semaphore, watch};

use crate::error::Error;
use crate::producer::flight::Passenger;

/// What a producer has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProducerProgress {
    /// Records acknowledged (with `acks=none`: handed over).
    pub delivered_records: u64,
    /// Their bytes: keys, values, headers and a fixed cost per record.
    pub delivered_bytes: u64,
    /// Records given up.
    pub failed_records: u64,
    /// Requests that were sent again.
    pub repeats: u64,
}

#[derive(Debug)]
pub(crate) struct Ledger {
    memory: Arc<Semaphore>,
    progress: watch::Sender<ProducerProgress>,
    first_error: Mutex<Option<Error>>,
}

impl Ledger {
    pub(crate) fn new(memory_bytes: usize) -> Self {
        Self {
            memory: Arc::new(Semaphore::new(memory_bytes)),
            progress: watch::Sender::new(ProducerProgress::default()),
            first_error: Mutex::new(None),
        }
    }

    /// Waits for room for a record. The room is given back by `settled`, or by `refuse`.
    pub(crate) async fn admit(&self, bytes: usize) -> Result<(), Error> {
        let permits = u32::try_from(bytes)
            .map_err(|_| Error::Record(format!("a record of {bytes} bytes cannot be sent")))?;
        let permit = self
            .memory
            .acquire_many(permits)
            .await
            .map_err(|_| Error::Closed)?;
        permit.forget();
        Ok(())
    }

    pub(crate) fn refuse(&self, bytes: usize) {
        self.memory.add_permits(bytes);
    }

    pub(crate) fn settled(&self, passenger: &Passenger, error: Option<&Error>) {
        self.memory.add_permits(passenger.held_bytes);
        let records = u64::from(passenger.records);
        self.progress.send_modify(|progress| match error {
            None => {
                progress.delivered_records += records;
                progress.delivered_bytes += passenger.held_bytes as u64;
            }
            Some(_) => progress.failed_records += records,
        });
        if let Some(error) = error {
            let mut first = self
                .first_error
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            first.get_or_insert_with(|| error.clone());
        }
    }

    pub(crate) fn repeated(&self) {
        self.progress.send_modify(|progress| progress.repeats += 1);
    }

    pub(crate) fn progress(&self) -> watch::Receiver<ProducerProgress> {
        self.progress.subscribe()
    }

    /// The first failure since this was last asked.
    pub(crate) fn take_error(&self) -> Option<Error> {
        self.first_error
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }
}
