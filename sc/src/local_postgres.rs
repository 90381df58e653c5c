//! A Postgres server of our own on this machine: for a local cluster of processes, and for tests.
//!
//! Started from the machine's `initdb` and `postgres` on a directory that is ours, reachable only from
//! this machine. It ends with us however we end: a shell between us and it waits for our end of a pipe
//! to close and then stops it. Blocking, as processes and files are; needs a Unix.
//!
//! Invariant: only processes started here are signalled, by their id.

mod account;
mod error;
mod installation;
mod scratch;

use std::fs::{self, File, Permissions};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

pub use account::Account;
pub use error::LocalPostgresError;
pub use installation::Installation;
pub use scratch::{Scratch, ScratchDatabase};

/// The role that owns the server, made by `initdb`.
const ROLE: &str = "tidegate";
/// How often the server's state is looked at while it starts or stops.
const STEP: Duration = Duration::from_millis(10);
/// What the server says while processes of one before it still hold its memory.
const LEFTOVERS: &str = "pre-existing shared memory block";
/// How often it is tried again then.
const LEFTOVERS_STEP: Duration = Duration::from_millis(200);
/// How long starting (with recovery after a crash) or stopping may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Stops the server when standard input ends: when its holder closes it, or is killed. `$0` is the
/// server's log, the rest its command line.
const SUPERVISE: &str = r#"
"$@" </dev/null >>"$0" 2>&1 &
server=$!
trap 'kill -INT "$server"' INT TERM HUP
(
    # Nobody may hold the pipe open for us but our starter.
    wait_end() { while kill -0 "$1" 2>/dev/null; do sleep 1; done; }
    wait_end "$server"
    kill -TERM $$ 2>/dev/null
) </dev/null >/dev/null 2>&1 &
watcher=$!
read -r _
kill -INT "$server" 2>/dev/null
wait "$server"
kill "$watcher" 2>/dev/null
"#;

/// How the server is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Door {
    /// A Unix socket in the server's own directory, which only its account and root can enter. The
    /// directory's path must be short: sockets allow about 100 bytes.
    Socket,
    /// A port of the loopback interface, with this password.
    Loopback { port: u16, password: String },
}

/// What a server is to be.
#[derive(Debug, Clone)]
pub struct ServerOptions {
    /// Its own directory; made when it is not there.
    pub dir: PathBuf,
    pub door: Door,
    /// More settings, `name=value`, after ours.
    pub settings: Vec<String>,
}

/// A running server. Dropping it stops it in order.
#[derive(Debug)]
pub struct LocalPostgres {
    installation: Installation,
    account: Account,
    options: ServerOptions,
    supervisor: Option<Child>,
}

impl LocalPostgres {
    /// Makes the directory as needed, starts the server and waits until it takes connections.
    ///
    /// # Errors
    /// [`LocalPostgresError`] says what is missing or what the server said.
    pub fn start(options: ServerOptions) -> Result<Self, LocalPostgresError> {
        let mut server = Self {
            installation: Installation::find()?,
            account: Account::for_server()?,
            options,
            supervisor: None,
        };
        server.initialize()?;
        server.launch()?;
        Ok(server)
    }

