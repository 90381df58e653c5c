//! What a produce request asks for beside its records: query and headers into options.
//!
//! Everything that only makes sense for one partition is refused where the path names none, because
//! an answer that looks like exactly-once and is not would be the worst of all.

use std::str::FromStr;

use http::header::IF_MATCH;
use http::{HeaderMap, HeaderName};
use ring::digest::{Context, SHA256};
use tidegate_kit::auth::Principal;
use tidegate_proto::api::records::{
    HEADER_IDEMPOTENCY_KEY, HEADER_PRODUCER_EPOCH, HEADER_PRODUCER_ID, HEADER_PRODUCER_SEQ,
};
use tidegate_proto::batch::ProducerStamp;
use tidegate_proto::control::TopicSpec;
use tidegate_proto::error::Problem;
use tidegate_proto::id::{PartitionId, ProducerId};
use tidegate_proto::limits::{IDEMPOTENCY_KEY_LEN_MAX, TIMEOUT_MS_MAX};
use tidegate_proto::position::Offset;
use tidegate_proto::produce::Acks;

use crate::assemble::RequestStamp;
use crate::decode::pointer::Pointer;
use crate::decode::raw::{invalid, refuse_record_headers, single};
use crate::negotiate::{BodyFormat, body_format};
use crate::plan::AppendOptions;
use crate::query::{self, Query};

/// A produce request without its body.
#[derive(Debug)]
pub(crate) struct ProduceRequest {
    pub(crate) format: BodyFormat,
    pub(crate) options: AppendOptions,
    /// Where an NDJSON line has its key.
    pub(crate) key: Option<Pointer>,
    /// Whether headers may be fields of the record, which is worth a closer look.
    pub(crate) has_record_fields: bool,
}

const PRODUCER_ID: HeaderName = HeaderName::from_static(HEADER_PRODUCER_ID);
const PRODUCER_EPOCH: HeaderName = HeaderName::from_static(HEADER_PRODUCER_EPOCH);
const PRODUCER_SEQ: HeaderName = HeaderName::from_static(HEADER_PRODUCER_SEQ);
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static(HEADER_IDEMPOTENCY_KEY);

/// Which of our own groups of headers a request has something of. Most have none, and are spared the
/// look-ups of each name.
#[derive(Debug, Default)]
struct Groups {
    stamp: bool,
    record: bool,
}

impl Groups {
    fn of(headers: &HeaderMap) -> Self {
        let mut groups = Self::default();
        for name in headers.keys().map(HeaderName::as_str) {
            groups.stamp |= name.starts_with("producer-") || name == HEADER_IDEMPOTENCY_KEY;
            groups.record |= name.starts_with("tidegate-");
        }
        groups
    }
}

impl ProduceRequest {
    /// Reads query and headers.
    pub(crate) fn read(
        topic: &TopicSpec,
        partition: Option<PartitionId>,
        principal: &Principal,
        query: Option<&str>,
        headers: &HeaderMap,
    ) -> Result<Self, Problem> {
        let query = Query::parse(query, &["acks", "timeout_ms", "key", "ticket"])?;
        let format = body_format(headers)?;
        let acks: Option<Acks> = query.parsed("acks")?;
        let timeout_ms = query.number("timeout_ms", 1..=TIMEOUT_MS_MAX)?;
        let mut options = AppendOptions::asked(topic, partition, acks, timeout_ms)?;
        let groups = Groups::of(headers);
        if groups.stamp {
            options.stamp = read_stamp(headers, principal, partition.is_some())?;
        }
        options.expected_end = read_expected_end(headers)?;
        if partition.is_none() && options.expected_end.is_some() {
            return Err(only_on_partition(IF_MATCH.as_str()));
        }
        options.is_as_sent = format == BodyFormat::Batch;
        if format == BodyFormat::Batch && options.stamp.producer.is_some() {
            let detail = "a batch carries its producer in its own header";
            return Err(invalid(HEADER_PRODUCER_ID, detail));
        }
        if groups.record && !matches!(format, BodyFormat::Raw { .. }) {
            refuse_record_headers(headers)?;
        }
        let key = query
            .one("key")?
            .map(|text| Pointer::parse("key", text))
            .transpose()?;
        if key.is_some() && format != BodyFormat::Ndjson {
            return Err(query::invalid("key", "is for application/x-ndjson"));
        }
        Ok(Self {
            format,
            options,
            key,
            has_record_fields: groups.record,
        })
    }

