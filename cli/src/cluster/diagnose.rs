//! `tidegate cluster diagnose`: what somebody far away needs to see of a cluster, in one file.
//!
//! Asks the control plane and the operators' listener of each node that it knows of, and reads settings and
//! logs where the cluster is one of this machine. Nothing is changed anywhere. Invariants: what cannot be had is
//! named with the reason, and ends nothing; the token goes to the control plane and to processes of this
//! machine, and to no address that a node gave of itself.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use futures_util::{StreamExt as _, stream};
use serde_json::{Value, json};
use tidegate_client::{Client, ClientConfig, Error};
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

/// Where `cluster start` puts a cluster when it is not told where.
const DATA_DIR_DEFAULT: &str = "./tidegate-cluster";

#[derive(Args, Debug)]
#[command(
    after_help = "Asks the cluster of this machine in --data-dir when one is ready there, otherwise that of \
    --url or the profile. Without --data-dir a --url or --profile (TIDEGATE_URL, TIDEGATE_PROFILE) decides, \
    then a cluster that is ready in ./tidegate-cluster, then the profile `local`.\n\n\
    Of a cluster elsewhere the units' health is asked without the token, over https alone, and their metrics \
    are left out: they name their addresses themselves.\n\n\
    Tokens, keys and passwords are hidden; look it through all the same before you pass it on: names of \
    topics and machines are in it, records are not."
)]
pub(crate) struct DiagnoseArguments {
    /// Directory of a cluster on this machine [default: ./tidegate-cluster, unless a server is named].
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,

    /// Where to; replaced as a whole, mode 0600.
    #[arg(long, value_name = "FILE", default_value = "tidegate-diagnose.tar.gz")]
    file: PathBuf,
}

/// A node and where its operators reach it.
struct Node {
    name: String,
    url: String,
    /// Started on this machine, and not known by what it said of itself alone.
    is_local: bool,
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
    let local = local(arguments, connection);
    let manifest = local.as_ref().map(|(manifest, _)| manifest);
    let (config, secrets) = door(manifest, connection)?;
    let client = Client::new(config.clone())?;
    let mut parts = control_plane(&client).await;
    let nodes = nodes(manifest, &parts);
    let asked = nodes.iter().map(|node| ask(node, &config));
    let answers = stream::iter(asked)
        .buffered(NODES_AT_ONCE)
        .collect::<Vec<_>>();
    parts.extend(answers.await.into_iter().flatten());
    if let Some((manifest, directory)) = &local {
        parts.extend(on_this_machine(manifest, directory));
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

/// The cluster of this machine that is meant, and its directory. A server that is named is the one that is
/// meant, whatever happens to be in the current directory.
fn local(
    arguments: &DiagnoseArguments,
    connection: &ConnectionArguments,
) -> Option<(Manifest, PathBuf)> {
    // An empty variable is as good as none.
    let is_given = |value: Option<&String>| value.is_some_and(|text| !text.is_empty());
    let is_named = is_given(connection.url.as_ref()) || is_given(connection.profile.as_ref());
    let directory = match &arguments.data_dir {
        Some(directory) => directory.clone(),
        None if is_named => return None,
        None => PathBuf::from(DATA_DIR_DEFAULT),
    };
    Some((Manifest::read(&directory)?, directory))
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
            is_local: true,
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
            is_local: false,
        })
    });
    known.take(NODES_MAX).collect()
}

async fn ask(node: &Node, config: &ClientConfig) -> Vec<Part> {
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

#[cfg(test)]
mod tests {
    use tidegate_client::{ErrorCode, Problem};

    use super::*;

    fn arguments(data_dir: Option<&Path>) -> DiagnoseArguments {
        DiagnoseArguments {
            data_dir: data_dir.map(Path::to_owned),
            file: PathBuf::from("x.tar.gz"),
        }
    }

    #[test]
    fn a_server_that_is_named_goes_before_the_default_directory_and_not_before_a_named_one() {
        let folder = tempfile::tempdir().unwrap();
        let manifest = Manifest {
            pid: 1,
            ca: PathBuf::from("ca.pem"),
            token: "t".to_owned(),
            database_url: String::new(),
            nodes: Vec::new(),
        };
        manifest.write(folder.path()).unwrap();
        let url = ConnectionArguments {
            url: Some("https://a:1".to_owned()),
            ..ConnectionArguments::default()
        };
        let profile = ConnectionArguments {
            profile: Some("a".to_owned()),
            ..ConnectionArguments::default()
        };
        for named in [url, profile] {
            assert!(local(&arguments(None), &named).is_none());
            assert!(local(&arguments(Some(folder.path())), &named).is_some());
        }
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