    /// The address of a database on this server.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        match &self.options.door {
            Door::Socket => {
                let folder = self.options.dir.display().to_string().replace('/', "%2F");
                format!("postgres://{ROLE}@{folder}/{database}")
            }
            Door::Loopback { port, password } => {
                format!("postgres://{ROLE}:{password}@127.0.0.1:{port}/{database}")
            }
        }
    }

    /// The id of the server's first process.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        let text = fs::read_to_string(self.data().join("postmaster.pid")).ok()?;
        text.lines().next()?.trim().parse().ok()
    }

    /// Stops it in order; connections are cut.
    ///
    /// # Errors
    /// [`LocalPostgresError::NeverStopped`].
    pub fn stop(&mut self) -> Result<(), LocalPostgresError> {
        let Some(mut supervisor) = self.supervisor.take() else {
            return Ok(());
        };
        // The end of the pipe is the signal.
        drop(supervisor.stdin.take());
        self.wait_end(&mut supervisor)
    }

    /// kill -9, as a crash would.
    ///
    /// # Errors
    /// [`LocalPostgresError::NeverStopped`].
    pub fn crash(&mut self) -> Result<(), LocalPostgresError> {
        let (Some(mut supervisor), Some(pid)) = (self.supervisor.take(), self.pid()) else {
            return Ok(());
        };
        signal("KILL", pid);
        drop(supervisor.stdin.take());
        self.wait_end(&mut supervisor)
    }

    /// Starts it again after [`stop`](Self::stop) or [`crash`](Self::crash), at the same address.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn restart(&mut self) -> Result<(), LocalPostgresError> {
        self.stop()?;
        self.launch()
    }

    /// From its next start on it is a standby that nobody sends anything, or a primary again: what answers
    /// at an address after a failover that went wrong.
    ///
    /// # Errors
    /// What the file system says.
    pub fn set_standby(&self, is_standby: bool) -> Result<(), LocalPostgresError> {
        let signal = self.data().join("standby.signal");
        let done = match is_standby {
            true => fs::write(&signal, b""),
            false => fs::remove_file(&signal),
        };
        done.map_err(|error| LocalPostgresError::io(&signal, error))
    }

    fn data(&self) -> PathBuf {
        self.options.dir.join("data")
    }

    fn log(&self) -> PathBuf {
        self.options.dir.join("postgres.log")
    }

    /// `initdb`, unless that was done. Whole or not at all: it works beside and is renamed.
    fn initialize(&self) -> Result<(), LocalPostgresError> {
        let dir = &self.options.dir;
        let io = |error| LocalPostgresError::io(dir, error);
        fs::create_dir_all(dir).map_err(io)?;
        fs::set_permissions(dir, Permissions::from_mode(0o700)).map_err(io)?;
        self.account.take_over(dir)?;
        self.account.can_enter(dir)?;
        if self.data().exists() {
            return Ok(());
        }
        let making = dir.join("data.making");
        if making.exists() {
            fs::remove_dir_all(&making).map_err(io)?;
        }
        let mut command = self.program("initdb");
        command
            .args(["--encoding=UTF8", "--locale=C", "--username", ROLE])
            .arg("--pgdata")
            .arg(&making);
        let secret = dir.join("password");
        match &self.options.door {
            Door::Socket => command.arg("--auth=trust"),
            Door::Loopback { password, .. } => {
                self.write_secret(&secret, password)?;
                command
                    .arg("--auth=scram-sha-256")
                    .arg("--pwfile")
                    .arg(&secret)
            }
        };
        let made = command.output();
        if secret.exists() {
            fs::remove_file(&secret).map_err(io)?;
        }
        let made = made.map_err(io)?;
        if !made.status.success() {
            let words = String::from_utf8_lossy(&made.stderr).trim().to_owned();
            return Err(LocalPostgresError::Refused(words));
        }
        fs::rename(&making, self.data()).map_err(io)
    }

    fn write_secret(&self, path: &Path, secret: &str) -> Result<(), LocalPostgresError> {
        let io = |error| LocalPostgresError::io(path, error);
        let mut file = File::create(path).map_err(io)?;
        file.set_permissions(Permissions::from_mode(0o600))
            .map_err(io)?;
        writeln!(file, "{secret}").map_err(io)?;
        self.account.take_over(path)
    }

    /// Starts it; tries again while processes of one that was killed are still on their way out.
    fn launch(&mut self) -> Result<(), LocalPostgresError> {
        for _ in 0..PATIENCE.as_millis() / LEFTOVERS_STEP.as_millis() {
            match self.launch_once() {
                Err(LocalPostgresError::Refused(words)) if words.contains(LEFTOVERS) => {
                    sleep(LEFTOVERS_STEP);
                }
                done => return done,
            }
        }
        self.launch_once()
    }

    fn launch_once(&mut self) -> Result<(), LocalPostgresError> {
        let (host, port) = match &self.options.door {
            Door::Socket => ("", 5432),
            Door::Loopback { port, .. } => ("127.0.0.1", *port),
        };
        let mut command = Command::new("/bin/sh");
        command.args(["-c", SUPERVISE]).arg(self.log());
        command.arg(self.installation.program("postgres"));
        command.arg("-D").arg(self.data());
        let ours = [
            format!("listen_addresses={host}"),
            format!("port={port}"),
            format!("unix_socket_directories={}", self.options.dir.display()),
            "unix_socket_permissions=0700".to_owned(),
            "shared_buffers=32MB".to_owned(),
        ];
        for setting in ours.iter().chain(&self.options.settings) {
            command.args(["-c", setting]);
        }
        self.account.become_it(&mut command);
        // A group of its own: an interrupt at the terminal is for its starter, who stops it last.
        command
            .process_group(0)
            .current_dir(&self.options.dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let supervisor = command
            .spawn()
            .map_err(|error| LocalPostgresError::io(Path::new("/bin/sh"), error))?;
        self.supervisor = Some(supervisor);
        self.wait_ready()
    }

    fn wait_ready(&mut self) -> Result<(), LocalPostgresError> {
        for _ in 0..PATIENCE.as_millis() / STEP.as_millis() {
            if self.is_ready() {
                return Ok(());
            }
            let ended = self.supervisor.as_mut().map(Child::try_wait);
            if !matches!(ended, Some(Ok(None))) {
                break;
            }
            sleep(STEP);
        }
        // A supervisor whose server ended has nothing left to do.
        if let Some(mut supervisor) = self.supervisor.take() {
            drop(supervisor.stdin.take());
            self.wait_end(&mut supervisor)?;
        }
        let log = fs::read_to_string(self.log()).unwrap_or_default();
        let tail: Vec<&str> = log.lines().rev().take(30).collect();
        let tail: Vec<&str> = tail.into_iter().rev().collect();
        Err(LocalPostgresError::Refused(tail.join("\n")))
    }

    /// The eighth line of its state file says so.
    fn is_ready(&self) -> bool {
        let state = fs::read_to_string(self.data().join("postmaster.pid")).unwrap_or_default();
        state
            .lines()
            .nth(7)
            .is_some_and(|line| line.trim() == "ready")
            && self.pid().is_some_and(is_alive)
    }

    fn wait_end(&self, supervisor: &mut Child) -> Result<(), LocalPostgresError> {
        for _ in 0..PATIENCE.as_millis() / STEP.as_millis() {
            match supervisor.try_wait() {
                Ok(Some(_)) => return Ok(()),
                Ok(None) => sleep(STEP),
                Err(error) => return Err(LocalPostgresError::io(&self.options.dir, error)),
            }
        }
        if let Some(pid) = self.pid() {
            signal("KILL", pid);
        }
        Err(LocalPostgresError::NeverStopped)
    }

    /// One of the installation's programs, as the account.
    fn program(&self, name: &str) -> Command {
        let mut command = Command::new(self.installation.program(name));
        self.account.become_it(&mut command);
        command.current_dir(&self.options.dir).stdin(Stdio::null());
        command
    }
}

impl Drop for LocalPostgres {
    fn drop(&mut self) {
        if let Err(error) = self.stop() {
            tracing::warn!(%error, "a Postgres server was left behind");
        }
    }
}

fn is_alive(pid: u32) -> bool {
    Path::new("/proc").join(pid.to_string()).exists() || signal("0", pid)
}

/// Sends a signal with the machine's `kill`; true when there is such a process.
fn signal(name: &str, pid: u32) -> bool {
    let sent = Command::new("kill")
        .arg(format!("-{name}"))
        .arg(pid.to_string())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    sent.is_ok_and(|status| status.success())
}

#[cfg(test)]
mod tests;
