//! Reads what a client sent: one JSON object into one [`Op`] of domain types, or one binary message into
//! a [`ProduceOp`], or a refusal that carries the client's own id and a pointer to the field at fault.
//!
//! Fields are taken out one by one and what is left over is refused, so that a misspelt field is
//! never silently ignored. What a later version brings (`group`, `filter`, ..) answers
//! `not_supported`. Nothing here knows the state of a session.

use bytes::Bytes;
use serde_json::value::RawValue;
use tidegate_proto::api::binary::ProduceMessage;
use tidegate_proto::api::socket::{Credit, ErrorFrame, ServerFrame};
use tidegate_proto::compression::Codec;
use tidegate_proto::cursor::Cursor;
use tidegate_proto::error::{ErrorCode, Problem};
use tidegate_proto::id::PartitionId;
use tidegate_proto::name::TopicName;
use tidegate_proto::position::StartPosition;
use tidegate_proto::produce::Acks;

use super::fields::{CursorTexts, Fields, StartText, invalid};
use super::limits::{COPIED_BATCHES_BYTES_MAX, CURSORS_MAX};
use super::slow::OnSlow;
use crate::encode::codecs::Codecs;
use crate::position::{Start, parse_cursors};
use crate::topics::parse_name;

/// What `codecs` may name.
pub(crate) const CODECS_WANTED: &str =
    "some of none, gzip, snappy, lz4, zstd, the best liked first";

/// A produce as it came; its records are read by the path that REST uses.
#[derive(Debug)]
pub(crate) struct ProduceOp {
    pub(crate) id: Option<u32>,
    pub(crate) topic: TopicName,
    pub(crate) partition: Option<PartitionId>,
    pub(crate) acks: Option<Acks>,
    pub(crate) timeout_ms: Option<u64>,
    pub(crate) records: Records,
}

/// Records as a client sent them, not looked at yet.
#[derive(Debug)]
pub(crate) enum Records {
    /// A JSON array.
    Json(Box<RawValue>),
    /// Batches, one after the other.
    Batches(Bytes),
}

impl ProduceOp {
    /// What it holds while it is in flight.
    pub(crate) fn bytes(&self) -> usize {
        match &self.records {
            Records::Json(records) => records.get().len(),
            Records::Batches(batches) => batches.len(),
        }
    }
}

/// What a client asks for.
#[derive(Debug)]
pub(crate) enum Op {
    Subscribe {
        id: Option<u32>,
        topic: TopicName,
        partitions: Option<Vec<PartitionId>>,
        at: Start,
        credit: Option<Credit>,
        codecs: Option<Codecs>,
        on_slow: OnSlow,
    },
    Credit {
        id: Option<u32>,
        topic: TopicName,
        credit: Credit,
    },
    Pause {
        id: Option<u32>,
        topic: TopicName,
    },
    Resume {
        id: Option<u32>,
        topic: TopicName,
    },
    Seek {
        id: Option<u32>,
        topic: TopicName,
        at: Start,
    },
    Unsubscribe {
        id: Option<u32>,
        topic: TopicName,
    },
    Produce(ProduceOp),
    Auth {
        id: Option<u32>,
        token: String,
    },
}

/// Why a message was not taken, with the id to answer to when it could be read.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) id: Option<u32>,
    pub(crate) problem: Problem,
}

/// Reads one text message.
pub(crate) fn parse(text: &str) -> Result<Op, Refused> {
    let mut fields = Fields::read(text).map_err(|problem| Refused { id: None, problem })?;
    let mut id = None;
    read_op(&mut fields, &mut id).map_err(|problem| Refused { id, problem })
}

/// The text of an `error` frame.
pub(crate) fn error_text(id: Option<u32>, topic: Option<&TopicName>, problem: Problem) -> String {
    let topic = topic.map(|name| name.as_str().to_owned());
    encode(&ServerFrame::Error(ErrorFrame {
        id,
        topic,
        error: problem,
    }))
}

/// The text of any server frame.
pub(crate) fn encode(frame: &ServerFrame) -> String {
    frame
        .encode()
        .expect("server frames hold only strings, numbers and maps with string keys")
}

fn read_op(fields: &mut Fields<'_>, id: &mut Option<u32>) -> Result<Op, Problem> {
    *id = fields.take("id")?;
    let id = *id;
    let op: String = fields.require("op")?;
    let parsed = match op.as_str() {
        "subscribe" => read_subscribe(fields, id)?,
        "credit" => Op::Credit {
            id,
            topic: fields.topic()?,
            credit: read_grant(fields)?,
        },
        "pause" => Op::Pause {
            id,
            topic: fields.topic()?,
        },
        "resume" => Op::Resume {
            id,
            topic: fields.topic()?,
        },
        "unsubscribe" => Op::Unsubscribe {
            id,
            topic: fields.topic()?,
        },
        "seek" => {
            let topic = fields.topic()?;
            let at = read_start(fields)?.ok_or_else(|| {
                Problem::new(ErrorCode::InvalidParameter, "seek needs `from` or `cursor`")
                    .at("/from", "missing")
            })?;
            Op::Seek { id, topic, at }
        }
        "produce" => read_produce(fields, id)?,
        "auth" => Op::Auth {
            id,
            token: fields.require("token")?,
        },
        "commit" | "nack" => return Err(not_supported("consumer groups", "/op")),
        other => {
            let shown: String = other.chars().take(40).collect();
            return Err(Problem::new(
                ErrorCode::InvalidParameter,
                format!("unknown op \"{shown}\""),
            )
            .at(
                "/op",
                "one of subscribe, credit, pause, resume, seek, unsubscribe, produce, auth",
            ));
        }
    };
    fields.finish()?;
    Ok(parsed)
}

