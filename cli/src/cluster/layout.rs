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
    /// Of a storage unit that was given one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) rack: Option<String>,
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

    /// The failure domain of a storage unit: one of its own, if none was given.
    pub(crate) fn rack(&self) -> String {
        let own = || format!("rack-{}", self.number);
        self.rack.clone().unwrap_or_else(own)
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

/// How many processes of a kind there are to be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    pub(crate) kind: NodeKind,
    /// Numbered from 1. Without it, those that there were.
    pub(crate) count: Option<u32>,
    /// In a new cluster.
    pub(crate) at_first: u32,
}

impl Layout {
    /// The layout of the directory, with as many nodes as wanted: those that it had keep their ports.
    pub(crate) fn ensure(directory: &Path, wanted: &[Wanted]) -> Result<Self, Failure> {
        let path = directory.join(LAYOUT_FILE);
        let before = match fs::read_to_string(&path) {
            Ok(text) => Some(serde_json::from_str::<Self>(&text).map_err(|error| {
                Failure::failed(format!("{} cannot be used: {error}", path.display()))
            })?),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(disk(&path, "cannot be read", &error)),
        };
        let layout = Self::fill(before, wanted)?;
        layout.write(directory)?;
        Ok(layout)
    }

    fn write(&self, directory: &Path) -> Result<(), Failure> {
        let path = directory.join(LAYOUT_FILE);
        let text = serde_json::to_string_pretty(self)
            .map_err(|error| Failure::failed(error.to_string()))?;
        write_private(&path, format!("{text}\n").as_bytes())
            .map_err(|error| disk(&path, "cannot be written", &error))
    }

    fn fill(before: Option<Self>, wanted: &[Wanted]) -> Result<Self, Failure> {
        let mut free = FreePorts::default();
        let is_new = before.is_none();
        let (known, port, password) = match before {
            Some(before) => (before.nodes, before.postgres_port, before.postgres_password),
            None => {
                let password = secret::random_token();
                let password = password.map_err(|error| Failure::failed(error.to_string()))?;
                (Vec::new(), 0, password)
            }
        };
        let postgres_port = free.keep_or_take(port)?;
        let mut nodes = Vec::new();
        for Wanted {
            kind,
            count,
            at_first,
        } in wanted
        {
            let of_kind = known.iter().filter(|node| node.kind == *kind);
            let known: BTreeMap<u32, &NodePlan> = of_kind.map(|node| (node.number, node)).collect();
            let numbers: Vec<u32> = match count.or(is_new.then_some(*at_first)) {
                Some(count) => (1..=count).collect(),
                None => known.keys().copied().collect(),
            };
            for number in numbers {
                let had = known.get(&number);
                nodes.push(NodePlan {
                    kind: *kind,
                    number,
                    ports: free.three(had.map(|had| had.ports))?,
                    rack: had.and_then(|had| had.rack.clone()),
                });
            }
        }
        Ok(Self {
            nodes,
            postgres_port,
            postgres_password: password,
        })
    }

    /// One more storage unit, kept in `directory`.
    pub(crate) fn add_spu(
        &mut self,
        directory: &Path,
        number: u32,
        rack: Option<String>,
    ) -> Result<NodePlan, Failure> {
        let mut free = FreePorts::default();
        let ports = self.nodes.iter().map(|node| node.ports);
        // Also those of processes that are down, which come back there.
        for port in ports.flat_map(|it| [it.clients, it.private, it.operators]) {
            free.keep_or_take(port)?;
        }
        let added = NodePlan {
            kind: NodeKind::Spu,
            number,
            ports: free.three(None)?,
            rack,
        };
        self.nodes.push(added.clone());
        self.nodes.sort_by_key(|node| (node.kind, node.number));
        self.write(directory)?;
        Ok(added)
    }

    /// Leaves out storage units; what they keep stays where it is.
    pub(crate) fn leave_out(&mut self, directory: &Path, spus: &[u32]) -> Result<(), Failure> {
        let is_gone = |node: &NodePlan| node.kind == NodeKind::Spu && spus.contains(&node.number);
        self.nodes.retain(|node| !is_gone(node));
        self.write(directory)
    }

    /// Whether a cluster was ever started in the directory.
    pub(crate) fn is_in(directory: &Path) -> bool {
        directory.join(LAYOUT_FILE).exists()
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
    fn three(&mut self, had: Option<Ports>) -> Result<Ports, Failure> {
        Ok(Ports {
            clients: self.keep_or_take(had.map_or(0, |had| had.clients))?,
            private: self.keep_or_take(had.map_or(0, |had| had.private))?,
            operators: self.keep_or_take(had.map_or(0, |had| had.operators))?,
        })
    }

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

    fn wanted(kind: NodeKind, count: Option<u32>) -> Wanted {
        Wanted {
            kind,
            count,
            at_first: 1,
        }
    }

    fn ports(layout: &Layout) -> Vec<u16> {
        let all = layout.nodes.iter();
        let ports = all.flat_map(|it| [it.ports.clients, it.ports.private, it.ports.operators]);
        let mut ports: Vec<u16> = ports.collect();
        ports.sort_unstable();
        ports.dedup();
        ports
    }

    #[test]
    fn a_later_start_finds_the_ports_of_the_first_and_adds_what_is_new() {
        let directory = tempfile::tempdir().unwrap();
        let ensure = |spus| {
            let wanted = [wanted(NodeKind::Sc, None), wanted(NodeKind::Spu, spus)];
            Layout::ensure(directory.path(), &wanted).unwrap()
        };
        let first = ensure(Some(2));
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, first.nodes[0].ports.clients)).unwrap();
        let more = ensure(Some(3));
        assert_eq!(more.nodes.len(), 4);
        assert_eq!(more.nodes[2].ports.private, first.nodes[2].ports.private);
        assert_eq!(more.postgres_password, first.postgres_password);
        let moved = more.nodes[0].ports.clients;
        assert_ne!(moved, taken.local_addr().unwrap().port());
        assert_eq!(ports(&more).len(), 12);
        assert_eq!(ensure(None).nodes.len(), 4);
    }

    #[test]
    fn units_that_were_added_or_left_out_are_so_at_the_next_start() {
        let directory = tempfile::tempdir().unwrap();
        let wanted = [
            wanted(NodeKind::Sc, None),
            wanted(NodeKind::Spu, None),
            wanted(NodeKind::Gateway, None),
        ];
        let mut layout = Layout::ensure(directory.path(), &wanted).unwrap();
        let added = layout.add_spu(directory.path(), 7, Some("b".to_owned()));
        assert_eq!(added.unwrap().rack(), "b");
        assert_eq!(ports(&layout).len(), 12);
        let mut next = Layout::ensure(directory.path(), &wanted).unwrap();
        let names = |layout: &Layout| layout.nodes.iter().map(NodePlan::name).collect::<Vec<_>>();
        assert_eq!(names(&next), ["sc-1", "spu-1", "spu-7", "gateway-1"]);
        assert_eq!(next.nodes[2].rack(), "b");
        assert_eq!(next.nodes[1].rack(), "rack-1");
        next.leave_out(directory.path(), &[1]).unwrap();
        let last = Layout::ensure(directory.path(), &wanted).unwrap();
        assert_eq!(names(&last), ["sc-1", "spu-7", "gateway-1"]);
    }
}
