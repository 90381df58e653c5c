//! What a cluster writes of itself when it is ready.

use std::path::PathBuf;

use serde::Deserialize;

/// What `cluster.json` says.
#[derive(Debug, Clone, Deserialize)]
pub struct Manifest {
    pub pid: u32,
    pub ca: PathBuf,
    pub token: String,
    pub database_url: String,
    pub nodes: Vec<Member>,
}

/// One process.
#[derive(Debug, Clone, Deserialize)]
pub struct Member {
    pub name: String,
    pub role: String,
    pub pid: u32,
    pub url: String,
    pub operators_url: String,
    pub data_dir: PathBuf,
    pub argv: Vec<String>,
}
