//! One `tidegate cluster start` on loopback: its processes found, killed and started again by hand.

mod manifest;
mod settings;

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};

use anyhow::{Context as _, Result};
use bytes::Bytes;
use http::Method;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::http::{Answer, Connection, Target};
use crate::program;
use crate::wait::wait_blocking;

pub use manifest::{Manifest, Member};

/// A cluster of processes; stopped when dropped.
#[derive(Debug)]
pub struct Cluster {
    home: TempDir,
    arguments: Vec<String>,
    holder: Option<Child>,
    manifest: Option<Manifest>,
    /// Processes that were started again by hand.
    by_hand: Vec<(String, Child)>,
}

impl Cluster {
    /// Starts one with as many controllers, storage units and gateways.
    ///
    /// # Panics
    /// When it does not become ready.
    #[must_use]
    pub fn start(scs: u32, spus: u32, gateways: u32) -> Self {
        Self::start_of(scs, spus, gateways, &[])
    }

    /// The same with more arguments.
    ///
    /// # Panics
    /// When it does not become ready.
    #[must_use]
    pub fn start_of(scs: u32, spus: u32, gateways: u32, more: &[&str]) -> Self {
        let counts = [("--scs", scs), ("--spus", spus), ("--gateways", gateways)];
        let arguments = counts.iter();
        let arguments = arguments.flat_map(|(flag, count)| [(*flag).to_owned(), count.to_string()]);
        let mut cluster = Self {
            // Postgres runs under another account when we are root and has to walk through here.
            home: open_home(),
            arguments: arguments
                .chain(more.iter().map(ToString::to_string))
                .collect(),
            holder: None,
            manifest: None,
            by_hand: Vec::new(),
        };
        cluster.launch();
        cluster
    }

