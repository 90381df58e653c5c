//! One API description from those of the planes.
//!
//! The planes describe their operations; here they get one title, licence, security scheme and
//! server, and what the derived schemas leave unsaid. Invariant: an operation id stands in the result
//! once. What servers send are the finished documents below `openapi/`: making one at every start would
//! leave a process megabytes larger, and a test says when they are not what the handlers say any more.

use serde_json::Value;
use tidegate_proto::error::Problem;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{
    Components, ContactBuilder, InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder, Paths,
    ServerBuilder,
};
use utoipa::{OpenApi as _, PartialSchema as _, ToSchema};

use crate::links::add_links;
use crate::schema::completed;

/// The title of the document of everything.
pub const TITLE: &str = "Tidegate";

/// What gateways and single processes send: everything.
pub const TIDEGATE: &str = include_str!("../../openapi/tidegate.json");
/// What controllers send.
pub const CONTROL_PLANE: &str = include_str!("../../openapi/control-plane.json");
/// What storage units send.
pub const DATA_PLANE: &str = include_str!("../../openapi/data-plane.json");
/// The frames of the sockets, as AsyncAPI.
pub const FRAMES: &str = include_str!("../../openapi/frames.asyncapi.json");

const DESCRIPTION: &str = "A durable, partitioned stream store behind plain HTTP and WebSocket. \
    Errors are `application/problem+json`; each `code` is explained at `/docs/errors/{code}`. \
    WebSocket frames are described by `openapi/frames.asyncapi.json`.";

/// The descriptions of the planes as one document.
///
/// # Panics
/// Never: descriptions are made of strings and numbers.
#[must_use]
pub fn merged_openapi(title: &str, parts: Vec<OpenApi>) -> Value {
    let license = LicenseBuilder::new()
        .name("Apache-2.0")
        .identifier(Some("Apache-2.0"))
        .build();
    let info = InfoBuilder::new()
        .title(title)
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(DESCRIPTION))
        .contact(Some(
            ContactBuilder::new()
                .name(Some("The Tidegate project"))
                .build(),
        ))
        .license(Some(license))
        .build();
    let server = ServerBuilder::new()
        .url("/")
        .description(Some("The server that sent this"))
        .build();
    let mut merged = OpenApiBuilder::new()
        .info(info)
        .servers(Some([server]))
        .paths(Paths::new())
        .security(Some([SecurityRequirement::new("bearer", [] as [&str; 0])]))
        .build();
    for part in parts.into_iter().chain([own_openapi()]) {
        merged.merge(part);
    }
    // Frames are described where there are sockets.
    if !merged.paths.paths.contains_key("/v1/ws") {
        merged.paths.paths.remove("/v1/asyncapi.json");
    }
    let components = merged.components.get_or_insert_with(Components::new);
    let mut bearer = Http::new(HttpAuthScheme::Bearer);
    bearer.description = Some(
        "An API token. Browsers get a single-use ticket at `POST /v1/ws-tickets` instead and send \
         it as `?ticket=` or as the WebSocket subprotocol `ticket.<x>`."
            .to_owned(),
    );
    components
        .security_schemes
        .insert("bearer".to_owned(), SecurityScheme::Http(bearer).into());
    components
        .schemas
        .entry(Problem::name().into_owned())
        .or_insert_with(Problem::schema);
    let mut nested = Vec::new();
    Problem::schemas(&mut nested);
    for (name, schema) in nested {
        components.schemas.entry(name).or_insert(schema);
    }
    let document = serde_json::to_value(&merged).expect("descriptions are strings and numbers");
    let mut document = completed(document);
    add_links(&mut document);
    document
}

/// The API description of what the edge itself answers.
fn own_openapi() -> OpenApi {
    Described::openapi()
}

#[derive(utoipa::OpenApi)]
#[openapi(paths(get_openapi, get_asyncapi), tags((name = "description", description = "This document, and that of the frames")))]
struct Described;

/// Gives this document
///
/// Open to everybody, as everything that helps to write a client.
#[utoipa::path(
    get, path = "/v1/openapi.json", tag = "description", operation_id = "get_openapi", security(()),
    responses(
        (status = 200, description = "The description", body = Object, content_type = "application/json"),
        (status = 304, description = "The client has it already (`If-None-Match`)"),
    ),
)]
#[expect(
    dead_code,
    reason = "stands for the route, whose handler holds the finished document"
)]
fn get_openapi() {}

/// Gives the description of the WebSocket frames, as AsyncAPI 3
///
/// Open to everybody.
#[utoipa::path(
    get, path = "/v1/asyncapi.json", tag = "description", operation_id = "get_asyncapi", security(()),
    responses(
        (status = 200, description = "The description", body = Object, content_type = "application/json"),
        (status = 304, description = "The client has it already (`If-None-Match`)"),
    ),
)]
#[expect(
    dead_code,
    reason = "stands for the route, whose handler holds the finished document"
)]
fn get_asyncapi() {}
