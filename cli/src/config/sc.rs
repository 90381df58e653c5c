//! What a controller is told.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use tidegate_kit::http::OriginRules;
use tidegate_sc::store::DatabaseUrl;

use super::door::Door;
use super::key::{Key, Kind};
use super::process::{CORS_ORIGIN, ProcessSettings};
use super::reader::Reader;
use super::{Role, parse};

const PORT_PUBLIC: u16 = 8444;
const PORT_PRIVATE: u16 = 7443;

const KEYS: &[Key] = &[
    Key::one(
        "name",
        "TIDEGATE_NAME",
        "NAME",
        "Name of this controller in its cluster, such as sc-1",
    ),
    Key::one(
        "database-url",
        "TIDEGATE_DATABASE_URL",
        "URL",
        "Postgres database of the cluster: postgres://user:password@host/database?sslmode=verify-full. \
         In the environment or the file, where other users of the machine do not see the password",
    )
    .of(Kind::Secret),
    Key::one(
        "listen",
        "TIDEGATE_LISTEN",
        "ADDRESS:PORT",
        "Where the public control plane is served [default: 0.0.0.0:8444]",
    ),
    Key::one(
        "listen-private",
        "TIDEGATE_LISTEN_PRIVATE",
        "ADDRESS:PORT",
        "Where the other nodes of the cluster are served [default: 0.0.0.0:7443]",
    ),
    Key::one(
        "advertise-private",
        "TIDEGATE_ADVERTISE_PRIVATE",
        "URL",
        "How the other controllers reach that, such as https://sc-1.example:7443; needed when it listens \
         on all addresses",
    ),
    Key::one(
        "cluster-ca",
        "TIDEGATE_CLUSTER_CA",
        "FILE",
        "Certificate (PEM) of the authority that issues the nodes' certificates; the same on every \
         controller",
    ),
    Key::one(
        "cluster-ca-key",
        "TIDEGATE_CLUSTER_CA_KEY",
        "FILE",
        "Its private key (PEM)",
    ),
    CORS_ORIGIN,
];

/// The controller.
#[derive(Debug)]
pub(crate) struct ScRole;

/// What a controller is told.
#[derive(Debug)]
pub(crate) struct ScSettings {
    pub(crate) process: ProcessSettings,
    pub(crate) name: String,
    pub(crate) database_url: DatabaseUrl,
    pub(crate) listen: SocketAddr,
    pub(crate) private: Door,
    pub(crate) cluster_ca: PathBuf,
    pub(crate) cluster_ca_key: PathBuf,
    pub(crate) origins: OriginRules,
}

impl Role for ScRole {
    const SECTION: &'static str = "sc";
    type Settings = ScSettings;

    fn keys() -> &'static [Key] {
        KEYS
    }

    fn read(reader: &mut Reader) -> Option<ScSettings> {
        let any = |port| SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
        let process = ProcessSettings::read(reader, "./tidegate-sc");
        let name = reader.needed("name", |text| Ok(text.to_owned()));
        let database_url = reader.needed("database-url", |text| {
            DatabaseUrl::parse(text).map_err(|error| error.to_string())
        });
        let listen = reader.or("listen", any(PORT_PUBLIC), parse::address);
        let private = reader.or("listen-private", any(PORT_PRIVATE), parse::address);
        let private = Door::read(reader, private, "advertise-private", "listen-private");
        let cluster_ca = reader.needed("cluster-ca", |text| Ok(PathBuf::from(text)));
        let cluster_ca_key = reader.needed("cluster-ca-key", |text| Ok(PathBuf::from(text)));
        let (origins, _) = parse::origins(reader);
        Some(ScSettings {
            process: process?,
            name: name?,
            database_url: database_url?,
            listen,
            private,
            cluster_ca: cluster_ca?,
            cluster_ca_key: cluster_ca_key?,
            origins: origins?,
        })
    }
}
