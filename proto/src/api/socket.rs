//! WebSocket frames of the JSON subprotocol, and the close codes.
//!
//! One JSON object per text message: the client's carry `op`, the server's `ev`. The structs here
//! are the shapes that both sides and the published schema share. Reading what a client sent, with
//! an exact pointer to what is wrong, is the server's business and is not done here.
//!
//! Invariant: a [`RecordsFrame`] has no field of one subscriber, so that it can be encoded once and
//! shared by all of them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::api::away::{Away, Back};
use crate::api::records::FetchedRecord;
use crate::compression::Codec;
use crate::error::Problem;

/// Subprotocol with one JSON object per message; the default when none is offered.
pub const SUBPROTOCOL_JSON: &str = "tidegate.v1.json";
/// Subprotocol that carries stored batches as binary messages.
pub const SUBPROTOCOL_BATCH: &str = "tidegate.v1.batch";
/// A ticket is offered as a further subprotocol with this prefix and is never echoed.
pub const SUBPROTOCOL_TICKET_PREFIX: &str = "ticket.";

/// Why the server closed a socket. 3000-3499: reconnect with the last cursor; 3500-3999: do not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CloseCode {
    /// The server stops or moves; a `drain` frame with cursors came before.
    Drain,
    /// Nothing could be written for too long.
    SlowConsumer,
    /// No sign of life from the client.
    Idle,
    Internal,
    /// Not a message of the subprotocol that was agreed on.
    Protocol,
    CredentialExpired,
    Forbidden,
    TopicDeleted,
    TooLarge,
}

impl CloseCode {
    pub const ALL: [CloseCode; 9] = [
        CloseCode::Drain,
        CloseCode::SlowConsumer,
        CloseCode::Idle,
        CloseCode::Internal,
        CloseCode::Protocol,
        CloseCode::CredentialExpired,
        CloseCode::Forbidden,
        CloseCode::TopicDeleted,
        CloseCode::TooLarge,
    ];

    /// The number in the close frame.
    pub fn number(self) -> u16 {
        match self {
            CloseCode::Drain => 1012,
            CloseCode::SlowConsumer => 3000,
            CloseCode::Idle => 3001,
            CloseCode::Internal => 3002,
            CloseCode::Protocol => 3500,
            CloseCode::CredentialExpired => 3501,
            CloseCode::Forbidden => 3502,
            CloseCode::TopicDeleted => 3503,
            CloseCode::TooLarge => 3504,
        }
    }

    /// The reason text in the close frame.
    pub fn reason(self) -> &'static str {
        match self {
            CloseCode::Drain => "drain",
            CloseCode::SlowConsumer => "slow_consumer",
            CloseCode::Idle => "idle",
            CloseCode::Internal => "internal",
            CloseCode::Protocol => "protocol",
            CloseCode::CredentialExpired => "credential_expired",
            CloseCode::Forbidden => "forbidden",
            CloseCode::TopicDeleted => "topic_deleted",
            CloseCode::TooLarge => "too_large",
        }
    }

    pub fn from_number(number: u16) -> Option<CloseCode> {
        Self::ALL.into_iter().find(|code| code.number() == number)
    }

    /// Whether a client should connect again by itself.
    pub fn may_reconnect(self) -> bool {
        self.number() < 3500
    }
}

/// `POST /v1/ws-tickets`: what the ticket may be used for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct TicketRequest {
    /// Topics that the ticket is good for, at least one.
    #[cfg_attr(feature = "openapi", schema(min_items = 1))]
    pub topics: Vec<String>,
    /// Any of `consume` and `produce`, at least one; default both that the caller holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(min_items = 1))]
    pub ops: Option<Vec<String>>,
    /// Seconds, 1 to 30; default 30.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(minimum = 1, maximum = 30))]
    pub ttl_s: Option<u32>,
}

/// A ticket: good once, offered as subprotocol `ticket.<ticket>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TicketAnswer {
    pub ticket: String,
    /// Epoch milliseconds.
    pub expires_at: i64,
}

/// What may be outstanding; an absent field is not limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Credit {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub records: Option<u64>,
    /// Bytes of messages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
}

