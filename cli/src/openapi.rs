//! `tidegate openapi`: the OpenAPI documents, as the handlers describe themselves, and the AsyncAPI
//! document of the WebSocket frames.

use clap::{Args, ValueEnum};
use tidegate_data_plane::ws::asyncapi::asyncapi;
use tidegate_gateway::openapi::{TITLE, merged_openapi};
use tidegate_kit::health;

use crate::failure::Failure;
use crate::output;

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Plane {
    /// What controllers serve: topics, partitions, the cluster.
    Control,
    /// What storage units serve: produce, fetch, events, WebSocket.
    Data,
    /// What gateways and `tidegate up` serve, as at /v1/openapi.json.
    Merged,
    /// WebSocket frames, as AsyncAPI.
    Frames,
}

#[derive(Args, Debug)]
pub(crate) struct OpenApiArguments {
    /// Which part of the API.
    #[arg(long, value_enum, default_value = "merged")]
    pub(crate) plane: Plane,
}

pub(crate) fn run(arguments: &OpenApiArguments) -> Result<(), Failure> {
    let document = match arguments.plane {
        Plane::Control => {
            let parts = vec![tidegate_sc::openapi(), health::openapi()];
            merged_openapi("Tidegate control plane", parts)
        }
        Plane::Data => {
            let parts = vec![tidegate_data_plane::openapi(), health::openapi()];
            merged_openapi("Tidegate data plane", parts)
        }
        Plane::Merged => {
            let parts = vec![
                tidegate_sc::openapi(),
                tidegate_data_plane::openapi(),
                health::openapi(),
            ];
            merged_openapi(TITLE, parts)
        }
        Plane::Frames => asyncapi(),
    };
    output::print_json(&document)
}
