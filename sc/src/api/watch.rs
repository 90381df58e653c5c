//! `/v1/watch`: every change of the control state as it happens, for clients that may see it.
//!
//! A stream holds a position in the controller's history and nothing else. Each change is encoded once
//! for all streams; what a credential may not describe is passed over, and bookmarks tell how far the
//! stream is all the same.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, HeaderName};
use axum::response::Response;
use futures_util::stream;
use serde::Deserialize;
use tidegate_kit::auth::{Authenticated, Op, Principal};
use tidegate_kit::http::{ApiError, ApiQuery, ApiResult};
use tidegate_proto::api::metadata::WatchEntry;
use tidegate_proto::error::{ErrorCode, Problem};
use tidegate_proto::limits::WATCH_ALIVE_MS;
use tokio::sync::watch::Receiver;
use tokio::time::timeout;
use utoipa::IntoParams;

use super::Api;
use super::problems::WatchProblems;
use crate::controller::Controller;
use crate::history::{After, Newest};

/// From where.
#[derive(Debug, Clone, Copy, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct WatchQuery {
    /// The last revision that is known, as lists and earlier entries tell it; changes after it follow.
    /// Absent: changes from now on.
    #[param(minimum = 0)]
    from_revision: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Lines,
    Events,
}

/// Follows changes
///
/// Every change after `from_revision`, in order, as NDJSON or, when `Accept` asks for
/// `text/event-stream`, as events whose id is the revision. When nothing happens a bookmark comes every
/// 5 seconds. A reader that is too slow is told so and ends; 410 means that it has to read the lists
/// again.
#[utoipa::path(
    get,
    path = "/v1/watch",
    operation_id = "watch_changes",
    tag = "cluster",
    params(WatchQuery),
    responses(
        (status = 200, description = "The changes, one a line or an event", content(
            (WatchEntry = "application/x-ndjson"),
            (WatchEntry = "text/event-stream")
        )),
        WatchProblems
    )
)]
pub(super) async fn watch_changes(
    State(api): State<Api>,
    Authenticated(principal): Authenticated,
    ApiQuery(query): ApiQuery<WatchQuery>,
    headers: HeaderMap,
) -> ApiResult<Response> {
    let history = api.controller.history();
    let newest = history.subscribe();
    let Newest {
        generation, seen, ..
    } = *newest.borrow();
    let position = query.from_revision.unwrap_or(seen.revision);
    match history.after(position) {
        After::Next(_) | After::UpToDate => {}
        After::Gone { floor } => return Err(compacted(floor).into()),
        After::Ahead => {
            api.controller.follow_soon();
            let detail = format!("this controller is at revision {}", seen.revision);
            return Err(Problem::new(ErrorCode::Unavailable, detail)
                .retry_after(1)
                .into());
        }
    }
    let format = format(&headers)?;
    let watcher = Watcher {
        controller: api.controller.clone(),
        principal,
        newest,
        generation,
        position,
        format,
        waiting: VecDeque::new(),
        is_ended: false,
    };
    let lines = stream::unfold(watcher, |mut watcher| async move {
        let line = watcher.next().await?;
        Some((Ok::<_, Infallible>(line), watcher))
    });
    let kind = match format {
        Format::Lines => "application/x-ndjson",
        Format::Events => "text/event-stream",
    };
    let response = Response::builder()
        .header(CONTENT_TYPE, kind)
        .header(CACHE_CONTROL, "no-store, no-transform")
        .header(HeaderName::from_static("x-accel-buffering"), "no")
        .body(Body::from_stream(lines));
    response.map_err(|_| ApiError::new(ErrorCode::Internal, "the stream has no valid head"))
}

fn compacted(floor: u64) -> Problem {
    let detail = format!(
        "changes up to revision {floor} are not kept any more: read the lists again and go on from \
         their revision"
    );
    Problem::new(ErrorCode::Compacted, detail).with("floor", floor)
}

fn format(headers: &HeaderMap) -> Result<Format, Problem> {
    let accept = headers.get(ACCEPT).and_then(|value| value.to_str().ok());
    let Some(accept) = accept else {
        return Ok(Format::Lines);
    };
    let kinds = accept
        .split(',')
        .map(|kind| kind.split(';').next().unwrap_or_default().trim());
    for kind in kinds {
        match kind {
            "text/event-stream" => return Ok(Format::Events),
            "application/x-ndjson" | "application/*" | "*/*" => return Ok(Format::Lines),
            _ => {}
        }
    }
    let detail = "this is application/x-ndjson or text/event-stream";
    Err(Problem::new(ErrorCode::NotAcceptable, detail))
}

struct Watcher {
    controller: Controller,
    principal: Principal,
    newest: Receiver<Newest>,
    generation: u64,
    position: u64,
    format: Format,
    /// Entries of the revision that is told now.
    waiting: VecDeque<Bytes>,
    is_ended: bool,
}

impl Watcher {
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(entry) = self.waiting.pop_front() {
                return Some(self.framed("change", &entry));
            }
            if self.is_ended {
                return None;
            }
            let now = *self.newest.borrow_and_update();
            if now.generation != self.generation {
                return Some(self.end(compacted(now.seen.revision)));
            }
            match self.controller.history().after(self.position) {
                After::Next(revision) => {
                    self.position = revision.revision;
                    let entries = revision.entries().iter();
                    let seen = entries
                        .filter(|entry| self.principal.allows(Op::Describe, entry.topic.as_ref()));
                    self.waiting.extend(seen.map(|entry| entry.json.clone()));
                }
                After::UpToDate | After::Ahead if now.is_ended => {
                    let detail = "the controller stops; go on at another one";
                    return Some(self.end(Problem::new(ErrorCode::Unavailable, detail)));
                }
                After::UpToDate | After::Ahead => {
                    let pause = Duration::from_millis(WATCH_ALIVE_MS);
                    // The history lives as long as its watchers.
                    if timeout(pause, self.newest.changed()).await.is_err() {
                        let revision = self.position;
                        let bookmark = encode(&WatchEntry::Bookmark { revision });
                        return Some(self.framed("bookmark", &bookmark));
                    }
                }
                After::Gone { .. } => {
                    let detail = "the reader is too slow; go on from the last revision it has";
                    return Some(self.end(Problem::new(ErrorCode::Overloaded, detail)));
                }
            }
        }
    }

    fn end(&mut self, problem: Problem) -> Bytes {
        self.is_ended = true;
        let problem = problem.with("resume_from", self.position);
        let error = encode(&WatchEntry::Error { error: problem });
        self.framed("error", &error)
    }

    fn framed(&self, name: &str, json: &[u8]) -> Bytes {
        let mut out = Vec::with_capacity(json.len() + 48);
        match self.format {
            Format::Lines => out.extend_from_slice(json),
            Format::Events => {
                // Ids are told once a revision is whole, so that nobody goes on from the middle of one.
                if self.waiting.is_empty() && name != "error" {
                    out.extend_from_slice(format!("id: {}\n", self.position).as_bytes());
                }
                out.extend_from_slice(format!("event: {name}\ndata: ").as_bytes());
                out.extend_from_slice(json);
                out.push(b'\n');
            }
        }
        out.push(b'\n');
        out.into()
    }
}

fn encode(entry: &WatchEntry) -> Vec<u8> {
    serde_json::to_vec(entry).expect("entries have string keys only")
}
