//! The way of reads that have to go to the disk: few at once, in small chunks, at a bounded rate.
//!
//! A reader waits its turn for every chunk and stands at the end of the line for the next one, so a
//! thousand of them share the disk and the cores evenly, and a writer shares them with a few instead
//! of with a thousand. A turn lasts until its chunk has been encoded; a reader whose client takes
//! nothing asks for nothing and holds no turn. Looking things up on disk goes the same way.
//! Invariant: at most `turns` reads are at the disk or being encoded, and each holds its bytes of the
//! budget.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tidegate_data_plane::partitions::Held;
use tidegate_kit::budget::{ByteBudget, BytePermit};
use tidegate_kit::clock;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::limits::{COLD_BURST, COLD_CHUNK_BYTES};

/// The lane of one node.
#[derive(Debug)]
pub(crate) struct Lane {
    turns: Arc<Semaphore>,
    memory: ByteBudget,
    rate: Option<Rate>,
}

/// A token bucket of bytes.
#[derive(Debug)]
struct Rate {
    bytes_per_second: u64,
    /// When all that was read would have been read at that rate.
    paid_until: Mutex<Instant>,
}

/// One read's turn.
#[derive(Debug)]
pub(crate) struct Turn {
    _turn: OwnedSemaphorePermit,
    bytes: Option<BytePermit>,
}

impl Lane {
    /// A lane for so many reads at once. Without a rate the disk decides.
    pub(crate) fn new(turns: usize, memory: ByteBudget, bytes_per_second: Option<u64>) -> Self {
        let rate = bytes_per_second.map(|bytes_per_second| Rate {
            bytes_per_second: bytes_per_second.max(1),
            paid_until: Mutex::new(clock::monotonic()),
        });
        Self {
            turns: Arc::new(Semaphore::new(turns.max(1))),
            memory,
            rate,
        }
    }

    /// Waits, in order of arrival, until it is this read's turn.
    pub(crate) async fn turn(&self) -> Turn {
        let turn = Arc::clone(&self.turns).acquire_owned().await;
        let turn = turn.expect("the semaphore is never closed");
        // Whoever waits here holds up all behind it, which is what a rate is for.
        if let Some(rate) = &self.rate {
            let ready = rate.ready();
            tokio::time::sleep_until(ready.into()).await;
        }
        Turn {
            _turn: turn,
            bytes: self.memory.acquire(COLD_CHUNK_BYTES).await,
        }
    }

    /// Holds so many bytes that were read for as long as somebody else decides: of what is large no more than
    /// half of the budget, as the other half may be held as long elsewhere.
    pub(crate) async fn hold(&self, bytes: usize) -> Held {
        if let Some(rate) = &self.rate {
            rate.pay(bytes);
        }
        let most = self.memory.total() / 2;
        Held::new(self.memory.acquire(bytes.min(most)).await)
    }

    /// A read of so many bytes is done: counts them, and gives what goes on holding the turn.
    pub(crate) fn read(&self, mut turn: Turn, bytes: usize) -> Held {
        if let Some(rate) = &self.rate {
            rate.pay(bytes);
        }
        if let Some(permit) = &mut turn.bytes {
            // One batch may be larger than a chunk. It is in memory by now, and there are no more of
            // these than turns.
            let _ = permit.grow_to(bytes);
            permit.shrink_to(bytes);
        }
        Held::new(turn)
    }
}

impl Rate {
    fn ready(&self) -> Instant {
        let paid_until = *self.lock();
        paid_until.checked_sub(COLD_BURST).unwrap_or(paid_until)
    }

    fn pay(&self, bytes: usize) {
        let took = Duration::from_secs_f64(bytes as f64 / self.bytes_per_second as f64);
        let mut paid_until = self.lock();
        *paid_until = (*paid_until).max(clock::monotonic()) + took;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Instant> {
        self.paid_until
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn lane(turns: usize, rate: Option<u64>) -> Lane {
        Lane::new(turns, ByteBudget::new(64 * COLD_CHUNK_BYTES), rate)
    }

    #[tokio::test]
    async fn readers_take_turns_and_none_starves() {
        const READERS: usize = 100;
        const CHUNKS: usize = 20;
        let lane = Arc::new(lane(2, None));
        let (at_once, reads) = (
            Arc::new(AtomicUsize::new(0)),
            Arc::new(Mutex::new(Vec::new())),
        );
        let readers = (0..READERS).map(|reader| {
            let (lane, at_once, reads) =
                (Arc::clone(&lane), Arc::clone(&at_once), Arc::clone(&reads));
            async move {
                for _ in 0..CHUNKS {
                    let turn = lane.turn().await;
                    assert!(at_once.fetch_add(1, Ordering::SeqCst) < 2);
                    tokio::task::yield_now().await;
                    reads.lock().unwrap().push(reader);
                    at_once.fetch_sub(1, Ordering::SeqCst);
                    drop(lane.read(turn, 1));
                }
            }
        });
        futures_util::future::join_all(readers).await;
        let reads = reads.lock().unwrap();
        // After any number of reads nobody is more than two chunks ahead of anybody.
        let mut counts = [0_usize; READERS];
        for reader in reads.iter() {
            counts[*reader] += 1;
            let (least, most) = (counts.iter().min(), counts.iter().max());
            assert!(most.unwrap() - least.unwrap() <= 2, "{counts:?}");
        }
        assert_eq!(lane.memory.held(), 0);
    }

    #[tokio::test]
    async fn a_turn_lasts_until_the_chunk_is_given_back() {
        let lane = lane(1, None);
        let held = lane.read(lane.turn().await, 100);
        assert_eq!(lane.memory.held(), 100);
        assert!(futures_util::poll!(std::pin::pin!(lane.turn())).is_pending());
        drop(held);
        let turn = lane.turn().await;
        assert_eq!(lane.memory.held(), COLD_CHUNK_BYTES);
        let large = lane.read(turn, 3 * COLD_CHUNK_BYTES);
        assert_eq!(lane.memory.held(), 3 * COLD_CHUNK_BYTES);
        drop(large);
        assert_eq!(lane.memory.held(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_rate_is_kept_over_all_readers() {
        let lane = lane(4, Some(1024 * 1024));
        let start = clock::monotonic();
        for _ in 0..10 {
            let turn = lane.turn().await;
            drop(lane.read(turn, 1024 * 1024));
        }
        let took = clock::monotonic() - start;
        let (least, most) = (Duration::from_secs(8), Duration::from_secs(10));
        assert!(least <= took && took <= most, "{took:?}");
    }
}
