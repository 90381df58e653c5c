//! Work that began: said, or followed to its end with a bar.
//!
//! Following looks at the operation twice a second; an interrupt ends the looking, never the work.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;
use tidegate_client::{Client, OperationId, Written};

use crate::failure::{self, Failure};
use crate::output::{self, Output, cell};
use crate::written;

/// How often a person sees it move.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// Shows the answer of what begins work; `nothing` is said when there is nothing to do.
pub(crate) async fn show(
    client: &Client,
    answer: &Written,
    wait: bool,
    nothing: &str,
    output: Output,
) -> Result<(), Failure> {
    if answer.body.get("changes").is_some() {
        if output == Output::Json {
            return output::print_json(&answer.body);
        }
        let count = answer.body["changes"].as_array().map_or(0, Vec::len);
        output::say(match count {
            0 => nothing,
            _ => "this would change; nothing was done:",
        });
        return written::changes(answer);
    }
    let operation = answer.body.get("operation").unwrap_or(&Value::Null);
    let id = operation.get("id").and_then(Value::as_str);
    let Some(id) = id.and_then(|id| id.parse::<OperationId>().ok()) else {
        if output == Output::Json {
            return output::print_json(&answer.body);
        }
        output::say(nothing);
        return Ok(());
    };
    if wait {
        return follow(client, id, output).await;
    }
    if output == Output::Json {
        return output::print_json(&answer.body);
    }
    let state = cell(operation.get("state"));
    if state == "running" {
        output::say(&format!(
            "operation {id} goes on; `tidegate operation watch {id}` follows it"
        ));
    } else {
        output::say(&format!("operation {id}: {state}"));
    }
    Ok(())
}

/// Follows an operation to its end. Fails when it did.
pub(crate) async fn follow(
    client: &Client,
    id: OperationId,
    output: Output,
) -> Result<(), Failure> {
    let mut signals = failure::interrupts()?;
    let bar = bar();
    let mut told_reason = None;
    let ended = loop {
        let operation = client.operation(id).await?;
        let count = |name: &str| {
            let value = operation.pointer(&format!("/progress/{name}"));
            value.and_then(Value::as_u64).unwrap_or(0)
        };
        bar.set_length(count("total"));
        bar.set_position(count("done") + count("failed"));
        bar.set_message(match operation.get("reason") {
            Some(Value::String(reason)) => reason.clone(),
            _ => cell(operation.get("state")),
        });
        if operation.get("ended_at").is_some_and(|at| !at.is_null()) {
            break operation;
        }
        // Where there is no bar, what it waits for is told once.
        let reason = operation.get("reason").and_then(Value::as_str);
        if !output::is_interactive() && reason != told_reason.as_deref() {
            told_reason = reason.map(str::to_owned);
            output::say(told_reason.as_deref().unwrap_or("it goes on"));
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK_INTERVAL) => {}
            _ = signals.recv() => {
                bar.finish_and_clear();
                let message = format!(
                    "operation {id} goes on; `tidegate operation cancel {id}` stops it"
                );
                return Err(Failure::new(Failure::INTERRUPTED, message));
            }
        }
    };
    bar.finish_and_clear();
    if output == Output::Json {
        output::print_json(&ended)?;
    }
    told(&ended)
}

/// How it ended, as words and as the command's own end.
fn told(operation: &Value) -> Result<(), Failure> {
    let state = cell(operation.get("state"));
    let reason = operation.get("reason").and_then(Value::as_str);
    let sentence = format!(
        "operation {}: {state}, {} of {} partitions{}",
        cell(operation.get("id")),
        cell(operation.pointer("/progress/done")),
        cell(operation.pointer("/progress/total")),
        reason.map_or_else(String::new, |reason| format!("; {reason}")),
    );
    if state == "done" {
        output::say(&sentence);
        return Ok(());
    }
    Err(Failure::failed(sentence))
}

fn bar() -> ProgressBar {
    if !output::is_interactive() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(0);
    let template = "{wide_bar} {pos}/{len} partitions  {elapsed}  {msg}";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_reached_its_end_is_a_success() {
        let ended = |state: &str, reason: Value| {
            told(&json!({ "id": "x", "state": state, "reason": reason,
                          "progress": { "total": 3, "done": 2, "failed": 1 } }))
        };
        assert!(ended("done", Value::Null).is_ok());
        let failed = ended("failed", json!("topic orders is gone")).unwrap_err();
        assert_eq!(failed.exit, Failure::FAILED);
        assert_eq!(
            failed.message,
            "operation x: failed, 2 of 3 partitions; topic orders is gone"
        );
        assert!(ended("cancelled", Value::Null).is_err());
    }
}
