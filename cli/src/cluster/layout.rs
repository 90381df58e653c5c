//! Which processes a cluster has, and on which ports: decided at its first start and kept in
//! `layout.json`, so that a later start finds everything where it was.
//!
//! A port that somebody else took meanwhile is replaced; who was reached there is told the new one by the
//! topology.

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;

use serde::{Deserialize, Serialize};
use tidegate_kit::secret;

use crate::failure::Failure;
use crate::files::write_private;
use crate::up::directory::disk;

const LAYOUT_FILE: &str = "layout.json";

/// What a process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum NodeKind {
    Sc,
    Spu,
    Gateway,
}

impl NodeKind {
    /// The word in commands and files.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Sc => "sc",
            Self::Spu => "spu",
            Self::Gateway => "gateway",
        }
    }
}

/// One process.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct NodePlan {
    pub(crate) kind: NodeKind,
    /// From 1.
    pub(crate) number: u32,
    /// Of clients, of other nodes, of operators.
    pub(crate) ports: Ports,
}

/// Ports on the loopback interface.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Ports {
    pub(crate) clients: u16,
    pub(crate) private: u16,
    pub(crate) operators: u16,
}

impl NodePlan {
    /// Such as `spu-3`.
    pub(crate) fn name(&self) -> String {
        format!("{}-{}", self.kind.as_str(), self.number)
    }

    /// Where other nodes reach it.
    pub(crate) fn private_url(&self) -> String {
        format!("https://127.0.0.1:{}", self.ports.private)
    }
}

/// The whole cluster.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Layout {
    pub(crate) nodes: Vec<NodePlan>,
    pub(crate) postgres_port: u16,
    pub(crate) postgres_password: String,
}

impl Layout {
    /// The layout of the directory, with as many nodes as wanted: those that it had keep their ports.
    pub(crate) fn ensure(directory: &Path, wanted: &[(NodeKind, u32)]) -> Result<Self, Failure> {
        let path = directory.join(LAYOUT_FILE);
        let before = match fs::read_to_string(&path) {
            Ok(text) => Some(serde_json::from_str::<Self>(&text).map_err(|error| {
                Failure::failed(format!("{} cannot be used: {error}", path.display()))
            })?),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(disk(&path, "cannot be read", &error)),
        };
        let layout = Self::fill(before, wanted)?;
        let text = serde_json::to_string_pretty(&layout)
            .map_err(|error| Failure::failed(error.to_string()))?;
        write_private(&path, format!("{text}\n").as_bytes())
            .map_err(|error| disk(&path, "cannot be written", &error))?;
        Ok(layout)
    }

    fn fill(before: Option<Self>, wanted: &[(NodeKind, u32)]) -> Result<Self, Failure> {
        let mut free = FreePorts::default();
        let (known, port, password) = match before {
            Some(before) => (before.nodes, before.postgres_port, before.postgres_password),
            None => {
                let password = secret::random_token();
                let password = password.map_err(|error| Failure::failed(error.to_string()))?;
                (Vec::new(), 0, password)
            }
        };
        let known: BTreeMap<(NodeKind, u32), Ports> = known
            .into_iter()
            .map(|node| ((node.kind, node.number), node.ports))
            .collect();
        let postgres_port = free.keep_or_take(port)?;
        let mut nodes = Vec::new();
        for (kind, count) in wanted {
            for number in 1..=*count {
                let had = known.get(&(*kind, number));
                let ports = Ports {
                    clients: free.keep_or_take(had.map_or(0, |had| had.clients))?,
                    private: free.keep_or_take(had.map_or(0, |had| had.private))?,
                    operators: free.keep_or_take(had.map_or(0, |had| had.operators))?,
                };
                nodes.push(NodePlan {
                    kind: *kind,
                    number,
                    ports,
                });
            }
        }
        Ok(Self {
            nodes,
            postgres_port,
            postgres_password: password,
        })
    }

    /// Those of one kind.
    pub(crate) fn of(&self, kind: NodeKind) -> impl Iterator<Item = &NodePlan> {
        self.nodes.iter().filter(move |node| node.kind == kind)
    }
}

/// Ports that are ours until this is dropped, so that none is given twice.
#[derive(Debug, Default)]
struct FreePorts {
    held: Vec<TcpListener>,
}

impl FreePorts {
    /// `port` if it is free, or another that is.
    fn keep_or_take(&mut self, port: u16) -> Result<u16, Failure> {
        let bind = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port));
        let listener = bind(port)
            .or_else(|_| bind(0))
            .map_err(|error| Failure::failed(format!("there is no free port: {error}")))?;
        let port = listener
            .local_addr()
            .map_err(|error| Failure::failed(error.to_string()))?
            .port();
        self.held.push(listener);
        Ok(port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_start_finds_the_ports_of_the_first_and_adds_what_is_new() {
        let directory = tempfile::tempdir().unwrap();
        let first = Layout::ensure(directory.path(), &[(NodeKind::Sc, 1), (NodeKind::Spu, 2)]);
        let first = first.unwrap();
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, first.nodes[0].ports.clients)).unwrap();
        let more = Layout::ensure(directory.path(), &[(NodeKind::Sc, 1), (NodeKind::Spu, 3)]);
        let more = more.unwrap();
        assert_eq!(more.nodes.len(), 4);
        assert_eq!(more.nodes[2].ports.private, first.nodes[2].ports.private);
        assert_eq!(more.postgres_password, first.postgres_password);
        let moved = more.nodes[0].ports.clients;
        assert_ne!(moved, taken.local_addr().unwrap().port());
        let all = more.nodes.iter();
        let mut ports: Vec<u16> = all
            .flat_map(|node| [node.ports.clients, node.ports.private, node.ports.operators])
            .collect();
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), 12);
    }
}
