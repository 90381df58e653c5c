//! `tidegate cluster diagnose`: what somebody far away needs to see of a cluster, in one file.
//!
//! Asks the control plane and the operators' listener of each node that it knows of, and reads settings and
//! logs where the cluster is one of this machine. Nothing is changed anywhere. Invariant: what cannot be had is named with
//! the reason, and ends nothing.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use futures_util::{StreamExt as _, stream};
use serde_json::{Value, json};
use tidegate_client::{Client, ClientConfig};
use tidegate_kit::clock;
use tidegate_sc::store::{DatabaseUrl, MetaStore as _, PostgresStore};

use super::bundle::{Bundle, Secrets};
use super::manifest::Manifest;
use crate::connection::{Connection, ConnectionArguments};
use crate::failure::Failure;
use crate::files::write_private;
use crate::output::{self, Output};
use crate::up::chain;
use crate::up::directory::disk;

/// Nodes that are asked at the same time.
const NODES_AT_ONCE: usize = 8;
/// Nodes that are asked at all, and topics whose partitions are: what a person looks through.
const NODES_MAX: usize = 256;
const TOPICS_MAX: usize = 100;
/// For one answer: a node that hangs is told from one that is slow by then.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// The end of a log that is read.
const LOG_BYTES_MAX: u64 = 1024 * 1024;

#[derive(Args, Debug)]
#[command(
    after_help = "Asks the cluster of this machine in --data-dir when one is ready there, otherwise that of the \
    profile (--url, --token, --ca). Tokens, keys and passwords are hidden; look it through all the same \
    before you pass it on: names of topics and machines are in it, records are not."
)]
pub(crate) struct DiagnoseArguments {
    /// Directory of a cluster on this machine.
    #[arg(long, value_name = "DIR", default_value = "./tidegate-cluster")]
    data_dir: PathBuf,

    /// Where to; replaced as a whole, mode 0600.
    #[arg(long, value_name = "FILE", default_value = "tidegate-diagnose.tar.gz")]
    file: PathBuf,
}

/// A node and where its operators reach it.
struct Node {
    name: String,
    url: String,
}

/// What came of asking for one thing.
struct Part {
    name: String,
    found: Result<String, String>,
}

/// Makes the file. Needs a runtime.
pub(super) async fn run(
    arguments: &DiagnoseArguments,
    connection: &ConnectionArguments,
    output: Output,
) -> Result<(), Failure> {
    let manifest = Manifest::read(&arguments.data_dir);
    let (config, secrets) = door(manifest.as_ref(), connection)?;
    let client = Client::new(config.clone())?;
    let mut parts = control_plane(&client).await;
    let nodes = nodes(manifest.as_ref(), &parts);
    let asked = nodes.iter().map(|node| ask(node, &config));
    let answers = stream::iter(asked)
        .buffered(NODES_AT_ONCE)
        .collect::<Vec<_>>();
    parts.extend(answers.await.into_iter().flatten());
    if let Some(manifest) = &manifest {
        parts.extend(on_this_machine(manifest, &arguments.data_dir));
        parts.push(store(&manifest.database_url).await);
    }
    let missing: Vec<Value> = parts
        .iter()
        .filter_map(|part| {
            let reason = part.found.as_ref().err()?;
            Some(json!({ "part": part.name, "reason": secrets.hide(reason) }))
        })
        .collect();
    let summary = json!({
        "made_at_ms": clock::now_ms(),
        "made_by": env!("CARGO_PKG_VERSION"),
        "nodes": nodes.iter().map(|node| json!({ "name": node.name, "url": node.url })).collect::<Vec<_>>(),
        "missing": missing,
    });
    let bytes = bundled(&summary, &parts, secrets);
    let bytes =
        bytes.map_err(|error| Failure::failed(format!("the file cannot be made: {error}")))?;
    let path = &arguments.file;
    write_private(path, &bytes).map_err(|error| disk(path, "cannot be written", &error))?;
    match output {
        Output::Json => output::print_json(&json!({ "file": path, "summary": summary })),
        Output::Table => {
            for one in &missing {
                let (part, reason) = (
                    output::cell(one.get("part")),
                    output::cell(one.get("reason")),
                );
                output::say(&format!("not had: {part}: {reason}"));
            }
            output::print(&format!(
                "{}: {} parts of {} nodes, {} not had",
                path.display(),
                parts.len() - missing.len(),
                nodes.len(),
                missing.len()
            ))
        }
    }
}

