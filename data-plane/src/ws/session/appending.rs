//! The producing half of a session: what is under way, and what becomes of it.
//!
//! Records are not looked at here. Invariant: what is counted as in flight comes back as one
//! `Input::Produced`.

use bytes::Bytes;
use serde_json::{Map, Value};
use tidegate_proto::api::socket::{Ack, CloseCode, ServerFrame};
use tidegate_proto::error::Problem;

use super::Session;
use crate::ws::effect::{Effect, Effects, Speech};
use crate::ws::protocol::{self, ProduceOp, encode, error_text};

impl Session {
    /// Binary messages are produces, in the subprotocol that has them.
    pub(super) fn read_binary(&mut self, message: &Bytes, out: &mut Effects) {
        if self.speech == Speech::Json {
            self.close(CloseCode::Protocol, out);
            return;
        }
        match protocol::parse_binary(message) {
            Ok(produce) => self.produce(produce, out),
            Err(refused) => {
                out.push(Effect::Send(error_text(refused.id, None, refused.problem)));
            }
        }
    }

    pub(super) fn produce(&mut self, produce: ProduceOp, out: &mut Effects) {
        self.produces_in_flight += 1;
        self.produce_bytes_in_flight += produce.bytes();
        out.push(Effect::Produce(produce));
    }

    pub(super) fn produced(
        &mut self,
        id: Option<u32>,
        bytes: usize,
        outcome: Result<Map<String, Value>, Problem>,
        out: &mut Effects,
    ) {
        self.produces_in_flight -= 1;
        self.produce_bytes_in_flight -= bytes;
        match outcome {
            Ok(body) => out.push(Effect::Send(encode(&ServerFrame::Ack(Ack { id, body })))),
            Err(problem) => out.push(Effect::Send(error_text(id, None, problem))),
        }
        if self.draining && self.produces_in_flight == 0 {
            self.close(CloseCode::Drain, out);
        }
    }
}
