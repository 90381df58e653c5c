//! `tidegate backup` and `tidegate restore`: the cluster's metadata as a file, and a metadata store made of
//! one.
//!
//! A backup comes from a running cluster, or from the database itself while no controller runs. It is read
//! back before it gets its name. Invariant: only a database without anything in it is restored, and as a
//! whole.

use std::fs::File;
use std::io::BufReader;
use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};
use tidegate_kit::clock;
use tidegate_sc::store::{
    self, Backup, BackupFileError, Backups as _, DatabaseUrl, MetaStore as _, PostgresStore,
    backup_lines, read_backup,
};

use crate::connection::{Connection, ConnectionArguments};
use crate::failure::Failure;
use crate::files::write_private;
use crate::output::{self, Output};
use crate::sc::{DatabaseArguments, store_failure};
use crate::up::chain;
use crate::up::directory::disk;

#[derive(Args, Debug)]
#[command(
    after_help = "Asks the cluster of the profile (--url, --token) for it, which takes the right to \
    administer. With --database-url (TIDEGATE_DATABASE_URL, or --config with `database_url` in [sc]) the \
    database is read itself, controllers or not.\n\n\
    In the file: storage units, topics, partitions, operations, what was deleted, ranges of producer ids, \
    answers to requests with a key, certificates given to nodes, hashes of join tokens. Not in it: records, \
    the authority's key, API tokens, passwords, the history before its revision."
)]
pub(crate) struct BackupArguments {
    /// Where to; replaced as a whole, mode 0600.
    #[arg(value_name = "FILE")]
    file: PathBuf,

    #[command(flatten)]
    database: DatabaseArguments,
}

#[derive(Args, Debug)]
#[command(
    after_help = "Stop the controllers, make a new database, restore into it, and start them with its \
    address. It is another store to every node: controllers change nothing (`metadata_forked`) once a node \
    tells what it saw of the old one. `tidegate sc adopt --yes` says that this is the one to go on with. \
    What was committed after the backup is lost to the cluster; records stay on the disks."
)]
pub(crate) struct RestoreArguments {
    /// A file that `tidegate backup` wrote.
    #[arg(value_name = "FILE")]
    file: PathBuf,

    #[command(flatten)]
    database: DatabaseArguments,

    /// Check the file and tell what is in it; no database is touched.
    #[arg(long)]
    dry_run: bool,
}

/// Writes a backup. Needs a runtime.
pub(crate) async fn backup(
    arguments: &BackupArguments,
    connection: &ConnectionArguments,
    output: Output,
) -> Result<(), Failure> {
    let bytes = match arguments.database.given()? {
        Some(url) => from_database(&url).await?,
        None => {
            let connection = Connection::resolve(connection)?;
            connection.client()?.backup().await?.to_vec()
        }
    };
    let taken = read_backup(&*bytes);
    let taken = taken.map_err(|error| {
        Failure::failed(format!("what arrived is no backup: {}", chain(&error)))
    })?;
    let path = &arguments.file;
    let was_there = path.exists();
    write_private(path, &bytes).map_err(|error| disk(path, "cannot be written", &error))?;
    if was_there {
        output::say(&format!("{} was there and was replaced", path.display()));
    }
    let told = told(&taken)?;
    match output {
        Output::Json => output::print_json(&told),
        Output::Table => output::print(&format!("{}: {}", path.display(), words(&told))),
    }
}

/// Makes a store of a backup. Needs a runtime.
pub(crate) async fn restore(arguments: &RestoreArguments, output: Output) -> Result<(), Failure> {
    let path = &arguments.file;
    let file = File::open(path);
    let file = file
        .map_err(|error| Failure::failed(format!("{} cannot be read: {error}", path.display())))?;
    let refused =
        |error: BackupFileError| Failure::failed(format!("{}: {}", path.display(), chain(&error)));
    let backup = read_backup(BufReader::new(file)).map_err(refused)?;
    backup
        .check()
        .map_err(|error| Failure::failed(chain(&error)))?;
    let mut told = told(&backup)?;
    if arguments.dry_run {
        return match output {
            Output::Json => output::print_json(&told),
            Output::Table => output::print(&format!("the file is good: {}", words(&told))),
        };
    }
    let url = arguments.database.url()?;
    let id = into_database(&url, &backup).await?;
    told["restored_as"] = json!(id);
    match output {
        Output::Json => output::print_json(&told),
        Output::Table => output::print(&format!(
            "restored as metadata store {id}: {}. Start the controllers, then `tidegate sc adopt --yes`.",
            words(&told)
        )),
    }
}

async fn from_database(url: &DatabaseUrl) -> Result<Vec<u8>, Failure> {
    let store = PostgresStore::open(url, "tidegate backup").await;
    let store = store.map_err(|error| store_failure(&error))?;
    let backup = store.backup().await;
    store.close().await;
    let backup = backup.map_err(|error| store_failure(&error))?;
    let lines = backup_lines(backup, clock::now_ms());
    Ok(lines.collect::<String>().into_bytes())
}

async fn into_database(url: &DatabaseUrl, backup: &Backup) -> Result<String, Failure> {
    let now_ms = clock::now_ms();
    let cluster = backup.head.cluster_id;
    let migrated = store::migrate(url, cluster, now_ms).await;
    migrated.map_err(|error| store_failure(&error))?;
    let store = PostgresStore::open(url, "tidegate restore").await;
    let store = store.map_err(|error| store_failure(&error))?;
    let restored = store.restore(backup, now_ms).await;
    store.close().await;
    let id = restored.map_err(|error| Failure::failed(chain(&error)))?;
    Ok(id.to_string())
}

fn told(backup: &Backup) -> Result<Value, Failure> {
    let head = &backup.head;
    let model = backup
        .model()
        .map_err(|error| Failure::failed(chain(&error)))?;
    let partitions: usize = model
        .topics
        .values()
        .map(|topic| topic.partitions.len())
        .sum();
    Ok(json!({
        "cluster_id": head.cluster_id,
        "store_id": head.store_id,
        "revision": head.revision,
        "chain": head.chain,
        "spus": model.spus.len(),
        "topics": model.topics.len(),
        "partitions": partitions,
        "rows": backup.records.len(),
    }))
}

fn words(told: &Value) -> String {
    format!(
        "cluster {}, revision {}, {} storage units, {} topics, {} partitions",
        output::cell(told.get("cluster_id")),
        told["revision"],
        told["spus"],
        told["topics"],
        told["partitions"]
    )
}
