//! Produce over the socket: the path that REST uses, with the frame's fields in place of a request.
//!
//! The answer is the REST body, which becomes the rest of the `ack`. Nothing here batches or chooses.

use serde::Serialize;
use serde_json::{Map, Value};
use tidegate_kit::auth::Principal;
use tidegate_kit::budget::ByteBudget;
use tidegate_proto::error::{ErrorCode, Problem};

use super::limits::SOCKET_FREE_BYTES;
use super::protocol::{ProduceOp, Records};
use crate::append::{Produced, append_body, append_json};
use crate::plan::AppendOptions;
use crate::state::DataPlane;
use crate::topics::{find_topic, may_produce};

/// Appends the records of one message.
///
/// # Errors
/// As `POST /v1/topics/{topic}/records` answers; 503 `overloaded` when `memory` has no room for it.
pub(crate) async fn produce(
    data: &DataPlane,
    memory: &ByteBudget,
    principal: &Principal,
    op: ProduceOp,
) -> Result<Map<String, Value>, Problem> {
    may_produce(principal, &op.topic)?;
    let _held = match op.bytes() {
        bytes if bytes > SOCKET_FREE_BYTES => {
            Some(memory.try_acquire(bytes).ok_or_else(overloaded)?)
        }
        _ => None,
    };
    let topic = find_topic(data, &op.topic)?;
    let options = AppendOptions::asked(&topic, op.partition, op.acks, op.timeout_ms)?;
    let produced = match op.records {
        Records::Json(records) => append_json(data, &topic, &options, records.get()).await?,
        Records::Batches(batches) => append_body(data, &topic, &options, batches).await?,
    };
    match produced {
        Produced::Answer { answer, .. } => body(&answer),
        Produced::Results(results) => body(&results),
    }
}

fn overloaded() -> Problem {
    let detail = "too many large messages at once; nothing of this one was appended";
    Problem::new(ErrorCode::Overloaded, detail).retry_after(1)
}

fn body(answer: &impl Serialize) -> Result<Map<String, Value>, Problem> {
    match serde_json::to_value(answer) {
        Ok(Value::Object(body)) => Ok(body),
        _ => Err(Problem::new(
            ErrorCode::Internal,
            "the answer is no JSON object",
        )),
    }
}
