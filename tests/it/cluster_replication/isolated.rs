//! Leaders behind a network that loses everything: for their followers and the controllers, for the controllers
//! alone, or on one way only. Their clients reach them all the while.

use std::time::Duration;

use tidegate_tests::effort::Effort;
use tidegate_tests::network::Network;
use tidegate_tests::wait::wait_for;

use super::site::{Site, Standing, UNITS};
use super::{all_moved, unit};

/// Requests that a leader ends, well or not, while nobody hears of it.
const REQUESTS: u64 = 6;
/// On the way between two units that are far apart.
const FAR: Duration = Duration::from_millis(10);

fn others(than: u64) -> impl Iterator<Item = &'static str> {
    let than = unit(than);
    UNITS.into_iter().filter(move |name| *name != than)
}

/// Waits until others lead what that unit led; from then on it acknowledges nothing for every in-sync copy, and tells
/// its clients so.
async fn replaced(site: &Site, before: &[Standing], old: u64) {
    site.wait_standings("other leaders", |now| all_moved(before, old, now))
        .await;
    let told = site.told_by(old);
    site.settle().await;
    let now = wait_for("clients of the old leader to be turned away", async || {
        let now = site.told_by(old);
        (now.turned_away >= told.turned_away + REQUESTS).then_some(now)
    })
    .await;
    assert_eq!(
        now.acked, told.acked,
        "acknowledged by one who was replaced"
    );
}

/// Neither followers nor controllers hear the leader.
async fn cut_off_from_all_but_clients(site: &Site, network: &Network) {
    site.burst().await;
    let before = site.standings().await.expect("leaders");
    let old = before[0].leader;
    for other in others(old).chain(["sc-1"]) {
        network.part(&unit(old), other);
    }
    site.recorder.burst(false);
    let alone = site.recorder.acked_by_leader();
    wait_for("records that the leader alone has", async || {
        (site.recorder.acked_by_leader() > alone).then_some(())
    })
    .await;
    replaced(site, &before, old).await;
    network.heal();
    site.settle().await;
    site.wait_whole().await;
}

/// Only the controllers do not hear the leader: it goes on until its followers follow another one.
async fn cut_off_from_controllers(site: &Site, network: &Network) {
    let before = site.standings().await.expect("leaders");
    let old = before[0].leader;
    network.part(&unit(old), "sc-1");
    let told = site.told_by(old);
    wait_for("a leader that goes on", async || {
        (site.told_by(old).acked >= told.acked + REQUESTS).then_some(())
    })
    .await;
    let now = site.standings().await.expect("leaders");
    assert_eq!(now[0].leader, old, "replaced before anybody could miss it");
    replaced(site, &before, old).await;
    network.heal();
    site.settle().await;
    site.wait_whole().await;
}

/// What one unit sends does not reach another one, which it leads or follows, and is reached by.
async fn cut_one_way(site: &Site, network: &Network, (from, to): (u64, u64), follower: u64) {
    network.cut(&unit(from), &unit(to));
    let leader = from + to - follower;
    site.wait_standings("a smaller set of copies in sync", |now| {
        let mut led = now.iter().filter(|one| one.leader == leader);
        led.all(|one| !one.in_sync.contains(&follower))
    })
    .await;
    site.settle().await;
    network.heal();
    site.wait_whole().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_only_its_clients_reach_acknowledges_nothing_falsely_and_is_cut_back() {
    let effort = Effort::of_environment();
    let (site, network) = Site::start_apart(effort).await;
    for _ in 0..effort.rounds {
        cut_off_from_all_but_clients(&site, &network).await;
        cut_off_from_controllers(&site, &network).await;
    }
    let acked = site.told_by(1).acked;
    assert!(acked > 0, "nobody ever reached the first leader directly");
    let verdict = site.judge("isolated").await;
    let lost = verdict.counts.lost_of_leader;
    assert!(lost > 0, "the copies never differed: {verdict}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_go_on_while_one_way_between_a_leader_and_a_follower_is_cut_or_long() {
    let effort = Effort::of_environment();
    let (site, network) = Site::start_apart(effort).await;
    for _ in 0..effort.rounds {
        let standings = site.standings().await.expect("leaders");
        let leader = standings[0].leader;
        let mut followers = (1..=3).filter(|one| *one != leader);
        let first = followers.next().expect("a follower");
        let second = followers.next().expect("a follower");
        cut_one_way(&site, &network, (leader, first), first).await;
        cut_one_way(&site, &network, (second, leader), second).await;
        network.slow(&unit(leader), &unit(first), FAR);
        site.burst().await;
        site.recorder.burst(false);
        site.settle().await;
        network.heal();
    }
    site.judge("one-way").await;
}
