//! A question to a leader: asked again until somebody answers, or time is over.
//!
//! A unit that hangs keeps its connections and says nothing. Invariant: nobody waits for an answer of one
//! that is away or that leads the partition no more.

use std::pin::pin;
use std::time::Instant;

use tidegate_kit::budget::BytePermit;
use tidegate_kit::clock;
use tidegate_proto::error::{ErrorCode, Problem};
use tidegate_proto::position::ReplicaKey;
use tidegate_proto::private::ask::{Ask, Question, Reply};
use tokio::time::timeout;

use super::RemotePartitions;
use super::dial::until;
use super::limits::{ASK_DEADLINE, AWAY_LOOK_EVERY, RETRY_PAUSE_MIN};
use super::line::AskFault;
use super::retry::{is_passing, unreachable};
use super::route::Route;

impl RemotePartitions {
    /// Asks the leader, whoever it is by then.
    pub(super) async fn ask(
        &self,
        key: ReplicaKey,
        question: Question,
    ) -> Result<(Reply, Option<BytePermit>), Problem> {
        let deadline = clock::monotonic() + ASK_DEADLINE;
        let mut pauses = self.pauses();
        self.retries.earn();
        loop {
            let route = self.routes.find(&self.topology.borrow(), key)?;
            if let Some(problem) = self.away(route) {
                return Err(problem);
            }
            let (problem, has_cost) = match route.leader {
                None => {
                    let detail = "the partition has no leader at this moment";
                    (Problem::new(ErrorCode::NotLeader, detail), false)
                }
                Some(leader) => {
                    let unit = self.units.unit(leader);
                    let ask = Ask {
                        key,
                        leader_epoch: route.leader_epoch,
                        question,
                    };
                    let asked = unit.line.ask(&ask, &self.memory.reads);
                    match self.heard(key, route, deadline, asked).await {
                        Ok(Ok(reply)) => {
                            unit.presence.answers();
                            return Ok(reply);
                        }
                        Ok(Err(AskFault::Refused(problem))) => {
                            unit.presence.answers();
                            (problem, true)
                        }
                        Ok(Err(AskFault::Way(reason))) => (unreachable(&reason), false),
                        Err(problem) => (problem, false),
                    }
                }
            };
            let pause = pauses.next_delay().max(RETRY_PAUSE_MIN);
            if !is_passing(&problem)
                || until(deadline) <= pause
                || (has_cost && !self.retries.spend())
            {
                return Err(problem);
            }
            self.rest(key, route, pause).await;
        }
    }

    /// What the leader on this route said, unless waiting for it has no sense any more.
    async fn heard<T>(
        &self,
        key: ReplicaKey,
        route: Route,
        deadline: Instant,
        asked: impl Future<Output = T>,
    ) -> Result<T, Problem> {
        let mut asked = pin!(asked);
        loop {
            let pause = until(deadline).min(AWAY_LOOK_EVERY);
            if let Ok(told) = timeout(pause, &mut asked).await {
                return Ok(told);
            }
            if let Some(problem) = self.away(route) {
                return Err(problem);
            }
            let now = self.routes.find(&self.topology.borrow(), key)?;
            if now.is_elsewhere(route) {
                let detail = "another one leads the partition by now";
                return Err(Problem::new(ErrorCode::NotLeader, detail));
            }
            if until(deadline).is_zero() {
                return Err(unreachable("it does not answer"));
            }
        }
    }
}
