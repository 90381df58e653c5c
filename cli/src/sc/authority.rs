//! `tidegate sc authority`: makes the authority that issues the certificates of a cluster's nodes.

use std::path::{Path, PathBuf};

use clap::Args;
use tidegate_kit::clock;
use tidegate_kit::tls::ClusterAuthority;
use tidegate_proto::id::ClusterId;
use tidegate_sc::store::{DatabaseUrl, MetaStore as _, PostgresStore, StoreError};

use super::place::{DatabaseArguments, failure};
use crate::failure::Failure;
use crate::output;
use crate::up::failures;

#[derive(Args, Debug)]
#[command(
    after_help = "Run it once for a cluster, after `tidegate sc migrate`, and give both files to every \
    controller (`cluster_ca`, `cluster_ca_key`). An authority that is there already is left as it is."
)]
pub(crate) struct AuthorityArguments {
    #[command(flatten)]
    database: DatabaseArguments,

    /// Directory for cluster-ca.pem and cluster-ca.key.
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
}

/// Carries the command out. Needs a runtime.
pub(crate) async fn run(arguments: &AuthorityArguments) -> Result<(), Failure> {
    let cluster_id = cluster_of(&arguments.database.url()?).await;
    let cluster_id = cluster_id.map_err(|error| failure(&error))?;
    ensure(&arguments.dir, cluster_id)?;
    output::print(&format!("the authority of cluster {cluster_id} is there"))
}

/// Which cluster a database is of.
pub(crate) async fn cluster_of(url: &DatabaseUrl) -> Result<ClusterId, StoreError> {
    let store = PostgresStore::open(url, "tidegate sc authority").await?;
    let standing = store.standing().await;
    store.close().await;
    Ok(standing?.cluster_id)
}

/// The authority in `dir`, made when there is none.
pub(crate) fn ensure(dir: &Path, cluster_id: ClusterId) -> Result<ClusterAuthority, Failure> {
    let known = ClusterAuthority::load(dir).map_err(|error| failures::pki(&error))?;
    let Some(known) = known else {
        let made = ClusterAuthority::make(cluster_id, clock::now_s())
            .map_err(|error| failures::pki(&error))?;
        made.save(dir).map_err(|error| failures::pki(&error))?;
        return Ok(made);
    };
    if known.cluster_id() == cluster_id {
        return Ok(known);
    }
    Err(Failure::failed(format!(
        "the database is of cluster {cluster_id}, the authority in {} of cluster {}",
        dir.display(),
        known.cluster_id()
    )))
}
