//! Topics made, altered and deleted by many clients at two controllers at once, while controllers are killed
//! and stopped, answers get lost and a crowd watches: no acknowledged change is lost, none acts twice, and
//! everybody sees the same revisions.

mod client;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;
use tidegate_tests::changes::{Ending, Event, Operation, State, faults};
use tidegate_tests::cluster::Cluster;
use tidegate_tests::crowd::raise_open_files;
use tidegate_tests::doors::Doors;
use tidegate_tests::effort::Effort;
use tidegate_tests::http::Target;
use tidegate_tests::random::Random;
use tidegate_tests::wait::{wait_for, within};
use tidegate_tests::watching::{Revision, Seen, Watcher, digest};
use tokio::task::JoinSet;

use client::{Client, MARKS_FROM, Shared};

const CLIENTS: u64 = 8;
/// The topic whose creation ends all watching.
const THE_END: &str = "the-end";
/// Connections that are opened at one time: more would be strangers beyond what one address may have.
const AT_ONCE: usize = 32;
/// Changes that the crowd sees, half of them before a controller is killed.
const CROWD_CHANGES: usize = 40;

fn targets(cluster: &Cluster, names: &[&str]) -> Vec<Target> {
    names.iter().map(|name| cluster.target(name)).collect()
}

/// What a watcher kept of topics.
fn events(revisions: &[Revision]) -> Vec<Event> {
    let mut events = Vec::new();
    for revision in revisions {
        for change in &revision.changes {
            let change: Value = serde_json::from_slice(change).expect("JSON");
            if change["kind"] != "topic" {
                continue;
            }
            let state = (change["op"] == "put").then(|| state(&change["value"]));
            events.push(Event {
                revision: revision.number,
                topic: change["key"].as_str().expect("a key").to_owned(),
                state,
            });
        }
    }
    events
}

fn state(topic: &Value) -> State {
    let number = |value: &Value| value.as_u64().expect("a number");
    State {
        id: topic["id"].as_str().expect("an id").to_owned(),
        version: number(&topic["version"]),
        mark: number(&topic["config"]["retention_ms"]),
    }
}

/// All topics, as one controller lists them.
async fn listed(cluster: &Cluster, by: &str) -> BTreeMap<String, State> {
    let answer = cluster.get(by, "/v1/topics?limit=1000").await;
    let answer = answer.expect("an answer").json();
    let topics = answer["items"].as_array().expect("a list").iter();
    topics
        .map(|topic| {
            (
                topic["name"].as_str().expect("a name").to_owned(),
                state(topic),
            )
        })
        .collect()
}

/// Lets clients work while one controller is killed and the other stopped; what they did.
async fn trouble(cluster: &mut Cluster, effort: Effort) -> Vec<Operation> {
    let shared = Arc::new(Shared::new(effort.changes));
    let mut clients = JoinSet::new();
    for number in 0..CLIENTS {
        let doors = match number % 4 {
            0 => targets(cluster, &["sc-1", "sc-2"]),
            1 => targets(cluster, &["sc-2", "sc-1"]),
            2 => targets(cluster, &["gateway-1", "sc-1"]),
            _ => targets(cluster, &["gateway-1", "sc-2"]),
        };
        let random = Random::new(effort.seed, number);
        clients.spawn(Client::new(doors, random, shared.clone()).work());
    }
    for (share, act) in [
        (20, (|cluster| cluster.kill("sc-1")) as fn(&mut Cluster)),
        (35, |cluster| cluster.start_by_hand("sc-1")),
        (50, |cluster| cluster.stop_member("sc-2")),
        (65, |cluster| cluster.start_by_hand("sc-2")),
        (80, |cluster| cluster.kill("sc-2")),
        (90, |cluster| cluster.start_by_hand("sc-2")),
    ] {
        until_made(&shared, effort.changes * share / 100).await;
        act(cluster);
    }
    until_made(&shared, effort.changes).await;
    within("the clients", clients.join_all()).await.concat()
}

/// Waits for so many changes, however slow the machine is: clients are stuck when not one is made for long.
async fn until_made(shared: &Shared, wanted: usize) {
    while shared.made() < wanted {
        let before = shared.made();
        wait_for("clients to make a change", async || {
            (shared.made() > before).then_some(())
        })
        .await;
    }
}

