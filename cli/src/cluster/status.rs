//! `tidegate cluster status`: the processes of a cluster on this machine, as they are now.

use serde_json::json;

use super::arguments::PlaceArguments;
use super::manifest::{Manifest, ManifestNode};
use crate::failure::Failure;
use crate::output::{self, Output};
use crate::owner::Owner;
use crate::process::NodeFacts;

/// Shows them. Exit code 1 when there is no cluster, or one of its processes is not ready.
pub(super) fn run(arguments: &PlaceArguments, output: Output) -> Result<(), Failure> {
    let manifest = Manifest::ready(&arguments.data_dir)?;
    let states: Vec<(u32, &str)> = manifest.nodes.iter().map(state).collect();
    match output {
        Output::Json => {
            let shown = manifest
                .nodes
                .iter()
                .zip(&states)
                .map(|(node, (pid, state))| {
                    json!({ "name": node.name, "role": node.role, "pid": pid, "state": state,
                        "url": node.url, "operators_url": node.operators_url, "log": node.log })
                });
            output::print_json(&json!({ "nodes": shown.collect::<Vec<_>>() }))?;
        }
        Output::Table => {
            let rows = manifest
                .nodes
                .iter()
                .zip(&states)
                .map(|(node, (pid, state))| {
                    let pid = pid.to_string();
                    vec![
                        node.name.clone(),
                        (*state).to_owned(),
                        pid,
                        node.url.clone(),
                    ]
                });
            output::print_table(&["NAME", "STATE", "PID", "URL"], rows.collect())?;
        }
    }
    match states.iter().filter(|(_, state)| *state != "ready").count() {
        0 => Ok(()),
        1 => Err(Failure::failed("one process is not ready")),
        count => Err(Failure::failed(format!("{count} processes are not ready"))),
    }
}

/// The process that is in the node's place, and how it is.
pub(super) fn state(node: &ManifestNode) -> (u32, &'static str) {
    match Owner::of(&node.data_dir) {
        Some(owner) => {
            let facts = NodeFacts::read(&node.data_dir);
            let is_ready = facts.is_some_and(|facts| facts.pid == owner.pid);
            let state = if is_ready {
                "ready"
            } else {
                "starting or stopping"
            };
            (owner.pid, state)
        }
        None => (node.pid, "down"),
    }
}
