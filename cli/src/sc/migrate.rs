//! `tidegate sc migrate`.

use clap::Args;
use serde_json::{Value, json};
use tidegate_kit::clock;
use tidegate_proto::id::ClusterId;
use tidegate_sc::store;
use uuid::Uuid;

use super::place::{DatabaseArguments, failure};
use crate::failure::Failure;
use crate::output::{self, Output};

#[derive(Args, Debug)]
#[command(
    after_help = "Run it before starting controllers of a newer version; those of the version \
    before go on meanwhile. It may be run again, and by several at once: what was done is not done \
    again. A new database becomes the metadata store of a new cluster."
)]
pub(crate) struct MigrateArguments {
    #[command(flatten)]
    database: DatabaseArguments,
}

pub(crate) async fn run(arguments: &MigrateArguments, output: Output) -> Result<(), Failure> {
    let url = arguments.database.url()?;
    let new_cluster = ClusterId(Uuid::new_v4());
    let applied = store::migrate(&url, new_cluster, clock::now_ms()).await;
    let applied = applied.map_err(|error| failure(&error))?;
    match output {
        Output::Json => {
            let shown = applied.iter();
            let shown = shown.map(|one| json!({ "version": one.version, "name": one.name }));
            output::print_json(&json!({ "applied": shown.collect::<Vec<Value>>() }))
        }
        Output::Table if applied.is_empty() => output::print("nothing to do: up to date"),
        Output::Table => applied
            .iter()
            .try_for_each(|one| output::print(&format!("applied {} {}", one.version, one.name))),
    }
}
