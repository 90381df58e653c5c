//! What is asked of a controller: commands to its task, and their answers.
//!
//! Invariant: an answer tells the truth about what was done; when nobody knows, it says so.

use std::fmt;
use std::sync::Arc;

use tidegate_kit::clock;
use tidegate_proto::api::topic::Setting;
use tidegate_proto::error::{ErrorCode, Problem};
use tidegate_proto::id::{Incarnation, SpuId};
use tidegate_sc_core::decide::decide;
use tidegate_sc_core::decision::{Decision, Request};
use tidegate_sc_core::limits::REPLICATION_FACTOR_DEFAULT;
use tidegate_sc_core::model::Model;
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use super::Controller;
use crate::limits::RECEIPT_KEPT_MS;
use crate::metrics;
use crate::store::Receipt;

/// Who asked for a change, for the record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    pub actor: String,
    pub request_id: String,
}

/// A decision that was carried out, and the state with it.
#[derive(Debug, Clone)]
pub struct Decided {
    pub decision: Decision,
    pub model: Arc<Model>,
}

/// Makes the answer of a decision and the state with it.
pub type Shape = dyn Fn(&Decision, &Model) -> String + Send + Sync;

/// Makes the answer of a refusal.
pub(super) type ShapeRefusal = fn(&Problem) -> String;

/// A request that is carried out once, however often it is sent under its key.
#[derive(Clone)]
pub struct Once {
    pub principal: String,
    /// As the client gave it.
    pub key: String,
    /// SHA-256 of the request: the same key with another request is refused.
    pub request_hash: [u8; 32],
    /// The answer to a decision, from the state with it; kept as it is.
    pub answer: Arc<Shape>,
    /// The answer to a refusal for good, which is kept too: a twin of the request that was sent before and
    /// arrives later must not be carried out when its sender was told that it was refused.
    pub refusal: ShapeRefusal,
}

impl fmt::Debug for Once {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Once")
            .field("principal", &self.principal)
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}

/// The one answer to a request with a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered {
    pub text: String,
    /// It was given before, and nothing was done now.
    pub is_repeat: bool,
}

#[derive(Debug)]
pub(super) struct Command {
    pub(super) request: Request,
    pub(super) origin: Origin,
    /// Of a unit that registers: the registration that was the last one when it asked.
    pub(super) last: Option<Incarnation>,
    pub(super) reply: Reply,
}

/// What the asker wants to hear.
#[derive(Debug)]
pub(super) enum Reply {
    Decided(oneshot::Sender<Result<Decided, Problem>>),
    Once(Once, oneshot::Sender<Result<Answered, Problem>>),
}

impl Command {
    /// Nothing is done about it.
    pub(super) fn refuse(self, problem: Problem) {
        // Nobody may be listening any more.
        match self.reply {
            Reply::Decided(reply) => drop(reply.send(Err(problem))),
            Reply::Once(_, reply) => drop(reply.send(Err(problem))),
        }
    }
}

impl Controller {
    /// Decides on a request and carries the decision out.
    ///
    /// # Errors
    /// Refusals as they are; 503 when the queue is full, the store fails or the controller stops; 504
    /// when nobody knows whether it was done.
    pub async fn change(&self, request: Request, origin: Origin) -> Result<Decided, Problem> {
        let (reply, answer) = oneshot::channel();
        self.command(request, origin, Reply::Decided(reply))?;
        // The task answers every command it takes; without an answer it was stopped half-way.
        answer.await.unwrap_or_else(|_| Err(half_way()))
    }

    /// The same once: a repeat of the request under its key does nothing and gets the first answer. A
    /// refusal that depends on the state and is not worth a retry is such an answer too.
    ///
    /// # Errors
    /// What is not kept: 409 when the key was used for another request, 503 and 504 as of
    /// [`Controller::change`].
    pub async fn change_once(
        &self,
        request: Request,
        origin: Origin,
        once: Once,
    ) -> Result<Answered, Problem> {
        let (reply, answer) = oneshot::channel();
        self.command(request, origin, Reply::Once(once, reply))?;
        answer.await.unwrap_or_else(|_| Err(half_way()))
    }

    /// The answer that was kept for that principal and key.
    ///
    /// # Errors
    /// 409 when it was for another request; 503 when the store fails.
    pub async fn answered(
        &self,
        principal: &str,
        key: &str,
        request_hash: [u8; 32],
    ) -> Result<Option<String>, Problem> {
        let store = &self.shared.store;
        let kept = store.receipt(principal, key, clock::now_ms()).await;
        let kept = kept.map_err(|error| {
            metrics::store_failed();
            Problem::from(error)
        })?;
        kept.map(|receipt| answer_of(receipt, request_hash))
            .transpose()
    }

