//! Tells on standard error which partitions cannot be reached, and which are back.
//!
//! One line for each that goes or comes; the records of the others go on meanwhile.

use tidegate_client::{AwayPartitions, Consumer};
use tokio::sync::watch;

use crate::output;

/// What was told so far.
pub(super) struct Absence {
    away: watch::Receiver<AwayPartitions>,
    told: AwayPartitions,
    is_quiet: bool,
}

impl Absence {
    pub(super) fn new(consumer: &Consumer, is_quiet: bool) -> Self {
        Self {
            away: consumer.away(),
            told: AwayPartitions::new(),
            is_quiet,
        }
    }

    /// Ends when there is something to tell.
    pub(super) async fn changed(&mut self) {
        if self.is_quiet || self.away.changed().await.is_err() {
            std::future::pending().await
        }
    }

    pub(super) fn tell(&mut self) {
        let away = self.away.borrow_and_update().clone();
        lines(&self.told, &away).for_each(|line| output::say(&line));
        self.told = away;
    }
}

fn lines<'a>(
    before: &'a AwayPartitions,
    now: &'a AwayPartitions,
) -> impl Iterator<Item = String> + 'a {
    let gone = now.iter().filter(|(one, _)| !before.contains_key(one));
    let gone = gone.map(|(one, why)| format!("partition {one} is away, the others go on: {why}"));
    let back = before.keys().filter(|one| !now.contains_key(one));
    gone.chain(back.map(|one| format!("partition {one} is back")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_client::PartitionId;

    #[test]
    fn each_partition_that_goes_or_comes_is_told_once() {
        let away = |of: &[u32]| -> AwayPartitions {
            let why = |one: &u32| (PartitionId(*one), "gone".to_owned());
            of.iter().map(why).collect()
        };
        let told: Vec<_> = lines(&away(&[1, 2]), &away(&[2, 3])).collect();
        assert_eq!(
            told,
            [
                "partition 3 is away, the others go on: gone",
                "partition 1 is back"
            ]
        );
    }
}
