//! `tidegate cluster stop`: from another terminal, and also when the holder was killed.

use std::time::Duration;

use rustix::process::Signal;

use super::arguments::PlaceArguments;
use super::child;
use super::layout::{Layout, NodeKind};
use super::manifest::Manifest;
use super::nodes::{alive, end};
use crate::failure::Failure;
use crate::output;
use crate::owner::Owner;

/// How often it is looked whether the holder has ended.
const STEP: Duration = Duration::from_millis(50);
/// Three kinds of processes, one after the other, and the database.
const STOP_WAIT: Duration = Duration::from_secs(150);

/// Stops it and waits for the end; also one that is not ready yet.
pub(super) async fn run(arguments: &PlaceArguments) -> Result<(), Failure> {
    let directory = &arguments.data_dir;
    let holder = Owner::of(directory).filter(|_| Layout::is_in(directory));
    let Some(holder) = holder else {
        // One that was killed while it started or stopped left processes and no manifest.
        let kinds = [NodeKind::Gateway, NodeKind::Spu, NodeKind::Sc];
        if kinds.iter().all(|kind| alive(directory, *kind).is_empty()) {
            Manifest::ready(directory)?;
        }
        end(directory, STOP_WAIT).await;
        Manifest::remove(directory);
        output::say("stopped what an earlier holder had left");
        return Ok(());
    };
    child::signal(holder.pid, Signal::TERM);
    let ended = tokio::time::timeout(STOP_WAIT, async {
        while Owner::of(directory).as_ref() == Some(&holder) {
            tokio::time::sleep(STEP).await;
        }
    });
    if ended.await.is_err() {
        return Err(Failure::failed(format!(
            "the cluster did not end within {} s",
            STOP_WAIT.as_secs()
        )));
    }
    output::say("stopped");
    Ok(())
}