    /// Keeps the answer to a request that nothing was done about: the one that holds then, which is that of
    /// a twin if it was faster.
    ///
    /// # Errors
    /// Those of [`Controller::answered`]; 503 when nothing may be written now.
    pub async fn keep(
        &self,
        principal: &str,
        key: &str,
        request_hash: [u8; 32],
        text: String,
    ) -> Result<Answered, Problem> {
        if let Some(refusal) = self.shared.conditions.now().refusal() {
            return Err(refusal);
        }
        let now_ms = clock::now_ms();
        let receipt = Receipt {
            principal: principal.to_owned(),
            key: key.to_owned(),
            request_hash,
            answer: text,
            expires_at_ms: now_ms + RECEIPT_KEPT_MS,
        };
        let is_first = self.shared.store.put_receipt(&receipt, now_ms).await;
        let is_first = is_first.map_err(|error| {
            metrics::store_failed();
            Problem::from(error)
        })?;
        let kept = match is_first {
            true => None,
            false => self.answered(principal, key, request_hash).await?,
        };
        let is_repeat = kept.is_some();
        let text = kept.unwrap_or(receipt.answer);
        Ok(Answered { text, is_repeat })
    }

    /// The request as this version can carry it out: storage units keep only so many copies of a
    /// partition, and a topic that does not say how many gets no more.
    fn within_reach(&self, mut request: Request) -> Result<Request, Problem> {
        let max = self.shared.settings.replication_factor_max;
        if let Request::CreateTopic(write) | Request::EnsureTopic(write) = &mut request {
            let asked = &mut write.request.replication_factor;
            match *asked {
                Setting::Value(wanted) if wanted > max => {
                    let what = format!(
                        "storage units of this version keep {max} copy of a partition, not {wanted}"
                    );
                    let problem = Problem::new(ErrorCode::NotSupported, what.clone());
                    return Err(problem.at("/replication_factor", what));
                }
                Setting::Value(_) => {}
                Setting::Absent | Setting::Null if max < REPLICATION_FACTOR_DEFAULT => {
                    *asked = Setting::Value(max);
                }
                Setting::Absent | Setting::Null => {}
            }
        }
        if let Request::Reassign { terms, .. }
        | Request::Rebalance { terms }
        | Request::DrainSpu { terms, .. } = &mut request
        {
            // A partition led from its only copy is moved by raising its factor, which operators do.
            terms.can_copy = self.shared.settings.is_alone;
        }
        Ok(request)
    }

    fn command(&self, request: Request, origin: Origin, reply: Reply) -> Result<(), Problem> {
        let request = self.within_reach(request)?;
        if let Some(refusal) = self.shared.conditions.now().refusal() {
            return Err(refusal);
        }
        let last = match &request {
            Request::Register(report) => Some(last_registration(&self.model(), report.spu_id)),
            _ => None,
        };
        let command = Command {
            request,
            origin,
            last,
            reply,
        };
        let sent = self.shared.commands.try_send(command);
        sent.map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => {
                metrics::overloaded();
                let detail = "too many control changes are waiting";
                Problem::new(ErrorCode::Overloaded, detail)
            }
            mpsc::error::TrySendError::Closed(_) => stopping(),
        })
    }

    /// What a request would do now. Nothing is done.
    ///
    /// # Errors
    /// Refusals as they are.
    pub fn preview(&self, request: &Request) -> Result<Decision, Problem> {
        let request = self.within_reach(request.clone())?;
        decide(&self.model(), clock::now_ms(), Uuid::new_v4(), &request).map_err(Problem::from)
    }
}

/// The answer on a receipt, if it is for this request.
pub(super) fn answer_of(receipt: Receipt, request_hash: [u8; 32]) -> Result<String, Problem> {
    if receipt.request_hash == request_hash {
        return Ok(receipt.answer);
    }
    let detail =
        "this Idempotency-Key was used for another request: another path, condition or body";
    Err(Problem::new(ErrorCode::IdempotencyKeyReused, detail))
}

/// The number of the last registration under that id, also of a unit that was removed since.
pub(super) fn last_registration(model: &Model, spu: SpuId) -> Incarnation {
    let row = model.spus.get(&spu);
    row.map_or(Incarnation(0), |row| row.incarnation)
}

fn half_way() -> Problem {
    let detail = "the controller stopped before it answered";
    Problem::new(ErrorCode::OutcomeUnknown, detail)
}

pub(super) fn stopping() -> Problem {
    Problem::new(ErrorCode::Unavailable, "the controller is stopping")
}
