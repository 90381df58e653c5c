//! Fetch over HTTP: one page of committed records, waiting for them when asked to.
//!
//! A page ends at its bounds of records and bytes, or when nothing more is there; the cursor that
//! comes with it is where the next one starts. Invariant: a page that could not be filled because its
//! place is gone says so; it never starts somewhere else.

mod share;

mod page;

mod sealed;

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use http::request::Parts;
use tidegate_kit::auth::{Op, Principal, require};
use tidegate_kit::clock::monotonic;
use tidegate_kit::http::{ApiPath, ApiResult};
use tidegate_proto::api::records::FetchAnswer;
use tidegate_proto::control::TopicSpec;
use tidegate_proto::error::Problem;
use tidegate_proto::name::TopicName;
use tidegate_proto::position::{ReplicaKey, StartPosition};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::any_copy::AnyCopy;
use crate::caller::Caller;
use crate::events::{last_event_id, open_events};
use crate::follow::{self, Follower, any_moved};
use crate::negotiate::{AnswerFormat, answer_format};
use crate::opening::{self, Absent, Present, is_absence};
use crate::partitions::{BoxFuture, Partitions};
use crate::position::Start;
use crate::query::{Query, invalid};
use crate::select::Selection;
use crate::state::DataPlane;
use crate::topics::{find_topic, parse_name, parse_partition};
use page::{Bounds, Page};

const PARAMETERS: [&str; 9] = [
    "from",
    "cursor",
    "max_records",
    "max_bytes",
    "min_bytes",
    "wait_ms",
    "replica",
    "partitions",
    "ticket",
];

/// The fetch routes.
pub(crate) fn routes() -> OpenApiRouter<DataPlane> {
    OpenApiRouter::new()
        .routes(routes!(fetch_records))
        .routes(routes!(fetch_partition))
        .routes(routes!(sealed::list_sealed_pages))
        .routes(routes!(sealed::fetch_sealed_page))
}

