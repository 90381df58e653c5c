//! Budgets counted in bytes.
//!
//! A buffer that outside input can make large takes its bytes here before it is filled and gives
//! them back by dropping the permit. Invariant: permits outstanding never sum above the budget.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A number of bytes that may be held at once. Clones share it.
#[derive(Debug, Clone)]
pub struct ByteBudget {
    semaphore: Arc<Semaphore>,
    total: usize,
}

/// Bytes taken from a [`ByteBudget`]; dropping gives them back.
#[derive(Debug)]
pub struct BytePermit {
    permit: OwnedSemaphorePermit,
}

impl ByteBudget {
    /// A budget of `total` bytes (at most `u32::MAX`, 4 GiB).
    #[must_use]
    pub fn new(total: usize) -> Self {
        let total = total.min(u32::MAX as usize);
        Self {
            semaphore: Arc::new(Semaphore::new(total)),
            total,
        }
    }

    /// Takes `bytes` now, or says that they are not there. Never waits.
    #[must_use]
    pub fn try_acquire(&self, bytes: usize) -> Option<BytePermit> {
        let count = u32::try_from(bytes).ok()?;
        let permit = Arc::clone(&self.semaphore)
            .try_acquire_many_owned(count)
            .ok()?;
        Some(BytePermit { permit })
    }

    /// Waits, in order of arrival, until `bytes` are there. `None` when the whole budget is smaller.
    pub async fn acquire(&self, bytes: usize) -> Option<BytePermit> {
        if bytes > self.total {
            return None;
        }
        let count = u32::try_from(bytes).ok()?;
        let permit = Arc::clone(&self.semaphore)
            .acquire_many_owned(count)
            .await
            .ok()?;
        Some(BytePermit { permit })
    }

    /// Bytes that can be taken now.
    #[must_use]
    pub fn available(&self) -> usize {
        self.semaphore.available_permits()
    }

    /// The whole budget in bytes.
    #[must_use]
    pub fn total(&self) -> usize {
        self.total
    }
}

impl BytePermit {
    /// Bytes held.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.permit.num_permits()
    }

    /// Takes over `other`, which must be of the same budget.
    pub fn merge(&mut self, other: Self) {
        self.permit.merge(other.permit);
    }

    /// Gives back all above `bytes`: for buffers that turned out smaller than feared.
    pub fn shrink_to(&mut self, bytes: usize) {
        let surplus = self.bytes().saturating_sub(bytes);
        drop(self.permit.split(surplus));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permits_never_sum_above_the_budget() {
        let budget = ByteBudget::new(100);
        let mut first = budget.try_acquire(60).unwrap();
        assert!(budget.try_acquire(41).is_none());
        first.shrink_to(10);
        assert_eq!((first.bytes(), budget.available()), (10, 90));
        let mut second = budget.try_acquire(80).unwrap();
        second.merge(budget.try_acquire(10).unwrap());
        assert_eq!(second.bytes(), 90);
        assert!(budget.try_acquire(1).is_none());
        drop((first, second));
        assert_eq!(budget.available(), budget.total());
    }

    #[tokio::test]
    async fn what_can_never_fit_is_refused_instead_of_waited_for() {
        let budget = ByteBudget::new(10);
        assert!(budget.acquire(11).await.is_none());
        assert!(budget.acquire(10).await.is_some());
    }
}