    /// Whether the body must be appended whole or not at all, however long.
    pub(crate) fn is_atomic(&self) -> bool {
        self.options.expected_end.is_some() || self.options.stamp.request_key.is_some()
    }
}

fn read_stamp(
    headers: &HeaderMap,
    principal: &Principal,
    has_partition: bool,
) -> Result<RequestStamp, Problem> {
    let id: Option<u64> = number(headers, &PRODUCER_ID)?;
    let epoch: Option<u16> = number(headers, &PRODUCER_EPOCH)?;
    let seq: Option<u32> = number(headers, &PRODUCER_SEQ)?;
    let producer = match (id, epoch, seq) {
        (None, None, None) => None,
        (Some(id), Some(epoch), Some(seq)) => Some(ProducerStamp {
            id: ProducerId(id),
            epoch,
            seq,
            unordered: false,
        }),
        _ => {
            let detail = "Producer-Id, Producer-Epoch and Producer-Seq belong together";
            return Err(invalid(HEADER_PRODUCER_ID, detail));
        }
    };
    if producer.is_some() && !has_partition {
        return Err(only_on_partition(HEADER_PRODUCER_ID));
    }
    let request_key = match single(headers, &IDEMPOTENCY_KEY)? {
        None => None,
        Some(_) if producer.is_some() => {
            return Err(invalid(
                HEADER_IDEMPOTENCY_KEY,
                "given beside Producer-Id; use one",
            ));
        }
        Some(text) if (1..=IDEMPOTENCY_KEY_LEN_MAX).contains(&text.len()) => {
            Some(request_key(principal, text))
        }
        Some(_) => {
            let detail = format!("must have 1 to {IDEMPOTENCY_KEY_LEN_MAX} bytes");
            return Err(invalid(HEADER_IDEMPOTENCY_KEY, &detail));
        }
    };
    Ok(RequestStamp {
        producer,
        request_key,
    })
}

/// Sixteen bytes of SHA-256 over the caller's name and their key, so that nobody can answer for, or
/// collide with, the requests of somebody else. The zero keeps name and key apart.
fn request_key(principal: &Principal, text: &str) -> [u8; 16] {
    let mut context = Context::new(&SHA256);
    context.update(principal.name.as_bytes());
    context.update(&[0]);
    context.update(text.as_bytes());
    let digest = context.finish();
    let mut key = [0; 16];
    key.copy_from_slice(&digest.as_ref()[..16]);
    key
}

fn read_expected_end(headers: &HeaderMap) -> Result<Option<Offset>, Problem> {
    let Some(text) = single(headers, &IF_MATCH)? else {
        return Ok(None);
    };
    let digits = text
        .trim()
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'));
    digits
        .filter(|digits| is_digits(digits))
        .and_then(|digits| digits.parse().ok())
        .map(|end| Some(Offset::new(end)))
        .ok_or_else(|| {
            invalid(
                IF_MATCH.as_str(),
                "must be one offset in quotes, such as \"42\"",
            )
        })
}

fn number<T: FromStr>(headers: &HeaderMap, name: &HeaderName) -> Result<Option<T>, Problem> {
    let Some(text) = single(headers, name)? else {
        return Ok(None);
    };
    let text = text.trim();
    let number = is_digits(text).then(|| text.parse().ok()).flatten();
    number
        .map(Some)
        .ok_or_else(|| invalid(name.as_str(), "is not a whole number in range"))
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn only_on_partition(name: &str) -> Problem {
    invalid(
        name,
        "is only for /v1/topics/{topic}/partitions/{partition}/records",
    )
}
