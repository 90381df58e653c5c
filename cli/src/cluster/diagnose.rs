//! `tidegate cluster diagnose`: what somebody far away needs to see of a cluster, in one file.
//!
//! Asks the control plane and the operators' listener of each node that it knows of, and reads settings and
//! logs where the cluster is one of this machine. Invariants: nothing is changed anywhere; a cluster that is
//! named, by its directory too, is the one that is told of, or none.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use futures_util::{StreamExt as _, stream};
use serde_json::{Value, json};
use tidegate_client::{Client, ClientConfig};
use tidegate_kit::clock;

use super::bundle::Bundle;
use super::evidence::{ANSWER_TIMEOUT, Part, ask, control_plane, known, on_this_machine, store};
use super::layout::Layout;
use super::manifest::Manifest;
use super::redaction::Secrets;
use crate::connection::{Connection, ConnectionArguments};
use crate::failure::Failure;
use crate::files::write_private;
use crate::output::{self, Output};
use crate::up::directory::disk;

/// Nodes that are asked at the same time.
const NODES_AT_ONCE: usize = 8;
/// Where `cluster start` puts a cluster when it is not told where.
const DATA_DIR_DEFAULT: &str = "./tidegate-cluster";

#[derive(Args, Debug)]
#[command(
    after_help = "Asks the cluster of this machine in --data-dir; of one that does not run, logs and settings \
    are taken. Without --data-dir a --url or --profile (TIDEGATE_URL, TIDEGATE_PROFILE) decides, then a \
    cluster that is ready in ./tidegate-cluster, then the profile `local`.\n\n\
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

/// Makes the file. Needs a runtime.
pub(super) async fn run(
    arguments: &DiagnoseArguments,
    connection: &ConnectionArguments,
    output: Output,
) -> Result<(), Failure> {
    let local = local(arguments, connection)?;
    let manifest = local.as_ref().and_then(|local| local.manifest.as_ref());
    let (mut parts, mut nodes) = (Vec::new(), Vec::new());
    let mut secrets = Secrets::default();
    // Of a cluster that has ended there are files; another one, of a profile, is not asked in its place.
    if manifest.is_some() || local.is_none() {
        let config = door(manifest, connection, &mut secrets)?;
        parts = control_plane(&Client::new(config.clone())?).await;
        nodes = known(manifest, &parts);
        let asked = nodes.iter().map(|node| ask(node, &config));
        let answers = stream::iter(asked)
            .buffered(NODES_AT_ONCE)
            .collect::<Vec<_>>();
        parts.extend(answers.await.into_iter().flatten());
    }
    if let Some(local) = &local {
        if manifest.is_none() {
            // There is none before the first start is ready.
            let token = fs::read_to_string(local.directory.join("token"));
            secrets.add(token.unwrap_or_default().trim());
            let reason = format!(
                "not asked: no cluster runs in {}",
                local.directory.display()
            );
            parts.push(Part {
                name: "control".to_owned(),
                found: Err(reason),
            });
        }
        parts.extend(on_this_machine(&local.directory));
    }
    if let Some(manifest) = manifest {
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
    let had = parts.len() - missing.len();
    show(path, &summary, had, output)
}

fn show(path: &Path, summary: &Value, had: usize, output: Output) -> Result<(), Failure> {
    let list = |name: &str| summary.get(name).and_then(Value::as_array);
    let missing = list("missing").map_or(&[][..], Vec::as_slice);
    if output == Output::Json {
        return output::print_json(&json!({ "file": path, "summary": summary }));
    }
    for one in missing {
        let (part, reason) = (
            output::cell(one.get("part")),
            output::cell(one.get("reason")),
        );
        output::say(&format!("not had: {part}: {reason}"));
    }
    output::print(&format!(
        "{}: {had} parts of {} nodes, {} not had",
        path.display(),
        list("nodes").map_or(0, Vec::len),
        missing.len()
    ))
}

/// A cluster of this machine, which runs or has run.
#[derive(Debug)]
struct Local {
    directory: PathBuf,
    /// Of one that runs, or whose holder was killed.
    manifest: Option<Manifest>,
}

/// The cluster of this machine that is meant, if one is. A server that is named is the one that is meant,
/// whatever happens to be in the current directory; so is a directory that is named.
fn local(
    arguments: &DiagnoseArguments,
    connection: &ConnectionArguments,
) -> Result<Option<Local>, Failure> {
    // An empty variable is as good as none.
    let is_given = |value: Option<&String>| value.is_some_and(|text| !text.is_empty());
    let is_named = is_given(connection.url.as_ref()) || is_given(connection.profile.as_ref());
    let (directory, is_meant) = match &arguments.data_dir {
        Some(directory) => (directory.clone(), true),
        None => (PathBuf::from(DATA_DIR_DEFAULT), false),
    };
    let manifest = Manifest::read(&directory);
    let urls = connection.urls();
    let is_its = |manifest: &Manifest| {
        let doors = manifest.doors();
        let has = |url: &String| doors.iter().any(|door| door.url == *url);
        !urls.is_empty() && urls.iter().all(has)
    };
    // What `cluster env` gave the shell is this very cluster.
    if !is_meant && is_named && !manifest.as_ref().is_some_and(is_its) {
        return Ok(None);
    }
    match (&manifest, is_meant) {
        (None, true) if !Layout::is_in(&directory) => Err(Failure::usage(format!(
            "there is no cluster in {}, and there was none: --data-dir is the directory that was given to \
             `tidegate cluster start`",
            directory.display()
        ))),
        (None, false) => Ok(None),
        _ => Ok(Some(Local {
            directory,
            manifest,
        })),
    }
}

/// How the cluster is spoken to. What must not be told goes to `secrets`.
fn door(
    manifest: Option<&Manifest>,
    connection: &ConnectionArguments,
    secrets: &mut Secrets,
) -> Result<ClientConfig, Failure> {
    let mut config = match manifest {
        Some(manifest) => {
            secrets.add(&manifest.database_url);
            let mut urls = manifest.doors().into_iter().map(|door| door.url.clone());
            let mut config = ClientConfig::new(urls.next().unwrap_or_default());
            config.more_urls = urls.collect();
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
    Ok(config)
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
            assert!(local(&arguments(None), &named).unwrap().is_none());
            let local = local(&arguments(Some(folder.path())), &named).unwrap();
            assert!(local.unwrap().manifest.is_some());
        }
    }

    #[test]
    fn a_named_directory_is_what_is_meant_whether_its_cluster_runs_or_not() {
        let folder = tempfile::tempdir().unwrap();
        let none = ConnectionArguments::default();
        let failure = local(&arguments(Some(folder.path())), &none).unwrap_err();
        assert_eq!(failure.exit, Failure::USAGE, "{failure}");
        Layout::ensure(folder.path(), &[]).unwrap();
        fs::create_dir_all(folder.path().join("nodes/spu-1")).unwrap();
        let found = local(&arguments(Some(folder.path())), &none)
            .unwrap()
            .unwrap();
        assert!(found.manifest.is_none());
        let parts = on_this_machine(&found.directory);
        let names: Vec<&str> = parts.iter().map(|part| part.name.as_str()).collect();
        let files = [
            "disk.json",
            "nodes/spu-1/log.txt",
            "nodes/spu-1/settings.toml",
        ];
        assert_eq!(names, files);
    }
}
