//! One `tidegate up` process on loopback, and its life: start, stop, kill -9, start again.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};

use anyhow::Result;
use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;
use tempfile::TempDir;

use crate::http::{Connection, Target};
use crate::program;
use crate::wait::wait_blocking;

/// What `up.json` says.
#[derive(Debug, Clone, Deserialize)]
pub struct Up {
    pub url: String,
    pub ca: Option<String>,
    pub token: Option<String>,
    pub pid: u32,
}

/// A server process and its directories; killed when dropped.
#[derive(Debug)]
pub struct Server {
    home: TempDir,
    data_dir: PathBuf,
    arguments: Vec<String>,
    child: Option<Child>,
    up: Up,
}

impl Server {
    /// Starts `tidegate up` with TLS on a port of the system's choice.
    ///
    /// # Panics
    /// When it does not become ready.
    #[must_use]
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts `tidegate up --dev`.
    ///
    /// # Panics
    /// When it does not become ready.
    #[must_use]
    pub fn start_dev() -> Self {
        Self::start_with(&["--dev"])
    }

    /// Starts `tidegate up` with more arguments.
    ///
    /// # Panics
    /// When it does not become ready.
    #[must_use]
    pub fn start_with(arguments: &[&str]) -> Self {
        let home = tempfile::tempdir().expect("a temporary directory");
        let data_dir = home.path().join("data");
        Self::start_in(home, data_dir, arguments)
    }

    /// The same with its data in a directory of the caller's.
    ///
    /// # Panics
    /// When it does not become ready.
    #[must_use]
    pub fn start_at(data_dir: &Path, arguments: &[&str]) -> Self {
        let home = tempfile::tempdir().expect("a temporary directory");
        Self::start_in(home, data_dir.to_path_buf(), arguments)
    }

    fn start_in(home: TempDir, data_dir: PathBuf, arguments: &[&str]) -> Self {
        let arguments = arguments.iter().map(ToString::to_string).collect();
        let up = Up {
            url: String::new(),
            ca: None,
            token: None,
            pid: 0,
        };
        let mut server = Self {
            home,
            data_dir,
            arguments,
            child: None,
            up,
        };
        server.launch();
        server
    }

    /// Starts the process on the directory it had before.
    ///
    /// # Panics
    /// When it does not become ready.
    pub fn launch(&mut self) {
        assert!(self.child.is_none(), "it runs already");
        let mut child = self.up_command().spawn().expect("the server starts");
        let pid = child.id();
        let file = self.data_dir().join("up.json");
        self.up = wait_blocking("up.json", || {
            if let Some(status) = child.try_wait().expect("the child can be asked") {
                panic!("the server ended with {status}:\n{}", self.log());
            }
            let text = std::fs::read_to_string(&file).ok()?;
            let up: Up = serde_json::from_str(&text).ok()?;
            // A file left by a killed process names another process.
            (up.pid == pid).then_some(up)
        });
        self.child = Some(child);
    }

