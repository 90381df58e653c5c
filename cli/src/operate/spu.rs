//! `tidegate spu ..`: storage units of a running cluster.

use clap::{Args, Subcommand};
use serde_json::{Map, Value};
use tidegate_client::{SpuId, WriteOptions};

use super::begun;
use super::terms::Terms;
use crate::connection::Connection;
use crate::failure::Failure;
use crate::output::{self, Output, cell};
use crate::{units, written};

#[derive(Debug, Subcommand)]
pub(crate) enum SpuCommand {
    /// List the storage units.
    #[command(visible_alias = "ls")]
    List,
    /// Show one storage unit.
    Describe {
        /// Number of the unit, as `tidegate spu list` shows it.
        spu: SpuId,
    },
    /// Register a storage unit before it runs. Units of a group need no registration.
    #[command(after_help = "Examples:\n  \
        tidegate spu register 3 --rack rack-a\n  \
        tidegate spu register 4 --rack rack-b --site fra1 --label disk=nvme")]
    Register(Described),
    /// Change what is said of a storage unit: rack, site, labels.
    #[command(after_help = "Examples:\n  \
        tidegate spu alter 3 --rack rack-b\n  \
        tidegate spu alter 3 --rack '' --if-version 4   # forget the rack")]
    Alter(Described),
    /// Empty a storage unit: others lead, and its copies move away.
    #[command(after_help = "Examples:\n  \
        tidegate spu drain 3 --dry-run\n  \
        tidegate spu drain 3 --wait --bytes-per-second 50MiB")]
    Drain {
        /// Number of the unit, as `tidegate spu list` shows it.
        spu: SpuId,
        #[command(flatten)]
        terms: Terms,
    },
    /// Take a storage unit back that was being emptied.
    Resume {
        /// Number of the unit, as `tidegate spu list` shows it.
        spu: SpuId,
    },
    /// Remove a storage unit that holds nothing and is drained or stopped.
    #[command(visible_alias = "rm")]
    Remove {
        /// Number of the unit, as `tidegate spu list` shows it.
        spu: SpuId,
        #[command(flatten)]
        condition: Condition,
    },
}

#[derive(Args, Debug)]
pub(crate) struct Described {
    /// Number of the unit.
    spu: SpuId,

    /// Failure domain; copies of a partition go to different ones. Empty = as the unit itself says.
    #[arg(long)]
    rack: Option<String>,

    /// Data centre or place. Empty = as the unit itself says.
    #[arg(long)]
    site: Option<String>,

    /// A label, NAME=VALUE; may be given several times. All labels that there were are replaced.
    #[arg(long = "label", value_name = "NAME=VALUE", value_parser = label)]
    labels: Vec<(String, String)>,

    #[command(flatten)]
    condition: Condition,
}

/// On what condition a write is made, and whether.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct Condition {
    /// Only when it still has this version (see `describe`).
    #[arg(long, value_name = "VERSION")]
    if_version: Option<u64>,

    /// Say what would happen, and do nothing.
    #[arg(long)]
    dry_run: bool,
}

impl Condition {
    const fn options(self) -> WriteOptions {
        WriteOptions {
            if_version: self.if_version,
            dry_run: self.dry_run,
        }
    }
}

impl Described {
    fn body(&self) -> Map<String, Value> {
        // Empty is nothing: back to what the unit says.
        let text = |text: &String| match text.as_str() {
            "" => Value::Null,
            text => Value::from(text),
        };
        let mut body = Map::new();
        if let Some(rack) = &self.rack {
            body.insert("rack".to_owned(), text(rack));
        }
        if let Some(site) = &self.site {
            body.insert("site".to_owned(), text(site));
        }
        if !self.labels.is_empty() {
            let labels = self.labels.iter();
            let labels = labels.map(|(name, value)| (name.clone(), Value::from(value.as_str())));
            body.insert("labels".to_owned(), Value::Object(labels.collect()));
        }
        body
    }
}

