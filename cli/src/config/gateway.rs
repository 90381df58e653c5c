//! What a gateway is told.

use std::net::{Ipv4Addr, SocketAddr};

use tidegate_kit::http::OriginRules;

use super::key::{Key, Kind};
use super::process::{CORS_ORIGIN, ProcessSettings};
use super::reader::Reader;
use super::{Role, parse};

const PORT_PUBLIC: u16 = 8443;

const KEYS: &[Key] = &[
    Key::one(
        "name",
        "TIDEGATE_NAME",
        "NAME",
        "Name of this gateway in its cluster, such as gateway-1",
    ),
    Key::one(
        "listen",
        "TIDEGATE_LISTEN",
        "ADDRESS:PORT",
        "Where clients are served [default: 0.0.0.0:8443]",
    ),
    CORS_ORIGIN,
    Key::one(
        "shared-pages",
        "TIDEGATE_SHARED_PAGES",
        "BOOL",
        "Let shared caches keep pages of sealed segments and answer others from them, whom they must \
         then check themselves",
    )
    .of(Kind::Switch),
];

/// The gateway.
#[derive(Debug)]
pub(crate) struct GatewayRole;

/// What a gateway is told.
#[derive(Debug)]
pub(crate) struct GatewaySettings {
    pub(crate) process: ProcessSettings,
    pub(crate) name: String,
    pub(crate) listen: SocketAddr,
    pub(crate) origins: OriginRules,
    /// The same as given, for sockets.
    pub(crate) pages: Vec<String>,
    pub(crate) shared_pages: bool,
}

impl Role for GatewayRole {
    const SECTION: &'static str = "gateway";
    type Settings = GatewaySettings;

    fn keys() -> &'static [Key] {
        KEYS
    }

    fn read(reader: &mut Reader) -> Option<GatewaySettings> {
        let any = SocketAddr::from((Ipv4Addr::UNSPECIFIED, PORT_PUBLIC));
        let process = ProcessSettings::read(reader, "./tidegate-gateway");
        parse::controllers(reader);
        let name = reader.needed("name", |text| Ok(text.to_owned()));
        let listen = reader.or("listen", any, parse::address);
        let (origins, pages) = parse::origins(reader);
        let shared_pages = reader.switch("shared-pages");
        Some(GatewaySettings {
            process: process?,
            name: name?,
            listen,
            origins: origins?,
            pages,
            shared_pages,
        })
    }
}
