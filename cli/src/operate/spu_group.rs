//! `tidegate spu-group ..`: groups of storage units.

use clap::{Args, Subcommand};
use serde_json::{Map, Value};
use tidegate_client::{SpuGroupName, WriteOptions};

use crate::connection::Connection;
use crate::failure::Failure;
use crate::output::{self, Output, cell};
use crate::written;

#[derive(Debug, Subcommand)]
pub(crate) enum SpuGroupCommand {
    /// List the groups that were made. The group `default` takes in any unit without being made.
    #[command(visible_alias = "ls")]
    List,
    /// Create a group.
    #[command(after_help = "Examples:\n  \
        tidegate spu-group create hot --replicas 6 --rack a --rack b --rack c\n  \
        tidegate spu-group create cold --replicas 20 --first-id 100")]
    Create(CreateArguments),
    /// Delete a group that no storage unit belongs to.
    #[command(visible_alias = "rm")]
    Delete {
        /// Name of the group, as `tidegate spu-group list` shows it.
        name: SpuGroupName,
    },
}

#[derive(Args, Debug)]
pub(crate) struct CreateArguments {
    /// Name: a-z, 0-9, dot, underscore, dash.
    name: SpuGroupName,

    /// Most units that it takes in.
    #[arg(long, value_name = "COUNT")]
    replicas: u32,

    /// First id of its units [default: after all units and groups].
    #[arg(long, value_name = "ID")]
    first_id: Option<u32>,

    /// A rack of its units; may be given several times [default: any].
    #[arg(long = "rack", value_name = "RACK")]
    racks: Vec<String>,

    /// Data centre or place of its units.
    #[arg(long)]
    site: Option<String>,

    /// Say what would happen, and do nothing.
    #[arg(long)]
    dry_run: bool,
}

pub(super) async fn run(
    command: SpuGroupCommand,
    connection: &Connection,
    output: Output,
) -> Result<(), Failure> {
    let client = connection.client()?;
    match command {
        SpuGroupCommand::List => list(client.spu_groups().await?, output),
        SpuGroupCommand::Create(arguments) => {
            let options = WriteOptions {
                dry_run: arguments.dry_run,
                if_version: None,
            };
            let body = Value::Object(body(&arguments));
            let done = client.create_spu_group(&body, options).await?;
            written::show("group", &arguments.name, &done, arguments.dry_run, output)
        }
        SpuGroupCommand::Delete { name } => {
            let options = WriteOptions::default();
            let done = client.delete_spu_group(&name, options).await?;
            written::show("group", &name, &done, false, output)
        }
    }
}

fn body(arguments: &CreateArguments) -> Map<String, Value> {
    let mut body = Map::new();
    body.insert("name".to_owned(), Value::from(arguments.name.as_str()));
    body.insert("replicas".to_owned(), Value::from(arguments.replicas));
    if let Some(first_id) = arguments.first_id {
        body.insert("first_id".to_owned(), Value::from(first_id));
    }
    if !arguments.racks.is_empty() {
        body.insert("racks".to_owned(), Value::from(arguments.racks.clone()));
    }
    if let Some(site) = &arguments.site {
        body.insert("site".to_owned(), Value::from(site.as_str()));
    }
    body
}

fn list(groups: Vec<Value>, output: Output) -> Result<(), Failure> {
    if output == Output::Json {
        return output::print_json(&Value::Array(groups));
    }
    if groups.is_empty() {
        output::say("no groups were made; storage units join the group `default`");
        return Ok(());
    }
    let fields = ["name", "units", "replicas", "first_id", "racks", "site"];
    let rows = groups.iter().map(|group| {
        let cells = fields.iter().map(|field| cell(group.get(*field)));
        cells.collect()
    });
    let header = ["name", "units", "wanted", "first id", "racks", "site"];
    output::print_table(&header, rows.collect())
}
