//! `tidegate cluster stop`: from another terminal, and also when the holder was killed.

use std::time::Duration;

use rustix::process::Signal;

use super::arguments::PlaceArguments;
use super::child;
use super::manifest::Manifest;
use super::start::end;
use crate::failure::Failure;
use crate::output;
use crate::owner::Owner;

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
    let is_held = || Owner::of(&arguments.data_dir).is_some_and(|it| it.pid == manifest.pid);
    if is_held() {
        child::signal(manifest.pid, Signal::TERM);
        let ended = tokio::time::timeout(STOP_WAIT, async {
            while is_held() {
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
