//! A throw-away server for tests: one for all tests of a process, a schema for each.
//!
//! `initdb` takes seconds, so its result is kept in the system's temporary directory, and every server
//! starts on a copy; processes take turns at making it. The server runs with `fsync` on, as a real one.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Executor as _};

use super::{Door, Installation, LocalPostgres, LocalPostgresError, ServerOptions};

/// The server that this process shares, while somebody uses it.
static SHARED: Mutex<Weak<Scratch>> = Mutex::new(Weak::new());
/// Names databases and directories apart.
static COUNT: AtomicU32 = AtomicU32::new(0);

/// A throw-away server; its directory goes with it.
#[derive(Debug)]
pub struct Scratch {
    server: Mutex<LocalPostgres>,
    dir: PathBuf,
}

/// What `initdb` makes anyway.
const DATABASE: &str = "postgres";

/// A schema on a [`Scratch`] server, which it keeps running.
#[derive(Debug, Clone)]
pub struct ScratchDatabase {
    pub url: String,
    pub server: Arc<Scratch>,
}

impl Scratch {
    /// The server that the tests of this process share.
    ///
    /// # Errors
    /// Those of starting it.
    pub fn shared() -> Result<Arc<Self>, LocalPostgresError> {
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(running) = shared.upgrade() {
            return Ok(running);
        }
        let started = Arc::new(Self::start(&[])?);
        *shared = Arc::downgrade(&started);
        Ok(started)
    }

    /// A server of one's own, to stop and to crash, with more settings (`name=value`).
    ///
    /// # Errors
    /// Those of starting it.
    pub fn start(settings: &[&str]) -> Result<Self, LocalPostgresError> {
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let process = std::process::id();
        let dir = std::env::temp_dir().join(format!("tidegate-pg-{process}-{number}"));
        let made = template()?;
        copy(&made, &dir)?;
        let server = LocalPostgres::start(ServerOptions {
            dir: dir.clone(),
            door: Door::Socket,
            settings: settings.iter().map(ToString::to_string).collect(),
        })?;
        Ok(Self {
            server: Mutex::new(server),
            dir,
        })
    }

    /// A new, empty schema: as good as a database, and made in a tenth of the time.
    ///
    /// # Errors
    /// What the server says.
    pub async fn database(self: &Arc<Self>) -> Result<ScratchDatabase, LocalPostgresError> {
        let name = format!("t{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let make = async {
            let options: PgConnectOptions = self.url(DATABASE).parse()?;
            let mut conn = options.connect().await?;
            conn.execute(AssertSqlSafe(format!("CREATE SCHEMA {name}")))
                .await?;
            conn.close().await
        };
        make.await.map_err(LocalPostgresError::Database)?;
        Ok(ScratchDatabase {
            url: format!("{}?options=-csearch_path%3D{name}", self.url(DATABASE)),
            server: Arc::clone(self),
        })
    }

    /// The address of a database of that name.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        self.with(|server| server.url(database))
    }

    /// Does something to the server: stop it, crash it, start it again.
    pub fn with<T>(&self, act: impl FnOnce(&mut LocalPostgres) -> T) -> T {
        act(&mut self.server.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // At once: nobody needs what is in it. If it fails to stop, its files are in use, and left.
        if self.with(LocalPostgres::crash).is_ok() {
            fs::remove_dir_all(&self.dir).ok();
        }
    }
}

/// The directory of a server that was made and never started; made now if there is none.
fn template() -> Result<PathBuf, LocalPostgresError> {
    let installation = Installation::find()?;
    let version = installation
        .programs()
        .display()
        .to_string()
        .replace('/', "-");
    let dir = std::env::temp_dir().join(format!("tidegate-initdb{version}"));
    let lock_path = dir.with_extension("lock");
    let io = |error| LocalPostgresError::io(&lock_path, error);
    let lock = File::create(&lock_path).map_err(io)?;
    lock.lock().map_err(io)?;
    if !dir.join("data").exists() {
        let mut server = LocalPostgres {
            installation,
            account: super::Account::for_server()?,
            options: ServerOptions {
                dir: dir.clone(),
                door: Door::Socket,
                settings: Vec::new(),
            },
            supervisor: None,
        };
        server.initialize()?;
        server.stop()?;
    }
    Ok(dir)
}

fn copy(from: &Path, to: &Path) -> Result<(), LocalPostgresError> {
    let copied = Command::new("cp")
        .args(["-a", "--reflink=auto", "--"])
        .args([from, to])
        .stdin(Stdio::null())
        .status();
    match copied {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(LocalPostgresError::Refused(format!(
            "cp ended with {status}"
        ))),
        Err(error) => Err(LocalPostgresError::io(from, error)),
    }
}