/// Starts a subscription; a socket holds one per topic. Answered by `subscribed` or `error`.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Subscribe {
    /// The client's own number, repeated in the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<u32>,
    pub topic: String,
    /// Default: all, those added later too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partitions: Option<Vec<u32>>,
    /// `earliest`, `latest` (default), an offset, `-n` from the end, or `@<epoch ms>`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// One cursor, or several that are merged. Not together with `from`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<Vec<String>>,
    /// Default: no limit but what the connection takes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credit: Option<Credit>,
    /// Batch subprotocol: codecs that the client reads, the best liked first; batches in others come in
    /// that one. `none` is always understood. Default: batches come as they were stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub codecs: Option<Vec<Codec>>,
    /// What happens when records wait for longer than some seconds because the client does not take them, or
    /// gives no credit, although it had kept up before. `block` (default): they wait. `drop`: the
    /// subscription goes on at the end. `sample`: it gets one frame of sixteen. `latest_per_key`: of what is
    /// read at one time, the last record of each key, and all without a key. `disconnect`: the socket is
    /// closed with 3000. What `drop` and `sample` leave out is told by `gap` frames with the reason `slow`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_slow: Option<String>,
}

/// Adds to the credit of a subscription.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct GrantCredit {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<u32>,
    pub topic: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub records: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
}

/// Names a subscription: `pause`, `resume`, `unsubscribe`. Answered by `ack` when it has an id.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct OfTopic {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<u32>,
    pub topic: String,
}

/// Moves a subscription. Answered by `subscribed`; no record of the old place comes after that.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Seek {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<u32>,
    pub topic: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<Vec<String>>,
}

/// Appends records; answered by `ack` with the body that `POST /v1/topics/{t}/records` gives.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Produce {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<u32>,
    pub topic: String,
    /// Default: by each record's key or own `partition`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partition: Option<u32>,
    /// `none`, `leader` or `quorum`; default the topic's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub acks: Option<String>,
    /// Milliseconds; default 10,000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// The array of records as the REST body has it, as JSON text.
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<crate::api::records::ProduceRecord>))]
    pub records: Box<RawValue>,
}

/// A fresh credential for a socket that outlives its first one.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Reauthenticate {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<u32>,
    pub token: String,
}

/// What a client may send.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum ClientFrame {
    Subscribe(Subscribe),
    Credit(GrantCredit),
    Pause(OfTopic),
    Resume(OfTopic),
    Seek(Seek),
    Unsubscribe(OfTopic),
    Produce(Produce),
    Auth(Reauthenticate),
}

impl ClientFrame {
    /// The text message.
    pub fn encode(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string(self)
    }
}

/// A subscription stands, or has moved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Subscribed {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<u32>,
    pub topic: String,
    pub partitions: Vec<u32>,
    /// Where it starts, all partitions.
    pub cursor: String,
    /// Batch subprotocol: what its binary messages call the topic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic_number: Option<u32>,
}

/// Records of one partition, in offset order. Encoded once, shared by all subscribers.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RecordsFrame {
    pub topic: String,
    pub partition: u32,
    /// Behind the last record, of this partition alone; cursors can be given several at a time.
    pub cursor: String,
    pub records: Vec<FetchedRecord>,
}

/// All that there was has been sent, but for partitions that are `away`: once after a subscribe, seek or
/// resume, and once more after each `back`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CaughtUp {
    pub topic: String,
    pub cursor: String,
}

/// Offsets `from..to` can no longer be read; the subscription goes on at `to`, which is below `from`
/// where the partition came back shorter than what was sent of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Gap {
    pub topic: String,
    pub partition: u32,
    pub from: u64,
    pub to: u64,
    /// `retention`, `truncation`, or `slow` when the subscription asked for it.
    pub reason: String,
}

/// An operation is done; for `produce`, with the REST body beside the id.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Ack {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<u32>,
    #[serde(flatten)]
    #[cfg_attr(feature = "openapi", schema(value_type = Object))]
    pub body: serde_json::Map<String, serde_json::Value>,
}

/// An operation was refused, or a subscription ended. The socket stays open.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ErrorFrame {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
    /// The problem object of RFC 9457, as REST answers it.
    pub error: Problem,
}

/// The high watermarks of all that is subscribed, by topic and partition: lag for free.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Ping {
    pub tails: BTreeMap<String, BTreeMap<u32, u64>>,
}

