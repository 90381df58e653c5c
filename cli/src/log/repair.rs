//! `tidegate log repair-index`.

use std::sync::Arc;

use clap::Args;
use serde_json::json;
use tidegate_log::OsVfs;
use tidegate_log::inspect;

use super::{place, shown};
use crate::failure::Failure;
use crate::output::{self, Output};

#[derive(Args, Debug)]
#[command(
    after_help = "Stop the server first. An index only says where to begin reading, so one that is damaged costs\n\
    time, never records. A new one is written beside the old one, read back and compared with its\n\
    segment, and only then put in its place. Segments are read, never written.\n\n\
    Exit codes: 0 done (or nothing to do), 1 some could not be repaired, 2 usage, 4 a server runs on\n\
    the directory, 5 the directory cannot be read."
)]
pub(crate) struct RepairArguments {
    #[command(flatten)]
    pub(crate) place: place::PlaceArguments,

    /// Say what would be done, and write nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
}

pub(crate) fn run(arguments: &RepairArguments, output: Output) -> Result<(), Failure> {
    let dir = arguments.place.log_dir();
    let (mut repairs, mut printed) = (Vec::new(), Ok(()));
    let mut hear = |repair: Result<inspect::IndexRepair, String>| match repair {
        Ok(repair) if output == Output::Json => repairs.push(json!({
            "file": repair.path.to_string_lossy(),
            "replica": shown::replica(repair.replica),
            "what": repair.what,
            "entries": repair.is_done.then_some(repair.entries),
            "done": repair.is_done,
        })),
        Ok(repair) => {
            let done = if repair.is_done {
                format!("made anew with {} entries", repair.entries)
            } else {
                "would be made anew".to_owned()
            };
            let line = format!("{}: {}: {done}", repair.path.display(), repair.what);
            if printed.is_ok() {
                printed = output::print(&line);
            }
        }
        Err(error) => output::say(&format!("left as it is: {error}")),
    };
    let repaired = inspect::repair_indexes(Arc::new(OsVfs), &dir, arguments.dry_run, &mut hear);
    let repaired = repaired.map_err(|error| place::failure(&error))?;
    printed?;
    match output {
        Output::Json => output::print_json(&json!({
            "checked": repaired.checked,
            "faulty": repaired.faulty,
            "left": repaired.skipped,
            "dry_run": arguments.dry_run,
            "repairs": repairs,
        }))?,
        Output::Table => output::say(&format!(
            "{} indexes compared with their segments, {} did not fit",
            repaired.checked, repaired.faulty
        )),
    }
    if repaired.skipped == 0 {
        return Ok(());
    }
    Err(Failure::failed(format!(
        "{} segments or replicas were left as they are: `tidegate log verify` says more",
        repaired.skipped
    )))
}