    /// Starts it on the directory it had before.
    ///
    /// # Panics
    /// When it does not become ready.
    pub fn launch(&mut self) {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.home.path().join("holder.log"));
        let mut command = program::command(self.home.path());
        command
            .args(["cluster", "start", "--data-dir"])
            .arg(self.data_dir())
            .args(&self.arguments)
            .stdout(Stdio::null())
            .stderr(log.expect("a log file"));
        let mut child = command.spawn().expect("the cluster starts");
        let pid = child.id();
        let file = self.data_dir().join("cluster.json");
        let manifest = wait_blocking("cluster.json", || {
            if let Some(status) = child.try_wait().expect("the child can be asked") {
                panic!("the cluster ended with {status}:\n{}", self.words());
            }
            let text = std::fs::read_to_string(&file).ok()?;
            let found: Manifest = serde_json::from_str(&text).ok()?;
            (found.pid == pid).then_some(found)
        });
        self.holder = Some(child);
        self.manifest = Some(manifest);
    }

    #[must_use]
    pub fn data_dir(&self) -> PathBuf {
        self.home.path().join("cluster")
    }

    /// # Panics
    /// When it does not run.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        self.manifest.as_ref().expect("it runs")
    }

    /// The process of that name.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn member(&self, name: &str) -> &Member {
        let nodes = self.manifest().nodes.iter();
        let mut found = nodes.filter(|node| node.name == name);
        found.next().expect("a node of that name")
    }

    pub(crate) fn member_mut(&mut self, name: &str) -> &mut Member {
        let nodes = self.manifest.iter_mut().flat_map(|all| &mut all.nodes);
        let mut found = nodes.filter(|node| node.name == name);
        found.next().expect("a node of that name")
    }

    /// Where and with what to reach it.
    ///
    /// # Panics
    /// When the certificate cannot be read.
    #[must_use]
    pub fn target(&self, name: &str) -> Target {
        let ca = std::fs::read_to_string(&self.manifest().ca);
        Target {
            url: self.member(name).url.clone(),
            ca_pem: Some(ca.expect("the authority's certificate")),
            token: Some(self.manifest().token.clone()),
        }
    }

    /// The program as a client of that process.
    #[must_use]
    pub fn command(&self, name: &str) -> Command {
        let mut command = program::command(self.home.path());
        command
            .env("TIDEGATE_URL", &self.member(name).url)
            .env("TIDEGATE_CA", &self.manifest().ca)
            .env("TIDEGATE_TOKEN", &self.manifest().token);
        command
    }

    /// A new connection to that process.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn connect(&self, name: &str) -> Result<Connection> {
        Connection::open(&self.target(name)).await
    }

    /// One request over a connection of its own.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn post(&self, name: &str, path: &str, body: &str) -> Result<Answer> {
        let mut connection = self.connect(name).await?;
        let answer = connection.post(path, "application/json", body.to_owned());
        answer
            .await
            .with_context(|| format!("POST {path} at {name}"))
    }

    /// The same for GET.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn get(&self, name: &str, path: &str) -> Result<Answer> {
        let mut connection = self.connect(name).await?;
        connection
            .get(path)
            .await
            .with_context(|| format!("GET {path} at {name}"))
    }

    /// The same for DELETE.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn delete(&self, name: &str, path: &str) -> Result<Answer> {
        let mut connection = self.connect(name).await?;
        let answer = connection
            .send(Method::DELETE, path, &[], Bytes::new())
            .await;
        answer.with_context(|| format!("DELETE {path} at {name}"))
    }

    /// Starts one more storage unit, on a rack of its own, and waits until it is ready.
    ///
    /// # Panics
    /// When it does not become ready.
    pub async fn add_spu(&mut self, number: u32) {
        let name = format!("spu-{number}");
        let body = format!(r#"{{"role":"spu","name":"{name}"}}"#);
        let token = self.post("sc-1", "/v1/join-tokens", &body).await;
        let token = token.expect("an answer").json();
        let token = token["token"].as_str().expect("a join token").to_owned();
        let mut member = self.member("spu-1").clone();
        let home = self.data_dir().join("nodes").join(&name).join("data");
        std::fs::create_dir_all(&home).expect("an own directory");
        let own = [
            ("--data-dir", home.display().to_string()),
            ("--spu-id", number.to_string()),
            ("--rack", format!("rack-{number}")),
            ("--listen-private", "127.0.0.1:0".to_owned()),
            ("--listen-clients", "127.0.0.1:0".to_owned()),
            ("--listen-operators", "127.0.0.1:0".to_owned()),
        ];
        let own = own.into_iter();
        let own = own.flat_map(|(flag, value)| [flag.to_owned(), value]);
        member.argv.extend(own);
        member.name.clone_from(&name);
        member.data_dir = home;
        if let Some(manifest) = &mut self.manifest {
            manifest.nodes.push(member);
        }
        self.start_with(&name, &[("TIDEGATE_JOIN_TOKEN", &token)]);
    }

    /// Stops one process where it is (SIGSTOP): to the others it looks cut off.
    ///
    /// # Panics
    /// When it does not run.
    pub fn freeze(&self, name: &str) {
        kill_process(self.pid(name), Signal::STOP).expect("it runs");
    }

    /// Lets it go on.
    ///
    /// # Panics
    /// When it does not run.
    pub fn thaw(&self, name: &str) {
        kill_process(self.pid(name), Signal::CONT).expect("it runs");
    }

    fn pid(&self, name: &str) -> Pid {
        let own = self.by_hand.iter().find(|(known, _)| known == name);
        let pid = own.map_or_else(|| self.member(name).pid, |(_, child)| child.id());
        let pid = i32::try_from(pid).expect("a process id");
        Pid::from_raw(pid).expect("a process id")
    }

    /// kill -9 for one process.
    ///
    /// # Panics
    /// When it does not run.
    pub fn kill(&mut self, name: &str) {
        self.end(name, Signal::KILL);
    }

    /// SIGTERM for one process.
    ///
    /// # Panics
    /// When it does not end.
    pub fn stop_member(&mut self, name: &str) {
        self.end(name, Signal::TERM);
    }

    fn end(&mut self, name: &str, signal: Signal) {
        let pid = self.pid(name);
        let own = self.by_hand.iter().position(|(known, _)| known == name);
        let mut own = own.map(|at| self.by_hand.remove(at).1);
        kill_process(pid, signal).expect("it runs");
        wait_blocking("the end of a process", || match &mut own {
            Some(child) => child.try_wait().expect("it can be asked").map(drop),
            // The holder takes its leave of it.
            None => rustix::process::test_kill_process(pid)
                .is_err()
                .then_some(()),
        });
    }

    /// Starts one process again by its own command line, and waits until it is ready.
    ///
    /// # Panics
    /// When it does not become ready.
    pub fn start_by_hand(&mut self, name: &str) {
        self.start_with(name, &[]);
    }

    fn start_with(&mut self, name: &str, environment: &[(&str, &str)]) {
        let member = self.member(name).clone();
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.home.path().join(format!("{name}.by-hand.log")));
        let [program, arguments @ ..] = &member.argv[..] else {
            panic!("a command line has a program")
        };
        let mut child = Command::new(program)
            .args(arguments)
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log.expect("a log file"))
            .spawn()
            .expect("it starts");
        let file = member.data_dir.join("node.json");
        wait_blocking("a process started by hand", || {
            if let Some(status) = child.try_wait().expect("the child can be asked") {
                panic!("{name} ended with {status}:\n{}", self.words());
            }
            let text = std::fs::read_to_string(&file).ok()?;
            let facts: serde_json::Value = serde_json::from_str(&text).ok()?;
            (facts["pid"] == child.id()).then_some(())
        });
        self.by_hand.push((name.to_owned(), child));
    }

    /// SIGTERM for the whole, which has to end in order.
    ///
    /// # Panics
    /// When it does not end.
    pub fn stop(&mut self) -> ExitStatus {
        let mut holder = self.holder.take().expect("it runs");
        kill_process(Pid::from_child(&holder), Signal::TERM).expect("an own child");
        // Those started by hand end with it; they are our children.
        let mut by_hand = std::mem::take(&mut self.by_hand);
        self.manifest = None;
        wait_blocking("the end of the cluster", || {
            for (_, child) in &mut by_hand {
                child.try_wait().expect("it can be asked");
            }
            holder.try_wait().expect("it can be asked")
        })
    }

    /// What all processes wrote, their last lines.
    #[must_use]
    pub fn words(&self) -> String {
        let mut files = vec![self.home.path().join("holder.log")];
        let logs = std::fs::read_dir(self.data_dir().join("logs"));
        files.extend(
            logs.into_iter()
                .flatten()
                .flatten()
                .map(|entry| entry.path()),
        );
        let by_hand = std::fs::read_dir(self.home.path()).into_iter().flatten();
        let by_hand = by_hand.flatten().map(|entry| entry.path());
        files.extend(by_hand.filter(|path| path.to_string_lossy().ends_with("by-hand.log")));
        let mut words = String::new();
        for file in files {
            let text = std::fs::read_to_string(&file).unwrap_or_default();
            let lines: Vec<&str> = text.lines().collect();
            let tail = lines[lines.len().saturating_sub(15)..].join("\n");
            words.push_str(&format!("--- {}\n{tail}\n", file.display()));
        }
        words
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let words = self.words();
            #[expect(clippy::print_stderr, reason = "the report of a failing test")]
            {
                eprintln!("{words}");
            }
        }
        for node in self.manifest.iter().flat_map(|manifest| &manifest.nodes) {
            // One that a failed test left frozen would not end; those that ended are gone.
            let pid = i32::try_from(node.pid).ok().and_then(Pid::from_raw);
            if let Some(pid) = pid.filter(|_| std::thread::panicking()) {
                kill_process(pid, Signal::CONT).ok();
            }
        }
        if let Some(mut holder) = self.holder.take() {
            // In order, for it holds other processes.
            kill_process(Pid::from_child(&holder), Signal::TERM).ok();
            holder.wait().ok();
        }
        for (_, child) in &mut self.by_hand {
            child.kill().ok();
            child.wait().ok();
        }
    }
}

fn open_home() -> TempDir {
    use std::os::unix::fs::PermissionsExt as _;
    let home = tempfile::tempdir().expect("a temporary directory");
    let walkable = std::fs::Permissions::from_mode(0o711);
    std::fs::set_permissions(home.path(), walkable).expect("an own directory");
    home
}
