//! What ends a session or a subscription: silence, a drain, a deleted topic, a credential that does
//! not allow it any more.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Map;
use tidegate_proto::api::socket::{CloseCode, Drain, Ping, ServerFrame};
use tidegate_proto::control::Topology;
use tidegate_proto::error::{ErrorCode, Problem};
use tidegate_proto::name::TopicName;

use super::away::look_at;
use super::{Session, acknowledge};
use crate::ws::effect::{Effect, Effects, Of};
use crate::ws::protocol::{encode, error_text};

impl Session {
    pub(super) fn reauthenticated(
        &mut self,
        id: Option<u32>,
        outcome: Result<Vec<TopicName>, Problem>,
        out: &mut Effects,
    ) {
        match outcome {
            Err(problem) => out.push(Effect::Send(error_text(id, None, problem))),
            Ok(denied) => {
                acknowledge(id, Map::new(), out);
                for topic in denied {
                    let problem = Problem::new(
                        ErrorCode::Forbidden,
                        "the fresh credential may not read this topic",
                    );
                    out.push(Effect::Send(error_text(None, Some(&topic), problem)));
                    self.end(&topic, out);
                    if self.home.as_ref() == Some(&topic) {
                        self.close(CloseCode::Forbidden, out);
                        return;
                    }
                }
            }
        }
    }

    pub(super) fn topology_changed(&mut self, topology: &Topology, out: &mut Effects) {
        let mut gone = Vec::new();
        for (name, subscription) in &mut self.subscriptions {
            let Some(topic_id) = subscription.topic_id() else {
                continue;
            };
            match topology.topic(name).filter(|topic| topic.id == topic_id) {
                None => gone.push(name.clone()),
                Some(topic) => {
                    let partitions = topic.partitions.iter().map(|partition| partition.partition);
                    for key in subscription.grow_to(partitions) {
                        let of = Of {
                            topic: name.clone(),
                            generation: subscription.generation,
                        };
                        out.push(Effect::Follow { of, key });
                    }
                    look_at(subscription, topology, topic, out);
                }
            }
        }
        for topic in gone {
            let problem = Problem::new(
                ErrorCode::TopicNotFound,
                format!("topic {topic} was deleted"),
            );
            out.push(Effect::Send(error_text(None, Some(&topic), problem)));
            self.end(&topic, out);
            if self.home.as_ref() == Some(&topic) && self.subscriptions.is_empty() {
                self.close(CloseCode::TopicDeleted, out);
                return;
            }
        }
        for topic in self.topics() {
            self.say_caught_up(&topic, out);
        }
    }

    pub(super) fn tick(&mut self, now: Duration, out: &mut Effects) {
        // While nothing is read the peer cannot be heard: its pongs wait before our door.
        if !self.accepts_input() {
            self.heard_at = now;
        }
        if now.saturating_sub(self.heard_at) >= self.times.idle_after {
            self.close(CloseCode::Idle, out);
            return;
        }
        self.look_for_slow(out);
        if self.closed || now.saturating_sub(self.pinged_at) < self.times.ping_every {
            return;
        }
        self.pinged_at = now;
        let tails: BTreeMap<_, _> = self
            .subscriptions
            .iter()
            .filter(|(_, subscription)| subscription.topic_id().is_some())
            .map(|(topic, subscription)| (topic.as_str().to_owned(), subscription.tails()))
            .collect();
        if !tails.is_empty() {
            out.push(Effect::Send(encode(&ServerFrame::Ping(Ping { tails }))));
        }
        out.push(Effect::Ping);
    }

    pub(super) fn drain(&mut self, retry_after_ms: u64, out: &mut Effects) {
        if self.draining {
            return;
        }
        self.draining = true;
        let cursors = self
            .subscriptions
            .iter()
            .filter_map(|(topic, subscription)| {
                Some((topic.as_str().to_owned(), subscription.cursor()?))
            })
            .collect();
        out.push(Effect::Send(encode(&ServerFrame::Drain(Drain {
            retry_after_ms,
            cursors,
        }))));
        if self.produces_in_flight == 0 {
            self.close(CloseCode::Drain, out);
        }
    }

    /// Ends the wait for produces in flight.
    pub(crate) fn drain_expired(&mut self) -> Effects {
        let mut effects = Effects::new();
        self.close(CloseCode::Drain, &mut effects);
        effects
    }
}
