//! Tickets for browsers: `POST /v1/ws-tickets` trades a bearer token for a credential that is good
//! once, within seconds, for named topics.
//!
//! A browser cannot send headers with a WebSocket, and a token in a URL ends up in logs; a ticket
//! travels as a subprotocol and is worthless afterwards. What it allows is at most what its issuer
//! may do, judged again on every use. The table of tickets is the kit's.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::header::CACHE_CONTROL;
use axum::response::IntoResponse;
use tidegate_kit::auth::{Op, Principal, TopicPattern};
use tidegate_kit::http::{ApiJson, ApiResult};
use tidegate_proto::api::socket::{TicketAnswer, TicketRequest};
use tidegate_proto::error::{ErrorCode, Problem};

use crate::caller::Caller;
use crate::state::DataPlane;

/// Longest life of a ticket, and the default.
const TTL_S_MAX: u32 = 30;

/// Issue a ticket for one WebSocket
///
/// For browsers, which cannot send a token when they open one: good once, for up to 30 seconds.
#[utoipa::path(
    post,
    path = "/v1/ws-tickets",
    operation_id = "create_ws_ticket",
    tag = "sockets",
    request_body = TicketRequest,
    responses(
        (status = 200, description = "The ticket; offer `ticket.<ticket>` as a second subprotocol", body = TicketAnswer),
        (status = 400, description = "A name, an operation or the time to live is not valid", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "No valid credential", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The caller has not got the rights that the ticket should carry", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "The body is too large", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "The body is not application/json", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "Too many tickets are outstanding", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn create_ws_ticket(
    State(state): State<DataPlane>,
    Caller(principal): Caller,
    ApiJson(request): ApiJson<TicketRequest>,
) -> ApiResult<impl IntoResponse> {
    let topics = read_topics(&request.topics)?;
    let ops = match &request.ops {
        Some(ops) => read_ops(ops)?,
        None => held_ops(&principal, &topics),
    };
    let ttl_s = request.ttl_s.unwrap_or(TTL_S_MAX);
    if !(1..=TTL_S_MAX).contains(&ttl_s) {
        return Err(invalid("/ttl_s", format!("must be 1 to {TTL_S_MAX}")).into());
    }
    let ttl = Duration::from_secs(u64::from(ttl_s));
    let ticket = state
        .auth()
        .tickets()
        .issue(&principal, topics, &ops, ttl)?;
    let answer = TicketAnswer {
        ticket: ticket.ticket,
        expires_at: ticket.expires_at_ms,
    };
    Ok(([(CACHE_CONTROL, "no-store")], Json(answer)))
}

fn read_topics(texts: &[String]) -> Result<Vec<TopicPattern>, Problem> {
    let parse = |(index, text): (usize, &String)| {
        TopicPattern::parse(text).map_err(|error| {
            let what = error.to_string();
            Problem::from(error).at(format!("/topics/{index}"), what)
        })
    };
    texts.iter().enumerate().map(parse).collect()
}

fn read_ops(texts: &[String]) -> Result<Vec<Op>, Problem> {
    let parse = |(index, text): (usize, &String)| match text.as_str() {
        "consume" => Ok(Op::Consume),
        "produce" => Ok(Op::Produce),
        _ => Err(invalid(
            &format!("/ops/{index}"),
            "is neither consume nor produce".to_owned(),
        )),
    };
    texts.iter().enumerate().map(parse).collect()
}

/// Of consume and produce, what the caller may do on all of the topics; both when that is neither,
/// so that the refusal names a right that is missing.
fn held_ops(principal: &Principal, topics: &[TopicPattern]) -> Vec<Op> {
    let both = [Op::Consume, Op::Produce];
    let is_held = |op: Op| {
        topics.iter().all(|pattern| match pattern {
            TopicPattern::Exact(topic) => principal.allows(op, Some(topic)),
            TopicPattern::Prefix(_) => true,
        })
    };
    let held: Vec<Op> = both.into_iter().filter(|op| is_held(*op)).collect();
    if held.is_empty() { both.to_vec() } else { held }
}

fn invalid(pointer: &str, what: String) -> Problem {
    Problem::new(ErrorCode::InvalidParameter, format!("{pointer} {what}")).at(pointer, what)
}
