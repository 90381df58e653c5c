//! Which processes a cluster has, and on which ports: decided at its first start and kept in
//! `layout.json`, so that a later start finds everything where it was.
//!
//! A port that somebody else took meanwhile is replaced; who was reached there is told the new one by the
//! topology.

use std::collections::BTreeSet;
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

    fn is(&self, other: &Self) -> bool {
        (self.kind, self.number) == (other.kind, other.number)
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
    /// What those were given that are not there any more: it is theirs when they come back.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    left_out: Vec<NodePlan>,
    pub(crate) postgres_port: u16,
    pub(crate) postgres_password: String,
}

/// How many processes of a kind there are to be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    pub(crate) kind: NodeKind,
    /// The first of those that there were, and new ones in the gaps and behind them. Without it, all of
    /// those that there were.
    pub(crate) count: Option<u32>,
    /// In a new cluster.
    pub(crate) at_first: u32,
}

impl Layout {
    /// The layout of the directory, with as many nodes as wanted: those that it had keep their ports. With
    /// those that it had until now and has no more.
    pub(crate) fn ensure(
        directory: &Path,
        wanted: &[Wanted],
    ) -> Result<(Self, Vec<NodePlan>), Failure> {
        let path = directory.join(LAYOUT_FILE);
        let before = match fs::read_to_string(&path) {
            Ok(text) => Some(serde_json::from_str::<Self>(&text).map_err(|error| {
                Failure::failed(format!("{} cannot be used: {error}", path.display()))
            })?),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(disk(&path, "cannot be read", &error)),
        };
        let known = before.as_ref().map(|before| before.nodes.clone());
        let layout = Self::fill(before, wanted)?;
        layout.write(directory)?;
        let mut dropped = known.unwrap_or_default();
        dropped.retain(|node| !layout.nodes.iter().any(|other| other.is(node)));
        Ok((layout, dropped))
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
        let before = match before {
            Some(before) => before,
            None => Self::empty()?,
        };
        let postgres_port = free.keep_or_take(before.postgres_port)?;
        let mut nodes: Vec<NodePlan> = Vec::new();
        for Wanted {
            kind,
            count,
            at_first,
        } in wanted
        {
            let known = before.of(*kind).map(|node| node.number);
            let numbers = numbers(known, count.or(is_new.then_some(*at_first)));
            for number in numbers {
                let had = before.plan_of(*kind, number);
                nodes.push(NodePlan {
                    kind: *kind,
                    number,
                    ports: free.three(had.map(|had| had.ports))?,
                    rack: had.and_then(|had| had.rack.clone()),
                });
            }
        }
        let mut left_out = [before.nodes, before.left_out].concat();
        left_out.retain(|node| !nodes.iter().any(|other| other.is(node)));
        Ok(Self {
            nodes,
            left_out,
            postgres_port,
            postgres_password: before.postgres_password,
        })
    }

    fn empty() -> Result<Self, Failure> {
        let password = secret::random_token();
        Ok(Self {
            nodes: Vec::new(),
            left_out: Vec::new(),
            postgres_port: 0,
            postgres_password: password.map_err(|error| Failure::failed(error.to_string()))?,
        })
    }

    /// Whether the cluster has that process.
    pub(crate) fn has(&self, node: &NodePlan) -> bool {
        self.nodes.iter().any(|other| other.is(node))
    }

    /// What a process has, or had when it was one of the cluster.
    pub(crate) fn plan_of(&self, kind: NodeKind, number: u32) -> Option<&NodePlan> {
        let mut all = self.nodes.iter().chain(&self.left_out);
        all.find(|node| (node.kind, node.number) == (kind, number))
    }

    /// What a storage unit of that number would be given, with what it had. Without one it is behind the last
    /// that there is.
    pub(crate) fn plan_spu(
        &self,
        number: Option<u32>,
        rack: Option<String>,
    ) -> Result<NodePlan, Failure> {
        let last = self.of(NodeKind::Spu).map(|node| node.number).max();
        let number = number.unwrap_or_else(|| last.map_or(1, |last| last + 1));
        let had = self.plan_of(NodeKind::Spu, number);
        let rack = rack.or_else(|| had.and_then(|had| had.rack.clone()));
        if let Some(had) = had.filter(|had| self.has(had)) {
            return Ok(NodePlan {
                rack,
                ..had.clone()
            });
        }
        let mut free = FreePorts::default();
        let ports = self.nodes.iter().map(|node| node.ports);
        // Also those of processes that are down, which come back there.
        for port in ports.flat_map(|it| [it.clients, it.private, it.operators]) {
            free.keep_or_take(port)?;
        }
        Ok(NodePlan {
            kind: NodeKind::Spu,
            number,
            ports: free.three(had.map(|had| had.ports))?,
            rack,
        })
    }

