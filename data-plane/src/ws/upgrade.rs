//! From a request to a socket: who it is, what it wants, whether there is room; then 101.
//!
//! Everything that can be refused is refused here, as a problem with a status, before the upgrade:
//! a stranger never gets to send a message. A socket that is open belongs to the process' tasks and
//! is waited for on shutdown, which the HTTP server alone would not do.

use std::sync::Arc;

use axum::extract::ws::WebSocketUpgrade;
use axum::extract::{FromRequestParts as _, Request, State};
use axum::response::{IntoResponse as _, Response};
use http::header::{ALLOW, SEC_WEBSOCKET_PROTOCOL};
use http::request::Parts;
use http::{HeaderValue, Method};
use tidegate_kit::acquaintance::greet;
use tidegate_kit::auth::Principal;
use tidegate_kit::http::{ApiError, ApiPath};
use tidegate_kit::tasks::TaskKind;
use tidegate_proto::api::socket::{SUBPROTOCOL_BATCH, SUBPROTOCOL_JSON, SUBPROTOCOL_TICKET_PREFIX};
use tidegate_proto::error::{ErrorCode, Problem};
use tidegate_proto::id::PartitionId;
use tidegate_proto::limits::{WS_MESSAGE_BYTES_MAX, WS_PREAUTH_BYTES_MAX};
use tidegate_proto::name::TopicName;
use tidegate_proto::position::StartPosition;

use super::consume::{self, Opened};
use super::effect::Speech;
use super::limits::{
    READ_BUFFER_BYTES, TICKET_BYTES_MAX, WRITE_BUFFER_BYTES, WRITE_BUFFER_BYTES_MAX,
};
use super::metrics::{self, OpenSocket};
use super::origin::{self, Shown};
use super::protocol::{CODECS_WANTED, parse_codecs};
use super::pump::Pump;
use super::session::Session;
use super::sockets::Sockets;
use super::wake;
use crate::caller::authorization;
use crate::encode::codecs::Codecs;
use crate::position::{Start, parse_cursors};
use crate::query::{Query, invalid};
use crate::topics::parse_name;

/// Query parameters of a topic socket; the last is for the batch subprotocol alone.
const HOME_PARAMETERS: [&str; 4] = ["from", "cursor", "partitions", "codecs"];

