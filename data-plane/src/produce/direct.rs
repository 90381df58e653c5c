//! Produce to a topic, past the router.
//!
//! Nothing is decided here: the same handler runs with the same rights. Invariant: what this takes, the
//! router would have led to `produce_records`.

use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use http::Method;
use http::request::Parts;
use tidegate_kit::http::{ApiError, Direct};

use super::{finish, produce};
use crate::caller::authenticate_with_ticket;
use crate::state::DataPlane;

/// `POST /v1/topics/{topic}/records` past the router: what most requests are.
#[derive(Debug, Clone)]
pub struct DirectProduce(DataPlane);

impl DirectProduce {
    /// The handler that the router over `state` has, too.
    #[must_use]
    pub fn new(state: DataPlane) -> Self {
        Self(state)
    }
}

/// The name of the topic, as long as nothing of the path is escaped.
fn topic_of(path: &str) -> Option<&str> {
    let topic = path.strip_prefix("/v1/topics/")?.strip_suffix("/records")?;
    let is_plain = |byte: u8| byte != b'/' && byte != b'%';
    (!topic.is_empty() && topic.bytes().all(is_plain)).then_some(topic)
}

impl Direct for DirectProduce {
    const ROUTE: &'static str = "/v1/topics/{topic}/records";

    fn takes(&self, method: &Method, path: &str) -> bool {
        method == Method::POST && topic_of(path).is_some()
    }

    fn answer(&self, head: Parts, body: Body) -> impl Future<Output = Response> + Send + use<> {
        let state = self.0.clone();
        async move {
            let principal = match authenticate_with_ticket(&head, &state) {
                Ok(principal) => principal,
                Err(problem) => return ApiError(problem).into_response(),
            };
            let topic = topic_of(head.uri.path()).unwrap_or_default();
            let result = produce(&state, &principal, topic, None, &head, body).await;
            finish(&state, result)
        }
    }
}
