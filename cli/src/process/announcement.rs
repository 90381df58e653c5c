//! `node.json` in the data directory of a process while it is ready: where it is reached.
//!
//! For scripts and for `tidegate cluster`. One that a killed process left behind names another process.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::files::write_private;
use crate::up::directory::disk;

/// Name of the file.
const NODE_FILE: &str = "node.json";

/// What a ready process tells.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct NodeFacts {
    pub(crate) name: String,
    pub(crate) role: String,
    pub(crate) pid: u32,
    /// Where clients reach it, if they may.
    pub(crate) url: Option<String>,
    /// Where other nodes reach it, if they do.
    pub(crate) private_url: Option<String>,
    /// Health and metrics.
    pub(crate) operators_url: String,
}

impl NodeFacts {
    /// Those of the process whose directory this is, if it is ready.
    pub(crate) fn read(directory: &Path) -> Option<Self> {
        let text = fs::read_to_string(directory.join(NODE_FILE)).ok()?;
        serde_json::from_str(&text).ok()
    }

    /// Writes them until what is returned is dropped.
    pub(super) fn announce(&self, directory: &Path) -> Result<Announced, Failure> {
        let path = directory.join(NODE_FILE);
        let text = serde_json::to_string_pretty(self)
            .map_err(|error| Failure::failed(error.to_string()))?;
        write_private(&path, format!("{text}\n").as_bytes())
            .map_err(|error| disk(&path, "cannot be written", &error))?;
        Ok(Announced { path })
    }
}

/// The file, which goes with this.
#[derive(Debug)]
pub(crate) struct Announced {
    path: PathBuf,
}

impl Drop for Announced {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = fs::remove_file(&self.path);
    }
}
