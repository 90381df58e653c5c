//! `cluster.json`: what others need to know of a cluster that is ready.
//!
//! Written once every process is ready, for its owner only, and gone when the cluster ends in order.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::layout::Layout;
use crate::failure::Failure;
use crate::files::write_private;
use crate::owner::Owner;
use crate::up::directory::disk;

const MANIFEST_FILE: &str = "cluster.json";

/// A ready cluster.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Manifest {
    /// The process that holds the others.
    pub(crate) pid: u32,
    /// Where the certificate is that clients trust.
    pub(crate) ca: PathBuf,
    /// The token of the principal `admin`.
    pub(crate) token: String,
    pub(crate) database_url: String,
    pub(crate) nodes: Vec<ManifestNode>,
}

/// One process of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ManifestNode {
    pub(crate) name: String,
    pub(crate) role: String,
    pub(crate) pid: u32,
    /// Where clients reach it.
    pub(crate) url: String,
    /// Health and metrics.
    pub(crate) operators_url: String,
    pub(crate) data_dir: PathBuf,
    pub(crate) log: PathBuf,
    /// Starts it again.
    pub(crate) argv: Vec<String>,
}

impl Manifest {
    /// That of the directory, if there is one.
    pub(crate) fn read(directory: &Path) -> Option<Self> {
        let text = fs::read_to_string(directory.join(MANIFEST_FILE)).ok()?;
        serde_json::from_str(&text).ok()
    }

    /// The same, or what to say when there is none.
    pub(crate) fn ready(directory: &Path) -> Result<Self, Failure> {
        Self::read(directory).ok_or_else(|| {
            let is_held = Layout::is_in(directory) && Owner::of(directory).is_some();
            let directory = directory.display();
            if is_held {
                let words = format!("the cluster in {directory} is not ready; it starts or stops");
                return Failure::failed(words);
            }
            Failure::failed(format!(
                "no cluster is ready in {directory}. `tidegate cluster start --data-dir {directory}` \
                 starts one; --data-dir DIR names the directory of another."
            ))
        })
    }

    /// Where clients of the cluster find it: at gateways, or, where there are none, at controllers.
    pub(crate) fn doors(&self) -> Vec<&ManifestNode> {
        let of = |role: &str| -> Vec<_> {
            let nodes = self.nodes.iter().filter(|node| node.role == role);
            nodes.filter(|node| !node.url.is_empty()).collect()
        };
        let gateways = of("gateway");
        if gateways.is_empty() {
            return of("sc");
        }
        gateways
    }

    pub(crate) fn write(&self, directory: &Path) -> Result<(), Failure> {
        let path = directory.join(MANIFEST_FILE);
        let text = serde_json::to_string_pretty(self)
            .map_err(|error| Failure::failed(error.to_string()))?;
        write_private(&path, format!("{text}\n").as_bytes())
            .map_err(|error| disk(&path, "cannot be written", &error))
    }

    /// The cluster is not ready any more.
    pub(crate) fn remove(directory: &Path) {
        // It may be gone already.
        let _ = fs::remove_file(directory.join(MANIFEST_FILE));
    }
}