/// The server is about to close; connect again after a while, with the cursors.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Drain {
    pub retry_after_ms: u64,
    /// By topic.
    pub cursors: BTreeMap<String, String>,
}

/// What the server may send.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(tag = "ev", rename_all = "snake_case")]
pub enum ServerFrame {
    Subscribed(Subscribed),
    Records(RecordsFrame),
    CaughtUp(CaughtUp),
    Gap(Gap),
    Away(Away),
    Back(Back),
    Ack(Ack),
    Error(ErrorFrame),
    Ping(Ping),
    Drain(Drain),
}

/// How every records frame begins; also lets a client tell the common frame without parsing it twice.
pub const RECORDS_FRAME_PREFIX: &str = r#"{"ev":"records","#;

#[derive(Deserialize)]
struct Tag {
    ev: String,
}

impl ServerFrame {
    /// Reads a text message. `None` for an `ev` of a newer server, which a client should ignore.
    pub fn parse(text: &str) -> Result<Option<ServerFrame>, serde_json::Error> {
        if text.starts_with(RECORDS_FRAME_PREFIX) {
            return Ok(Some(ServerFrame::Records(serde_json::from_str(text)?)));
        }
        let tag: Tag = serde_json::from_str(text)?;
        Ok(Some(match tag.ev.as_str() {
            "subscribed" => ServerFrame::Subscribed(serde_json::from_str(text)?),
            "records" => ServerFrame::Records(serde_json::from_str(text)?),
            "caught_up" => ServerFrame::CaughtUp(serde_json::from_str(text)?),
            "gap" => ServerFrame::Gap(serde_json::from_str(text)?),
            "away" => ServerFrame::Away(serde_json::from_str(text)?),
            "back" => ServerFrame::Back(serde_json::from_str(text)?),
            "ack" => {
                let mut ack: Ack = serde_json::from_str(text)?;
                ack.body.remove("ev");
                ServerFrame::Ack(ack)
            }
            "error" => ServerFrame::Error(serde_json::from_str(text)?),
            "ping" => ServerFrame::Ping(serde_json::from_str(text)?),
            "drain" => ServerFrame::Drain(serde_json::from_str(text)?),
            _ => return Ok(None),
        }))
    }

    /// The text message.
    pub fn encode(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn close_codes_tell_whether_to_reconnect() {
        for code in CloseCode::ALL {
            assert_eq!(CloseCode::from_number(code.number()), Some(code));
            assert!(!code.reason().is_empty());
        }
        assert!(CloseCode::Drain.may_reconnect());
        assert!(CloseCode::Internal.may_reconnect());
        assert!(!CloseCode::Protocol.may_reconnect());
        assert_eq!(CloseCode::from_number(1000), None);
    }

    #[test]
    fn server_frames_come_back_as_they_were_sent() {
        let frames = [
            r#"{"ev":"subscribed","id":7,"topic":"t","partitions":[0,1],"cursor":"c"}"#,
            r#"{"ev":"caught_up","topic":"t","cursor":"c"}"#,
            r#"{"ev":"gap","topic":"t","partition":0,"from":1,"to":9,"reason":"retention"}"#,
            r#"{"ev":"ack","id":3,"durable":"quorum"}"#,
            r#"{"ev":"ping","tails":{"t":{"0":12}}}"#,
            r#"{"ev":"drain","retry_after_ms":500,"cursors":{"t":"c"}}"#,
        ];
        for text in frames {
            let frame = ServerFrame::parse(text).unwrap().unwrap();
            assert_eq!(frame.encode().unwrap(), text);
        }
    }

    #[test]
    fn a_frame_of_a_newer_server_is_not_an_error() {
        assert!(
            ServerFrame::parse(r#"{"ev":"assigned","topic":"t"}"#)
                .unwrap()
                .is_none()
        );
        assert!(ServerFrame::parse("{}").is_err());
    }

    #[test]
    fn client_frames_carry_their_op_first() {
        let frame = ClientFrame::Subscribe(Subscribe {
            id: Some(1),
            topic: "t".into(),
            from: Some("earliest".into()),
            ..Subscribe::default()
        });
        let text = frame.encode().unwrap();
        assert_eq!(
            text,
            r#"{"op":"subscribe","id":1,"topic":"t","from":"earliest"}"#
        );
    }
}
