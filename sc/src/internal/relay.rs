//! What controllers tell each other of the units: heartbeats that another one heard, for the holder of the
//! lease; what the holder knows, for the others; and the way there.

use std::fmt;
use std::sync::Mutex;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{Request, Response, StatusCode, header};
use tidegate_kit::channel::{Channel, ChannelBody, ChannelConfig};
use tidegate_kit::http::{ApiQuery, ApiResult, read_body};
use tidegate_kit::peer::PeerIdentity;
use tidegate_kit::tasks::Tasks;
use tidegate_kit::tls::{Expect, NodeTls};
use tidegate_proto::control::{RelayRequest, Reports, ReportsQuery};
use tidegate_proto::error::{ErrorCode, Problem};
use tidegate_proto::node::NodeRole;

use super::{Private, PrivateJson};
use crate::controller::HolderLink;
use crate::limits::PRIVATE_BODY_BYTES_MAX;
use crate::store::BoxFuture;

/// 204; 503 when this controller does not hold the lease.
pub(super) async fn relay(
    State(private): State<Private>,
    peer: PeerIdentity,
    body: PrivateJson<RelayRequest>,
) -> ApiResult<StatusCode> {
    peer.require(&[NodeRole::Sc])?;
    body.0.check()?;
    private.controller.take_relayed(body.0).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// 200 with what changed since; 503 when this controller does not hold the lease.
pub(super) async fn reports(
    State(private): State<Private>,
    peer: PeerIdentity,
    ApiQuery(query): ApiQuery<ReportsQuery>,
) -> ApiResult<Json<Reports>> {
    peer.require(&[NodeRole::Sc])?;
    Ok(Json(private.controller.reports(query)?))
}

/// The way to the holder over the private plane: one connection, made anew when the lease moves.
#[derive(Debug)]
pub struct PrivateLink {
    tls: NodeTls,
    tasks: Tasks,
    current: Mutex<Option<(String, Channel)>>,
}

impl PrivateLink {
    /// A way for the controller that `tls` is the identity of.
    #[must_use]
    pub fn new(tls: NodeTls, tasks: Tasks) -> Self {
        Self {
            tls,
            tasks,
            current: Mutex::new(None),
        }
    }

    fn channel(&self, address: &str) -> Result<Channel, Problem> {
        let mut current = self
            .current
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some((known, channel)) = &*current
            && known == address
        {
            return Ok(channel.clone());
        }
        let config = ChannelConfig {
            endpoints: vec![address.to_owned()],
            tls: self.tls.clone(),
            expect: Expect::Role(NodeRole::Sc),
            tasks: self.tasks.clone(),
        };
        let channel = Channel::new(&config)
            .map_err(|error| Problem::new(ErrorCode::Internal, error.to_string()))?;
        *current = Some((address.to_owned(), channel.clone()));
        Ok(channel)
    }

    /// Asks the controller there; an answer other than success is a problem.
    async fn ask(
        &self,
        address: &str,
        request: Request<Body>,
    ) -> Result<Response<ChannelBody>, Problem> {
        let answer = self.channel(address)?.send(request).await?;
        if answer.status().is_success() {
            return Ok(answer);
        }
        let detail = format!("the controller at {address} answered {}", answer.status());
        Err(Problem::new(ErrorCode::Unavailable, detail))
    }
}

impl HolderLink for PrivateLink {
    fn relay<'a>(
        &'a self,
        address: &'a str,
        request: RelayRequest,
    ) -> BoxFuture<'a, Result<(), Problem>> {
        Box::pin(async move {
            let body = serde_json::to_vec(&request).map_err(internal)?;
            let request = Request::post("/internal/v1/relay")
                .header(header::CONTENT_TYPE, "application/json")
                .body(Body::from(body))
                .map_err(internal)?;
            self.ask(address, request).await.map(drop)
        })
    }

    fn reports<'a>(
        &'a self,
        address: &'a str,
        query: ReportsQuery,
    ) -> BoxFuture<'a, Result<Reports, Problem>> {
        Box::pin(async move {
            let source = query.source.map(|source| format!("&source={source}"));
            let (after, source) = (query.after, source.unwrap_or_default());
            let request = Request::get(format!("/internal/v1/reports?after={after}{source}"))
                .body(Body::empty())
                .map_err(internal)?;
            let answer = self.ask(address, request).await?;
            let read = read_body(Body::new(answer.into_body()), PRIVATE_BODY_BYTES_MAX).await;
            serde_json::from_slice(&read?).map_err(internal)
        })
    }
}

fn internal(error: impl fmt::Display) -> Problem {
    Problem::new(ErrorCode::Internal, error.to_string())
}
