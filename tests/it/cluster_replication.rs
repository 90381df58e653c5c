//! Topics with three copies, on real processes: leaders are killed under load, followers frozen, a leader cut
//! off while another takes over, a leader that wrote what nobody else has comes back, and everything is
//! killed at once. Each time the histories of all clients are judged and the copies compared byte by byte.

mod isolated;
mod site;

use site::{Site, Standing, UNITS};
use tidegate_tests::effort::Effort;
use tidegate_tests::wait::wait_for;

/// Records acknowledged by a leader alone before it dies.
const ALONE: u64 = 20;

fn unit(number: u64) -> String {
    format!("spu-{number}")
}

/// Each partition is led by another than before.
fn all_moved(before: &[Standing], gone: u64, now: &[Standing]) -> bool {
    let mut pairs = before.iter().zip(now);
    pairs.all(|(before, now)| {
        now.leader != gone && (before.leader != gone || now.epoch > before.epoch)
    })
}

/// A leader is killed with thousands of records in flight, and its successor as soon as it leads.
async fn kill_two_leaders(site: &mut Site) {
    site.burst().await;
    let before = site.standings().await.expect("leaders");
    let first = before[0].leader;
    site.cluster.kill(&unit(first));
    // As much is in flight when the second is killed: those who wait write again as soon as it leads.
    let next = site.wait_standings("other leaders", |now| all_moved(&before, first, now));
    let next = next.await;
    site.cluster.start_by_hand(&unit(first));
    let second = next[0].leader;
    site.cluster.kill(&unit(second));
    site.wait_standings("leaders after the second kill", |now| {
        all_moved(&next, second, now)
    })
    .await;
    site.recorder.burst(false);
    site.settle().await;
    site.cluster.start_by_hand(&unit(second));
    site.wait_whole().await;
}

/// Everything but the database is killed with thousands of records in flight, and started again.
async fn kill_everything(site: &mut Site) {
    site.burst().await;
    let all = UNITS.iter().chain(&["sc-1", "gateway-1", "gateway-2"]);
    for name in all.clone() {
        site.cluster.kill(name);
    }
    site.recorder.burst(false);
    for name in ["sc-1"]
        .iter()
        .chain(&UNITS)
        .chain(&["gateway-1", "gateway-2"])
    {
        site.cluster.start_by_hand(name);
    }
    site.settle().await;
    site.wait_whole().await;
}

/// A unit that leads nothing does not go on: records are acknowledged all the same.
async fn freeze_a_follower(site: &mut Site) {
    let before = site.standings().await.expect("leaders");
    let leads = |number: u64| before.iter().any(|one| one.leader == number);
    let idle = (1..=3).find(|number| !leads(*number));
    let idle = idle.expect("a unit that leads nothing");
    site.burst().await;
    site.cluster.freeze(&unit(idle));
    site.recorder.burst(false);
    site.settle().await;
    site.wait_standings("a smaller set of copies in sync", |now| {
        now.iter().all(|one| !one.in_sync.contains(&idle))
    })
    .await;
    site.cluster.thaw(&unit(idle));
    site.wait_whole().await;
}

/// A leader does not go on until others lead and acknowledge; then it does, with requests that still lie
/// before it.
async fn freeze_a_leader(site: &mut Site) {
    site.burst().await;
    let before = site.standings().await.expect("leaders");
    let old = before[0].leader;
    site.cluster.freeze(&unit(old));
    site.recorder.burst(false);
    site.wait_standings("other leaders", |now| all_moved(&before, old, now))
        .await;
    site.settle().await;
    site.cluster.thaw(&unit(old));
    site.settle().await;
    site.wait_whole().await;
}