pub(super) async fn run(
    command: SpuCommand,
    connection: &Connection,
    output: Output,
) -> Result<(), Failure> {
    let client = connection.client()?;
    match command {
        SpuCommand::List => {
            let units = client.spus().await?;
            if output == Output::Json {
                return output::print_json(&Value::Array(units));
            }
            // A controller of an earlier version does not tell.
            let stats = client.stats().await.unwrap_or_default();
            list(&units, &stats)
        }
        SpuCommand::Describe { spu } => describe(&client.spu(spu).await?, output),
        SpuCommand::Register(described) => {
            let mut body = described.body();
            body.insert("id".to_owned(), Value::from(described.spu.0));
            let Condition { dry_run, .. } = described.condition;
            let options = described.condition.options();
            let done = client.register_spu(&Value::Object(body), options).await?;
            written::show("storage unit", &described.spu, &done, dry_run, output)
        }
        SpuCommand::Alter(described) => {
            let body = described.body();
            if body.is_empty() {
                return Err(Failure::usage(
                    "nothing to change was given: --rack, --site or --label",
                ));
            }
            let mut options = described.condition.options();
            // One that is not there must not come into being by a slip of the number.
            let known = client.spu(described.spu).await?;
            let version = known.get("version").and_then(Value::as_u64);
            options.if_version = options.if_version.or(version);
            let body = Value::Object(body);
            let done = client.ensure_spu(described.spu, &body, options).await?;
            let dry_run = options.dry_run;
            written::show("storage unit", &described.spu, &done, dry_run, output)
        }
        SpuCommand::Drain { spu, terms } => {
            let body = Value::Object(terms.body());
            let answer = client.drain_spu(spu, &body, terms.options()).await?;
            let nothing = format!("storage unit {spu} is being emptied already");
            begun::show(&client, &answer, terms.wait, &nothing, output).await
        }
        SpuCommand::Resume { spu } => {
            let done = client.resume_spu(spu, WriteOptions::default()).await?;
            written::show("storage unit", &spu, &done, false, output)
        }
        SpuCommand::Remove { spu, condition } => {
            let done = client.remove_spu(spu, condition.options()).await?;
            written::show("storage unit", &spu, &done, condition.dry_run, output)
        }
    }
}

fn list(units: &[Value], stats: &Value) -> Result<(), Failure> {
    if units.is_empty() {
        output::say("no storage units; `tidegate up` or `tidegate cluster start` runs some");
        return Ok(());
    }
    let told = stats.get("spus").and_then(Value::as_array);
    let rows = units.iter().map(|unit| {
        let is_its = |told: &&Value| told.get("id") == unit.get("id");
        let told = told.into_iter().flatten().find(is_its);
        let bytes = |path: &str| {
            let amount = told.and_then(|told| told.pointer(path)?.as_u64());
            amount.map(units::show_bytes)
        };
        let rate = |path: &str| bytes(path).map_or_else(|| "-".to_owned(), |text| text + "/s");
        vec![
            cell(unit.get("id")),
            cell(unit.pointer("/status/state")),
            cell(unit.get("rack")),
            cell(unit.get("group")),
            cell(unit.get("replicas")),
            cell(unit.get("leaders")),
            rate("/flow/per_second/appended_bytes"),
            rate("/flow/per_second/read_bytes"),
            bytes("/disk_free_bytes").unwrap_or_else(|| "-".to_owned()),
            cell(unit.pointer("/status/reason")),
        ]
    });
    let header = [
        "id",
        "state",
        "rack",
        "group",
        "replicas",
        "leads",
        "in",
        "out",
        "disk free",
        "why",
    ];
    output::print_table(&header, rows.collect())
}

fn describe(unit: &Value, output: Output) -> Result<(), Failure> {
    if output == Output::Json {
        return output::print_json(unit);
    }
    let fields = unit.as_object().into_iter().flatten();
    let rows = fields.map(|(name, value)| vec![name.clone(), cell(Some(value))]);
    output::print_table(&["field", "value"], rows.collect())
}

fn label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() && !value.is_empty() => {
            Ok((name.to_owned(), value.to_owned()))
        }
        _ => Err("a label is NAME=VALUE".to_owned()),
    }
}
