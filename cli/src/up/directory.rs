//! The data directory as `up` sees it: made, locked, with an admin token, and with `up.json` while
//! the server is ready.
//!
//! Invariant: one process at a time. The lock is the operating system's and goes with the process,
//! however it ends; a left-over `up.json` means nothing.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use tidegate_kit::secret;

use crate::failure::Failure;
use crate::files::write_private;
use crate::owner::{LOCK_FILE, Owner};

/// Who looks whether a directory has an owner may have to take the lock for a moment ([`Owner::of`]): one that
/// is still taken then is somebody's.
const LOCK_ATTEMPTS: u32 = 4;
const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// A data directory that is ours until this is dropped.
#[derive(Debug)]
pub(crate) struct DataDirectory {
    path: PathBuf,
    _lock: File,
}

impl DataDirectory {
    /// Makes the directory if it is not there and locks it.
    pub(crate) fn open(path: &Path) -> Result<Self, Failure> {
        make(path).map_err(|error| disk(path, "cannot be made", &error))?;
        let path = fs::canonicalize(path).map_err(|error| disk(path, "cannot be used", &error))?;
        let lock_path = path.join(LOCK_FILE);
        let mut lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&lock_path)
            .map_err(|error| disk(&lock_path, "cannot be written", &error))?;
        match take(&lock) {
            Ok(()) => {
                Owner::write(&mut lock)
                    .map_err(|error| disk(&lock_path, "cannot be written", &error))?;
                Ok(Self { path, _lock: lock })
            }
            Err(TryLockError::WouldBlock) => Err(in_use(&path)),
            Err(TryLockError::Error(error)) => Err(disk(&lock_path, "cannot be locked", &error)),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Where the admin token is.
    pub(crate) fn token_path(&self) -> PathBuf {
        self.path.join("token")
    }

    /// The admin token; made on first start, readable by the owner only.
    pub(crate) fn token(&self) -> Result<String, Failure> {
        let path = self.token_path();
        match fs::read_to_string(&path) {
            Ok(text) if !text.trim().is_empty() => return Ok(text.trim().to_owned()),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(disk(&path, "cannot be read", &error)),
        }
        let token = secret::random_token().map_err(|error| Failure::failed(error.to_string()))?;
        write_private(&path, format!("{token}\n").as_bytes())
            .map_err(|error| disk(&path, "cannot be written", &error))?;
        Ok(token)
    }

    /// Tells scripts that the server is ready, and how to reach it.
    pub(crate) fn announce(
        &self,
        url: &str,
        ca: Option<&Path>,
        token: Option<&str>,
    ) -> Result<Announcement, Failure> {
        let path = self.path.join("up.json");
        let content: Value =
            json!({ "url": url, "ca": ca, "token": token, "pid": std::process::id() });
        write_private(&path, format!("{content:#}\n").as_bytes())
            .map_err(|error| disk(&path, "cannot be written", &error))?;
        Ok(Announcement { path })
    }
}

/// `up.json`, which goes when this is dropped.
#[derive(Debug)]
pub(crate) struct Announcement {
    path: PathBuf,
}

impl Drop for Announcement {
    fn drop(&mut self) {
        // Nothing can be done about a file that is gone already or cannot be removed.
        let _ = fs::remove_file(&self.path);
    }
}

fn take(lock: &File) -> Result<(), TryLockError> {
    for _ in 1..LOCK_ATTEMPTS {
        match lock.try_lock() {
            Err(TryLockError::WouldBlock) => std::thread::sleep(LOCK_PAUSE),
            done => return done,
        }
    }
    lock.try_lock()
}

fn make(path: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::DirBuilderExt;
        builder.mode(0o700);
    }
    builder.create(path)
}

fn in_use(path: &Path) -> Failure {
    let owner = fs::read_to_string(path.join("up.json"))
        .ok()
        .and_then(|text| serde_json::from_str::<Value>(&text).ok())
        .and_then(|found| {
            let pid = found.get("pid")?.as_u64()?;
            Some(format!(
                " It is served by process {pid} at {}.",
                found.get("url")?.as_str()?
            ))
        });
    Failure::new(
        Failure::IN_USE,
        format!(
            "the data directory {} is in use by another Tidegate.{} Stop that one, or give \
             --data-dir another directory.",
            path.display(),
            owner.unwrap_or_default()
        ),
    )
}

/// A failure of the disk, with what to do about the usual ones.
pub(crate) fn disk(path: &Path, what: &str, error: &io::Error) -> Failure {
    let advice = match error.kind() {
        io::ErrorKind::ReadOnlyFilesystem => {
            " The file system is read-only: mount it writable, or give --data-dir another place."
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            " The disk is full: free some space, or give --data-dir another place."
        }
        io::ErrorKind::PermissionDenied => {
            " This user may not write there: change the owner, or give --data-dir another place."
        }
        io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => {
            " There is a file of that name: give --data-dir another place."
        }
        _ => " Give --data-dir another place if this disk cannot be used.",
    };
    Failure::new(
        Failure::DISK,
        format!("{} {what}: {error}.{advice}", path.display()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_made_locked_and_freed_again() {
        let base = tempfile::tempdir().unwrap();
        let path = base.path().join("a/b");
        let first = DataDirectory::open(&path).unwrap();
        assert_eq!(
            DataDirectory::open(&path).unwrap_err().exit,
            Failure::IN_USE
        );
        drop(first);
        assert!(DataDirectory::open(&path).is_ok());
    }

    #[test]
    fn the_token_is_made_once() {
        let base = tempfile::tempdir().unwrap();
        let directory = DataDirectory::open(base.path()).unwrap();
        let token = directory.token().unwrap();
        assert!(token.len() >= 32);
        assert_eq!(directory.token().unwrap(), token);
    }

    #[test]
    fn the_announcement_names_the_owner_and_goes_when_dropped() {
        let base = tempfile::tempdir().unwrap();
        let directory = DataDirectory::open(base.path()).unwrap();
        let announcement = directory
            .announce("https://127.0.0.1:1", None, Some("t"))
            .unwrap();
        let failure = DataDirectory::open(base.path()).unwrap_err();
        let pid = std::process::id().to_string();
        assert!(failure.message.contains(&pid) && failure.message.contains("https://127.0.0.1:1"));
        let text = fs::read_to_string(directory.path().join("up.json")).unwrap();
        let json: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            (json["token"].as_str(), &json["ca"]),
            (Some("t"), &Value::Null)
        );
        drop(announcement);
        assert!(!directory.path().join("up.json").exists());
    }

    #[test]
    fn a_file_in_the_way_is_a_disk_failure_with_advice() {
        let base = tempfile::tempdir().unwrap();
        let file = base.path().join("file");
        fs::write(&file, b"").unwrap();
        let failure = DataDirectory::open(&file).unwrap_err();
        assert_eq!(failure.exit, Failure::DISK, "{failure}");
        assert!(failure.message.contains("--data-dir"), "{failure}");
    }
}