/// Lets a crowd follow from `from` while a controller is killed under half of it; what each saw.
async fn crowd(cluster: &mut Cluster, effort: Effort, from: u64) -> Vec<Seen> {
    let attached = Arc::new(AtomicUsize::new(0));
    let mut watchers = JoinSet::new();
    let mut wanted = 0;
    for number in 0..effort.watchers {
        let doors = Doors::new(targets(cluster, &["sc-1", "sc-2"]), number);
        let random = Random::new(effort.seed, 1_000 + number as u64);
        let watcher = Watcher::new(doors, from, false, random);
        watchers.spawn(watcher.follow(THE_END, attached.clone()));
        wanted += 1;
        if wanted % AT_ONCE == 0 || wanted == effort.watchers {
            wait_for("watchers to begin", async || {
                (attached.load(Ordering::Relaxed) == wanted).then_some(())
            })
            .await;
        }
    }
    for number in 0..CROWD_CHANGES {
        if number == CROWD_CHANGES / 2 {
            cluster.kill("sc-1");
        }
        let body = format!(r#"{{"config":{{"retention_ms":{}}}}}"#, number + 1);
        put(cluster, "sc-2", "seen-by-many", &body).await;
    }
    cluster.start_by_hand("sc-1");
    put(cluster, "sc-1", THE_END, "{}").await;
    let seen = within("the crowd", watchers.join_all()).await;
    seen.into_iter()
        .map(|seen| seen.expect("a whole history"))
        .collect()
}

async fn put(cluster: &Cluster, by: &str, topic: &str, body: &str) {
    let path = format!("/v1/topics/{topic}");
    let kind = [("content-type", "application/json")];
    wait_for("a change", async || {
        let mut connection = cluster.connect(by).await.ok()?;
        let sent = connection.send(http::Method::PUT, &path, &kind, body.to_owned());
        sent.await.ok()?.status.is_success().then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_change_is_lost_between_two_controllers_that_are_killed() {
    let _ = raise_open_files();
    let effort = Effort::of_environment();
    let mut cluster = Cluster::start(2, 1, 1);
    let mut references = JoinSet::new();
    for number in 0..2 {
        let doors = Doors::new(targets(&cluster, &["sc-1", "sc-2"]), number);
        let random = Random::new(effort.seed, 100 + number as u64);
        let watcher = Watcher::new(doors, 0, true, random);
        references.spawn(watcher.follow(THE_END, Arc::default()));
    }

    let operations = trouble(&mut cluster, effort).await;
    // One that was just started has to catch up.
    let last = wait_for("both controllers to show the same", async || {
        let last = listed(&cluster, "sc-1").await;
        (last == listed(&cluster, "sc-2").await).then_some(last)
    })
    .await;
    let metadata = cluster.get("sc-2", "/v1/metadata?topics=t0").await;
    let from = metadata.expect("an answer").json()["revision"].as_u64();
    let from = from.expect("a revision");
    let seen = crowd(&mut cluster, effort, from).await;

    let references = within("the references", references.join_all()).await;
    let references: Vec<Seen> = references
        .into_iter()
        .map(|seen| seen.expect("whole"))
        .collect();
    assert_eq!(references[0].kept, references[1].kept);
    let revisions = &references[0].kept;
    let (before, after) = revisions.split_at(usize::try_from(from).expect("small"));
    let found = faults(&operations, &events(before), &last);
    let found = &found[..found.len().min(10)];
    assert!(found.is_empty(), "seed {}: {found:#?}", effort.seed);

    let known = |ending: &Ending| !matches!(ending, Ending::Refused(_) | Ending::Unknown);
    let done = operations.iter().filter(|one| known(&one.ending)).count();
    assert!(done * 3 > operations.len(), "only {done} changes were made");
    assert!(operations.iter().all(|one| one.mark >= MARKS_FROM));

    let expected = digest(after);
    let wrong = seen.iter().filter(|seen| seen.digest != expected).count();
    assert_eq!(wrong, 0, "watchers that saw another history");
    let resumed = seen.iter().filter(|seen| seen.resumed > 0).count();
    // Half of them were meant for the controller that was killed; one whose first attempt failed began at the other.
    assert!(
        resumed >= effort.watchers / 4,
        "only {resumed} watchers went on elsewhere"
    );
}
