//! Which process a data directory belongs to, told by that process itself in the file that it locks.
//!
//! Not by its command line, which people type with other paths than the programs that look for it, and not
//! by its number alone, which may be another process's by now: the number with the moment of the process's
//! beginning, as the system counts it, is of one process only. Where the system does not tell that moment the
//! lock itself has to be held. A file whose process has ended means nothing.

use std::fs::{self, File, TryLockError};
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::path::Path;

use serde::{Deserialize, Serialize};

/// Locked by the process whose directory it is in.
pub(crate) const LOCK_FILE: &str = "up.lock";

/// A process that locked a directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Owner {
    pub(crate) pid: u32,
    /// Which run of the machine it began in, and when in it. Nothing where the system does not tell.
    boot: Option<String>,
    began: Option<u64>,
}

impl Owner {
    /// Tells in a file that this process has locked that it is ours.
    pub(crate) fn write(lock: &mut File) -> io::Result<()> {
        let pid = std::process::id();
        let own = Self {
            pid,
            boot: boot(),
            began: began(pid),
        };
        let line = format!("{}\n", serde_json::to_string(&own)?);
        // Readers take the first line: nobody sees half of it, or a longer one that was before.
        lock.seek(SeekFrom::Start(0))?;
        lock.write_all(line.as_bytes())?;
        lock.set_len(line.len() as u64)
    }

    /// The process that has the directory, if there is one.
    #[cfg(unix)]
    pub(crate) fn of(directory: &Path) -> Option<Self> {
        let text = fs::read_to_string(directory.join(LOCK_FILE)).ok()?;
        let found: Self = serde_json::from_str(text.lines().next()?).ok()?;
        let is_alive = match found.began {
            Some(_) => found.boot == boot() && found.began == began(found.pid),
            None => is_locked(directory),
        };
        is_alive.then_some(found)
    }
}

/// Whether somebody holds the lock. To find out it is taken for a moment where nobody does.
#[cfg(unix)]
fn is_locked(directory: &Path) -> bool {
    let file = File::open(directory.join(LOCK_FILE));
    file.is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
}

fn boot() -> Option<String> {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(text.trim().to_owned())
}

/// When a process began, in ticks of this run of the machine; none for one that has ended, waited for or
/// not.
fn began(pid: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name of the program is in brackets and may have anything in it.
    let mut facts = text.rsplit_once(')')?.1.split_whitespace();
    let state = facts.next()?;
    let is_over = ["Z", "X", "x"].contains(&state);
    // The 22nd of all; the state is the third.
    (!is_over).then(|| facts.nth(18)?.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(directory: &Path, change: impl Fn(&mut Owner)) -> Option<Owner> {
        let path = directory.join(LOCK_FILE);
        let mut lock = File::create(&path).unwrap();
        lock.lock().unwrap();
        Owner::write(&mut lock).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        let mut owner: Owner = serde_json::from_str(&text).unwrap();
        change(&mut owner);
        fs::write(&path, serde_json::to_string(&owner).unwrap()).unwrap();
        Owner::of(directory)
    }

    #[test]
    fn a_process_that_runs_is_found_and_one_that_only_has_its_number_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let found = told(folder.path(), |_| {}).unwrap();
        assert_eq!(found.pid, std::process::id());
        assert!(found.began.is_some() || !Path::new("/proc/self/stat").exists());
        if found.began.is_some() {
            let other = |owner: &mut Owner| owner.began = Some(1);
            assert_eq!(told(folder.path(), other), None);
            let before = |owner: &mut Owner| owner.boot = Some("another".to_owned());
            assert_eq!(told(folder.path(), before), None);
        }
    }

    #[test]
    fn without_a_moment_of_beginning_only_the_lock_proves_an_owner() {
        let folder = tempfile::tempdir().unwrap();
        let untold = |owner: &mut Owner| (owner.boot, owner.began) = (None, None);
        let found = told(folder.path(), untold);
        assert_eq!(found.map(|owner| owner.pid), Some(std::process::id()));
        // The process runs, and has let go of the directory.
        assert_eq!(Owner::of(folder.path()), None);
    }

    #[test]
    fn a_process_that_has_ended_is_none_before_it_was_waited_for() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = rustix::process::Pid::from_child(&child);
        let ended = rustix::process::WaitIdOptions::EXITED | rustix::process::WaitIdOptions::NOWAIT;
        rustix::process::waitid(rustix::process::WaitId::Pid(pid), ended).unwrap();
        assert_eq!(began(child.id()), None);
        child.wait().unwrap();
    }

    #[test]
    fn what_was_written_before_does_not_show_through() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(LOCK_FILE);
        assert_eq!(Owner::of(folder.path()), None);
        fs::write(&path, "x".repeat(4000)).unwrap();
        assert_eq!(Owner::of(folder.path()), None);
        let mut lock = File::options().write(true).open(&path).unwrap();
        lock.lock().unwrap();
        Owner::write(&mut lock).unwrap();
        assert_eq!(Owner::of(folder.path()).unwrap().pid, std::process::id());
        assert!(fs::metadata(&path).unwrap().len() < 200);
    }
}
