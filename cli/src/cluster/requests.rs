//! What other commands ask of the process that holds a cluster, as files in `DIR/requests`, and its answers
//! beside them.
//!
//! Files, because the directory is there, is its owner's alone, and has room for a name of any length, as a
//! socket's does not. Invariants: one request at a time, in the order of asking; nobody waits for an answer
//! of a holder that has ended.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tidegate_kit::clock;

use super::manifest::Manifest;
use crate::failure::Failure;
use crate::files::write_private;
use crate::owner::Owner;
use crate::up::directory::disk;

const REQUESTS_DIR: &str = "requests";
/// How often the asker looks for the answer.
const STEP: Duration = Duration::from_millis(50);

/// Asked of the holder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Request {
    /// Stop this process in order, if it runs, and start it.
    Restart { name: String },
    /// Start a storage unit: that one, or the next.
    AddSpu {
        number: Option<u32>,
        rack: Option<String>,
    },
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Answer {
    Done {
        name: String,
        said: String,
        changed: bool,
    },
    Failed {
        message: String,
    },
}

/// The holder's side.
#[derive(Debug)]
pub(super) struct Requests {
    directory: PathBuf,
}

impl Requests {
    /// Takes requests from now on. What was asked of an earlier holder is forgotten.
    pub(super) fn open(cluster: &Path) -> Result<Self, Failure> {
        let directory = cluster.join(REQUESTS_DIR);
        // There is none before the first.
        let _ = fs::remove_dir_all(&directory);
        fs::create_dir(&directory).map_err(|error| disk(&directory, "cannot be made", &error))?;
        Ok(Self { directory })
    }

    /// The oldest one that waits, which is taken; and where its answer goes.
    pub(super) fn next(&self) -> Option<(Request, PathBuf)> {
        let entries = fs::read_dir(&self.directory).ok()?;
        let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
        let path = paths.filter(|path| has_ending(path, "request")).min()?;
        let found = read(&path);
        // Whatever it is, it is not looked at again.
        let _ = fs::remove_file(&path);
        let answer = path.with_extension("answer");
        if found.is_none() {
            let message = "the process that holds the cluster does not know this request; it is of \
                           another version: `tidegate cluster stop` and `start` change that";
            let message = message.to_owned();
            Self::answer(&answer, &Answer::Failed { message });
        }
        Some((found?, answer))
    }

    /// Answers one. The asker may be gone.
    pub(super) fn answer(path: &Path, answer: &Answer) {
        if let Ok(text) = serde_json::to_vec(answer) {
            let _ = write_private(path, &text);
        }
    }
}

/// Asks the holder of the cluster in `directory`, and waits until it has done so.
pub(super) async fn ask(directory: &Path, request: &Request) -> Result<Answer, Failure> {
    let holder = Manifest::ready(directory)?.pid;
    let is_held = || Owner::of(directory).is_some_and(|owner| owner.pid == holder);
    let gone = || {
        let directory = directory.display();
        Failure::failed(format!(
            "the `tidegate cluster start` that held the cluster in {directory} has ended. Start it \
             again: it finds its data, and ends first what is left."
        ))
    };
    if !is_held() {
        return Err(gone());
    }
    let place = directory.join(REQUESTS_DIR);
    let name = format!("{:015}-{}.request", clock::now_ms(), std::process::id());
    let path = place.join(name);
    let text = serde_json::to_vec(request).map_err(|error| Failure::failed(error.to_string()))?;
    write_private(&path, &text).map_err(|error| disk(&path, "cannot be written", &error))?;
    let answer = path.with_extension("answer");
    loop {
        tokio::time::sleep(STEP).await;
        if let Some(found) = read(&answer) {
            let _ = fs::remove_file(&answer);
            return Ok(found);
        }
        if !is_held() {
            return Err(gone());
        }
    }
}

fn has_ending(path: &Path, ending: &str) -> bool {
    path.extension().is_some_and(|found| found == ending)
}

fn read<T: DeserializeOwned>(path: &Path) -> Option<T> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(directory: &Path) -> (Manifest, fs::File) {
        let mut lock = fs::File::create(directory.join(crate::owner::LOCK_FILE)).unwrap();
        lock.lock().unwrap();
        Owner::write(&mut lock).unwrap();
        let manifest = Manifest {
            pid: std::process::id(),
            ca: PathBuf::new(),
            token: String::new(),
            database_url: String::new(),
            nodes: Vec::new(),
        };
        manifest.write(directory).unwrap();
        (manifest, lock)
    }

    #[tokio::test]
    async fn requests_are_answered_in_turn_and_what_is_not_known_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let directory = folder.path();
        let _held = held(directory);
        let requests = Requests::open(directory).unwrap();
        let rubbish = directory.join(REQUESTS_DIR).join("0.request");
        fs::write(&rubbish, b"{\"destroy\":{}}").unwrap();
        assert!(requests.next().is_none() && !rubbish.exists());
        let told: Option<Answer> = read(&rubbish.with_extension("answer"));
        assert!(matches!(told, Some(Answer::Failed { .. })), "{told:?}");
        let asked = Request::Restart {
            name: "spu-1".to_owned(),
        };
        let holder = async {
            loop {
                if let Some((request, place)) = requests.next() {
                    let message = format!("{request:?}");
                    return Requests::answer(&place, &Answer::Failed { message });
                }
                tokio::task::yield_now().await;
            }
        };
        let (answer, ()) = tokio::join!(ask(directory, &asked), holder);
        let message = format!("{asked:?}");
        assert_eq!(answer.unwrap(), Answer::Failed { message });
        let left = fs::read_dir(directory.join(REQUESTS_DIR)).unwrap();
        assert_eq!(left.count(), 1, "the answer that nobody waits for");
    }

    #[tokio::test]
    async fn nobody_waits_for_a_holder_that_is_not_there() {
        let folder = tempfile::tempdir().unwrap();
        let asked = Request::AddSpu {
            number: None,
            rack: None,
        };
        let failure = ask(folder.path(), &asked).await.unwrap_err();
        assert!(failure.message.contains("no cluster is ready"), "{failure}");
        let (mut manifest, _lock) = held(folder.path());
        manifest.pid = 1;
        manifest.write(folder.path()).unwrap();
        let failure = ask(folder.path(), &asked).await.unwrap_err();
        assert!(failure.message.contains("has ended"), "{failure}");
    }
}
