//! Heartbeats that another controller heard, for the holder of the lease; and the way there.

use std::sync::Mutex;

use axum::body::Body;
use axum::extract::State;
use axum::http::{Request, StatusCode, header};
use tidegate_kit::channel::{Channel, ChannelConfig};
use tidegate_kit::http::ApiResult;
use tidegate_kit::peer::PeerIdentity;
use tidegate_kit::tasks::Tasks;
use tidegate_kit::tls::{Expect, NodeTls};
use tidegate_proto::control::RelayRequest;
use tidegate_proto::error::{ErrorCode, Problem};
use tidegate_proto::node::NodeRole;

use super::{Private, PrivateJson};
use crate::controller::HolderLink;
use crate::store::BoxFuture;

/// 204; 503 when this controller does not hold the lease.
pub(super) async fn relay(
    State(private): State<Private>,
    peer: PeerIdentity,
    body: PrivateJson<RelayRequest>,
) -> ApiResult<StatusCode> {
    peer.require(&[NodeRole::Sc])?;
    private.controller.take_relayed(body.0).await?;
    Ok(StatusCode::NO_CONTENT)
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
}

impl HolderLink for PrivateLink {
    fn relay<'a>(
        &'a self,
        address: &'a str,
        request: RelayRequest,
    ) -> BoxFuture<'a, Result<(), Problem>> {
        Box::pin(async move {
            let internal = |error: String| Problem::new(ErrorCode::Internal, error);
            let body = serde_json::to_vec(&request).map_err(|error| internal(error.to_string()))?;
            let request = Request::post("/internal/v1/relay")
                .header(header::CONTENT_TYPE, "application/json")
                .body(Body::from(body))
                .map_err(|error| internal(error.to_string()))?;
            let answer = self.channel(address)?.send(request).await?;
            if answer.status().is_success() {
                return Ok(());
            }
            let detail = format!("the controller at {address} answered {}", answer.status());
            Err(Problem::new(ErrorCode::Unavailable, detail))
        })
    }
}