/// A leader acknowledges alone what its dead followers do not get, and dies; it comes back when they have
/// written over it.
async fn diverge(site: &mut Site) {
    let before = site.standings().await.expect("leaders");
    let old = before[0].leader;
    let others: Vec<String> = (1..=3).filter(|one| *one != old).map(unit).collect();
    for other in &others {
        site.cluster.kill(other);
    }
    let enough = site.recorder.acked_by_leader() + ALONE;
    wait_for("records that the leader alone has", async || {
        (site.recorder.acked_by_leader() >= enough).then_some(())
    })
    .await;
    site.cluster.kill(&unit(old));
    for other in &others {
        site.cluster.start_by_hand(other);
    }
    site.wait_standings("other leaders", |now| all_moved(&before, old, now))
        .await;
    site.settle().await;
    site.cluster.start_by_hand(&unit(old));
    site.wait_whole().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_records_survive_two_kills_of_leaders_and_one_of_everything() {
    let effort = Effort::of_environment();
    let mut site = Site::start(effort).await;
    for _ in 0..effort.rounds {
        kill_two_leaders(&mut site).await;
        kill_everything(&mut site).await;
    }
    let verdict = site.judge("kills").await;
    assert!(verdict.counts.acked > 5_000, "{verdict}");
}

/// All units are killed at once with thousands of records in flight, and started in another order.
async fn kill_all_units(site: &mut Site, first: usize) {
    site.burst().await;
    for name in UNITS {
        site.cluster.kill(name);
    }
    site.recorder.burst(false);
    for number in 0..UNITS.len() {
        let name = UNITS[(first + number) % UNITS.len()];
        site.cluster.start_by_hand(name);
    }
    site.settle().await;
    site.wait_whole().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_for_copies_and_not_for_the_disk_survives_kills_of_all_copies_at_once() {
    let effort = Effort::of_environment();
    let mut site = Site::start_with(effort, "interval").await;
    for _ in 0..effort.rounds {
        for first in 0..UNITS.len() {
            kill_all_units(&mut site, first).await;
        }
        kill_two_leaders(&mut site).await;
    }
    let verdict = site.judge("interval").await;
    assert!(verdict.counts.acked > 5_000, "{verdict}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_acknowledged_falsely_and_copies_agree_after_units_were_cut_off() {
    let effort = Effort::of_environment();
    let mut site = Site::start(effort).await;
    for _ in 0..effort.rounds {
        freeze_a_follower(&mut site).await;
        freeze_a_leader(&mut site).await;
        diverge(&mut site).await;
    }
    let verdict = site.judge("cut-off").await;
    let lost = verdict.counts.lost_of_leader;
    assert!(lost >= ALONE, "the copies never differed: {verdict}");
}

/// two units hang, the third is killed, and those two go on and hang again, one after the other.
async fn pause_two_and_crash_one(site: &mut Site) {
    site.burst().await;
    let before = site.standings().await.expect("leaders");
    let crashed = before[0].leader;
    let paused: Vec<String> = (1..=3).filter(|one| *one != crashed).map(unit).collect();
    for name in &paused {
        site.cluster.freeze(name);
    }
    site.cluster.kill(&unit(crashed));
    site.recorder.burst(false);
    site.cluster.thaw(&paused[0]);
    site.cluster.start_by_hand(&unit(crashed));
    site.cluster.freeze(&paused[0]);
    site.cluster.thaw(&paused[1]);
    site.settle().await;
    site.cluster.thaw(&paused[0]);
    site.settle().await;
    site.wait_whole().await;
}

/// clients of every kind repeat what was refused or lost, as fast as they may, while whoever leads is killed or
/// hangs before they have an answer.
async fn storm(site: &mut Site) {
    for kills in [true, false] {
        site.burst().await;
        let before = site.standings().await.expect("leaders");
        let leader = before[0].leader;
        if kills {
            site.cluster.kill(&unit(leader));
        } else {
            site.cluster.freeze(&unit(leader));
        }
        site.wait_standings("other leaders in a storm", |now| {
            all_moved(&before, leader, now)
        })
        .await;
        if kills {
            site.cluster.start_by_hand(&unit(leader));
        } else {
            site.cluster.thaw(&unit(leader));
        }
        site.wait_whole().await;
    }
    site.recorder.burst(false);
    site.settle().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r10_r12_storms_of_repetitions_and_units_that_hang_while_another_dies_neither_lose_nor_double()
 {
    let effort = Effort::of_environment();
    let mut site = Site::start(effort).await;
    for _ in 0..effort.rounds {
        pause_two_and_crash_one(&mut site).await;
        storm(&mut site).await;
    }
    let verdict = site.judge("storms").await;
    assert_eq!(verdict.counts.doubled, 0, "{verdict}");
}
