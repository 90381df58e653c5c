//! Opening a stream to a leader's unit, at the addresses that the topology has for it at that moment.

use axum::body::Body;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Request};
use tidegate_kit::channel::{Channel, ChannelBody, ChannelConfig};
use tidegate_kit::outlet::Outlet;
use tidegate_kit::tls::Expect;
use tidegate_proto::control::Audience;
use tidegate_proto::private::replicate::LANE_HEADER;
use tidegate_proto::private::{
    FRAMES_MEDIA_TYPE, Pieces, REPLICATE_PATH, VERSION_HEADER, VERSIONS,
};
use tokio::time::timeout;

use super::lane::LaneRun;
use crate::limits::REPLICATION_OPEN_TIMEOUT;

/// A channel, and to which addresses.
pub(super) struct Dialled {
    endpoints: Vec<String>,
    channel: Channel,
}

impl LaneRun {
    pub(super) async fn open(
        &self,
        dialled: &mut Option<Dialled>,
    ) -> Result<(Outlet<Pieces>, ChannelBody), String> {
        let endpoints: Vec<String> = {
            let topology = self.topology.borrow();
            let unit = topology.spu(self.link.spu);
            let urls = unit.map(|unit| unit.endpoints_for(Audience::Peers).map(str::to_owned));
            urls.into_iter().flatten().collect()
        };
        if dialled
            .as_ref()
            .is_none_or(|known| known.endpoints != endpoints)
        {
            let config = ChannelConfig {
                endpoints: endpoints.clone(),
                tls: self.tls.clone(),
                expect: Expect::spu(self.link.spu),
                tasks: self.tasks.clone(),
            };
            let channel = Channel::new(&config).map_err(|error| error.to_string())?;
            *dialled = Some(Dialled { endpoints, channel });
        }
        let Some(Dialled { channel, .. }) = dialled else {
            return Err("no channel".to_owned());
        };
        let (outlet, body) = Outlet::new(Pieces::default());
        let mut request = Request::post(REPLICATE_PATH)
            .header(VERSION_HEADER, VERSIONS.to_string())
            .header(LANE_HEADER, self.lane.to_string())
            .body(Body::new(body))
            .map_err(|error| error.to_string())?;
        let media = HeaderValue::from_static(FRAMES_MEDIA_TYPE);
        request.headers_mut().insert(CONTENT_TYPE, media);
        let answer = timeout(REPLICATION_OPEN_TIMEOUT, channel.send(request)).await;
        let answer = answer
            .map_err(|_| "no answer in time".to_owned())?
            .map_err(|error| error.to_string())?;
        if !answer.status().is_success() {
            return Err(format!("it answers {}", answer.status()));
        }
        Ok((outlet, answer.into_body()))
    }
}