    /// The command that starts this server.
    ///
    /// # Panics
    /// When its log file cannot be opened.
    #[must_use]
    pub fn up_command(&self) -> Command {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log_file());
        let mut command = program::command(self.home.path());
        command
            .arg("up")
            .args(["--listen", "127.0.0.1:0"])
            // Many run at once here: a ballast of each would take the machine's disk. Those that are
            // about it say so after this.
            .args(["--disk-ballast", "0"])
            .arg("--data-dir")
            .arg(self.data_dir());
        command.args(&self.arguments);
        command
            .stdout(Stdio::null())
            .stderr(log.expect("a log file"));
        command
    }

    #[must_use]
    pub fn data_dir(&self) -> PathBuf {
        self.data_dir.clone()
    }

    #[must_use]
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    #[must_use]
    pub fn url(&self) -> &str {
        &self.up.url
    }

    /// The id of the running process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.up.pid
    }

    /// Where and with what to connect.
    ///
    /// # Panics
    /// When the authority's or the token's file is missing.
    #[must_use]
    pub fn target(&self) -> Target {
        let tls = self.up.url.starts_with("https:");
        let read = |name| std::fs::read_to_string(self.data_dir().join(name));
        let ca_pem = tls.then(|| read("ca.pem").expect("the authority's certificate"));
        let token = tls.then(|| read("token").expect("a token").trim().to_owned());
        Target {
            url: self.up.url.clone(),
            ca_pem,
            token,
        }
    }

    /// A new connection.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn connect(&self) -> Result<Connection> {
        Connection::open(&self.target()).await
    }

    /// A client command that finds this server by its profile.
    #[must_use]
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = program::command(self.home.path());
        command.args(arguments);
        command
    }

    /// Runs a client command to its end.
    ///
    /// # Panics
    /// When the program cannot be started.
    #[must_use]
    pub fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("the program runs")
    }

    /// Runs a client command that must succeed.
    ///
    /// # Panics
    /// When it fails, with what it said.
    pub fn run_ok(&self, arguments: &[&str]) -> Output {
        let output = self.run(arguments);
        assert!(
            output.status.success(),
            "{arguments:?}: {}",
            program::words(&output)
        );
        output
    }

    /// Creates a topic.
    ///
    /// # Panics
    /// When it is refused.
    pub async fn create_topic(&self, name: &str, partitions: u32) {
        self.create_topic_with(name, partitions, "{}").await;
    }

    /// The same with settings, which are JSON.
    ///
    /// # Panics
    /// When it is refused.
    pub async fn create_topic_with(&self, name: &str, partitions: u32, config: &str) {
        let mut connection = self.connect().await.expect("the server listens");
        let body = format!(r#"{{"partitions":{partitions},"config":{config}}}"#);
        let path = format!("/v1/topics/{name}");
        let json = [("content-type", "application/json")];
        let answer = connection.send(http::Method::PUT, &path, &json, body).await;
        let answer = answer.expect("an answer");
        assert_eq!(answer.status, 201, "{}", answer.text());
    }

    /// Sends SIGTERM and waits for the end.
    ///
    /// # Panics
    /// When it does not end.
    pub fn stop(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.wait_end()
    }

    /// Sends a signal to the process.
    ///
    /// # Panics
    /// When it does not run.
    pub fn signal(&self, signal: Signal) {
        let child = self.child.as_ref().expect("it runs");
        let pid = Pid::from_child(child);
        kill_process(pid, signal).expect("an own child can be signalled");
    }

    /// kill -9.
    ///
    /// # Panics
    /// When it does not run.
    pub fn kill(&mut self) {
        self.signal(Signal::KILL);
        self.wait_end();
    }

    /// Waits until the process has ended.
    ///
    /// # Panics
    /// When it does not end.
    pub fn wait_end(&mut self) -> ExitStatus {
        let mut child = self.child.take().expect("it runs");
        wait_blocking("the end of the server", || {
            child.try_wait().expect("it can be asked")
        })
    }

    /// Resident memory in bytes.
    ///
    /// # Panics
    /// Where there is no `/proc`.
    #[must_use]
    pub fn resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid()));
        let status = status.expect("/proc describes a running process");
        let line = status
            .lines()
            .find(|line| line.starts_with("VmRSS:"))
            .expect("VmRSS");
        let kib: u64 = line
            .split_whitespace()
            .nth(1)
            .and_then(|n| n.parse().ok())
            .expect("kB");
        kib * 1024
    }

    /// Everything the server has written to its standard error.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    fn log_file(&self) -> PathBuf {
        self.home.path().join("server.log")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself; either way nothing is left behind.
            child.kill().ok();
            child.wait().ok();
        }
        if std::thread::panicking() {
            let log = self.log();
            let tail: Vec<&str> = log.lines().rev().take(40).collect();
            let tail: Vec<&str> = tail.into_iter().rev().collect();
            #[expect(clippy::print_stderr, reason = "the report of a failing test")]
            {
                eprintln!("--- the server's last words\n{}", tail.join("\n"));
            }
        }
    }
}
