//! The files of a cluster on this machine: certificates, the token, and the settings of each process.
//!
//! Everything is written anew at every start from the layout, so that a start after an upgrade knows the
//! settings of then; what processes keep is in directories of their own and not touched.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use serde_json::json;
use tidegate_client::{Client, ClientConfig, ErrorCode, SpuId, WriteOptions};
use tidegate_kit::secret::SecretDigest;
use tidegate_kit::tls::Pki;
use tidegate_proto::id::ClusterId;
use toml::{Table, Value};

use super::layout::{Layout, NodeKind, NodePlan};
use crate::failure::Failure;
use crate::files::write_private;
use crate::process::IDENTITY_DIR;
use crate::sc::authority;
use crate::up::directory::{DataDirectory, disk};
use crate::up::failures;

/// A cluster on this machine.
#[derive(Debug)]
pub(super) struct LocalCluster {
    pub(super) directory: PathBuf,
    pub(super) layout: Layout,
    pub(super) ca: PathBuf,
    pub(super) token: String,
    pub(super) database_url: String,
    program: String,
    log: String,
}

impl LocalCluster {
    /// Makes what all processes share.
    pub(super) fn prepare(
        directory: &DataDirectory,
        layout: Layout,
        database_url: String,
        log: &str,
    ) -> Result<Self, Failure> {
        let path = directory.path().to_owned();
        let tls = path.join("tls");
        make(&tls)?;
        make(&path.join("logs"))?;
        make(&path.join("nodes"))?;
        let pki = Pki::ensure(&tls, &[]).map_err(|error| failures::pki(&error))?;
        let program = std::env::current_exe()
            .map_err(|error| Failure::failed(format!("this program cannot be found: {error}")))?;
        Ok(Self {
            ca: pki.ca_path().to_owned(),
            token: directory.token()?,
            program: program.display().to_string(),
            log: log.to_owned(),
            directory: path,
            layout,
            database_url,
        })
    }

    /// The directory of the authority that issues the nodes' certificates.
    pub(super) fn authority(&self) -> PathBuf {
        self.directory.join("cluster-ca")
    }

    /// Makes the authority of the nodes at the first start.
    pub(super) fn ensure_authority(&self, cluster_id: ClusterId) -> Result<(), Failure> {
        let dir = self.authority();
        make(&dir)?;
        authority::ensure(&dir, cluster_id).map(drop)
    }

    /// Whether a node has no certificate yet and has to join.
    pub(super) fn has_to_join(&self, node: &NodePlan) -> bool {
        let identity = self.data_dir(node).join(IDENTITY_DIR);
        node.kind != NodeKind::Sc && !identity.join("node.pem").exists()
    }

    /// Speaks with the controllers, whichever is there.
    pub(super) fn client(&self) -> Result<Client, Failure> {
        let controllers = self.layout.of(NodeKind::Sc);
        let mut urls = controllers.map(|sc| format!("https://127.0.0.1:{}", sc.ports.clients));
        let mut config = ClientConfig::new(urls.next().unwrap_or_default());
        config.more_urls = urls.collect();
        config.token = Some(self.token.clone());
        let pem = fs::read(&self.ca).map_err(|error| disk(&self.ca, "cannot be read", &error))?;
        config.ca_pem = Some(pem);
        Ok(Client::new(config)?)
    }

    /// A token with which a node joins.
    pub(super) async fn join_token(&self, node: &NodePlan) -> Result<String, Failure> {
        let spec = json!({ "role": node.kind.as_str(), "name": node.name() });
        let made = self.client()?.create_join_token(&spec).await?;
        let token = made.get("token").and_then(|token| token.as_str());
        let token = token.map(str::to_owned);
        token.ok_or_else(|| Failure::failed("a controller made a join token and did not tell it"))
    }

    /// Whether the cluster has no storage unit of that number any more, though it had joined.
    pub(super) async fn is_gone(&self, node: &NodePlan) -> Result<bool, Failure> {
        if node.kind != NodeKind::Spu || self.has_to_join(node) {
            return Ok(false);
        }
        match self.client()?.spu(SpuId(node.number)).await {
            Ok(_) => Ok(false),
            Err(error) if error.code() == Some(ErrorCode::SpuNotFound) => Ok(true),
            Err(error) => Err(error.into()),
        }
    }

