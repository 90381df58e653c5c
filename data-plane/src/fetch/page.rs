//! One page of records: its bounds, and the answer as it grows.
//!
//! JSON and NDJSON end at a record, batches at a batch. Invariant: a follower stands right behind what
//! the page holds of its partition, and what a page holds while it waits is taken from the budget.

use std::ops::ControlFlow;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, StatusCode};
use tidegate_kit::budget::ByteBudget;
use tidegate_proto::api::records::{HEADER_CURSOR, MEDIA_TYPE_BATCH, MEDIA_TYPE_NDJSON};
use tidegate_proto::control::TopicSpec;
use tidegate_proto::error::{ErrorCode, Problem};
use tidegate_proto::limits::{READ_BYTES_DEFAULT, READ_BYTES_MAX, WAIT_MS_MAX};

use crate::encode::headers::{insert, insert_away, insert_high_watermark};
use crate::encode::json::{write_record, write_record_line, write_string};
use crate::encode::walk::walk_records;
use crate::events::overloaded;
use crate::follow::{self, Follower};
use crate::limits::{ANSWER_BYTES_MIN, FETCH_RECORDS_DEFAULT, FETCH_RECORDS_MAX};
use crate::metrics::{self, ReadBy};
use crate::negotiate::{AnswerFormat, MEDIA_TYPE_EVENTS, MEDIA_TYPE_JSON};
use crate::opening::{Absent, away};
use crate::partitions::Chunk;
use crate::query::Query;

use super::share::Share;

#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    records_max: usize,
    bytes_max: usize,
    bytes_min: usize,
    pub(super) wait: Duration,
}

impl Bounds {
    pub(super) fn read(query: &Query<'_>) -> Result<Self, Problem> {
        let records_max = query.number("max_records", 1..=FETCH_RECORDS_MAX as u64)?;
        let bytes_max = query.number("max_bytes", 1..=READ_BYTES_MAX as u64)?;
        let bytes_min = query.number("min_bytes", 0..=READ_BYTES_MAX as u64)?;
        let wait_ms = query.number("wait_ms", 0..=WAIT_MS_MAX)?.unwrap_or(0);
        let size = |number: Option<u64>, default| number.map_or(default, |number| number as usize);
        Ok(Self {
            records_max: size(records_max, FETCH_RECORDS_DEFAULT),
            bytes_max: size(bytes_max, READ_BYTES_DEFAULT),
            bytes_min: size(bytes_min, 1),
            wait: Duration::from_millis(wait_ms),
        })
    }
}

/// The answer as it grows.
#[derive(Debug)]
pub(super) struct Page {
    format: AnswerFormat,
    pub(super) bounds: Bounds,
    out: Vec<u8>,
    records: usize,
    share: Share,
    /// Where it ends for now: at what was asked for, or at what the budget has for it.
    bytes_max: usize,
    is_reserved: bool,
}

impl Page {
    pub(super) fn new(format: AnswerFormat, bounds: Bounds, budget: &ByteBudget) -> Self {
        Self {
            format,
            bounds,
            out: Vec::new(),
            records: 0,
            share: Share::new(budget),
            bytes_max: bounds.bytes_max,
            is_reserved: false,
        }
    }

    /// Takes the budget for what is going to be read. Less of it makes the page shorter; 503
    /// `overloaded` when there is next to none.
    pub(super) fn reserve(&mut self) -> Result<(), Problem> {
        if self.is_reserved {
            return Ok(());
        }
        let wanted = self.bounds.bytes_max.max(ANSWER_BYTES_MIN);
        if !self.share.grow_towards(wanted) {
            return Err(overloaded());
        }
        self.bytes_max = self.share.bytes().min(self.bounds.bytes_max);
        self.is_reserved = true;
        Ok(())
    }

    /// Gives back, before a wait, what is not used.
    pub(super) fn rest(&mut self) {
        self.out.shrink_to_fit();
        self.share.shrink_to(self.out.len());
        self.is_reserved = false;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.records == 0
    }

    pub(super) fn has_room(&self) -> bool {
        self.records < self.bounds.records_max && self.out.len() < self.bytes_max
    }

    pub(super) fn room(&self) -> usize {
        self.bytes_max
            .saturating_sub(self.out.len())
            .clamp(1, READ_BYTES_DEFAULT)
    }

    pub(super) fn is_enough(&self) -> bool {
        !self.has_room() || (self.records > 0 && self.out.len() >= self.bounds.bytes_min)
    }