    /// Has it from now on.
    pub(crate) fn keep(&mut self, directory: &Path, node: NodePlan) -> Result<(), Failure> {
        self.left_out.retain(|other| !other.is(&node));
        self.nodes.retain(|other| !other.is(&node));
        self.nodes.push(node);
        self.nodes.sort_by_key(|node| (node.kind, node.number));
        self.write(directory)
    }

    /// Leaves out storage units; what they keep stays where it is.
    pub(crate) fn leave_out(&mut self, directory: &Path, spus: &[u32]) -> Result<(), Failure> {
        let is_gone = |node: &NodePlan| node.kind == NodeKind::Spu && spus.contains(&node.number);
        let (gone, stay) = self.nodes.drain(..).partition(is_gone);
        self.nodes = stay;
        self.left_out.retain(|node| !is_gone(node));
        self.left_out.extend::<Vec<_>>(gone);
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

/// The first `count` of those that are known, filled up with the lowest others.
fn numbers(known: impl Iterator<Item = u32>, count: Option<u32>) -> BTreeSet<u32> {
    let known: BTreeSet<u32> = known.collect();
    let Some(count) = count.map(|count| count as usize) else {
        return known;
    };
    let mut numbers: BTreeSet<u32> = known.into_iter().take(count).collect();
    let mut others = 1..;
    while numbers.len() < count {
        numbers.extend(others.next());
    }
    numbers
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
            Layout::ensure(directory.path(), &wanted).unwrap().0
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

    fn names(nodes: &[NodePlan]) -> Vec<String> {
        nodes.iter().map(NodePlan::name).collect()
    }

    #[test]
    fn units_that_were_added_or_left_out_are_so_at_the_next_start_and_keep_what_they_were_given() {
        let directory = tempfile::tempdir().unwrap();
        let wanted =
            [NodeKind::Sc, NodeKind::Spu, NodeKind::Gateway].map(|kind| wanted(kind, None));
        let ensure = || Layout::ensure(directory.path(), &wanted).unwrap().0;
        let mut layout = ensure();
        let added = layout.plan_spu(Some(7), Some("b".to_owned())).unwrap();
        layout.keep(directory.path(), added.clone()).unwrap();
        assert_eq!((added.rack(), ports(&layout).len()), ("b".to_owned(), 12));
        let mut next = ensure();
        assert_eq!(names(&next.nodes), ["sc-1", "spu-1", "spu-7", "gateway-1"]);
        assert_eq!(next.nodes[2].rack(), "b");
        assert_eq!(next.nodes[1].rack(), "rack-1");
        assert_eq!(next.plan_spu(None, None).unwrap().name(), "spu-8");
        next.leave_out(directory.path(), &[1, 7]).unwrap();
        let mut last = ensure();
        assert_eq!(names(&last.nodes), ["sc-1", "gateway-1"]);
        let back = last.plan_spu(Some(7), None).unwrap();
        assert_eq!((back.rack(), last.has(&back)), ("b".to_owned(), false));
        last.keep(directory.path(), back).unwrap();
        // Again, as after an attempt that failed: one plan, and not another.
        let moved = last.plan_spu(Some(7), Some("c".to_owned())).unwrap();
        last.keep(directory.path(), moved).unwrap();
        assert_eq!(names(&last.nodes), ["sc-1", "spu-7", "gateway-1"]);
        assert_eq!(ensure().nodes[1].rack(), "c");
    }

    #[test]
    fn a_count_keeps_the_first_that_there_were_and_names_those_that_it_leaves_out() {
        let directory = tempfile::tempdir().unwrap();
        let ensure = |count| {
            let wanted = [wanted(NodeKind::Spu, count)];
            let (layout, dropped) = Layout::ensure(directory.path(), &wanted).unwrap();
            (names(&layout.nodes), names(&dropped))
        };
        let strings = |names: &[&str]| names.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>();
        assert_eq!(ensure(Some(4)).0.len(), 4);
        let (mut layout, _) =
            Layout::ensure(directory.path(), &[wanted(NodeKind::Spu, None)]).unwrap();
        layout.leave_out(directory.path(), &[2]).unwrap();
        let three = strings(&["spu-1", "spu-3", "spu-4"]);
        assert_eq!(ensure(Some(3)), (three, Vec::new()));
        let two = strings(&["spu-1", "spu-3"]);
        assert_eq!(ensure(Some(2)), (two, strings(&["spu-4"])));
        assert_eq!(ensure(Some(3)).0, strings(&["spu-1", "spu-2", "spu-3"]));
        assert_eq!(ensure(Some(5)).0.len(), 5);
    }
}
