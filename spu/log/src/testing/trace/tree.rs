//! What a disk holds: names that lead to nodes, and the bytes of files. Cheap to clone: bytes are
//! shared until they are changed.
//!
//! Invariant: two trees with equal fingerprints look the same to whoever opens them; numbers of nodes
//! and what no name leads to do not count.

use std::collections::BTreeMap;
use std::path::{Component, Path};
use std::sync::{Arc, OnceLock};

use super::Op;

/// A name in a directory, given by its node.
pub type Name = (u32, Arc<str>);

/// A file or a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Node {
    /// Its number, used once.
    pub id: u32,
    /// True for a directory.
    pub is_dir: bool,
}

/// Bytes of a file, with a fingerprint that is worked out once.
#[derive(Debug, Clone, Default)]
pub struct FileBytes {
    bytes: Vec<u8>,
    fingerprint: OnceLock<u64>,
}

/// A disk at rest.
#[derive(Debug, Clone, Default)]
pub struct Tree {
    names: BTreeMap<Name, Node>,
    contents: BTreeMap<u32, Arc<FileBytes>>,
    /// Nodes made so far; the root is node 0.
    nodes: u32,
}

const ROOT: Node = Node {
    id: 0,
    is_dir: true,
};

impl FileBytes {
    /// Bytes of a file.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        Self {
            bytes,
            fingerprint: OnceLock::new(),
        }
    }

    /// The bytes.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes
    }

    fn fingerprint(&self) -> u64 {
        *self.fingerprint.get_or_init(|| mix(1, &self.bytes))
    }
}

impl Tree {
    /// Applies a change; syncs change nothing.
    pub fn apply(&mut self, op: &Op) {
        match op {
            Op::Link(name, node) => {
                self.names.insert(name.clone(), *node);
                self.nodes = self.nodes.max(node.id);
            }
            Op::Unlink(name) => drop(self.names.remove(name)),
            Op::Rename(from, to, node) => {
                self.names.remove(from);
                self.names.insert(to.clone(), *node);
            }
            Op::Write(node, at, data) => self.change(*node, |bytes| write_into(bytes, *at, data)),
            Op::SetLen(node, len) => {
                let len = usize::try_from(*len).unwrap_or(usize::MAX);
                self.change(*node, |bytes| bytes.resize(len, 0));
            }
            Op::SyncFile(_) | Op::SyncDir(_) | Op::SyncAll => {}
        }
    }

    /// Gives a file other bytes.
    pub fn set_content(&mut self, node: u32, bytes: Arc<FileBytes>) {
        self.contents.insert(node, bytes);
    }

    /// A file's bytes; none for one that was never written.
    #[must_use]
    pub fn content(&self, node: u32) -> &[u8] {
        self.contents
            .get(&node)
            .map_or(&[], |content| content.as_slice())
    }

    /// A file's bytes, to share.
    #[must_use]
    pub fn shared_content(&self, node: u32) -> Arc<FileBytes> {
        self.contents.get(&node).map(Arc::clone).unwrap_or_default()
    }

    /// What a path leads to.
    #[must_use]
    pub fn find(&self, path: &Path) -> Option<Node> {
        let mut node = ROOT;
        for component in path.components() {
            if let Component::Normal(name) = component {
                let name: Arc<str> = name.to_str()?.into();
                node = *self.names.get(&(node.id, name))?;
            }
        }
        Some(node)
    }

    /// Names in a directory, in order.
    #[must_use]
    pub fn items(&self, dir: u32) -> Vec<(Name, Node)> {
        self.in_dir(dir)
            .map(|(name, node)| (name.clone(), *node))
            .collect()
    }

    /// Paths of all files, with their nodes.
    #[must_use]
    pub fn files(&self) -> Vec<(String, u32)> {
        let mut found = Vec::new();
        self.visit(ROOT.id, "", &mut found);
        found
    }

    /// The same for trees that hold the same.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        self.fingerprint_of(ROOT.id, 0x5eed)
    }

    pub(super) fn new_node(&mut self, is_dir: bool) -> Node {
        // In an image a file may have bytes and no name.
        let last = self.contents.last_key_value().map_or(0, |(node, _)| *node);
        self.nodes = self.nodes.max(last) + 1;
        Node {
            id: self.nodes,
            is_dir,
        }
    }

    fn in_dir(&self, dir: u32) -> impl Iterator<Item = (&Name, &Node)> {
        let first: Name = (dir, "".into());
        self.names
            .range(first..)
            .take_while(move |((parent, _), _)| *parent == dir)
    }

    fn visit(&self, dir: u32, path: &str, found: &mut Vec<(String, u32)>) {
        for ((_, name), node) in self.in_dir(dir) {
            let path = format!("{path}/{name}");
            if node.is_dir {
                self.visit(node.id, &path, found);
            } else {
                found.push((path, node.id));
            }
        }
    }

    fn fingerprint_of(&self, dir: u32, seed: u64) -> u64 {
        self.in_dir(dir).fold(seed, |hash, ((_, name), node)| {
            let hash = mix(hash, name.as_bytes());
            let inside = if node.is_dir {
                self.fingerprint_of(node.id, 3)
            } else {
                let content = self.contents.get(&node.id);
                content.map_or(2, |content| content.fingerprint())
            };
            mix(hash, &inside.to_le_bytes())
        })
    }

    fn change(&mut self, node: u32, change: impl FnOnce(&mut Vec<u8>)) {
        let content = Arc::make_mut(self.contents.entry(node).or_default());
        content.fingerprint = OnceLock::new();
        change(&mut content.bytes);
    }
}

/// Writes into bytes from a place on, with zeros before it where there is nothing.
fn write_into(bytes: &mut Vec<u8>, at: u64, data: &[u8]) {
    let at = usize::try_from(at).unwrap_or(usize::MAX);
    if bytes.len() < at + data.len() {
        bytes.resize(at + data.len(), 0);
    }
    bytes[at..at + data.len()].copy_from_slice(data);
}

/// A hash for telling images apart: nobody chooses them to collide.
fn mix(seed: u64, bytes: &[u8]) -> u64 {
    let mut hash = seed ^ (bytes.len() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let (words, rest) = bytes.as_chunks::<8>();
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    for word in words.iter().chain([&last]) {
        hash = (hash ^ u64::from_le_bytes(*word)).wrapping_mul(0xff51_afd7_ed55_8ccd);
        hash ^= hash >> 32;
    }
    hash
}
