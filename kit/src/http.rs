//! HTTP as handlers see it: one error, three extractors, and the layer that surrounds every route.
//!
//! No routes here. Invariant: whatever goes wrong between the socket and a handler is answered with
//! the same problem object that handlers use, never with a library's own text.

mod body;
mod direct;
mod edge;
mod encoding;
mod error;
mod extract;
mod fault;
mod measure;
mod origin;
mod request_id;

pub use body::{Pace, read_body};
pub(crate) use direct::FrontFuture;
pub use direct::{Direct, Front};
pub use edge::{EdgeConfig, EdgeLayer, EdgeService, edge};
pub use error::{ApiError, ApiResult, PROBLEM_JSON, not_supported, problem_response};
pub use extract::{
    ApiJson, ApiPath, ApiQuery, TicketParameter, fallback_method, fallback_not_found, json_body,
};
pub use fault::{BodyFault, body_problem};
pub use origin::{InvalidOrigin, OriginRules};
pub use request_id::RequestId;

/// Media type of record batches as stored; never compressed again.
pub const BATCH_MEDIA_TYPE: &str = "application/vnd.tidegate.batch";