    /// Enters a storage unit again that was removed; its certificate and its directory serve on.
    pub(super) async fn enter_again(&self, node: &NodePlan) -> Result<(), Failure> {
        let (spec, options) = (json!({}), WriteOptions::default());
        let client = self.client()?;
        client
            .ensure_spu(SpuId(node.number), &spec, options)
            .await?;
        Ok(())
    }

    /// The directory of a node's data.
    pub(super) fn data_dir(&self, node: &NodePlan) -> PathBuf {
        self.directory.join("nodes").join(node.name()).join("data")
    }

    /// Where a node's words go.
    pub(super) fn log(&self, node: &NodePlan) -> PathBuf {
        self.directory
            .join("logs")
            .join(format!("{}.log", node.name()))
    }

    /// The command line that starts a node.
    pub(super) fn argv(&self, node: &NodePlan) -> Vec<String> {
        let file = self.settings_file(node).display().to_string();
        let role = node.kind.as_str();
        [&self.program, role, "run", "--config", &file]
            .map(str::to_owned)
            .to_vec()
    }

    fn settings_file(&self, node: &NodePlan) -> PathBuf {
        let home = self.directory.join("nodes").join(node.name());
        home.join("tidegate.toml")
    }

    /// Writes the settings of a node, and makes its directory.
    pub(super) fn write_settings(&self, node: &NodePlan) -> Result<(), Failure> {
        make(&self.data_dir(node))?;
        let mut settings = self.shared(node);
        let own = match node.kind {
            NodeKind::Sc => self.sc(node),
            NodeKind::Spu => spu(node),
            NodeKind::Gateway => gateway(node),
        };
        for (name, value) in own {
            settings.insert(name.to_owned(), value);
        }
        let mut file = Table::new();
        file.insert(node.kind.as_str().to_owned(), Value::Table(settings));
        let path = self.settings_file(node);
        let text = format!("# Written by `tidegate cluster start` at every start.\n{file}");
        write_private(&path, text.as_bytes())
            .map_err(|error| disk(&path, "cannot be written", &error))
    }

    fn shared(&self, node: &NodePlan) -> Table {
        let tls = self.directory.join("tls");
        let controllers = self.layout.of(NodeKind::Sc);
        let controllers = controllers.map(|sc| Value::String(sc.private_url()));
        let pairs = [
            ("data_dir", shown(&self.data_dir(node))),
            ("listen_operators", local(node.ports.operators)),
            ("tls_cert", shown(&tls.join("server.pem"))),
            ("tls_key", shown(&tls.join("server.key"))),
            (
                "admin_token_sha256",
                Value::String(SecretDigest::of(&self.token).to_hex()),
            ),
            ("controller", Value::Array(controllers.collect())),
            ("log", Value::String(self.log.clone())),
        ];
        pairs
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect()
    }

    fn sc(&self, node: &NodePlan) -> Vec<(&'static str, Value)> {
        vec![
            ("name", Value::String(node.name())),
            ("database_url", Value::String(self.database_url.clone())),
            ("listen", local(node.ports.clients)),
            ("listen_private", local(node.ports.private)),
            (
                "cluster_ca",
                shown(&self.authority().join("cluster-ca.pem")),
            ),
            (
                "cluster_ca_key",
                shown(&self.authority().join("cluster-ca.key")),
            ),
        ]
    }
}

fn spu(node: &NodePlan) -> Vec<(&'static str, Value)> {
    vec![
        ("spu_id", Value::Integer(node.number.into())),
        ("rack", Value::String(node.rack())),
        ("listen_private", local(node.ports.private)),
        ("listen_clients", local(node.ports.clients)),
        // Several of them share a disk here, which nobody wants to see filled with reserves.
        ("disk_ballast", Value::String("0".to_owned())),
    ]
}

fn gateway(node: &NodePlan) -> Vec<(&'static str, Value)> {
    vec![
        ("name", Value::String(node.name())),
        ("listen", local(node.ports.clients)),
    ]
}

fn local(port: u16) -> Value {
    Value::String(format!("127.0.0.1:{port}"))
}

fn shown(path: &Path) -> Value {
    Value::String(path.display().to_string())
}

/// For its owner alone, also one that an earlier version made for all to see.
fn make(path: &Path) -> Result<(), Failure> {
    let made = fs::create_dir_all(path)
        .and_then(|()| fs::set_permissions(path, Permissions::from_mode(0o700)));
    made.map_err(|error| disk(path, "cannot be made", &error))
}
