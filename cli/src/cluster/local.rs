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
use tidegate_sc::store::{DatabaseUrl, MetaStore as _, PostgresStore};
use toml::{Table, Value};

use super::layout::{Layout, NodeKind, NodePlan};
use super::membership::Membership;
use crate::failure::Failure;
use crate::files::write_private;
use crate::process::IDENTITY_DIR;
use crate::sc::{authority, store_failure};
use crate::up::directory::{DataDirectory, disk};
use crate::up::failures::{self, chain};

/// Below it, each process has a directory by its name.
const NODES_DIR: &str = "nodes";
/// In that directory.
const DATA_DIR: &str = "data";

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
        make(&path.join(NODES_DIR))?;
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

    /// What the cluster says of a process; only storage units are entered and removed.
    pub(super) async fn membership(&self, node: &NodePlan) -> Result<Membership, Failure> {
        if node.kind != NodeKind::Spu {
            return Ok(Membership::Member);
        }
        if self.has_to_join(node) {
            return Ok(Membership::New);
        }
        let spu = SpuId(node.number);
        match self.client()?.spu(spu).await {
            Ok(_) => Ok(Membership::Member),
            Err(error) if error.code() == Some(ErrorCode::SpuNotFound) => {
                self.remembered(spu).await
            }
            Err(error) => Err(error.into()),
        }
    }

    /// What the database has of a unit that controllers do not show: only there are those that were removed.
    async fn remembered(&self, spu: SpuId) -> Result<Membership, Failure> {
        let url = DatabaseUrl::parse(&self.database_url);
        let url = url.map_err(|error| Failure::usage(chain(&error)))?;
        let store = PostgresStore::open(&url, "tidegate cluster").await;
        let store = store.map_err(|error| store_failure(&error))?;
        let model = store.snapshot().await;
        store.close().await;
        let model = model.map_err(|error| store_failure(&error))?;
        Ok(Membership::of(model.spus.get(&spu).map(|row| row.removed)))
    }

    /// Whether operators removed a storage unit. While nobody can tell, they did not.
    pub(super) async fn was_removed(&self, node: &NodePlan) -> bool {
        matches!(self.membership(node).await, Ok(Membership::Removed))
    }

    /// Enters a storage unit; its certificate and its directory serve on.
    pub(super) async fn enter(&self, node: &NodePlan) -> Result<(), Failure> {
        let (spec, options) = (json!({}), WriteOptions::default());
        let client = self.client()?;
        client
            .ensure_spu(SpuId(node.number), &spec, options)
            .await?;
        Ok(())
    }

    /// The directory of a node's data.
    pub(super) fn data_dir(&self, node: &NodePlan) -> PathBuf {
        data_dir(&self.directory, node)
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
        let home = self.directory.join(NODES_DIR).join(node.name());
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

/// The directory of a node's data, in that of its cluster.
pub(super) fn data_dir(cluster: &Path, node: &NodePlan) -> PathBuf {
    let nodes = cluster.join(NODES_DIR);
    nodes.join(node.name()).join(DATA_DIR)
}

/// Where processes of the cluster in a directory keep their data: those of `kind` that were ever started there,
/// also those that no layout and no manifest has any more, or yet.
pub(super) fn data_dirs(cluster: &Path, kind: NodeKind) -> Vec<PathBuf> {
    let entries = fs::read_dir(cluster.join(NODES_DIR));
    let entries = entries.into_iter().flatten().filter_map(Result::ok);
    let is_of_kind = |name: &str| {
        let kind_and_number = name.rsplit_once('-');
        kind_and_number.is_some_and(|(found, _)| found == kind.as_str())
    };
    entries
        .filter(|entry| entry.file_name().to_str().is_some_and(is_of_kind))
        .map(|entry| entry.path().join(DATA_DIR))
        .collect()
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
