//! `/v1/watch`: every change of the control state as it happens, for clients that may see it.
//!
//! A stream holds a position in the controller's history and nothing else. Each change is encoded once
//! for all streams; what a credential may not describe is passed over, and bookmarks tell how far the
//! stream is all the same.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, HeaderName};
use axum::response::Response;
use futures_util::stream;
use serde::Deserialize;
use tidegate_kit::auth::{Authenticated, Op, Principal};
use tidegate_kit::clock;
use tidegate_kit::http::{ApiError, ApiQuery, ApiResult};
use tidegate_proto::api::metadata::WatchEntry;
use tidegate_proto::error::{ErrorCode, Problem};
use tidegate_proto::limits::{STREAM_TIMEOUT_MS_MAX, WATCH_ALIVE_MS};
use tokio::sync::watch::Receiver;
use tokio::time::timeout;
use utoipa::IntoParams;

use super::Api;
use super::page::given;
use super::problems::WatchProblems;
use crate::controller::Controller;
use crate::history::{After, Newest};
use crate::limits::PUBLIC_WATCHES_MAX;
use crate::metrics;

/// When a refused watch may be tried again, in seconds: about when a client that gave up is found gone.
const WATCH_RETRY_S: u64 = 5;

/// From where.
#[derive(Debug, Clone, Copy, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct WatchQuery {
    /// The last revision that is known, as lists and earlier entries tell it; changes after it follow.
    /// Absent: changes from now on.
    #[serde(default, deserialize_with = "given")]
    #[param(minimum = 0)]
    from_revision: Option<u64>,
    /// For how many milliseconds; then a bookmark ends the stream. At most a day; absent: until one of
    /// both sides has enough.
    #[serde(default, deserialize_with = "given")]
    #[param(minimum = 1, maximum = 86_400_000)]
    timeout_ms: Option<u64>,
}

/// A server-sent event of a watch.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "describes the answer; never made")]
pub(super) struct WatchEvent {
    /// `change`, `bookmark` or `error`.
    event: String,
    /// The revision, once it is whole.
    #[schema(required = false)]
    id: Option<String>,
    /// The entry, as JSON.
    #[schema(extensions(("x-content" = json!("WatchEntry"))))]
    data: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Lines,
    Events,
}

/// Follows changes
///
/// Every change after `from_revision`, in order, as NDJSON or, when `Accept` asks for
/// `text/event-stream`, as events whose id is the revision. A revision may change several things: all of
/// its entries but the last have `"more": true`, and are no place to go on from. When nothing happens a
/// bookmark comes every 5 seconds. A reader that is too slow is told so and ends; 410 means that it has to
/// read the lists again, and go on from the `Tidegate-Revision` of the first page.
#[utoipa::path(
    get,
    path = "/v1/watch",
    operation_id = "watch_changes",
    tag = "cluster",
    params(WatchQuery),
    responses(
        (status = 200, description = "The changes, one a line or an event", content(
            (WatchEntry = "application/x-ndjson"),
            (WatchEvent = "text/event-stream")
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
        _counted: Counted::new(&api.watches)?,
        ends_at: ends_at(query.timeout_ms)?,
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

fn ends_at(timeout_ms: Option<u64>) -> Result<Option<Instant>, Problem> {
    let Some(timeout_ms) = timeout_ms else {
        return Ok(None);
    };
    if !(1..=STREAM_TIMEOUT_MS_MAX).contains(&timeout_ms) {
        let what = format!("is from 1 to {STREAM_TIMEOUT_MS_MAX}");
        let detail = format!("timeout_ms {what}");
        return Err(Problem::new(ErrorCode::InvalidParameter, detail).at("timeout_ms", what));
    }
    Ok(Some(clock::monotonic() + Duration::from_millis(timeout_ms)))
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

/// One of the watches that are served.
struct Counted(Arc<AtomicUsize>);

impl Counted {
    /// # Errors
    /// 503 when there are too many.
    fn new(count: &Arc<AtomicUsize>) -> Result<Self, Problem> {
        let counted = Self(Arc::clone(count));
        let now = count.fetch_add(1, Ordering::Relaxed) + 1;
        metrics::watches(now);
        if now > PUBLIC_WATCHES_MAX {
            let detail = "this controller serves too many watches; another one may have room";
            return Err(Problem::new(ErrorCode::Overloaded, detail).retry_after(WATCH_RETRY_S));
        }
        Ok(counted)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        metrics::watches(self.0.fetch_sub(1, Ordering::Relaxed) - 1);
    }
}

struct Watcher {
    _counted: Counted,
    ends_at: Option<Instant>,
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
            if self.left() == Some(Duration::ZERO) {
                self.is_ended = true;
                return Some(self.bookmark());
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
                    let alive = Duration::from_millis(WATCH_ALIVE_MS);
                    let pause = self.left().map_or(alive, |left| left.min(alive));
                    // The history lives as long as its watchers.
                    if timeout(pause, self.newest.changed()).await.is_err() {
                        self.is_ended = self.left() == Some(Duration::ZERO);
                        return Some(self.bookmark());
                    }
                }
                After::Gone { .. } => {
                    let detail = "the reader is too slow; go on from the last revision it has";
                    return Some(self.end(Problem::new(ErrorCode::Overloaded, detail)));
                }
            }
        }
    }

    /// What is left of its time, when that is bounded.
    fn left(&self) -> Option<Duration> {
        let ends_at = self.ends_at?;
        Some(ends_at.saturating_duration_since(clock::monotonic()))
    }

    fn bookmark(&self) -> Bytes {
        let revision = self.position;
        self.framed("bookmark", &encode(&WatchEntry::Bookmark { revision }))
    }

    fn end(&mut self, problem: Problem) -> Bytes {
        self.is_ended = true;
        let problem = problem.with("resume_from", self.position);
        let error = encode(&WatchEntry::Error { error: problem });
        self.framed("error", &error)
    }

    fn framed(&self, name: &str, json: &[u8]) -> Bytes {
        let mut out = Vec::with_capacity(json.len() + 64);
        match self.format {
            Format::Lines => self.write(json, &mut out),
            Format::Events => {
                // Ids are told once a revision is whole, so that nobody goes on from the middle of one.
                if self.waiting.is_empty() && name != "error" {
                    out.extend_from_slice(format!("id: {}\n", self.position).as_bytes());
                }
                out.extend_from_slice(format!("event: {name}\ndata: ").as_bytes());
                self.write(json, &mut out);
                out.push(b'\n');
            }
        }
        out.push(b'\n');
        out.into()
    }

    /// Entries are encoded once for all watchers, of whom each is told its own part of a revision.
    fn write(&self, json: &[u8], out: &mut Vec<u8>) {
        match json.strip_suffix(b"}") {
            Some(open) if !self.waiting.is_empty() => {
                out.extend_from_slice(open);
                out.extend_from_slice(b",\"more\":true}");
            }
            _ => out.extend_from_slice(json),
        }
    }
}

fn encode(entry: &WatchEntry) -> Vec<u8> {
    serde_json::to_vec(entry).expect("entries have string keys only")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn watches_are_limited_and_leave_room_when_they_end() {
        let count = Arc::new(AtomicUsize::new(PUBLIC_WATCHES_MAX - 1));
        let last = Counted::new(&count).ok();
        assert!(last.is_some());
        let refused = Counted::new(&count).err().unwrap();
        assert_eq!(refused.code(), ErrorCode::Overloaded);
        drop(last);
        assert!(Counted::new(&count).is_ok());
        assert_eq!(count.load(Ordering::Relaxed), PUBLIC_WATCHES_MAX - 1);
    }
}
