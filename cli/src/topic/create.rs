//! `tidegate topic create`.
//!
//! Creates; with `--if-missing` it makes the topic be as asked and succeeds if it already is.

use std::num::ParseIntError;
use std::str::FromStr;

use clap::Args;
use serde_json::{Map, Value, json};
use tidegate_client::{TopicName, WriteOptions};

use crate::connection::Connection;
use crate::failure::Failure;
use crate::output::Output;
use crate::topic::settings::SettingsArguments;
use crate::written;

#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  \
    tidegate topic create flights --partitions 3\n  \
    tidegate topic create audit --retention forever --acks quorum --max-record-bytes 4MiB\n  \
    tidegate topic create flights -p 3 --if-missing   # fine to run again\n  \
    tidegate topic create flights -p 3 --dry-run      # where its copies would be\n  \
    tidegate topic create flights --place 1 --place 2 # partition 0 on unit 1, partition 1 on unit 2")]
pub(crate) struct CreateArguments {
    /// Name: a-z, 0-9, dot, underscore, dash.
    pub(crate) name: TopicName,

    #[command(flatten)]
    pub(crate) settings: SettingsArguments,

    /// Spread copies over units without regard to racks.
    #[arg(long, conflicts_with = "place")]
    pub(crate) ignore_rack: bool,

    /// Storage units of one partition, the preferred leader first: `2`, or `2,3` for two copies. Given once for each
    /// partition, in their order.
    #[arg(long, value_name = "UNITS")]
    pub(crate) place: Vec<Place>,

    /// Succeed when the topic exists, changing it to what is asked.
    #[arg(long)]
    pub(crate) if_missing: bool,

    /// Say what would happen, and do nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// Storage units of one partition.
#[derive(Clone, Debug)]
pub(crate) struct Place(Vec<u32>);

impl FromStr for Place {
    type Err = ParseIntError;

    fn from_str(text: &str) -> Result<Self, ParseIntError> {
        let units: Result<_, _> = text.split(',').map(str::parse).collect();
        units.map(Self)
    }
}

pub(crate) async fn run(
    arguments: CreateArguments,
    connection: &Connection,
    output: Output,
) -> Result<(), Failure> {
    let client = connection.client()?;
    let options = WriteOptions {
        dry_run: arguments.dry_run,
        if_version: None,
    };
    let mut body = arguments.settings.body();
    if arguments.ignore_rack {
        body.insert("placement".to_owned(), json!("ignore_rack"));
    }
    place_by_hand(&mut body, &arguments.place);
    let name = arguments.name;
    let outcome = if arguments.if_missing {
        client
            .ensure_topic(&name, &Value::Object(body), options)
            .await?
    } else {
        body.insert("name".to_owned(), Value::from(name.as_str()));
        client.create_topic(&Value::Object(body), options).await?
    };
    written::show("topic", &name, &outcome, arguments.dry_run, output)
}

/// There are as many partitions as places, unless something else is said, which the server refuses.
fn place_by_hand(body: &mut Map<String, Value>, places: &[Place]) {
    if places.is_empty() {
        return;
    }
    let units = places.iter().map(|place| json!(place.0)).collect();
    body.insert("placement".to_owned(), json!("manual"));
    body.insert("assignment".to_owned(), Value::Array(units));
    body.entry("partitions")
        .or_insert_with(|| json!(places.len()));
}
