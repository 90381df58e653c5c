//! What every process of a cluster can be told, whatever its role.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use super::key::{Key, Kind};
use super::parse;
use super::reader::Reader;

/// Health and metrics, on every role alike.
const PORT_OPERATORS: u16 = 9443;

pub(super) const KEYS: &[Key] = &[
    Key::one(
        "data-dir",
        "TIDEGATE_DATA_DIR",
        "DIR",
        "Directory of everything that this process keeps; made when it is not there",
    ),
    Key::one(
        "listen-operators",
        "TIDEGATE_LISTEN_OPERATORS",
        "ADDRESS:PORT",
        "Where /livez, /readyz and /metrics are served [default: 127.0.0.1:9443]",
    ),
    Key::one(
        "tls-cert",
        "TIDEGATE_TLS_CERT",
        "FILE",
        "Certificate chain (PEM) of the public and the operators' listeners",
    ),
    Key::one(
        "tls-key",
        "TIDEGATE_TLS_KEY",
        "FILE",
        "Its private key (PEM)",
    ),
    Key::one(
        "admin-token-sha256",
        "TIDEGATE_ADMIN_TOKEN_SHA256",
        "DIGEST",
        "SHA-256 of the token of the principal `admin`: printf %s \"$TOKEN\" | sha256sum",
    ),
    Key::one(
        "controller",
        "TIDEGATE_CONTROLLER",
        "URL",
        "Private address of a controller, such as https://sc-1.example:7443; repeatable",
    )
    .of(Kind::Many),
    Key::one(
        "join-token",
        "TIDEGATE_JOIN_TOKEN",
        "TOKEN",
        "One-time token with which this node gets its certificate; needed at its first start",
    )
    .of(Kind::Secret),
    Key::one(
        "memory-max",
        "TIDEGATE_MEMORY_MAX",
        "SIZE",
        "Memory that requests, answers and sockets may fill together [default: half of the machine's, \
         at most 1GiB]",
    ),
    Key::one(
        "connections-max",
        "TIDEGATE_CONNECTIONS_MAX",
        "COUNT",
        "Connections open at once on the public listener [default: 20000, or what the limit of open \
         files leaves]",
    ),
    Key::one(
        "log",
        "TIDEGATE_LOG",
        "FILTER",
        "What is logged: error, warn, info, debug, or a filter such as info,tidegate_log=debug",
    ),
    Key::one("log-json", "TIDEGATE_LOG_JSON", "BOOL", "Log lines as JSON").of(Kind::Switch),
];

/// Of every role that web pages speak with.
pub(super) const CORS_ORIGIN: Key = Key::one(
    "cors-origin",
    "TIDEGATE_CORS_ORIGIN",
    "ORIGIN",
    "Origin whose web pages may call, such as https://app.example.org; repeatable",
)
.of(Kind::Many);

/// What every process is told.
#[derive(Debug)]
pub(crate) struct ProcessSettings {
    pub(crate) data_dir: PathBuf,
    pub(crate) listen_operators: SocketAddr,
    pub(crate) security: SecuritySettings,
    pub(crate) memory_max: Option<usize>,
    pub(crate) connections_max: Option<u32>,
    pub(crate) log: String,
    pub(crate) log_json: bool,
}

/// Who this process is, and whom it believes.
#[derive(Debug)]
pub(crate) struct SecuritySettings {
    pub(crate) tls_cert: PathBuf,
    pub(crate) tls_key: PathBuf,
    pub(crate) admin_token_sha256: [u8; 32],
    /// Other controllers of the cluster; all of them, for a node that is none.
    pub(crate) controllers: Vec<String>,
    pub(crate) join_token: Option<tidegate_kit::secret::Secret>,
}

impl ProcessSettings {
    /// Reads them; `data_dir` is the default.
    pub(super) fn read(reader: &mut Reader, data_dir: &str) -> Option<Self> {
        let operators = SocketAddr::from((Ipv4Addr::LOCALHOST, PORT_OPERATORS));
        let data_dir = reader.path("data-dir").unwrap_or_else(|| data_dir.into());
        let listen_operators = reader.or("listen-operators", operators, parse::address);
        let memory_max = reader.one("memory-max", parse::memory);
        let connections_max = reader.one("connections-max", parse::count);
        let log = reader.text("log").unwrap_or_else(|| "info".to_owned());
        let log_json = reader.switch("log-json");
        let join_token = reader
            .text("join-token")
            .map(tidegate_kit::secret::Secret::new);
        let controllers = reader.many("controller", parse::endpoint);
        let path = |text: &str| Ok(PathBuf::from(text));
        let tls_cert = reader.needed("tls-cert", path);
        let tls_key = reader.needed("tls-key", path);
        let admin_token_sha256 = reader.needed("admin-token-sha256", parse::digest);
        Some(Self {
            data_dir,
            listen_operators,
            security: SecuritySettings {
                tls_cert: tls_cert?,
                tls_key: tls_key?,
                admin_token_sha256: admin_token_sha256?,
                controllers,
                join_token,
            },
            memory_max,
            connections_max,
            log,
            log_json,
        })
    }
}
