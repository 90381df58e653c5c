//! Producer ids for exactly-once appends.
//!
//! Where ids come from is the process's business; here they are only given out.

use axum::Json;
use axum::extract::{Request, State};
use http::StatusCode;
use tidegate_kit::auth::{Op, require};
use tidegate_kit::http::{ApiResult, not_supported, read_body};
use tidegate_proto::api::records::{ProducerAnswer, ProducerBody};
use tidegate_proto::error::{ErrorCode, Problem};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::caller::Caller;
use crate::limits::PRODUCER_BODY_BYTES_MAX;
use crate::query::Query;
use crate::state::DataPlane;

/// The producer route.
pub(crate) fn routes() -> OpenApiRouter<DataPlane> {
    OpenApiRouter::new().routes(routes!(create_producer))
}

/// Get a producer id
///
/// For the headers `Producer-Id` and `Producer-Epoch`. The body may be empty.
#[utoipa::path(
    post,
    path = "/v1/producers",
    operation_id = "create_producer",
    tag = "records",
    request_body(content = Option<ProducerBody>, description = "Nothing, or a name (not supported yet)"),
    responses(
        (status = 201, description = "A producer id nobody else has", body = ProducerAnswer),
        (status = 400, description = "malformed_json or unknown_field", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "unauthenticated", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "forbidden", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "too_large", body = Problem, content_type = "application/problem+json"),
        (status = 501, description = "not_supported: named producers", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "unavailable", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn create_producer(
    State(state): State<DataPlane>,
    Caller(principal): Caller,
    request: Request,
) -> ApiResult<(StatusCode, Json<ProducerAnswer>)> {
    require(&principal, Op::Produce, None)?;
    Query::parse(request.uri().query(), &[])?;
    let body = read_body(request.into_body(), PRODUCER_BODY_BYTES_MAX).await?;
    if read_producer(&body)?.name.is_some() {
        return Err(not_supported("naming a producer"));
    }
    let Some(ids) = state.config().producer_ids.clone() else {
        return Err(not_supported("giving out producer ids"));
    };
    let (id, epoch) = ids.lease().await?;
    let answer = ProducerAnswer {
        producer_id: id.0,
        producer_epoch: epoch,
    };
    Ok((StatusCode::CREATED, Json(answer)))
}

fn read_producer(body: &[u8]) -> Result<ProducerBody, Problem> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(ProducerBody::default());
    }
    // What serde derives would take a list for the object.
    if body.trim_ascii_start().starts_with(b"[") {
        return Err(Problem::new(
            ErrorCode::InvalidParameter,
            "the body must be an object",
        ));
    }
    serde_json::from_slice(body).map_err(|error| {
        let text = error.to_string();
        let code = match (error.is_data(), text.starts_with("unknown field")) {
            (true, true) => ErrorCode::UnknownField,
            (true, false) => ErrorCode::InvalidParameter,
            (false, _) => ErrorCode::MalformedJson,
        };
        Problem::new(code, text)
    })
}
