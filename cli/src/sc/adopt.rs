//! `tidegate sc adopt`: an operator takes the metadata store for good, whatever nodes saw before.

use clap::Args;
use serde_json::json;
use tidegate_kit::clock;
use tidegate_sc::store::{MetaStore as _, PostgresStore};

use super::place::{DatabaseArguments, failure};
use crate::failure::Failure;
use crate::output::{self, Output};

#[derive(Args, Debug)]
#[command(
    after_help = "After a restore from a backup, or a failover to a copy that was behind, controllers \
    change nothing and say `metadata_forked`. If this database is the one to go on with, adopt it: \
    controllers and nodes take what it holds for the truth within seconds. Topics and changes that it \
    lacks are lost to the cluster; their records stay on the disks. Without --yes it only tells."
)]
pub(crate) struct AdoptArguments {
    #[command(flatten)]
    database: DatabaseArguments,

    /// Do it.
    #[arg(long)]
    yes: bool,

    /// Who does it, for the record.
    #[arg(long, value_name = "NAME", default_value = "operator")]
    actor: String,
}

pub(crate) async fn run(arguments: &AdoptArguments, output: Output) -> Result<(), Failure> {
    let url = arguments.database.url()?;
    let store = PostgresStore::open(&url, "tidegate sc adopt").await;
    let store = store.map_err(|error| failure(&error))?;
    let standing = store.standing().await.map_err(|error| failure(&error))?;
    let model = store.snapshot().await.map_err(|error| failure(&error))?;
    let (revision, topics) = (standing.revision, model.topics.len());
    if !arguments.yes {
        store.close().await;
        return Err(Failure::usage(format!(
            "metadata store {} is at revision {revision} with {topics} topics. Give --yes to go on with \
             it whatever nodes have seen.",
            standing.store_id
        )));
    }
    let adopted = store.adopt(&arguments.actor, clock::now_ms()).await;
    let adopted = adopted.map_err(|error| failure(&error))?;
    // Adoption takes the revision beyond all that nodes may have seen of the store's former life.
    let standing = store.standing().await;
    store.close().await;
    let standing = standing.map_err(|error| {
        let reason = failure(&error).message;
        let what =
            format!("adopted, its identity is now {adopted}; its revision was not told: {reason}");
        Failure::failed(what)
    })?;
    let revision = standing.revision;
    match output {
        Output::Json => output::print_json(&json!({
            "store_id": adopted, "revision": revision, "topics": topics,
        })),
        Output::Table => output::print(&format!(
            "adopted at revision {revision} with {topics} topics; its identity is now {adopted}"
        )),
    }
}
