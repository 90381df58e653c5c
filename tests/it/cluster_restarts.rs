//! Producers and consumers at two gateways while every process of a cluster is stopped and killed in turn,
//! and while the controllers and their database are gone: what clients notice of it is what is documented,
//! what was acknowledged stays, and everything comes back by itself.

mod consumers;
mod load;
mod producers;
mod surface;

use std::sync::Arc;

use http::Method;
use tidegate_sc::local_postgres::Scratch;
use tidegate_tests::cluster::Cluster;
use tidegate_tests::deliveries::faults;
use tidegate_tests::doors::Mishap;
use tidegate_tests::effort::Effort;
use tidegate_tests::wait::{pause, wait_for};

use load::{Load, Met, PARTITIONS, Stage, TOPIC};

async fn create_topic(cluster: &Cluster) {
    let body = format!(r#"{{"name":"{TOPIC}","partitions":{PARTITIONS},"replication_factor":1}}"#);
    let answer = cluster.post("gateway-1", "/v1/topics", &body).await;
    assert_eq!(answer.expect("an answer").status, 201);
    for gateway in ["gateway-1", "gateway-2"] {
        for partition in 0..PARTITIONS {
            let path = format!("/v1/topics/{TOPIC}/partitions/{partition}/offsets");
            wait_for("the topic at both gateways", async || {
                let answer = cluster.get(gateway, &path).await.ok()?;
                (answer.status == 200).then_some(())
            })
            .await;
        }
    }
}

/// Restarts these one after the other, each when clients are well again.
async fn restart(cluster: &mut Cluster, load: &Load, names: &[&str], end: fn(&mut Cluster, &str)) {
    for name in names {
        end(cluster, name);
        cluster.start_by_hand(name);
        load.settle().await;
    }
}

/// The controllers lose their store, and then are gone themselves: records go on.
async fn outage(cluster: &mut Cluster, load: &Load, postgres: &Scratch, effort: Effort) {
    postgres.with(|server| server.crash().expect("it ends"));
    for controller in ["sc-1", "sc-2"] {
        wait_for("answers that are marked stale", async || {
            let answer = cluster.get(controller, "/v1/topics").await.ok()?;
            assert_eq!(answer.status, 200, "{}", answer.text());
            answer.header("tidegate-stale").map(drop)
        })
        .await;
        let mut connection = cluster.connect(controller).await.expect("a connection");
        let body = r#"{"replication_factor":1}"#;
        let kind = [("content-type", "application/json")];
        let path = "/v1/topics/not-now";
        let answer = connection.send(Method::PUT, path, &kind, body).await;
        let answer = answer.expect("an answer");
        assert_eq!(answer.status, 503, "{}", answer.text());
        assert_eq!(answer.json()["side_effects"], "none", "{}", answer.text());
    }
    load.settle().await;
    pause(effort.outage / 2).await;
    cluster.kill("sc-1");
    cluster.kill("sc-2");
    pause(effort.outage / 2).await;
    load.settle().await;
    postgres.with(|server| server.restart().expect("it starts"));
    cluster.start_by_hand("sc-1");
    cluster.start_by_hand("sc-2");
    wait_for("changes to be taken", async || {
        let body = r#"{"name":"again","replication_factor":1}"#;
        let answer = cluster.post("gateway-1", "/v1/topics", body).await.ok()?;
        [201, 409].contains(&answer.status.as_u16()).then_some(())
    })
    .await;
    wait_for("fresh answers", async || {
        let answer = cluster.get("sc-2", "/v1/topics").await.ok()?;
        answer.header("tidegate-stale").is_none().then_some(())
    })
    .await;
    load.settle().await;
}

/// One time through everything that may go away.
async fn round(cluster: &mut Cluster, load: &Load, postgres: &Scratch, effort: Effort) {
    let stop = |cluster: &mut Cluster, name: &str| cluster.stop_member(name);
    let kill = |cluster: &mut Cluster, name: &str| cluster.kill(name);
    let controllers = ["sc-1", "sc-2"];
    let gateways = ["gateway-1", "gateway-2"];
    let units = ["spu-1", "spu-2", "spu-3"];
    load.enter(Stage::Calm).await;
    load.enter(Stage::ControllersStopped).await;
    restart(cluster, load, &controllers, stop).await;
    load.enter(Stage::ControllersKilled).await;
    restart(cluster, load, &controllers, kill).await;
    load.enter(Stage::GatewaysStopped).await;
    restart(cluster, load, &gateways, stop).await;
    load.enter(Stage::GatewaysKilled).await;
    restart(cluster, load, &gateways, kill).await;
    load.enter(Stage::UnitsStopped).await;
    restart(cluster, load, &units, stop).await;
    load.enter(Stage::UnitsKilled).await;
    restart(cluster, load, &units, kill).await;
    load.enter(Stage::Rolling).await;
    for name in controllers.iter().chain(&units).chain(&gateways) {
        stop(cluster, name);
        cluster.start_by_hand(name);
    }
    load.enter(Stage::Outage).await;
    outage(cluster, load, postgres, effort).await;
    load.enter(Stage::Calm).await;
}

/// What a client may meet in a stage; everything else is a fault.
fn is_documented(met: &Met) -> bool {
    let mishap = met.mishap;
    match met.stage {
        Stage::Calm | Stage::ControllersStopped | Stage::ControllersKilled | Stage::Outage => false,
        // The one that stops takes no more connections. Over HTTP/1.1 a request may meet the close of an idle
        // connection, unread; one that was carried out is answered.
        Stage::GatewaysStopped | Stage::Rolling => mishap != Mishap::Unknown,
        Stage::GatewaysKilled => mishap != Mishap::Refused,
        Stage::UnitsStopped => mishap == Mishap::Refused,
        // Whoever has an identity is repeated for, and told how it ended.
        Stage::UnitsKilled => match mishap {
            Mishap::Refused => true,
            Mishap::Unknown => met.who.starts_with("plain "),
            Mishap::NotSent | Mishap::Lost => false,
        },
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_notice_what_is_documented_while_every_process_is_restarted() {
    let effort = Effort::of_environment();
    let postgres = Arc::new(Scratch::start(&[]).expect("Postgres starts"));
    let url = postgres.database().await.expect("a database").url;
    let mut cluster = Cluster::start_of(2, 3, 2, &["--database-url", &url]);
    surface::check(&cluster).await;
    create_topic(&cluster).await;
    let gateways = [cluster.target("gateway-1"), cluster.target("gateway-2")];
    let mut load = Load::start(&gateways, effort.seed);
    for _ in 0..effort.rounds {
        round(&mut cluster, &load, &postgres, effort).await;
    }
    let outcome = load.end(&cluster).await;

    let strange = outcome.mishaps.iter();
    let strange: Vec<_> = strange.filter(|met| !is_documented(met)).take(10).collect();
    let seed = effort.seed;
    assert!(
        strange.is_empty(),
        "seed {seed}: {strange:#?}\n{}",
        outcome.summary()
    );
    let found = faults(&outcome.sent, &outcome.read, &outcome.log);
    let found = &found[..found.len().min(10)];
    assert!(found.is_empty(), "seed {seed}: {found:#?}");
    #[expect(clippy::print_stdout, reason = "the figures of a trial")]
    {
        println!("{}", outcome.summary());
    }
}