/// Open a WebSocket for any number of topics
///
/// Subprotocol `tidegate.v1.json` (default) or `tidegate.v1.batch`, the first one offered; browsers
/// offer `ticket.<ticket>` beside it instead of a token.
#[utoipa::path(
    get,
    path = "/v1/ws",
    operation_id = "open_socket",
    tag = "sockets",
    responses(
        (status = 101, description = "The socket is open. Messages: the AsyncAPI document"),
        (status = 200, description = "The socket is open over HTTP/2, whose upgrades are answered so"),
        (status = 400, description = "No upgrade was asked for, or a parameter is wrong", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "No valid credential", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "No right to the topic, or a page that may not open sockets", body = Problem, content_type = "application/problem+json"),
        (status = 501, description = "The subprotocol or a parameter is not available yet", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "Too many sockets", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn open_socket(State(sockets): State<Arc<Sockets>>, request: Request) -> Response {
    let (mut parts, _) = request.into_parts();
    answer(open(sockets, &mut parts, false).await)
}

/// Open a WebSocket that is subscribed to a topic at once
///
/// For browsers and tools that have nothing to say: records come without a message sent.
#[utoipa::path(
    get,
    path = "/v1/topics/{topic}/ws",
    operation_id = "open_topic_socket",
    tag = "sockets",
    params(
        ("topic" = TopicName, Path, description = "Name of the topic"),
        ("from" = Option<String>, Query, description = "`earliest`, `latest` (default), an offset, `-<n>` from the end, `@<epoch ms>`"),
        ("cursor" = Option<Vec<String>>, Query, description = "Where an earlier read ended; several are merged"),
        ("partitions" = Option<String>, Query, description = "Numbers with commas between; default all"),
        ("codecs" = Option<String>, Query, description = "Subprotocol `tidegate.v1.batch`: codecs that the client reads, with commas between, the best liked first; default all"),
    ),
    responses(
        (status = 101, description = "The socket is open. Messages: the AsyncAPI document"),
        (status = 200, description = "The socket is open over HTTP/2, whose upgrades are answered so"),
        (status = 400, description = "No upgrade was asked for, or a parameter is wrong", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "No valid credential", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "No right to the topic, or a page that may not open sockets", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such topic or partition", body = Problem, content_type = "application/problem+json"),
        (status = 410, description = "The cursor is cut off; `next_cursor` goes on behind the gap", body = Problem, content_type = "application/problem+json"),
        (status = 416, description = "The offset is outside of the log", body = Problem, content_type = "application/problem+json"),
        (status = 501, description = "The subprotocol or a parameter is not available yet", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "Too many sockets", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn open_topic_socket(
    State(sockets): State<Arc<Sockets>>,
    request: Request,
) -> Response {
    let (mut parts, _) = request.into_parts();
    answer(open(sockets, &mut parts, true).await)
}

fn answer(outcome: Result<Response, Problem>) -> Response {
    match outcome {
        Ok(response) => response,
        Err(problem) => {
            metrics::refused(problem.code().as_str());
            let is_method = problem.code() == ErrorCode::MethodNotAllowed;
            let mut response = ApiError(problem).into_response();
            if is_method {
                response
                    .headers_mut()
                    .insert(ALLOW, HeaderValue::from_static("GET, CONNECT"));
            }
            response
        }
    }
}

/// What the path of a topic socket subscribes to.
struct Home {
    topic: TopicName,
    wanted: Option<Vec<PartitionId>>,
    codecs: Codecs,
    opened: Opened,
}

async fn open(
    sockets: Arc<Sockets>,
    parts: &mut Parts,
    has_home: bool,
) -> Result<Response, Problem> {
    if parts.method != Method::GET && parts.method != Method::CONNECT {
        let detail = "a WebSocket is opened by GET, or by CONNECT in HTTP/2";
        return Err(Problem::new(ErrorCode::MethodNotAllowed, detail));
    }
    let offer = Offer::read(parts)?;
    let principal = authenticate(&sockets, parts, offer.ticket.as_deref())?;
    let home = if has_home {
        let topic = ApiPath::<String>::from_request_parts(parts, &()).await;
        let ApiPath(topic) = topic.map_err(|ApiError(problem)| problem)?;
        Some(open_home(&sockets, &principal, parts, &topic, offer.speech()).await?)
    } else {
        Query::parse(parts.uri.query(), &[])?;
        None
    };
    let upgrade = WebSocketUpgrade::from_request_parts(parts, &()).await;
    let mut upgrade = upgrade.map_err(|_| {
        Problem::new(
            ErrorCode::InvalidParameter,
            "this is a WebSocket: ask for an upgrade to it",
        )
    })?;
    let speech = offer.speech();
    if let Some(named) = offer.named {
        let name = match named {
            Speech::Json => SUBPROTOCOL_JSON,
            Speech::Batches => SUBPROTOCOL_BATCH,
        };
        upgrade.set_selected_protocol(HeaderValue::from_static(name));
    }
    let slot = sockets.admit()?;
    let span = tracing::info_span!("socket", principal = %principal.name);
    let upgrade = upgrade
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(WRITE_BUFFER_BYTES)
        .max_write_buffer_size(WRITE_BUFFER_BYTES_MAX)
        .max_message_size(WS_MESSAGE_BYTES_MAX)
        .max_frame_size(WS_MESSAGE_BYTES_MAX);
    let tasks = sockets.data.tasks().clone();
    Ok(upgrade.on_upgrade(move |socket| async move {
        let open = OpenSocket::count();
        let mut session = Session::new(sockets.times.of_session(), speech);
        let home = home.map(|home| {
            let resolution = home.opened.resolution.clone();
            let (of, effects) = session.open_home(home.topic, home.wanted, home.codecs, resolution);
            let opened = home.opened;
            Box::new(wake::Home {
                of,
                opened,
                effects,
            })
        });
        // Boxed, because every future that it is moved through would hold it once more.
        let mut pump = Box::new(Pump::new(sockets, socket, session, principal));
        let run = async move {
            pump.run(home).await;
            drop((open, slot));
        };
        tasks.spawn(TaskKind::Socket, span, Box::pin(run));
    }))
}

async fn open_home(
    sockets: &Sockets,
    principal: &Principal,
    parts: &Parts,
    topic: &str,
    speech: Speech,
) -> Result<Home, Problem> {
    let known = match speech {
        Speech::Json => &HOME_PARAMETERS[..3],
        Speech::Batches => &HOME_PARAMETERS[..],
    };
    let query = Query::parse(parts.uri.query(), known)?;
    let topic = parse_name(topic)?;
    let from: Option<StartPosition> = query.parsed("from")?;
    let cursor = parse_cursors(query.all("cursor"))?;
    let start = match (from, cursor) {
        (Some(_), Some(_)) => return Err(invalid("cursor", "is not possible together with from")),
        (Some(position), None) => Start::At(position),
        (None, Some(cursor)) => Start::Cursor(cursor),
        (None, None) => Start::At(StartPosition::Latest),
    };
    let wanted = query.one("partitions")?.map(read_partitions).transpose()?;
    let codecs = match query.one("codecs")? {
        None => Codecs::ANY,
        Some(text) => {
            let wanted = || invalid("codecs", format!("must be {CODECS_WANTED}"));
            parse_codecs(text.split(',')).ok_or_else(wanted)?
        }
    };
    let opened = consume::open(sockets, principal, &topic, wanted.clone(), start).await?;
    Ok(Home {
        topic,
        wanted,
        codecs,
        opened,
    })
}

fn read_partitions(text: &str) -> Result<Vec<PartitionId>, Problem> {
    text.split(',')
        .map(|number| match number.parse() {
            Ok(number) if !text.contains('+') => Ok(PartitionId(number)),
            _ => Err(invalid(
                "partitions",
                "is not a list of numbers such as 0,1",
            )),
        })
        .collect()
}

fn authenticate(
    sockets: &Sockets,
    parts: &Parts,
    ticket: Option<&str>,
) -> Result<Principal, Problem> {
    let authorization = authorization(&parts.headers)?;
    let shown = match (authorization, ticket) {
        (Some(_), _) => Shown::Bearer,
        (None, Some(_)) => Shown::Ticket,
        (None, None) => Shown::Nothing,
    };
    // Before the ticket is used up: the page that it was stolen by must not be able to spoil it.
    origin::check(parts, shown, &sockets.data.config().origins)?;
    let auth = sockets.data.auth();
    let principal = auth.check_with_ticket(authorization, ticket)?;
    greet(&parts.extensions);
    Ok(principal)
}

/// What the client offers as subprotocols.
#[derive(Debug, Default, PartialEq, Eq)]
struct Offer {
    /// The first subprotocol of ours in the list.
    named: Option<Speech>,
    ticket: Option<String>,
}

impl Offer {
    fn read(parts: &Parts) -> Result<Self, Problem> {
        let refuse = |detail: &str| Problem::new(ErrorCode::InvalidParameter, detail);
        let mut offer = Offer::default();
        let (mut others, mut bytes) = (0, 0);
        for header in parts.headers.get_all(SEC_WEBSOCKET_PROTOCOL) {
            bytes += header.len();
            let text = header
                .to_str()
                .map_err(|_| refuse("Sec-WebSocket-Protocol is not text"))?;
            if bytes > WS_PREAUTH_BYTES_MAX {
                return Err(refuse("Sec-WebSocket-Protocol is too long"));
            }
            for name in text
                .split(',')
                .map(str::trim)
                .filter(|name| !name.is_empty())
            {
                match name.strip_prefix(SUBPROTOCOL_TICKET_PREFIX) {
                    Some(_) if offer.ticket.is_some() => {
                        return Err(refuse("more than one ticket"));
                    }
                    Some(ticket) if ticket.len() > TICKET_BYTES_MAX => {
                        return Err(refuse("the ticket is too long"));
                    }
                    Some(ticket) => offer.ticket = Some(ticket.to_owned()),
                    None if name == SUBPROTOCOL_JSON => offer.name(Speech::Json),
                    None if name == SUBPROTOCOL_BATCH => offer.name(Speech::Batches),
                    None => others += 1,
                }
            }
        }
        if others > 0 && offer.named.is_none() {
            return Err(refuse(&format!(
                "none of the subprotocols is known; offer {SUBPROTOCOL_JSON} or {SUBPROTOCOL_BATCH}"
            )));
        }
        Ok(offer)
    }

    fn name(&mut self, speech: Speech) {
        self.named.get_or_insert(speech);
    }

    fn speech(&self) -> Speech {
        self.named.unwrap_or(Speech::Json)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(headers: &[&str]) -> Result<Offer, ErrorCode> {
        let mut request = http::Request::builder().uri("/v1/ws");
        for header in headers {
            request = request.header(SEC_WEBSOCKET_PROTOCOL, *header);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        Offer::read(&parts).map_err(|problem| problem.code())
    }

    #[test]
    fn the_first_subprotocol_of_ours_is_taken_and_named_only_when_offered() {
        assert_eq!(read(&[]), Ok(Offer::default()));
        assert_eq!(read(&[]).unwrap().speech(), Speech::Json);
        assert_eq!(read(&["graphql-ws"]), Err(ErrorCode::InvalidParameter));
        for (offered, named) in [
            ("tidegate.v1.json", Speech::Json),
            ("graphql-ws, tidegate.v1.json", Speech::Json),
            ("tidegate.v1.batch", Speech::Batches),
            ("ticket.x, tidegate.v1.batch", Speech::Batches),
            ("tidegate.v1.batch, tidegate.v1.json", Speech::Batches),
            ("tidegate.v1.json, tidegate.v1.batch", Speech::Json),
        ] {
            assert_eq!(read(&[offered]).unwrap().named, Some(named), "{offered}");
        }
    }

    #[test]
    fn a_ticket_is_found_in_one_header_or_several() {
        let expected = Offer {
            named: Some(Speech::Json),
            ticket: Some("abc".into()),
        };
        assert_eq!(read(&["tidegate.v1.json, ticket.abc"]), Ok(expected));
        let expected = Offer {
            named: Some(Speech::Json),
            ticket: Some("abc".into()),
        };
        assert_eq!(read(&["tidegate.v1.json", "ticket.abc"]), Ok(expected));
        assert_eq!(
            read(&["ticket.a, ticket.b"]),
            Err(ErrorCode::InvalidParameter)
        );
        let long = format!("ticket.{}", "a".repeat(TICKET_BYTES_MAX + 1));
        assert_eq!(read(&[long.as_str()]), Err(ErrorCode::InvalidParameter));
    }
}
