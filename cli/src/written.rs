//! How the outcome of a control-plane write is shown.
//!
//! For people one line, or the list of changes of a dry run; for programs the server's document.

use std::fmt::Display;

use serde_json::{Value, json};
use tidegate_client::Written;

use crate::failure::Failure;
use crate::output::{self, Output};

/// `kind` and `name` say what was written: `topic`, `orders`.
pub(crate) fn show(
    kind: &str,
    name: &impl Display,
    written: &Written,
    dry_run: bool,
    output: Output,
) -> Result<(), Failure> {
    if output == Output::Json {
        return match &written.body {
            Value::Null => {
                let name = name.to_string();
                output::print_json(&json!({ "result": written.result, "name": name }))
            }
            body => output::print_json(body),
        };
    }
    if !dry_run {
        output::say(&format!("{kind} {name}: {}", written.result));
        let status = written.body.get("status");
        let field = |field| status.and_then(|status| status.get(field));
        // It exists, and takes no records: whoever only reads "created" would be surprised later.
        if field("state").and_then(Value::as_str) == Some("insufficient_resources") {
            output::say(&format!(
                "it cannot take records yet: {}",
                output::cell(field("reason"))
            ));
        }
        return Ok(());
    }
    output::say(&format!("{kind} {name} would be {}", written.result));
    changes(written)
}

/// The list of changes of a dry run.
pub(crate) fn changes(written: &Written) -> Result<(), Failure> {
    let changes = written.body.get("changes").and_then(Value::as_array);
    let mut rows = Vec::new();
    for change in changes.into_iter().flatten() {
        let path = output::cell(change.get("path"));
        rows_of(&path, change.get("from"), change.get("to"), &mut rows);
    }
    if !rows.is_empty() {
        output::print_table(&["path", "from", "to"], rows)?;
    }
    let warnings = written.body.get("warnings").and_then(Value::as_array);
    for warning in warnings.into_iter().flatten() {
        output::say(&format!("warning: {}", output::cell(Some(warning))));
    }
    Ok(())
}

/// A row per scalar: of a whole object, such as a new topic, each field in a row of its own.
fn rows_of(path: &str, from: Option<&Value>, to: Option<&Value>, rows: &mut Vec<Vec<String>>) {
    let Some(Value::Object(fields)) = to else {
        rows.push(vec![path.to_owned(), output::cell(from), output::cell(to)]);
        return;
    };
    for (name, value) in fields {
        let before = from.and_then(|from| from.get(name));
        let path = format!("{}/{name}", path.trim_end_matches('/'));
        rows_of(&path, before, Some(value), rows);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_topic_is_shown_field_by_field() {
        let mut rows = Vec::new();
        let to = json!({"name": "a", "config": {"acks": "quorum"}});
        rows_of("", Some(&Value::Null), Some(&to), &mut rows);
        assert_eq!(rows, [["/config/acks", "-", "quorum"], ["/name", "-", "a"]]);
    }
}
