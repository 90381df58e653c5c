//! `tidegate openapi`: the OpenAPI documents, as the handlers describe themselves, and the AsyncAPI
//! document of the WebSocket frames.

use clap::{Args, ValueEnum};
use tidegate_data_plane::ws::asyncapi::asyncapi;
use tidegate_gateway::openapi::merged_openapi;
use utoipa::openapi::OpenApi;

use crate::failure::Failure;
use crate::output;
use crate::up::descriptions;

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Plane {
    /// Topics, partitions, the cluster.
    Control,
    /// Produce, fetch, events, WebSocket.
    Data,
    /// All that the public port serves, as at /v1/openapi.json.
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
        Plane::Control => tidegate_sc::openapi(),
        Plane::Data => tidegate_data_plane::openapi(),
        Plane::Merged => merged_openapi(descriptions()),
        Plane::Frames => return output::print_json(&asyncapi()),
    };
    output::print(&text(&document)?)
}

fn text(document: &OpenApi) -> Result<String, Failure> {
    document
        .to_pretty_json()
        .map_err(|error| Failure::failed(format!("the document cannot be written: {error}")))
}
