//! Notes that this process runs, so that the roster knows when it did not: it was stopped, or its machine.
//!
//! Apart from the controller's loop, which may wait for the store while units are listened to.

use std::sync::Arc;

use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::roster::Roster;
use crate::limits::Pace;

/// Until it is stopped.
pub(super) async fn watch(roster: Arc<Roster>, pace: Pace, stop: CancellationToken) {
    if !roster.judges() {
        return;
    }
    let mut beats = interval(pace.tick);
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = beats.tick() => roster.runs(),
        }
    }
}
