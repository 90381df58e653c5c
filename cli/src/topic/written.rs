//! How the outcome of a control-plane write is shown.
//!
//! For people one line, or the list of changes of a dry run; for programs the server's document.

use serde_json::{Value, json};
use tidegate_client::{TopicName, Written};

use crate::failure::Failure;
use crate::output::{self, Output};

pub(crate) fn show(
    name: &TopicName,
    written: &Written,
    dry_run: bool,
    output: Output,
) -> Result<(), Failure> {
    if output == Output::Json {
        return match &written.body {
            Value::Null => output::print_json(&json!({ "result": written.result, "name": name })),
            body => output::print_json(body),
        };
    }
    if !dry_run {
        output::say(&format!("topic {name}: {}", written.result));
        return Ok(());
    }
    output::say(&format!("topic {name} would be {}", written.result));
    let changes = written.body.get("changes").and_then(Value::as_array);
    let rows = changes.into_iter().flatten().map(|change| {
        vec![
            output::cell(change.get("path")),
            output::cell(change.get("from")),
            output::cell(change.get("to")),
        ]
    });
    output::print_table(&["path", "from", "to"], rows.collect())
}
