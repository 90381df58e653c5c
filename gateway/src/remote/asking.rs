//! A question to a leader: asked again until somebody answers, or time is over.

use tidegate_kit::budget::BytePermit;
use tidegate_kit::clock;
use tidegate_proto::error::{ErrorCode, Problem};
use tidegate_proto::position::ReplicaKey;
use tidegate_proto::private::ask::{Ask, Question, Reply};
use tokio::time::timeout;

use super::RemotePartitions;
use super::dial::until;
use super::limits::{ASK_DEADLINE, RETRY_PAUSE_MIN};
use super::line::AskFault;
use super::retry::{is_passing, unreachable};

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
                    match timeout(until(deadline), asked).await {
                        Ok(Ok(reply)) => {
                            unit.presence.answers();
                            return Ok(reply);
                        }
                        Ok(Err(AskFault::Refused(problem))) => {
                            unit.presence.answers();
                            (problem, true)
                        }
                        Ok(Err(AskFault::Way(reason))) => (unreachable(&reason), false),
                        Err(_) => return Err(unreachable("it does not answer")),
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
}
