//! The tails that a socket follows, and the partitions that it waits for.
//!
//! Each is a future of the socket's loop, dropped when its positions are no longer of interest.

use tidegate_proto::position::ReplicaKey;
use tokio::time::sleep;

use super::Pump;
use crate::opening::Absent;
use crate::ws::consume::{self, Opened};
use crate::ws::effect::{Input, Of};
use crate::ws::limits::RETRY_AFTER;
use crate::ws::wake::{Done, Followed};

impl Pump {
    pub(super) fn follow_all(&mut self, of: &Of, opened: Opened) {
        for (key, tail) in opened.tails {
            self.follow(Followed {
                of: of.clone(),
                key,
                tail,
                is_open: true,
            });
        }
    }

    /// Waits for a tail to move.
    pub(super) fn follow(&mut self, mut followed: Followed) {
        self.spawn(followed.of.generation, async move {
            followed.is_open = followed.tail.changed().await.is_ok();
            Done::Tail(followed)
        });
    }

    /// Finds a tail that was not there, or went away: partitions move and come up late. A deleted
    /// topic ends the wait through the topology.
    pub(super) fn follow_again(&mut self, of: &Of, key: ReplicaKey) {
        let data = self.sockets.data.clone();
        let of = of.clone();
        self.spawn(of.generation, async move {
            loop {
                match data.partitions().tail(key).await {
                    Ok(tail) => {
                        return Done::Tail(Followed {
                            of,
                            key,
                            tail,
                            is_open: true,
                        });
                    }
                    Err(_) => sleep(RETRY_AFTER).await,
                }
            }
        });
    }

    /// Waits until a partition can be reached.
    pub(super) fn wait_for(&mut self, of: Of, absent: Absent) {
        let sockets = std::sync::Arc::clone(&self.sockets);
        self.spawn(of.generation, async move {
            match consume::join(&sockets, &of.topic, absent).await {
                Some(Ok(present)) => Done::Joined { of, present },
                Some(Err(problem)) => Done::Input(Input::Refused { of, problem }),
                None => Done::Nothing,
            }
        });
    }
}