/// How the cluster is spoken to, and what must not be told.
fn door(
    manifest: Option<&Manifest>,
    connection: &ConnectionArguments,
) -> Result<(ClientConfig, Secrets), Failure> {
    let mut secrets = Secrets::default();
    let mut config = match manifest {
        Some(manifest) => {
            secrets.add(&manifest.database_url);
            let gateway = manifest
                .nodes
                .iter()
                .rev()
                .find(|node| !node.url.is_empty());
            let mut config = ClientConfig::new(gateway.map_or("", |node| &node.url));
            let pem = fs::read(&manifest.ca);
            config.ca_pem =
                Some(pem.map_err(|error| disk(&manifest.ca, "cannot be read", &error))?);
            config.token = Some(manifest.token.clone());
            config
        }
        None => Connection::resolve(connection)?.config().clone(),
    };
    if let Some(token) = &config.token {
        secrets.add(token);
    }
    config.request_timeout = ANSWER_TIMEOUT;
    Ok((config, secrets))
}

async fn control_plane(client: &Client) -> Vec<Part> {
    let mut parts = Vec::new();
    for (name, path) in [
        ("cluster.json", "/v1/cluster"),
        ("spus.json", "/v1/spus?limit=1000"),
        ("spu-groups.json", "/v1/spu-groups?limit=1000"),
        ("topics.json", "/v1/topics?limit=1000"),
        ("operations.json", "/v1/operations?limit=1000"),
        ("join-tokens.json", "/v1/join-tokens?limit=1000"),
    ] {
        parts.push(got(client, format!("control/{name}"), path).await);
    }
    let topics = parts.iter().find(|part| part.name == "control/topics.json");
    let topics =
        topics.and_then(|part| serde_json::from_str::<Value>(part.found.as_ref().ok()?).ok());
    let topics = topics
        .as_ref()
        .and_then(|list| list.get("items")?.as_array());
    let names = topics
        .into_iter()
        .flatten()
        .filter_map(|topic| topic.get("name")?.as_str());
    for name in names.take(TOPICS_MAX) {
        let path = format!("/v1/topics/{name}/partitions?limit=1000");
        parts.push(got(client, format!("control/partitions/{name}.json"), &path).await);
    }
    parts
}

async fn got(client: &Client, name: String, path: &str) -> Part {
    let found = client.text(path).await.map_err(|error| error.to_string());
    Part { name, found }
}

/// The nodes that are known, by what started them or by what they registered.
fn nodes(manifest: Option<&Manifest>, parts: &[Part]) -> Vec<Node> {
    if let Some(manifest) = manifest {
        let known = manifest.nodes.iter().map(|node| Node {
            name: node.name.clone(),
            url: node.operators_url.clone(),
        });
        return known.collect();
    }
    let spus = parts.iter().find(|part| part.name == "control/spus.json");
    let spus = spus.and_then(|part| serde_json::from_str::<Value>(part.found.as_ref().ok()?).ok());
    let items = spus.as_ref().and_then(|list| list.get("items")?.as_array());
    let known = items.into_iter().flatten().filter_map(|spu| {
        let endpoints = spu.get("endpoints")?.as_array()?;
        let is_ours = |it: &&Value| it.get("audience").and_then(Value::as_str) == Some("operators");
        let url = endpoints.iter().find(is_ours)?.get("url")?.as_str()?;
        Some(Node {
            name: format!("spu-{}", spu.get("id")?),
            url: url.to_owned(),
        })
    });
    known.take(NODES_MAX).collect()
}

