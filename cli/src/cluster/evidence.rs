//! What is told of a cluster: by its control plane, by each node, and by the files of this machine.
//!
//! Invariants: what cannot be had is named with the reason, and ends nothing; the token goes to the control
//! plane and to processes of this machine, and to no address that a node gave of itself.

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use tidegate_client::{Client, ClientConfig, Error};
use tidegate_sc::store::{DatabaseUrl, MetaStore as _, PostgresStore};

use super::manifest::Manifest;
use crate::up::chain;

/// Nodes that are asked at all, and topics whose partitions are: what a person looks through.
const NODES_MAX: usize = 256;
const TOPICS_MAX: usize = 100;
/// For one answer: a node that hangs is told from one that is slow by then.
pub(super) const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// The end of a log that is read.
const LOG_BYTES_MAX: u64 = 1024 * 1024;

/// A node and where its operators reach it.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) name: String,
    pub(super) url: String,
    /// Started on this machine, and not known by what it said of itself alone.
    pub(super) is_local: bool,
}

/// What came of asking for one thing.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) name: String,
    pub(super) found: Result<String, String>,
}

/// What the control plane says of the cluster.
pub(super) async fn control_plane(client: &Client) -> Vec<Part> {
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

/// The nodes that are known, by what started them and by what they registered.
pub(super) fn known(manifest: Option<&Manifest>, parts: &[Part]) -> Vec<Node> {
    let started = manifest.into_iter().flat_map(|manifest| &manifest.nodes);
    let mut nodes: Vec<Node> = started
        .map(|node| Node {
            name: node.name.clone(),
            url: node.operators_url.clone(),
            is_local: true,
        })
        .collect();
    let spus = parts.iter().find(|part| part.name == "control/spus.json");
    let spus = spus.and_then(|part| serde_json::from_str::<Value>(part.found.as_ref().ok()?).ok());
    let items = spus.as_ref().and_then(|list| list.get("items")?.as_array());
    let registered = items.into_iter().flatten().filter_map(|spu| {
        let endpoints = spu.get("endpoints")?.as_array()?;
        let is_ours = |it: &&Value| it.get("audience").and_then(Value::as_str) == Some("operators");
        let url = endpoints.iter().find(is_ours)?.get("url")?.as_str()?;
        Some(Node {
            name: format!("spu-{}", spu.get("id")?),
            url: url.to_owned(),
            is_local: false,
        })
    });
    // Also those that joined by themselves.
    for node in registered {
        if nodes.iter().all(|known| known.name != node.name) {
            nodes.push(node);
        }
    }
    nodes.truncate(NODES_MAX);
    nodes
}

/// What a node says of itself.
pub(super) async fn ask(node: &Node, config: &ClientConfig) -> Vec<Part> {
    let part = |what: &str, found| Part {
        name: format!("nodes/{}/{what}", node.name),
        found,
    };
    let door = |token: Option<String>| {
        Client::new(ClientConfig {
            url: node.url.clone(),
            token,
            ..config.clone()
        })
    };
    if !node.is_local && !node.url.starts_with("https://") {
        let reason = format!("not asked: {} is not https", node.url);
        return vec![part("livez.txt", Err(reason))];
    }
    // Health is open to everybody, so that nobody there needs to be told the token.
    let client = match door(None) {
        Ok(client) => client,
        Err(error) => return vec![part("livez.txt", Err(error.to_string()))],
    };
    let alive = client.text("/livez").await;
    let is_lost = alive.is_err();
    let mut parts = vec![part("livez.txt", alive.map_err(|error| error.to_string()))];
    if is_lost {
        return parts;
    }
    parts.push(part("readyz.txt", readiness(client.text("/readyz").await)));
    let metrics = if node.is_local {
        let answer = match door(config.token.clone()) {
            Ok(client) => client.text("/metrics").await,
            Err(error) => Err(error),
        };
        answer.map_err(|error| error.to_string())
    } else {
        Err(
            "not asked: it takes the token, which goes to no address that a node gave of itself"
                .to_owned(),
        )
    };
    parts.push(part("metrics.txt", metrics));
    parts
}

/// That a node is not ready, and why, is an answer; that none came is not.
fn readiness(answer: Result<String, Error>) -> Result<String, String> {
    match answer {
        Ok(text) => Ok(text),
        // The second is a status without a problem, as something in between gives it.
        Err(error @ (Error::Problem(_) | Error::Protocol { .. })) => Ok(error.to_string()),
        Err(error) => Err(error.to_string()),
    }
}

/// Settings, logs and room on the disk of the processes that have a place in the directory, which run or do
/// not.
pub(super) fn on_this_machine(directory: &Path) -> Vec<Part> {
    let mut parts = vec![Part {
        name: "disk.json".to_owned(),
        found: room(directory),
    }];
    let entries = fs::read_dir(directory.join("nodes")).into_iter().flatten();
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut names: Vec<String> = names.collect();
    names.sort();
    for name in names.iter().take(NODES_MAX) {
        let log = directory.join("logs").join(format!("{name}.log"));
        parts.push(Part {
            name: format!("nodes/{name}/log.txt"),
            found: end_of(&log),
        });
        let file = directory.join("nodes").join(name).join("tidegate.toml");
        let found = fs::read_to_string(&file);
        parts.push(Part {
            name: format!("nodes/{name}/settings.toml"),
            found: found.map_err(|error| format!("{}: {error}", file.display())),
        });
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
pub(super) async fn store(url: &str) -> Part {
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

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use tidegate_client::{ErrorCode, Problem};

    use super::*;
    use crate::cluster::manifest::ManifestNode;

    #[test]
    fn units_that_joined_by_themselves_are_nodes_as_well() {
        let started = Node {
            name: "spu-1".to_owned(),
            url: "https://a:1".to_owned(),
            is_local: true,
        };
        let manifest = Manifest {
            pid: 1,
            ca: PathBuf::new(),
            token: String::new(),
            database_url: String::new(),
            nodes: vec![ManifestNode {
                name: started.name,
                role: "spu".to_owned(),
                pid: 1,
                url: String::new(),
                operators_url: started.url,
                data_dir: PathBuf::new(),
                log: PathBuf::new(),
                argv: Vec::new(),
            }],
        };
        let unit = |id: u32| {
            json!({ "id": id, "endpoints": [
                { "audience": "operators", "url": format!("https://b:{id}") }
            ] })
        };
        let spus = Part {
            name: "control/spus.json".to_owned(),
            found: Ok(json!({ "items": [unit(1), unit(2)] }).to_string()),
        };
        let nodes = known(Some(&manifest), &[spus]);
        let told = nodes
            .iter()
            .map(|node| (node.name.as_str(), node.url.as_str(), node.is_local));
        let expected = [
            ("spu-1", "https://a:1", true),
            ("spu-2", "https://b:2", false),
        ];
        assert_eq!(told.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn only_what_was_answered_is_the_answer_of_a_node() {
        let problem = Problem::new(ErrorCode::Unavailable, "not ready: starting");
        let found = readiness(Err(Error::Problem(Box::new(problem)))).unwrap();
        assert!(found.contains("not ready: starting"), "{found}");
        let late = Error::Timeout {
            request: "GET /readyz".to_owned(),
            after_ms: 5000,
        };
        assert!(readiness(Err(late)).is_err());
        let refused = Error::Connect {
            url: "https://a:1".to_owned(),
            reason: "refused".to_owned(),
        };
        assert!(readiness(Err(refused)).is_err());
    }

    #[tokio::test]
    async fn a_node_elsewhere_without_tls_is_not_asked() {
        let node = Node {
            name: "spu-1".to_owned(),
            url: "http://127.0.0.1:1".to_owned(),
            is_local: false,
        };
        let parts = ask(&node, &ClientConfig::new("https://a:1")).await;
        let reasons: Vec<_> = parts
            .iter()
            .filter_map(|it| it.found.as_ref().err())
            .collect();
        assert_eq!(parts.len(), 1);
        assert!(reasons[0].contains("is not https"), "{reasons:?}");
    }
}
