//! Passes on to the holder of the lease what other controllers hear from storage units, and gets from him
//! what all of them hear.
//!
//! A unit talks to one controller, whichever it reaches; only the holder judges who is silent. Each of
//! the others sends him the newest heartbeat of each unit a few times within the shortest time-out, with
//! its age, so that the way takes nothing off the unit's time. Each also asks him for what changed, so
//! that any of them answers for every unit, and a new holder begins with what the last one knew.

use std::fmt;
use std::sync::Arc;

use tidegate_kit::clock;
use tidegate_kit::tasks::{TaskKind, Tasks};
use tidegate_proto::control::{RelayRequest, RelayedHeartbeat, Reports, ReportsQuery};
use tidegate_proto::error::{ErrorCode, Problem};
use tokio_util::sync::CancellationToken;
use tracing::Span;

use super::Controller;
use super::holder::Lease;
use super::reports::{age_ms, before};
use super::roster::Heard;
use crate::limits::{RELAY, RELAY_STATUSES_MAX, RELAY_TIMEOUT, REPORTS_PARTS_MAX, REPORTS_PULL};
use crate::store::BoxFuture;

/// The way to the controller that holds the lease.
pub trait HolderLink: fmt::Debug + Send + Sync + 'static {
    /// Hands that over to the controller at `address` (`host:port` of its private listener).
    fn relay<'a>(
        &'a self,
        address: &'a str,
        request: RelayRequest,
    ) -> BoxFuture<'a, Result<(), Problem>>;

    /// Asks the controller at `address` what it heard.
    fn reports<'a>(
        &'a self,
        address: &'a str,
        query: ReportsQuery,
    ) -> BoxFuture<'a, Result<Reports, Problem>>;
}

impl Controller {
    /// Passes on to the holder of the lease what units tell this controller; to be called once in a
    /// cluster of several.
    pub fn relay_over(&self, link: Arc<dyn HolderLink>, tasks: &Tasks) {
        let relaying = self.clone().relay(link, tasks.token());
        tasks.spawn(TaskKind::Watch, Span::current(), relaying);
    }

    async fn relay(self, link: Arc<dyn HolderLink>, stop: CancellationToken) {
        let mut place = ReportsQuery::default();
        let mut pulled = clock::monotonic();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(RELAY) => {}
            }
            let address = match &*self.shared.lease.borrow() {
                Lease::Theirs(Some(holder)) => holder.address.clone(),
                Lease::Theirs(None) | Lease::Unknown | Lease::Ours { .. } => None,
            };
            let Some(address) = address else {
                continue;
            };
            self.pass_on(&*link, &address).await;
            let now = clock::monotonic();
            if now.saturating_duration_since(pulled) >= REPORTS_PULL {
                pulled = now;
                self.pull(&*link, &address, &mut place).await;
            }
        }
    }

    /// Gets what the holder heard since the last time.
    async fn pull(&self, link: &dyn HolderLink, address: &str, place: &mut ReportsQuery) {
        for _ in 0..REPORTS_PARTS_MAX {
            let asked_at = clock::monotonic();
            let asked = link.reports(address, *place);
            let problem = match tokio::time::timeout(RELAY_TIMEOUT, asked).await {
                Ok(Ok(reports)) => {
                    self.shared.roster.take(&self.model(), &reports, asked_at);
                    *place = ReportsQuery {
                        source: Some(reports.source),
                        after: reports.upto,
                    };
                    if reports.has_more {
                        continue;
                    }
                    return;
                }
                Ok(Err(problem)) => problem.detail().to_owned(),
                Err(_) => "no answer in time".to_owned(),
            };
            tracing::debug!(problem, address, "the holder of the lease did not tell");
            return;
        }
    }

    /// What this controller knows of the units, for the others.
    ///
    /// # Errors
    /// 503 when it does not hold the lease, and so does not hear everything.
    pub fn reports(&self, query: ReportsQuery) -> Result<Reports, Problem> {
        if !self.holds_lease() {
            return Err(not_the_holder());
        }
        Ok(self.shared.roster.reports(query))
    }

    /// Passes on what was heard since the last time; what does not arrive is kept for the next.
    async fn pass_on(&self, link: &dyn HolderLink, address: &str) {
        let mut parts = in_parts(self.shared.roster.take_outbox()).into_iter();
        while let Some(part) = parts.next() {
            let sent = link.relay(address, request(&part));
            let problem = match tokio::time::timeout(RELAY_TIMEOUT, sent).await {
                Ok(Ok(())) => continue,
                Ok(Err(problem)) => problem.detail().to_owned(),
                Err(_) => "no answer in time".to_owned(),
            };
            tracing::debug!(problem, address, "the holder of the lease was not told");
            for heard in part.into_iter().chain(parts.flatten()) {
                self.shared.roster.keep(heard);
            }
            return;
        }
    }

    /// Takes in what another controller heard. Whatever one unit said, the others were heard: of too many
    /// statuses the roster keeps the first.
    ///
    /// # Errors
    /// 503 when this controller does not hold the lease, or is about to give it back.
    pub async fn take_relayed(&self, request: RelayRequest) -> Result<(), Problem> {
        if !self.holds_lease() {
            return Err(not_the_holder());
        }
        self.takes_units()?;
        let at = clock::monotonic();
        let model = self.model();
        for relayed in request.heartbeats {
            let RelayedHeartbeat {
                heartbeat,
                age_ms,
                first_beat,
            } = relayed;
            let heard = Heard {
                first_beat: if first_beat == 0 {
                    heartbeat.beat
                } else {
                    first_beat
                },
                heartbeat,
                at: before(at, age_ms),
            };
            self.shared.roster.hear(&model, &heard);
            if let Some(seen) = heard.heartbeat.seen {
                let who = format!("storage unit {}", heard.heartbeat.spu_id);
                self.witness(&who, seen).await;
            }
        }
        Ok(())
    }
}

fn not_the_holder() -> Problem {
    let detail = "this controller does not hold the lease";
    Problem::new(ErrorCode::Unavailable, detail)
}

/// In parts of a bounded size.
fn in_parts(all: Vec<Heard>) -> Vec<Vec<Heard>> {
    let mut parts: Vec<Vec<Heard>> = Vec::new();
    let mut statuses = RELAY_STATUSES_MAX;
    for heard in all {
        let count = heard.heartbeat.statuses.len();
        statuses += count;
        if statuses > RELAY_STATUSES_MAX || parts.is_empty() {
            parts.push(Vec::new());
            statuses = count;
        }
        if let Some(part) = parts.last_mut() {
            part.push(heard);
        }
    }
    parts
}

fn request(part: &[Heard]) -> RelayRequest {
    let now = clock::monotonic();
    let heartbeats = part.iter().map(|heard| RelayedHeartbeat {
        heartbeat: heard.heartbeat.clone(),
        age_ms: age_ms(now, heard.at),
        first_beat: heard.first_beat,
    });
    RelayRequest {
        heartbeats: heartbeats.collect(),
    }
}