fn read_subscribe(fields: &mut Fields<'_>, id: Option<u32>) -> Result<Op, Problem> {
    for (name, feature) in [
        ("group", "consumer groups"),
        ("filter", "filtered subscriptions"),
    ] {
        if fields.has(name) {
            return Err(not_supported(feature, &format!("/{name}")));
        }
    }
    let mut slow = OnSlow::Block;
    if let Some(on_slow) = fields.take::<String>("on_slow")? {
        let wanted = "one of block, latest_per_key, sample, drop, disconnect";
        slow = on_slow.parse().map_err(|()| invalid("/on_slow", wanted))?;
    }
    let topic = fields.topic()?;
    let partitions: Option<Vec<u32>> = fields.take("partitions")?;
    let partitions = partitions.map(|list| list.into_iter().map(PartitionId).collect::<Vec<_>>());
    if partitions.as_ref().is_some_and(Vec::is_empty) {
        return Err(invalid(
            "/partitions",
            "an empty list; leave it out for all partitions",
        ));
    }
    let at = read_start(fields)?.unwrap_or(Start::At(StartPosition::Latest));
    let credit = fields.take("credit")?;
    let codecs = read_codecs(fields)?;
    Ok(Op::Subscribe {
        id,
        topic,
        partitions,
        at,
        credit,
        codecs,
        on_slow: slow,
    })
}

fn read_codecs(fields: &mut Fields<'_>) -> Result<Option<Codecs>, Problem> {
    let Some(names) = fields.take::<Vec<String>>("codecs")? else {
        return Ok(None);
    };
    parse_codecs(names.iter().map(String::as_str))
        .map(Some)
        .ok_or_else(|| invalid("/codecs", CODECS_WANTED))
}

/// Names of codecs, the best liked first; `None` when there is none, or one is no codec's.
pub(crate) fn parse_codecs<'a>(names: impl Iterator<Item = &'a str>) -> Option<Codecs> {
    let list: Vec<Codec> = names.map(|name| name.parse().ok()).collect::<Option<_>>()?;
    Codecs::of(&list)
}

/// Reads one binary message of the batch subprotocol.
pub(crate) fn parse_binary(message: &Bytes) -> Result<ProduceOp, Refused> {
    let refused = |id, problem| Refused { id, problem };
    let message = ProduceMessage::parse(message).map_err(|(id, fault)| {
        let detail = format!("no produce message: {fault}");
        refused(id, Problem::new(ErrorCode::InvalidParameter, detail))
    })?;
    let id = Some(message.id);
    let topic = parse_name(message.topic).map_err(|problem| refused(id, problem))?;
    // Batches are kept in memory for readers: a few bytes of them must not keep a whole read buffer.
    let batches = if message.batches.len() < COPIED_BATCHES_BYTES_MAX {
        Bytes::copy_from_slice(&message.batches)
    } else {
        message.batches
    };
    Ok(ProduceOp {
        id,
        topic,
        partition: Some(PartitionId(message.partition)),
        acks: None,
        timeout_ms: None,
        records: Records::Batches(batches),
    })
}

fn read_grant(fields: &mut Fields<'_>) -> Result<Credit, Problem> {
    let credit = Credit {
        records: fields.take("records")?,
        bytes: fields.take("bytes")?,
    };
    if credit == Credit::default() {
        return Err(Problem::new(
            ErrorCode::InvalidParameter,
            "credit needs `records` or `bytes`",
        )
        .at("/records", "missing"));
    }
    Ok(credit)
}

fn read_start(fields: &mut Fields<'_>) -> Result<Option<Start>, Problem> {
    let from: Option<StartText> = fields.take("from")?;
    let cursors: Option<CursorTexts> = fields.take("cursor")?;
    match (from, cursors) {
        (Some(_), Some(_)) => Err(invalid("/cursor", "give either `from` or `cursor`")),
        (Some(from), None) => Ok(Some(Start::At(parse_position(&from.0)?))),
        (None, Some(cursors)) => Ok(Some(Start::Cursor(merge_cursors(&cursors.0)?))),
        (None, None) => Ok(None),
    }
}

fn parse_position(text: &str) -> Result<StartPosition, Problem> {
    text.parse().map_err(|_| {
        invalid(
            "/from",
            "one of earliest, latest, an offset, -<n> from the end, @<epoch ms>",
        )
    })
}

fn merge_cursors(texts: &[String]) -> Result<Cursor, Problem> {
    if texts.len() > CURSORS_MAX {
        return Err(invalid(
            "/cursor",
            &format!("more than {CURSORS_MAX} cursors"),
        ));
    }
    parse_cursors(texts.iter().map(String::as_str))?
        .ok_or_else(|| invalid("/cursor", "an empty list"))
}

fn read_produce(fields: &mut Fields<'_>, id: Option<u32>) -> Result<Op, Problem> {
    let topic = fields.topic()?;
    let partition: Option<u32> = fields.take("partition")?;
    let acks: Option<Acks> = match fields.take::<String>("acks")? {
        None => None,
        Some(text) => Some(
            text.parse()
                .map_err(|_| invalid("/acks", "one of none, leader, quorum"))?,
        ),
    };
    let timeout_ms = fields.take("timeout_ms")?;
    let records: Box<RawValue> = fields.require("records")?;
    if !records.get().starts_with('[') {
        return Err(invalid("/records", "must be an array"));
    }
    Ok(Op::Produce(ProduceOp {
        id,
        topic,
        partition: partition.map(PartitionId),
        acks,
        timeout_ms,
        records: Records::Json(records),
    }))
}

fn not_supported(feature: &str, pointer: &str) -> Problem {
    Problem::new(
        ErrorCode::NotSupported,
        format!("{feature}: not available in this version"),
    )
    .at(pointer, "not supported")
}
