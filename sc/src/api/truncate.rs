//! `/v1/topics/{topic}/truncate`: gives up the oldest records of partitions.
//!
//! Invariant: nothing is noted that is not committed under the leader who is it when it is noted. What is
//! noted never goes down, so an offset above the high watermark would take records that nobody has
//! written yet, as soon as they come.

use std::collections::BTreeMap;
use std::time::Instant;

use axum::extract::State;
use axum::response::Response;
use tidegate_kit::auth::{Op, require};
use tidegate_kit::clock;
use tidegate_kit::http::{ApiPath, ApiQuery, ApiResult};
use tidegate_proto::api::truncate::{TruncatePartition, TruncateRequest};
use tidegate_proto::error::{ErrorCode, Problem};
use tidegate_proto::name::TopicName;
use tidegate_proto::position::LeaderEpoch;
use tidegate_sc_core::change::Change;
use tidegate_sc_core::decision::{Request, TruncateWrite};
use tidegate_sc_core::rows::PartitionRow;

use super::Api;
use super::condition::IfMatchHeader;
use super::problems::TruncateProblems;
use super::topics::{EnsureAnswer, carry_out};
use super::write::{Body, KeyHeader, WriteQuery, Writer};
use crate::controller::Reported;

/// Gives up the oldest records
///
/// Of each partition that is named, the records below `before_offset`. Offsets stay as they are; readers
/// that were below are told `log_truncated` and where to go on. Asking twice is asking once, and asking for
/// less than was given up changes nothing. The leader deletes at once or as soon as it can.
#[utoipa::path(
    post,
    path = "/v1/topics/{topic}/truncate",
    operation_id = "truncate_topic",
    tag = "topics",
    params(
        ("topic" = TopicName, Path, description = "Name of the topic"),
        IfMatchHeader,
        WriteQuery,
        KeyHeader
    ),
    request_body(content = TruncateRequest, description = "Where partitions begin afterwards"),
    responses(
        (status = 200, description = "The topic, or with `dry_run` what would be done",
            body = inline(EnsureAnswer), headers(
            ("ETag" = String, description = "Its version, quoted; truncation leaves it"),
            ("Tidegate-Result" = String, description = "`updated` or `unchanged`")
        )),
        TruncateProblems
    )
)]
pub(super) async fn truncate_topic(
    State(api): State<Api>,
    ApiPath(name): ApiPath<TopicName>,
    writer: Writer,
    ApiQuery(query): ApiQuery<WriteQuery>,
    body: Body<TruncateRequest>,
) -> ApiResult<Response> {
    require(&writer.principal, Op::Admin, Some(&name))?;
    if !query.dry_run
        && let Some(answer) = writer.answered(&api, &body.bytes).await?
    {
        return Ok(answer);
    }
    let items = body.value.partitions;
    let mut write = TruncateWrite {
        name: name.clone(),
        partitions: items.clone(),
        leader_epochs: None,
        if_match: writer.if_match.clone(),
    };
    let asked = Request::TruncateTopic(write.clone());
    let changes = match api.controller.preview(&asked) {
        Ok(preview) => preview.changes,
        Err(refusal) if query.dry_run => return Err(refusal.into()),
        // What is seen here may be old. Whoever decides has seen all, and keeps a refusal under the key.
        Err(_) => Vec::new(),
    };
    let mut leader_epochs = BTreeMap::new();
    let rows = changes.iter().filter_map(|change| {
        let Change::PutPartition(row) = change else {
            return None;
        };
        Some(row)
    });
    let since = clock::monotonic();
    // The high watermark only grows: where it was past the offset before, nobody has to be asked.
    let keys: Vec<_> = rows.clone().map(PartitionRow::key).collect();
    let told = rows.clone().zip(api.statuses.partitions(&keys));
    let open = told.filter(|(row, told)| {
        told.as_ref()
            .is_none_or(|known| row.truncate_before > known.status.high_watermark)
    });
    let open = open.map(|(row, _)| row.key()).collect();
    api.statuses.word_since(open, since).await;
    for row in rows {
        match check_committed(&api, row, &items, since) {
            Ok(epoch) => leader_epochs.insert(row.partition, epoch),
            Err(refusal) if query.dry_run => return Err(refusal.into()),
            Err(refusal) => return writer.refuse(&api, &body.bytes, refusal).await,
        };
    }
    write.leader_epochs = Some(leader_epochs);
    let request = Request::TruncateTopic(write);
    carry_out(&api, &writer, query, &body.bytes, name, request).await
}

/// Refuses what is not known to be committed; gives the epoch of the leader who said so. Within it the
/// high watermark only grows, so it may be looked at before the change is made.
fn check_committed(
    api: &Api,
    row: &PartitionRow,
    items: &[TruncatePartition],
    since: Instant,
) -> Result<LeaderEpoch, Problem> {
    let (partition, before) = (row.partition, row.truncate_before);
    let Some(Reported { status, as_of, .. }) = api.statuses.partition(row.key()) else {
        let detail =
            format!("the leader of partition {partition} cannot be asked what is committed");
        return Err(Problem::new(ErrorCode::Unavailable, detail));
    };
    if before <= status.high_watermark {
        return Ok(status.leader_epoch);
    }
    if as_of < since {
        let age = since - as_of;
        let detail = format!(
            "the leader of partition {partition} was last heard {} s before the request, and had \
             committed up to {} then",
            age.as_secs(),
            status.high_watermark
        );
        return Err(Problem::new(ErrorCode::Unavailable, detail).retry_after(1));
    }
    let at = items.iter().position(|item| item.partition == partition);
    let detail = format!(
        "offset {before} of partition {partition} is above its high watermark, {}",
        status.high_watermark
    );
    let pointer = format!("/partitions/{}/before_offset", at.unwrap_or_default());
    Err(Problem::new(ErrorCode::OffsetOutOfRange, detail.clone())
        .with("log_start", status.log_start.get())
        .with("high_watermark", status.high_watermark.get())
        .with("end", status.end.get())
        .at(pointer, detail))
}
