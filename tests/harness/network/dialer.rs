//! Which process of a cluster holds the other end of a connection on this machine.
//!
//! Processes are known by the settings on their command line, which lie in a directory of their name, so that
//! one that was started again is known too.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

/// The name of the process of that cluster which dialled from `dialer` to `own`; none when it is gone.
pub(super) fn name_of(cluster: &Path, dialer: SocketAddr, own: SocketAddr) -> Option<String> {
    let socket = format!("socket:[{}]", inode(dialer, own)?);
    let nodes = cluster.join("nodes");
    let processes = fs::read_dir("/proc").ok()?.flatten();
    processes
        .map(|entry| entry.path())
        .find_map(|process| name(&process, &nodes).filter(|_| holds(&process, &socket)))
}

/// The socket's number in the table of connections.
fn inode(local: SocketAddr, remote: SocketAddr) -> Option<String> {
    let (local, remote) = (in_table(local)?, in_table(remote)?);
    let table = fs::read_to_string("/proc/net/tcp").ok()?;
    let mut lines = table.lines().map(str::split_whitespace);
    lines.find_map(|mut fields| {
        let is_ours = fields.nth(1)? == local && fields.next()? == remote;
        // After the state: queues, timer, retransmits, account, time-out.
        fields.nth(6).filter(|_| is_ours).map(str::to_owned)
    })
}

fn in_table(address: SocketAddr) -> Option<String> {
    let SocketAddr::V4(address) = address else {
        return None;
    };
    let ip: Ipv4Addr = *address.ip();
    let ip = u32::from_ne_bytes(ip.octets());
    Some(format!("{ip:08X}:{:04X}", address.port()))
}

/// The name of a process whose settings lie below `nodes`.
fn name(process: &Path, nodes: &Path) -> Option<String> {
    let line = fs::read(process.join("cmdline")).ok()?;
    let words = line.split(|byte| *byte == 0);
    let mut words = words.filter_map(|word| std::str::from_utf8(word).ok());
    words.find_map(|word| {
        let below = PathBuf::from(word);
        let below = below.strip_prefix(nodes).ok()?;
        let name = below.components().next()?.as_os_str();
        name.to_str().map(str::to_owned)
    })
}

fn holds(process: &Path, socket: &str) -> bool {
    let handles = fs::read_dir(process.join("fd")).into_iter().flatten();
    let mut targets = handles
        .flatten()
        .filter_map(|handle| fs::read_link(handle.path()).ok());
    targets.any(|target| target.as_os_str() == socket)
}
