//! Which directory is meant, and what is said when it cannot be looked at.

use std::path::PathBuf;

use clap::Args;
use tidegate_log::inspect::InspectError;

use crate::failure::Failure;

/// Where `tidegate up` keeps the log in its data directory.
const STORAGE: &str = "storage";

#[derive(Args, Debug)]
pub(crate) struct PlaceArguments {
    /// Data directory of the server, as given to `tidegate up`, or the `storage` directory in it.
    #[arg(long, value_name = "DIR", default_value = "./tidegate-data")]
    pub(crate) data_dir: PathBuf,
}

impl PlaceArguments {
    /// The directory of the log.
    pub(crate) fn log_dir(&self) -> PathBuf {
        let inside = self.data_dir.join(STORAGE);
        if inside.is_dir() {
            inside
        } else {
            self.data_dir.clone()
        }
    }
}

/// The failure for a directory that cannot be looked at.
pub(crate) fn failure(error: &InspectError) -> Failure {
    match error {
        InspectError::InUse { .. } => Failure::new(
            Failure::IN_USE,
            format!(
                "{error}. Its files change while a server runs on it: stop the server first, or \
                 work on a copy."
            ),
        ),
        InspectError::NotALog { .. } => Failure::new(
            Failure::DISK,
            format!("{error}. Give --data-dir the directory that `tidegate up` was started with."),
        ),
        InspectError::Io { .. } | InspectError::Damaged(_) => {
            Failure::new(Failure::DISK, error.to_string())
        }
    }
}