/// Read records
///
/// A page of committed records of all or some partitions, each partition in offset order. With
/// `Accept: application/x-ndjson` one record per line, `application/vnd.tidegate.batch` stored batches
/// (the first may begin before the asked offset), `text/event-stream` as `stream_events` but from the
/// earliest record.
#[utoipa::path(
    get,
    path = "/v1/topics/{topic}/records",
    operation_id = "fetch_records",
    tag = "records",
    params(
        ("topic" = TopicName, Path, description = "Name of the topic"),
        ("from" = Option<String>, Query, description = "earliest (default), latest, -n, @<epoch ms>, or an offset (one partition)"),
        ("cursor" = Option<Vec<String>>, Query, description = "Where an earlier read ended; several are merged"),
        ("partitions" = Option<String>, Query, description = "Numbers with commas; default all"),
        ("max_records" = Option<u64>, Query, description = "At most so many records, 1 to 100000; default 10000"),
        ("max_bytes" = Option<u64>, Query, description = "Stop after so many bytes of answer, 1 to 8388608; default 1048576"),
        ("min_bytes" = Option<u64>, Query, description = "With wait_ms: wait for so many bytes; default 1"),
        ("wait_ms" = Option<u64>, Query, description = "Wait so long for records, 0 to 60000; default 0"),
        ("replica" = Option<String>, Query, description = "leader (default), or any: any copy that is in sync may answer, up to what it knows to be committed, which may be a little less. A cursor never goes back: what a copy does not have yet is read from the leader, or comes with a later page"),
    ),
    responses(
        (status = 200, description = "Records; `Tidegate-Cursor` is where the next page starts", content(
            (FetchAnswer = "application/json"),
            (String = "application/x-ndjson"),
            (Vec<u8> = "application/vnd.tidegate.batch"),
            (String = "text/event-stream"),
        ), headers(
            ("Tidegate-Cursor" = String, description = "Where the next page starts"),
            ("Tidegate-High-Watermark" = String, description = "A number, or an object of numbers by partition; left out where that is longer than 4096 bytes"),
            ("Tidegate-Away" = String, description = "Partitions that cannot be reached now and are missing from the page, with commas, or `*` where that is longer than 2048 bytes; the cursor keeps their places. Left out when there are none"),
        )),
        (status = 204, description = "Nothing to read", headers(
            ("Tidegate-Cursor" = String, description = "Where the next page starts"),
            ("Tidegate-High-Watermark" = String, description = "A number, or an object of numbers by partition; left out where that is longer than 4096 bytes"),
            ("Tidegate-Away" = String, description = "Partitions that cannot be reached now and are missing from the page, with commas, or `*` where that is longer than 2048 bytes; the cursor keeps their places. Left out when there are none"),
        )),
        (status = 400, description = "invalid_parameter, invalid_name, unknown_field or cursor_too_large", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "unauthenticated", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "forbidden", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "topic_not_found or partition_not_found", body = Problem, content_type = "application/problem+json"),
        (status = 406, description = "not_acceptable", body = Problem, content_type = "application/problem+json"),
        (status = 410, description = "cursor_expired or log_truncated, with `next_cursor`", body = Problem, content_type = "application/problem+json"),
        (status = 416, description = "offset_out_of_range, with `log_start` and `end`", body = Problem, content_type = "application/problem+json"),
        (status = 501, description = "not_supported", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "not_leader, overloaded or unavailable", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn fetch_records(
    State(state): State<DataPlane>,
    Caller(principal): Caller,
    ApiPath(topic): ApiPath<String>,
    request: Request,
) -> ApiResult<Response> {
    let (head, _) = request.into_parts();
    Ok(fetch(&state, &principal, &topic, None, &head).await?)
}

/// Read records of one partition
///
/// As `fetch_records`.
#[utoipa::path(
    get,
    path = "/v1/topics/{topic}/partitions/{partition}/records",
    operation_id = "fetch_partition",
    tag = "records",
    params(
        ("topic" = TopicName, Path, description = "Name of the topic"),
        ("partition" = u32, Path, description = "Number of the partition"),
        ("from" = Option<String>, Query, description = "earliest (default), latest, an offset, -n or @<epoch ms>"),
        ("cursor" = Option<Vec<String>>, Query, description = "Where an earlier read ended; several are merged"),
        ("max_records" = Option<u64>, Query, description = "At most so many records, 1 to 100000; default 10000"),
        ("max_bytes" = Option<u64>, Query, description = "Stop after so many bytes of answer, 1 to 8388608; default 1048576"),
        ("min_bytes" = Option<u64>, Query, description = "With wait_ms: wait for so many bytes; default 1"),
        ("wait_ms" = Option<u64>, Query, description = "Wait so long for records, 0 to 60000; default 0"),
        ("replica" = Option<String>, Query, description = "leader (default), or any: any copy that is in sync may answer, up to what it knows to be committed, which may be a little less. A cursor never goes back: what a copy does not have yet is read from the leader, or comes with a later page"),
    ),
    responses(
        (status = 200, description = "Records; `Tidegate-Cursor` is where the next page starts", content(
            (FetchAnswer = "application/json"),
            (String = "application/x-ndjson"),
            (Vec<u8> = "application/vnd.tidegate.batch"),
            (String = "text/event-stream"),
        ), headers(
            ("Tidegate-Cursor" = String, description = "Where the next page starts"),
            ("Tidegate-High-Watermark" = u64, description = "One past the last committed record"),
        )),
        (status = 204, description = "Nothing to read; the same headers"),
        (status = 400, description = "invalid_parameter, invalid_name or unknown_field", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "unauthenticated", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "forbidden", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "topic_not_found or partition_not_found", body = Problem, content_type = "application/problem+json"),
        (status = 406, description = "not_acceptable", body = Problem, content_type = "application/problem+json"),
        (status = 410, description = "cursor_expired or log_truncated, with `next_cursor`", body = Problem, content_type = "application/problem+json"),
        (status = 416, description = "offset_out_of_range, with `log_start` and `end`", body = Problem, content_type = "application/problem+json"),
        (status = 501, description = "not_supported", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "not_leader, overloaded or unavailable", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn fetch_partition(
    State(state): State<DataPlane>,
    Caller(principal): Caller,
    ApiPath((topic, partition)): ApiPath<(String, String)>,
    request: Request,
) -> ApiResult<Response> {
    let (head, _) = request.into_parts();
    Ok(fetch(&state, &principal, &topic, Some(&partition), &head).await?)
}

async fn fetch(
    state: &DataPlane,
    principal: &Principal,
    topic: &str,
    partition: Option<&str>,
    head: &Parts,
) -> Result<Response, Problem> {
    let name = parse_name(topic)?;
    require(principal, Op::Consume, Some(&name))?;
    let topic = find_topic(state, &name)?;
    let partition = partition
        .map(|text| parse_partition(&topic, text))
        .transpose()?;
    // Tickets are for event streams, and only the topic's path takes a list of partitions.
    let known = if partition.is_some() {
        &PARAMETERS[..7]
    } else {
        &PARAMETERS[..8]
    };
    let query = Query::parse(head.uri.query(), known)?;
    let format = answer_format(&head.headers)?;
    let resume = match format {
        AnswerFormat::Events => last_event_id(&head.headers)?,
        AnswerFormat::Json | AnswerFormat::Ndjson | AnswerFormat::Batch => None,
    };
    let bounds = Bounds::read(&query)?;
    let selection = Selection::read(&topic, partition, &query, resume, StartPosition::Earliest)?;
    let is_any = reads_any(&query)?;
    if format == AnswerFormat::Events {
        if is_any {
            return Err(invalid(
                "replica",
                "is for pages: event streams follow the leader",
            ));
        }
        return open_events(state, principal, topic, selection, None).await;
    }
    let copies = is_any.then(|| Arc::new(AnyCopy::new(Arc::clone(state.partitions()))));
    let partitions: Arc<dyn Partitions> = match &copies {
        Some(copies) => Arc::clone(copies) as _,
        None => Arc::clone(state.partitions()),
    };
    let chosen = selection.partitions.as_deref();
    let opened = opening::open(&*partitions, &topic, chosen, &selection.start).await?;
    let mut reading = Reading {
        partitions,
        copies,
        is_number: matches!(selection.start, Start::At(StartPosition::Offset(_))),
        followers: opened.present.into_iter().map(Follower::from).collect(),
        absent: opened.absent,
        waited_for: 0,
        waiting: FuturesUnordered::new(),
    };
    // A cursor that cannot be written is refused before anybody waits for records.
    follow::cursor(&topic, &reading.followers, &reading.absent)?;
    let mut page = Page::new(format, bounds, &state.answer_budget(principal));
    collect(state, &topic, &mut reading, &mut page).await?;
    page.into_response(&topic, &reading.followers, &reading.absent)
}

/// Whether any copy may answer.
fn reads_any(query: &Query<'_>) -> Result<bool, Problem> {
    match query.one("replica")? {
        None | Some("leader") => Ok(false),
        Some("any") => Ok(true),
        Some(_) => Err(invalid("replica", "is `leader` or `any`")),
    }
}

/// The partitions of one page.
struct Reading {
    partitions: Arc<dyn Partitions>,
    /// The same, when any copy may answer.
    copies: Option<Arc<AnyCopy>>,
    /// It starts at an offset that the client made up.
    is_number: bool,
    followers: Vec<Follower>,
    absent: Vec<Absent>,
    /// So many of them, the first ones, are waited for.
    waited_for: usize,
    waiting: FuturesUnordered<BoxFuture<'static, Result<Present, Problem>>>,
}

impl Reading {
    /// Waits from now on for all that are away: a page that waits for records takes theirs, too.
    fn wait_for_absent(&mut self, state: &DataPlane, topic: &Arc<TopicSpec>) {
        for absent in &self.absent[self.waited_for..] {
            let (partitions, seed) = (Arc::clone(&self.partitions), state.next_turn());
            let join = opening::join(partitions, seed, Arc::clone(topic), absent.clone());
            self.waiting.push(Box::pin(join));
        }
        self.waited_for = self.absent.len();
    }

    /// One that was waited for is back.
    fn join(&mut self, present: Present) {
        self.absent
            .retain(|absent| absent.partition != present.partition);
        self.waited_for = self.absent.len();
        let is_before = |follower: &Follower| follower.partition < present.partition;
        let place = self.followers.partition_point(is_before);
        self.followers.insert(place, Follower::from(present));
    }

    /// Reads of one of them; what there is has its place in the page then.
    async fn read(
        &mut self,
        state: &DataPlane,
        topic: &TopicSpec,
        index: usize,
        page: &mut Page,
    ) -> Result<Read, Problem> {
        let read = self.followers[index].read(&*self.partitions, topic, page.room());
        let problem = match read.await {
            Ok(chunk) => {
                page.add(&mut self.followers[index], &chunk)?;
                return Ok(Read::More);
            }
            Err(problem) => problem,
        };
        if self.followers.len() > 1 && is_absence(&problem) {
            let follower = self.followers.remove(index);
            self.absent.push(follower.into_absent(problem));
            return Ok(Read::Away);
        }
        // What was read before is good; the next page will tell.
        match page.is_empty() {
            false => Ok(Read::Over),
            true => Err(self.lost(state, topic, problem).await),
        }
    }
}

impl Reading {
    /// The same problem, with where to go on.
    async fn lost(&mut self, state: &DataPlane, topic: &TopicSpec, problem: Problem) -> Problem {
        if self.copies.is_some() && self.is_number {
            // What it means is found out by reading.
            return problem;
        }
        // Only the leader can say that something is gone.
        let partitions = &**state.partitions();
        let (followers, absent) = (&self.followers, &self.absent);
        follow::lost(partitions, topic, followers, absent, problem).await
    }
}

/// What a read came to.
enum Read {
    More,
    /// The partition is not among those that are read any more.
    Away,
    /// The page ends here.
    Over,
}

async fn collect(
    state: &DataPlane,
    topic: &Arc<TopicSpec>,
    reading: &mut Reading,
    page: &mut Page,
) -> Result<(), Problem> {
    let deadline = monotonic() + page.bounds.wait;
    // Pages do not all begin with the same partition, or a busy one would starve those behind it.
    let first = state.next_turn();
    loop {
        let mut step = 0;
        while step < reading.followers.len() {
            let index = (first % reading.followers.len() + step) % reading.followers.len();
            step += 1;
            while page.has_room() && reading.followers[index].is_behind() {
                match page.reserve() {
                    Ok(()) => {}
                    // As above: the next page will tell.
                    Err(_) if !page.is_empty() => return Ok(()),
                    Err(problem) => return Err(problem),
                }
                match reading.read(state, topic, index, page).await? {
                    Read::More => {}
                    Read::Over => return Ok(()),
                    Read::Away => {
                        // The others moved up: they are looked at from the first on again.
                        step = 0;
                        break;
                    }
                }
            }
        }
        if page.is_enough() || page.bounds.wait.is_zero() {
            return Ok(());
        }
        page.rest();
        reading.wait_for_absent(state, topic);
        let copies = reading.copies.clone();
        let keys: Vec<ReplicaKey> = reading.followers.iter().map(|one| one.key).collect();
        tokio::select! {
            biased;
            () = state.tasks().cancelled() => return Ok(()),
            moved = any_moved(&mut reading.followers) => {
                if moved.is_err() {
                    return Err(follow::gone(&state.topology(), topic));
                }
            }
            Some(joined) = reading.waiting.next() => match joined {
                Ok(present) => reading.join(present),
                Err(_) if !page.is_empty() => return Ok(()),
                Err(problem) => return Err(reading.lost(state, topic, problem).await),
            },
            () = look(copies.as_deref(), &keys) => {}
            () = tokio::time::sleep_until(deadline.into()) => return Ok(()),
        }
    }
}

/// Has copies looked at while somebody waits for them; tails of leaders move by themselves.
async fn look(copies: Option<&AnyCopy>, keys: &[ReplicaKey]) {
    match copies {
        Some(copies) => copies.look(keys).await,
        None => std::future::pending().await,
    }
}
