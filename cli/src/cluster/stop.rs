//! `tidegate cluster stop`: from another terminal, and also when the holder was killed.

use std::time::Duration;

use rustix::process::Signal;

use super::arguments::PlaceArguments;
use super::child;
use super::manifest::Manifest;
use super::start::end;
use crate::failure::Failure;
use crate::output;

/// How often it is looked whether the holder has ended.
const STEP: Duration = Duration::from_millis(50);
/// Three kinds of processes, one after the other, and the database.
const STOP_WAIT: Duration = Duration::from_secs(150);

/// Stops it and waits for the end.
pub(super) async fn run(arguments: &PlaceArguments) -> Result<(), Failure> {
    let Some(manifest) = Manifest::read(&arguments.data_dir) else {
        return Err(Failure::failed(format!(
            "no cluster is ready in {}",
            arguments.data_dir.display()
        )));
    };
    if is_holder(manifest.pid) {
        child::signal(manifest.pid, Signal::TERM);
        let ended = tokio::time::timeout(STOP_WAIT, async {
            while is_holder(manifest.pid) {
                tokio::time::sleep(STEP).await;
            }
        });
        if ended.await.is_err() {
            return Err(Failure::failed(format!(
                "the cluster did not end within {} s",
                STOP_WAIT.as_secs()
            )));
        }
    } else {
        end(&manifest.nodes, STOP_WAIT).await;
        Manifest::remove(&arguments.data_dir);
    }
    output::say("stopped");
    Ok(())
}

/// Whether that process is a `tidegate cluster start`.
fn is_holder(pid: u32) -> bool {
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let words: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
    words.contains(&b"cluster".as_slice()) && words.contains(&b"start".as_slice())
}