    pub(super) fn add(&mut self, follower: &mut Follower, chunk: &Chunk) -> Result<(), Problem> {
        let before = follower.next;
        match self.format {
            AnswerFormat::Batch => self.add_batches(follower, chunk),
            AnswerFormat::Json | AnswerFormat::Ndjson | AnswerFormat::Events => {
                self.add_records(follower, chunk)?;
            }
        }
        if follower.next == before && chunk.high_watermark > before {
            let detail = "a read behind the high watermark brought nothing";
            return Err(Problem::new(ErrorCode::Internal, detail));
        }
        // The last record may be longer than what was left, however short the page was to be.
        match self.share.grow_to(self.out.len()) {
            true => Ok(()),
            false => Err(overloaded()),
        }
    }

    fn add_batches(&mut self, follower: &mut Follower, chunk: &Chunk) {
        for batch in &chunk.batches {
            let next = batch.next_offset();
            // Neither control batches nor those that compaction emptied are of use to a client.
            if next <= follower.next || batch.client.record_count() == 0 {
                continue;
            }
            if !self.has_room() {
                return;
            }
            self.out.reserve(batch.encoded_len());
            batch.encode_into(&mut self.out);
            let ahead = next.distance_from(follower.next) as usize;
            self.records += ahead.min(batch.client.record_count() as usize);
            follower.next = next;
        }
        follower.next = follower.next.max(chunk.next);
    }

    fn add_records(&mut self, follower: &mut Follower, chunk: &Chunk) -> Result<(), Problem> {
        let is_json = self.format == AnswerFormat::Json;
        let mut is_full = false;
        let next = walk_records(&chunk.batches, follower.next, |batch, offset, record| {
            if is_json {
                let lead: &[u8] = if self.records == 0 {
                    b"{\"records\":["
                } else {
                    b","
                };
                self.out.extend_from_slice(lead);
                write_record(&mut self.out, batch, offset, record);
            } else {
                write_record_line(&mut self.out, batch, offset, record);
                self.out.push(b'\n');
            }
            self.records += 1;
            is_full = !self.has_room();
            if is_full {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        })?;
        follower.next = if is_full { next } else { next.max(chunk.next) };
        Ok(())
    }

    pub(super) fn into_response(
        mut self,
        topic: &TopicSpec,
        followers: &[Follower],
        absent: &[Absent],
    ) -> Result<Response, Problem> {
        let cursor = follow::cursor(topic, followers, absent)?;
        let away = away(absent);
        let high_watermark = follow::high_watermark_text(followers, absent);
        let media_type = match self.format {
            AnswerFormat::Json => MEDIA_TYPE_JSON,
            AnswerFormat::Ndjson => MEDIA_TYPE_NDJSON,
            AnswerFormat::Batch => MEDIA_TYPE_BATCH,
            AnswerFormat::Events => MEDIA_TYPE_EVENTS,
        };
        let is_empty = self.records == 0;
        let mut response = if is_empty {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::NO_CONTENT;
            response
        } else {
            if self.format == AnswerFormat::Json {
                self.out.extend_from_slice(b"],\"cursor\":");
                write_string(&mut self.out, &cursor);
                self.out.extend_from_slice(b",\"high_watermark\":");
                self.out.extend_from_slice(high_watermark.as_bytes());
                if let Some(away) = &away {
                    self.out.extend_from_slice(b",\"away\":");
                    // Numbers and a problem, which nothing keeps from being written.
                    let text = serde_json::to_vec(away).unwrap_or_else(|_| b"null".to_vec());
                    self.out.extend_from_slice(&text);
                }
                self.out.push(b'}');
            }
            self.out.shrink_to_fit();
            if !self.share.grow_to(self.out.len()) {
                return Err(overloaded());
            }
            self.share.shrink_to(self.out.len());
            metrics::fetched(ReadBy::Fetch, self.records as u64, self.out.len() as u64);
            let mut response = Response::new(Body::from(self.share.into_bytes(self.out)));
            let value = HeaderValue::from_static(media_type);
            response.headers_mut().insert(CONTENT_TYPE, value);
            response
        };
        let headers = response.headers_mut();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        insert(headers, HEADER_CURSOR, cursor);
        insert_high_watermark(headers, high_watermark);
        if let Some(away) = &away {
            insert_away(headers, away);
        }
        metrics::fetch_finished(is_empty);
        Ok(response)
    }
}
