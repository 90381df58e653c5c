//! `tidegate up`: everything in one process on one port, until it is told to stop.
//!
//! Here is the life of the process: port and directory first, so that mistakes show at once; then
//! the server, the demo topic, `up.json`, profile and banner; then a signal; then an orderly stop,
//! which a second signal cuts short.

mod arguments;
mod banner;
mod counting;
pub(crate) mod directory;
pub(crate) mod machine;
mod statuses;

pub(crate) mod failures;

mod server;

use std::net::TcpListener;
use std::sync::Arc;

use serde_json::json;
use tidegate_client::{Client, ClientConfig, TopicName, WriteOptions};
use tidegate_kit::boot::{self, LogFormat};
use tidegate_kit::tasks::Tasks;

pub(crate) use arguments::UpArguments;
pub(crate) use failures::chain;

use crate::connection::ConnectionArguments;
use crate::failure::{Failure, interrupts};
use crate::output;
use crate::profile::Profile;
use banner::Banner;
use directory::DataDirectory;
use server::{Access, Server};

/// Partitions of the demo topic.
const DEMO_PARTITIONS: u32 = 3;

/// Serves until a signal. Needs a runtime.
pub(crate) async fn run(
    arguments: UpArguments,
    connection: &ConnectionArguments,
) -> Result<(), Failure> {
    let format = if arguments.log_json {
        LogFormat::Json
    } else {
        LogFormat::Text
    };
    boot::init_logging(format, &arguments.log)
        .map_err(|error| Failure::usage(format!("--log: {error}")))?;
    let address = arguments.address()?;
    arguments.origins()?;
    let mut signals = interrupts()?;
    let listener = TcpListener::bind(address).map_err(|error| failures::bind(address, &error))?;
    machine::lengthen_queue(&listener).map_err(|error| failures::bind(address, &error))?;
    let directory = Arc::new(DataDirectory::open(&arguments.data_dir)?);
    let arguments = Arc::new(arguments);
    let server = tokio::select! {
        server = start(&arguments, listener, &directory) => server?,
        signal = signals.recv() => {
            return Err(Failure::new(
                Failure::INTERRUPTED,
                format!("{signal}: stopped before it was ready"),
            ));
        }
    };
    if let Some(topic) = &arguments.demo_topic {
        make_demo_topic(&server.access, topic).await?;
    }
    let Access { url, ca, token } = &server.access;
    // Whoever waits for `up.json` may use a client command next.
    let profile = write_profile(&arguments, connection, &server.access);
    let announcement = directory.announce(url, ca.as_deref(), token.as_deref())?;
    show_banner(&arguments, &server.access, &directory, profile.as_deref());

    let outcome = tokio::select! {
        signal = signals.recv() => {
            output::say(&format!("{signal}: stopping (again to stop at once)"));
            Ok(())
        }
        failure = server.failed() => Err(failure),
    };
    drop(announcement);
    tokio::select! {
        stopped = server.stop() => outcome.and(stopped),
        _ = signals.recv() => {
            output::say("stopped at once; what was acknowledged is on disk");
            std::process::exit(Failure::INTERRUPTED.into());
        }
    }
}

/// Starts the server, apart: the thread that waits for signals would keep what a start has freed again.
async fn start(
    arguments: &Arc<UpArguments>,
    listener: TcpListener,
    directory: &Arc<DataDirectory>,
) -> Result<Server, Failure> {
    let (arguments, directory) = (Arc::clone(arguments), Arc::clone(directory));
    let root = Tasks::new();
    let tasks = root.clone();
    let start = async move { Server::start(&arguments, listener, &directory, tasks).await };
    root.apart(start).await
}

/// Through the front door, as any client would.
async fn make_demo_topic(access: &Access, topic: &TopicName) -> Result<(), Failure> {
    let mut config = ClientConfig::new(access.url.clone());
    config.token = access.token.clone();
    config.ca_pem = match &access.ca {
        Some(path) => Some(
            std::fs::read(path).map_err(|error| directory::disk(path, "cannot be read", &error))?,
        ),
        None => None,
    };
    let client = Client::new(config)?;
    let spec = json!({ "partitions": DEMO_PARTITIONS });
    match client.topic_facts(topic).await {
        Ok(_) => Ok(()),
        Err(_) => Ok(client
            .ensure_topic(topic, &spec, WriteOptions::default())
            .await
            .map(|_| ())?),
    }
}

/// The name of the profile that was written.
fn write_profile(
    arguments: &UpArguments,
    connection: &ConnectionArguments,
    access: &Access,
) -> Option<String> {
    if arguments.no_profile {
        return None;
    }
    let content = Profile {
        url: access.url.clone(),
        more_urls: Vec::new(),
        ca: access.ca.clone(),
        token: access.token.clone(),
    };
    connection.keep(&content)
}

fn show_banner(
    arguments: &UpArguments,
    access: &Access,
    directory: &DataDirectory,
    profile: Option<&str>,
) {
    let token_path = directory.token_path();
    let banner = Banner {
        url: &access.url,
        data_dir: directory.path(),
        secured: access.ca.as_deref().map(|ca| (ca, token_path.as_path())),
        demo_topic: arguments.demo_topic.as_ref().map(TopicName::as_str),
        profile,
    };
    output::say(&banner.text());
}
