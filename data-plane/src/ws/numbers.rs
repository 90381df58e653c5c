//! What binary messages call a topic: a number, the same on all sockets of a process, so that they can
//! share the messages.
//!
//! Invariant: a number never means another topic, and a topic never gets a second number while it
//! lives.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use tidegate_proto::control::Topology;
use tidegate_proto::id::TopicId;

#[derive(Debug, Default)]
pub(crate) struct TopicNumbers(Mutex<Numbers>);

#[derive(Debug, Default)]
struct Numbers {
    by_topic: HashMap<TopicId, u32>,
    last: u32,
    /// When there are more than this, those of deleted topics are looked for.
    swept_above: usize,
}

impl TopicNumbers {
    /// The number of a topic, given now if it has none.
    pub(crate) fn of(&self, topic: TopicId, topology: &Topology) -> u32 {
        // A panic while it was held can only have left a number unused.
        let mut numbers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(number) = numbers.by_topic.get(&topic) {
            return *number;
        }
        if numbers.by_topic.len() > numbers.swept_above {
            numbers
                .by_topic
                .retain(|topic, _| topology.topic_by_id(*topic).is_some());
            numbers.swept_above = 2 * numbers.by_topic.len() + SWEPT_ABOVE_MIN;
        }
        // Four thousand million topics of one process.
        numbers.last = numbers.last.wrapping_add(1);
        let number = numbers.last;
        numbers.by_topic.insert(topic, number);
        number
    }
}

/// So few numbers are not worth a look: some 50 bytes each.
const SWEPT_ABOVE_MIN: usize = 1_000;

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_topic_keeps_its_number_and_deleted_ones_are_forgotten() {
        let numbers = TopicNumbers::default();
        let empty = Topology::default();
        let topic = |number: u128| TopicId(Uuid::from_u128(number));
        let first = numbers.of(topic(1), &empty);
        assert_eq!(numbers.of(topic(1), &empty), first);
        let mut seen = std::collections::HashSet::from([first]);
        for number in 2..10_000 {
            assert!(seen.insert(numbers.of(topic(number), &empty)));
            assert!(numbers.0.lock().unwrap().by_topic.len() <= SWEPT_ABOVE_MIN + 2);
        }
    }
}
