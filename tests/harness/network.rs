//! The network between the processes of one cluster, which a test can cut: a proxy on loopback before the
//! private door of every storage unit and controller.
//!
//! Who dials is told by who owns the socket (`/proc`), so that a way can be cut for one process and stay
//! open for another. A way that is cut holds what was sent on it, ends of connections too, as networks do
//! that lose every packet; held bytes stay within the buffers of the two sockets and one piece here.

mod dialer;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::cluster::Cluster;
use crate::http::split_url;

/// Bytes that a way holds beside the buffers of the system.
const PIECE_BYTES: usize = 16 * 1024;
/// Connections through one door; more are refused, as by a full table of a firewall.
const CONNECTIONS_MAX: usize = 256;

/// From one process to another: what the first sends to the second, whoever dialled.
type Way = (String, String);

/// What is wrong with the network.
#[derive(Debug, Clone, Default)]
struct Trouble {
    cut: BTreeSet<Way>,
    slow: BTreeMap<Way, Duration>,
}

/// Doors before processes; gone when dropped, and then nobody reaches them.
#[derive(Debug)]
pub struct Network {
    trouble: watch::Sender<Trouble>,
    _doors: JoinSet<()>,
}

impl Network {
    /// Puts itself before the storage units and controllers of that cluster, and starts the units again so
    /// that everybody meets them there, and they the controllers. Gateways dial controllers directly.
    ///
    /// # Panics
    /// When a unit does not become ready again.
    pub async fn before(cluster: &mut Cluster) -> Self {
        let (trouble, _) = watch::channel(Trouble::default());
        let mut doors = JoinSet::new();
        let of_role = |role: &str| {
            let nodes = cluster.manifest().nodes.iter();
            let names = nodes.filter(|node| node.role == role);
            names.map(|node| node.name.clone()).collect::<Vec<String>>()
        };
        let (controllers, units) = (of_role("sc"), of_role("spu"));
        let mut urls = BTreeMap::new();
        for name in controllers.iter().chain(&units) {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let own = listener.local_addr().expect("its address");
            urls.insert(name.clone(), format!("https://{own}"));
            let door = Door {
                listener,
                name: name.clone(),
                target: private_address(&cluster.member(name).data_dir),
                cluster: cluster.data_dir(),
                trouble: trouble.subscribe(),
            };
            doors.spawn(door.serve());
        }
        for unit in &units {
            let argv = &mut cluster.member_mut(unit).argv;
            argv.extend(["--advertise-private".to_owned(), urls[unit].clone()]);
            for controller in &controllers {
                argv.extend(["--controller".to_owned(), urls[controller].clone()]);
            }
            // The address that it told before is its own only while nothing else got its port.
            let listens = private_address(&cluster.member(unit).data_dir).to_string();
            let argv = &mut cluster.member_mut(unit).argv;
            argv.extend(["--listen-private".to_owned(), listens]);
            cluster.kill(unit);
            cluster.start_by_hand(unit);
        }
        Self {
            trouble,
            _doors: doors,
        }
    }

    /// What `from` sends does not reach `to` any more.
    pub fn cut(&self, from: &str, to: &str) {
        self.trouble.send_modify(|trouble| {
            trouble.cut.insert((from.to_owned(), to.to_owned()));
        });
    }

    /// Nothing passes between the two.
    pub fn part(&self, one: &str, other: &str) {
        self.trouble.send_modify(|trouble| {
            trouble.cut.insert((one.to_owned(), other.to_owned()));
            trouble.cut.insert((other.to_owned(), one.to_owned()));
        });
    }

    /// Each piece takes that long on its way between the two, one after the other.
    pub fn slow(&self, one: &str, other: &str, delay: Duration) {
        self.trouble.send_modify(|trouble| {
            trouble
                .slow
                .insert((one.to_owned(), other.to_owned()), delay);
            trouble
                .slow
                .insert((other.to_owned(), one.to_owned()), delay);
        });
    }

    /// Everything passes again, and what was held with it.
    pub fn heal(&self) {
        self.trouble.send_replace(Trouble::default());
    }
}

/// Where a process says that other nodes reach it.
fn private_address(data_dir: &std::path::Path) -> SocketAddr {
    let text = std::fs::read_to_string(data_dir.join("node.json")).expect("it is ready");
    let facts: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let url = facts["private_url"].as_str().expect("a private door");
    let (_, address) = split_url(url).expect("a URL");
    address.parse().expect("an address")
}

/// Before one process.
struct Door {
    listener: TcpListener,
    name: String,
    target: SocketAddr,
    /// Whose processes are known.
    cluster: PathBuf,
    trouble: watch::Receiver<Trouble>,
}

impl Door {
    async fn serve(self) {
        let mut connections = JoinSet::new();
        let own = self.listener.local_addr().expect("its address");
        loop {
            let Ok((from, dialer)) = self.listener.accept().await else {
                continue;
            };
            while connections.try_join_next().is_some() {}
            if connections.len() >= CONNECTIONS_MAX {
                continue;
            }
            // One that is gone already has nobody behind it.
            let Some(name) = dialer::name_of(&self.cluster, dialer, own) else {
                continue;
            };
            let there = Line {
                way: (name.clone(), self.name.clone()),
                trouble: self.trouble.clone(),
            };
            let back = Line {
                way: (self.name.clone(), name),
                trouble: self.trouble.clone(),
            };
            connections.spawn(carry(from, self.target, there, back));
        }
    }
}

/// One connection, from its first packet to its last.
async fn carry(from: TcpStream, target: SocketAddr, mut there: Line, mut back: Line) {
    // It takes a packet each way.
    there.pass().await;
    back.pass().await;
    let Ok(to) = TcpStream::connect(target).await else {
        return;
    };
    from.set_nodelay(true).ok();
    to.set_nodelay(true).ok();
    let (from_read, from_write) = from.into_split();
    let (to_read, to_write) = to.into_split();
    tokio::join!(
        there.pump(from_read, to_write),
        back.pump(to_read, from_write)
    );
}

/// One direction of a connection.
struct Line {
    way: Way,
    trouble: watch::Receiver<Trouble>,
}

impl Line {
    /// Waits while the way is cut, and as long as a piece takes.
    async fn pass(&mut self) {
        let way = &self.way;
        let open = self.trouble.wait_for(|now| !now.cut.contains(way)).await;
        let delay = open.ok().and_then(|now| now.slow.get(way).copied());
        if let Some(delay) = delay {
            crate::wait::pause(delay).await;
        }
    }

    async fn pump(mut self, mut from: OwnedReadHalf, mut to: OwnedWriteHalf) {
        let mut piece = vec![0; PIECE_BYTES];
        loop {
            let read = from.read(&mut piece).await.unwrap_or(0);
            self.pass().await;
            if read == 0 || to.write_all(&piece[..read]).await.is_err() {
                break;
            }
        }
        // The end of it comes through like everything before it.
        to.shutdown().await.ok();
    }
}
