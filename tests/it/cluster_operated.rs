//! Processes of a cluster that operators start again, add and remove, by commands and by hand, and the way
//! that clients find to those that are there.

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;
use tidegate_tests::cluster::Cluster;
use tidegate_tests::program::{command, words};
use tidegate_tests::wait::wait_blocking;

fn tidegate(home: &Path, arguments: &[&str]) -> Output {
    command(home).args(arguments).output().expect("it runs")
}

fn done(output: &Output) -> String {
    assert!(output.status.success(), "{}", words(output));
    String::from_utf8(output.stdout.clone()).expect("text")
}

/// A command of the operators of this cluster.
fn operate(cluster: &Cluster, home: &Path, arguments: &[&str]) -> Output {
    let mut asked = command(home);
    asked.args(["cluster"]).args(arguments);
    asked.arg("--data-dir").arg(cluster.data_dir());
    asked.output().expect("it runs")
}

/// Starts a gateway as people do: from another directory, with other words than those that it was given.
fn typed_by_hand(cluster: &Cluster, name: &str) -> Child {
    let gateway = cluster.member(name);
    let place = gateway.data_dir.parent().expect("a directory of its own");
    let mut child = Command::new(tidegate_tests::program::tidegate())
        .args(["gateway", "run", "--config", "./tidegate.toml"])
        .current_dir(place)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts");
    wait_blocking("a gateway started by hand", || {
        let has_ended = child.try_wait().expect("a child").is_some();
        assert!(!has_ended, "{}", cluster.words());
        let text = std::fs::read(gateway.data_dir.join("node.json")).ok()?;
        let facts: Value = serde_json::from_slice(&text).ok()?;
        (facts["pid"] == child.id()).then_some(())
    });
    child
}

fn ended(mut child: Child) {
    wait_blocking("the end of a gateway", || {
        child.try_wait().expect("a child").map(drop)
    });
}

/// Name and state of each process.
fn states(cluster: &Cluster, home: &Path) -> Vec<(String, String)> {
    let shown = operate(cluster, home, &["status", "-o", "json"]);
    let shown: Value = serde_json::from_slice(&shown.stdout).expect("JSON");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let nodes = shown["nodes"].as_array().expect("processes").iter();
    nodes
        .map(|node| (text(&node["name"]), text(&node["state"])))
        .collect()
}

fn all_are_ready(cluster: &Cluster, home: &Path, names: &[&str]) {
    let ready = names
        .iter()
        .map(|name| ((*name).to_owned(), "ready".to_owned()));
    assert_eq!(states(cluster, home), ready.collect::<Vec<_>>());
}

fn units_come_and_go(cluster: &Cluster, home: &Path) {
    let added = operate(cluster, home, &["add-spu", "--rack", "b", "-o", "json"]);
    let added: Value = serde_json::from_str(&done(&added)).expect("JSON");
    assert_eq!(
        (&added["name"], &added["changed"]),
        (&"spu-2".into(), &true.into())
    );
    let again = operate(
        cluster,
        home,
        &["add-spu", "2", "--rack", "b", "-o", "json"],
    );
    assert!(
        done(&again).contains("\"changed\": false"),
        "{}",
        words(&again)
    );
    let elsewhere = operate(cluster, home, &["add-spu", "2", "--rack", "c"]);
    assert!(
        words(&elsewhere).contains("spu alter 2"),
        "{}",
        words(&elsewhere)
    );
    done(&tidegate(home, &["spu", "drain", "2", "--wait"]));
    done(&tidegate(home, &["spu", "remove", "2"]));
    let refused = operate(cluster, home, &["restart", "spu-2"]);
    assert!(
        words(&refused).contains("cluster add-spu 2"),
        "{}",
        words(&refused)
    );
    let back = operate(cluster, home, &["add-spu", "2"]);
    assert!(words(&back).contains("spu-2"), "{}", words(&back));
    done(&back);
    let unknown = operate(cluster, home, &["restart", "spu-9"]);
    assert!(
        words(&unknown).contains("there are sc-1, spu-1"),
        "{}",
        words(&unknown)
    );
}

#[test]
fn operators_start_processes_again_in_any_way_and_find_all_of_them() {
    let mut cluster = Cluster::start(1, 1, 2);
    let home = cluster.data_dir();
    let home = home.parent().expect("where its profile is");
    cluster.kill("gateway-1");
    let down = states(&cluster, home);
    assert_eq!(down[2], ("gateway-1".to_owned(), "down".to_owned()));
    // The profile names both gateways, and the one that is away comes first.
    done(&tidegate(home, &["topic", "create", "orders"]));
    let by_hand = typed_by_hand(&cluster, "gateway-1");
    all_are_ready(&cluster, home, &["sc-1", "spu-1", "gateway-1", "gateway-2"]);
    let restarted = operate(&cluster, home, &["restart", "gateway-1", "spu-1", "sc-1"]);
    assert_eq!(done(&restarted), "", "people are told on the other stream");
    ended(by_hand);
    units_come_and_go(&cluster, home);
    let all = ["sc-1", "spu-1", "spu-2", "gateway-1", "gateway-2"];
    all_are_ready(&cluster, home, &all);
    let env = done(&operate(&cluster, home, &["env"]));
    let mut shell = Command::new("sh");
    let script = format!("{env}\nexec \"$0\" topic describe orders -o json");
    shell
        .args(["-c", &script])
        .arg(tidegate_tests::program::tidegate());
    shell.env_clear().env("XDG_CONFIG_HOME", "/nowhere");
    let described = shell.output().expect("a shell");
    assert!(
        done(&described).contains("\"orders\""),
        "{}",
        words(&described)
    );
    cluster.kill("gateway-2");
    let last = typed_by_hand(&cluster, "gateway-2");
    done(&operate(&cluster, home, &["stop"]));
    ended(last);
}
