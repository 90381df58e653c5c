//! `tidegate topic create`.
//!
//! Creates. With `--if-missing` a topic that is there is left as it is, and what is different is said.

use std::num::ParseIntError;
use std::str::FromStr;

use clap::Args;
use serde_json::{Map, Value, json};
use tidegate_client::{Client, ErrorCode, TopicName, WriteOptions};

use crate::connection::Connection;
use crate::failure::Failure;
use crate::output::{self, Output};
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

    /// Succeed when the topic exists, and leave it as it is; what differs from what is asked is said.
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
    let asked = Value::Object(body.clone());
    body.insert("name".to_owned(), Value::from(name.as_str()));
    let outcome = match client.create_topic(&Value::Object(body), options).await {
        Err(error) if arguments.if_missing && error.code() == Some(ErrorCode::AlreadyExists) => {
            return leave(&client, &name, &asked, output).await;
        }
        outcome => outcome?,
    };
    written::show("topic", &name, &outcome, arguments.dry_run, output)
}

/// The topic is there, and stays as it is.
async fn leave(
    client: &Client,
    name: &TopicName,
    asked: &Value,
    output: Output,
) -> Result<(), Failure> {
    let found = client.topic(name).await?;
    let would = WriteOptions {
        dry_run: true,
        if_version: None,
    };
    let difference = match client.ensure_topic(name, asked, would).await {
        Ok(would) => difference(&would.body)
            .map(|told| format!("{told}. `tidegate topic alter {name}` changes it")),
        // Some of it cannot be changed.
        Err(error) => Some(error.to_string()),
    };
    if let Some(difference) = difference {
        output::say(&format!(
            "topic {name} exists and is left as it is, which is not as asked: {difference}"
        ));
    }
    match output {
        Output::Json => output::print_json(&found),
        Output::Table => {
            output::say(&format!("topic {name}: unchanged"));
            Ok(())
        }
    }
}

/// What a dry run says would change, in one line.
fn difference(would: &Value) -> Option<String> {
    let changes = would.get("changes")?.as_array()?.iter();
    // Where copies would be follows from their number.
    let follows = |change: &&Value| output::cell(change.get("path")).starts_with("/assignment");
    let told = changes.filter(|change| !follows(change)).map(|change| {
        let of = |field| output::cell(change.get(field));
        format!("{} is {}, not {}", of("path"), of("from"), of("to"))
    });
    let told: Vec<String> = told.collect();
    (!told.is_empty()).then(|| told.join("; "))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_from_what_is_asked_is_told_in_a_line_and_nothing_is_told_when_all_is_so() {
        let would = json!({ "changes": [
            { "path": "/partitions", "from": 3, "to": 6 },
            { "path": "/assignment/3", "from": null, "to": [1] },
            { "path": "/config/acks", "from": "quorum", "to": "leader" },
        ] });
        let told = "/partitions is 3, not 6; /config/acks is quorum, not leader";
        assert_eq!(difference(&would).as_deref(), Some(told));
        assert_eq!(difference(&json!({ "changes": [] })), None);
        assert_eq!(difference(&Value::Null), None);
    }
}