async fn ask(node: &Node, config: &ClientConfig) -> Vec<Part> {
    let named = |what: &str| format!("nodes/{}/{what}", node.name);
    let client = Client::new(ClientConfig {
        url: node.url.clone(),
        ..config.clone()
    });
    let client = match client {
        Ok(client) => client,
        Err(error) => {
            let found = Err(error.to_string());
            return vec![Part {
                name: named("livez.txt"),
                found,
            }];
        }
    };
    let mut parts = Vec::new();
    for (what, path) in [
        ("livez.txt", "/livez"),
        ("readyz.txt", "/readyz"),
        ("metrics.txt", "/metrics"),
    ] {
        let mut part = got(&client, named(what), path).await;
        if what == "readyz.txt" {
            // That it is not ready, and why, is an answer.
            part.found = part.found.or_else(Ok);
        }
        let is_lost = part.found.is_err() && what == "livez.txt";
        parts.push(part);
        if is_lost {
            break;
        }
    }
    parts
}

/// Settings, logs and room on the disk of the processes of this machine.
fn on_this_machine(manifest: &Manifest, directory: &Path) -> Vec<Part> {
    let mut parts = vec![Part {
        name: "disk.json".to_owned(),
        found: room(directory),
    }];
    for node in &manifest.nodes {
        let named = |what: &str| format!("nodes/{}/{what}", node.name);
        parts.push(Part {
            name: named("log.txt"),
            found: end_of(&node.log),
        });
        let place = node.argv.iter().position(|word| word == "--config");
        if let Some(file) = place.and_then(|place| node.argv.get(place + 1)) {
            let found = fs::read_to_string(file).map_err(|error| format!("{file}: {error}"));
            parts.push(Part {
                name: named("settings.toml"),
                found,
            });
        }
    }
    parts
}

/// What the file system of a directory has left.
fn room(directory: &Path) -> Result<String, String> {
    let facts = rustix::fs::statvfs(directory).map_err(|error| error.to_string())?;
    let bytes = |blocks: u64| blocks.saturating_mul(facts.f_frsize);
    Ok(json!({ "bytes": bytes(facts.f_blocks), "free_bytes": bytes(facts.f_bavail) }).to_string())
}

fn end_of(log: &Path) -> Result<String, String> {
    use std::io::{Read as _, Seek as _, SeekFrom};
    let read = || {
        let mut file = fs::File::open(log)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(LOG_BYTES_MAX)))?;
        let mut bytes = Vec::new();
        file.take(LOG_BYTES_MAX).read_to_end(&mut bytes)?;
        Ok::<_, std::io::Error>(String::from_utf8_lossy(&bytes).into_owned())
    };
    read().map_err(|error| format!("{}: {error}", log.display()))
}

/// Which metadata store it is, how far, and what it promises.
async fn store(url: &str) -> Part {
    let standing = async {
        let url = DatabaseUrl::parse(url)?;
        let store = PostgresStore::open(&url, "tidegate cluster diagnose").await?;
        let standing = store.standing().await;
        store.close().await;
        standing
    };
    let found = standing.await.map_err(|error| chain(&error));
    let found = found.map(|standing| {
        json!({
            "cluster_id": standing.cluster_id,
            "store_id": standing.store_id,
            "revision": standing.revision,
            "chain": standing.chain,
            "events_floor": standing.events_floor,
            "is_writable": standing.is_writable,
            "synchronous_copies": standing.durability.synchronous_copies,
            "settings": standing.durability.settings,
            "warnings": standing.durability.warnings(),
        })
        .to_string()
    });
    Part {
        name: "store.json".to_owned(),
        found,
    }
}

fn bundled(summary: &Value, parts: &[Part], secrets: Secrets) -> std::io::Result<Vec<u8>> {
    let now_s = u64::try_from(clock::now_ms() / 1000).unwrap_or_default();
    let mut bundle = Bundle::new(Vec::new(), secrets, now_s);
    bundle.add("summary.json", &format!("{summary:#}\n"))?;
    for part in parts {
        let Ok(text) = &part.found else { continue };
        if part.name.ends_with("log.txt") {
            bundle.add_end(&part.name, text)?;
        } else {
            bundle.add(&part.name, text)?;
        }
    }
    bundle.finish()
}
