//! What a gateway costs: the same requests sent through one and directly to the storage unit behind it.
//!
//! Three processes on one machine: the load, a storage unit with a public and a private port, a gateway
//! whose partitions are at that unit. TLS everywhere. The processes' time on the cores says what the way
//! through the gateway takes of a record; on a small machine that, not the network, is the price.

mod roles;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::Effort;
use crate::batch::batch;
use crate::load::{answers_over_tls, post};
use crate::now;
use crate::report::Report;
pub(crate) use roles::play;

const BATCH_BYTES: usize = 256 * 1024;
/// Ticks of the kernel's clock of processes; the same on every Linux that there is.
const TICKS_PER_SECOND: f64 = 100.0;

pub(crate) async fn measure(effort: Effort, report: &mut Report) -> Result<()> {
    let site = Site::start()?;
    let (body, records) = batch(1024, BATCH_BYTES)?;
    let batches = Load {
        path: "/v1/topics/hop/partitions/0/records",
        kind: "application/vnd.tidegate.batch",
        body: &body,
        records,
        connections: 4,
    };
    let single = Load {
        path: "/v1/topics/hop/records",
        kind: "text/plain",
        body: &[b'x'; 100],
        records: 1.0,
        connections: 64,
    };
    for (what, load) in [
        ("batches through a gateway", batches),
        ("single records through a gateway", single),
    ] {
        let mut pairs = Vec::new();
        let (mut hop, mut direct) = (Cores::default(), Cores::default());
        for _ in 0..effort.pairs {
            let through = site
                .run(&load, &site.gateway, effort.side, &mut hop)
                .await?;
            let to_unit = site
                .run(&load, &site.unit, effort.side, &mut direct)
                .await?;
            pairs.push((through, to_unit));
        }
        let (hop, direct) = (hop.per_record_us(), direct.per_record_us());
        let setting = format!(
            "{} B bodies of {} records, {} HTTP/1.1 connections, TLS on every hop, fdatasync before 200, \
             load, gateway and unit on one machine; time on the cores per record: gateway {:.2} us, unit \
             {:.2} us behind it and {:.2} us alone; limit: the same requests to the unit itself",
            load.body.len(),
            load.records,
            load.connections,
            hop.0,
            hop.1,
            direct.1,
        );
        report.pairs(what, "records/s", &pairs, &setting);
    }
    Ok(())
}

/// What is sent.
struct Load<'a> {
    path: &'a str,
    kind: &'a str,
    body: &'a [u8],
    records: f64,
    connections: usize,
}

/// Seconds on the cores, and records.
#[derive(Default)]
struct Cores {
    gateway: f64,
    unit: f64,
    records: f64,
}

impl Cores {
    fn per_record_us(&self) -> (f64, f64) {
        let each = |seconds: f64| seconds * 1e6 / self.records.max(1.0);
        (each(self.gateway), each(self.unit))
    }
}

/// A process with a public port.
struct Role {
    child: Child,
    port: u16,
}

impl Role {
    /// Starts one of the two; its public port, and its private one.
    fn start(name: &str, dir: &Path) -> Result<(Self, u16)> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["hop", name])
            .arg(dir)
            .stdout(Stdio::piped())
            .spawn()?;
        let stdout = child.stdout.take().context("piped")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        let role = Self { child, port: 0 };
        let (public, private) = line.trim().split_once(' ').context("two ports")?;
        let port = public.parse()?;
        Ok((Self { port, ..role }, private.parse()?))
    }

    /// Seconds that it has spent on the cores.
    fn on_cores_s(&self) -> Result<f64> {
        let text = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        // The name may hold spaces; the fields after it do not.
        let (_, fields) = text.rsplit_once(')').context("a stat line")?;
        let fields: Vec<&str> = fields.split_whitespace().collect();
        let ticks = |at: usize| -> Result<f64> { Ok(fields.get(at).context("a field")?.parse()?) };
        Ok((ticks(11)? + ticks(12)?) / TICKS_PER_SECOND)
    }
}

/// Ends the process, however the measurement ends.
struct Ended(Role);

impl std::ops::Deref for Ended {
    type Target = Role;

    fn deref(&self) -> &Role {
        &self.0
    }
}

impl Drop for Ended {
    fn drop(&mut self) {
        // It may have ended by itself; either way nothing is left behind.
        self.0.child.kill().ok();
        self.0.child.wait().ok();
    }
}

struct Site {
    gateway: Ended,
    unit: Ended,
    ca_pem: String,
    _dir: TempDir,
}

impl Site {
    fn start() -> Result<Self> {
        let dir = tempfile::tempdir()?;
        roles::prepare(dir.path())?;
        let (unit, private) = Role::start("unit", dir.path())?;
        let unit = Ended(unit);
        roles::announce(dir.path(), private)?;
        let (gateway, _) = Role::start("gateway", dir.path())?;
        let gateway = Ended(gateway);
        let ca_pem = std::fs::read_to_string(dir.path().join("public/ca.pem"))?;
        Ok(Self {
            gateway,
            unit,
            ca_pem,
            _dir: dir,
        })
    }

    /// Records per second through the public port of `to`.
    async fn run(
        &self,
        load: &Load<'_>,
        to: &Role,
        length: Duration,
        cores: &mut Cores,
    ) -> Result<f64> {
        let before = (self.gateway.on_cores_s()?, self.unit.on_cores_s()?);
        let start = now();
        let answers = self.requests(load, to.port, length).await?;
        let took = start.elapsed().as_secs_f64();
        let records = answers * load.records;
        cores.gateway += self.gateway.on_cores_s()? - before.0;
        cores.unit += self.unit.on_cores_s()? - before.1;
        cores.records += records;
        Ok(records / took)
    }

    async fn requests(&self, load: &Load<'_>, port: u16, length: Duration) -> Result<f64> {
        let address = format!("127.0.0.1:{port}");
        let request = post(&address, load.path, load.kind, load.body);
        let answers = answers_over_tls(&address, &self.ca_pem, request, load.connections, length);
        Ok(answers.await? as f64)
    }
}
