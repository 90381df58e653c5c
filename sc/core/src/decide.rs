//! The one door: a request and a model go in, a decision or a refusal comes out.
//!
//! A function of its arguments: time is `now_ms`, randomness is `seed`. The caller makes the changes
//! under their versions and asks again on a newer model when one of them lost.

use tidegate_proto::id::Incarnation;
use uuid::Uuid;

use crate::admit::{create_topic, delete_topic, ensure_topic};
use crate::decision::{Decision, Request};
use crate::ids::Ids;
use crate::model::Model;
use crate::refusal::Refusal;
use crate::register::{granted, register};
use crate::truncate::truncate_topic;

/// What to do about `request` in the state `model`, at `now_ms`; new ids follow from `seed`.
pub fn decide(
    model: &Model,
    now_ms: i64,
    seed: Uuid,
    request: &Request,
) -> Result<Decision, Refusal> {
    let mut ids = Ids::new(seed);
    match request {
        Request::CreateTopic(write) => create_topic(model, now_ms, &mut ids, write),
        Request::EnsureTopic(write) => ensure_topic(model, now_ms, &mut ids, write),
        Request::DeleteTopic { name, if_match } => delete_topic(model, name, if_match.as_ref()),
        Request::TruncateTopic(write) => truncate_topic(model, write),
        Request::Register(report) => Ok(register(model, &mut ids, report)),
    }
}

impl Decision {
    /// The incarnation granted, when this is a registration.
    #[must_use]
    pub fn incarnation(&self) -> Option<Incarnation> {
        granted(&self.changes)
    }
}
