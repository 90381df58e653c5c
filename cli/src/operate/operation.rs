//! `tidegate operation ..`: long work of the cluster.

use clap::Subcommand;
use serde_json::Value;
use tidegate_client::{OperationId, WriteOptions};

use super::begun;
use crate::connection::Connection;
use crate::failure::Failure;
use crate::output::{self, Output, cell};
use crate::units;

#[derive(Debug, Subcommand)]
pub(crate) enum OperationCommand {
    /// List operations, the newest first.
    #[command(visible_alias = "ls")]
    List {
        /// Those that ended, too.
        #[arg(long)]
        all: bool,
    },
    /// Follow an operation until it ends. Fails when it fails.
    Watch {
        /// Id of the operation, as `tidegate operation list` shows it.
        id: OperationId,
    },
    /// Stop an operation. What it moved stays moved.
    Cancel {
        /// Id of the operation, as `tidegate operation list` shows it.
        id: OperationId,
    },
}

pub(super) async fn run(
    command: OperationCommand,
    connection: &Connection,
    output: Output,
) -> Result<(), Failure> {
    let client = connection.client()?;
    match command {
        OperationCommand::List { all } => {
            let mut operations = client.operations().await?;
            if !all {
                operations.retain(|one| one.get("ended_at").is_none_or(Value::is_null));
            }
            list(operations, all, output)
        }
        OperationCommand::Watch { id } => begun::follow(&client, id, output).await,
        OperationCommand::Cancel { id } => {
            let options = WriteOptions::default();
            let done = client.cancel_operation(id, options).await?;
            if output == Output::Json {
                return output::print_json(&done.body);
            }
            output::say(&format!("operation {id}: {}", cell(done.body.get("state"))));
            Ok(())
        }
    }
}

fn list(operations: Vec<Value>, all: bool, output: Output) -> Result<(), Failure> {
    if output == Output::Json {
        return output::print_json(&Value::Array(operations));
    }
    if operations.is_empty() {
        output::say(if all {
            "no operations"
        } else {
            "no operations go on; --all shows those that ended"
        });
        return Ok(());
    }
    let rows = operations.iter().map(|operation| {
        let number = |pointer: &str| operation.pointer(pointer).and_then(Value::as_u64);
        let (done, total) = (number("/progress/done"), number("/progress/total"));
        vec![
            cell(operation.get("id")),
            cell(operation.get("kind")),
            subject(operation),
            cell(operation.get("state")),
            format!("{}/{}", done.unwrap_or(0), total.unwrap_or(0)),
            left(operation),
            cell(operation.get("reason")),
        ]
    });
    let header = ["id", "kind", "of", "state", "partitions", "left", "why"];
    output::print_table(&header, rows.collect())
}

/// What it is about, where that is one thing.
fn subject(operation: &Value) -> String {
    let text = |name: &str| operation.get(name).filter(|value| !value.is_null());
    match (text("spu"), text("topic"), text("partition")) {
        (Some(spu), _, _) => format!("spu {spu}"),
        (None, topic, Some(partition)) => format!("{}/{partition}", cell(topic)),
        (None, _, None) => "-".to_owned(),
    }
}

/// Time from its last step to the end that is expected.
fn left(operation: &Value) -> String {
    let at = |name: &str| operation.get(name).and_then(Value::as_i64);
    let left_ms = at("expected_end_at").zip(at("updated_at"));
    let left_ms = left_ms.and_then(|(end, now)| u64::try_from(end - now).ok());
    let left = left_ms.and_then(|ms| units::show_milliseconds(ms - ms % 1000));
    left.map_or_else(|| "-".to_owned(), |left| format!("about {left}"))
}
