//! Generated histories: controllers die, lose sight of the store, meet a database whose clock jumps;
//! units talk to whom they like. Whatever happens, nobody is shut out early and no update is lost.

use std::collections::BTreeMap;

use tidegate_proto::id::SpuId;
use tidegate_sc_core::change::Change;
use tidegate_sc_core::limits::SPU_TIMEOUT_MS_DEFAULT;

use super::cluster::{Cluster, Sc, Unit};
use super::*;

/// SplitMix64.
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (word ^ (word >> 31)) % end
    }
}

struct Run {
    cluster: Cluster,
    chance: Chance,
    scs: Vec<Sc>,
    units: Vec<Unit>,
    /// Since when each controller has held the lease without a break, by name.
    holds: BTreeMap<String, Duration>,
    made: Vec<String>,
    checked: u64,
    born: u32,
}

impl Run {
    async fn step(&mut self) {
        self.cluster.pass(Duration::from_millis(200)).await;
        let at = self.chance.below(self.scs.len() as u64) as usize;
        match self.chance.below(40) {
            0 => {
                let old = self.scs.swap_remove(at);
                self.cluster.kill(old).await;
                self.born += 1;
                let name = format!("sc{}", self.born);
                self.scs.push(self.cluster.sc(&name).await);
            }
            1..=3 => self.scs[at].store.set_down(true),
            4..=9 => self.scs.iter().for_each(|sc| sc.store.set_down(false)),
            10 => self.cluster.skew += Duration::from_secs(self.chance.below(20)),
            11..=16 => {
                let name = format!("t{}", self.made.len());
                if self.scs[at].make(&name).await.is_ok() {
                    self.made.push(name);
                }
            }
            17..=18 => {
                let unit = self.chance.below(self.units.len() as u64) as usize;
                let number = self.units[unit].number;
                if let Ok(registered) = self.scs[at].try_register(number).await {
                    self.units[unit] = registered;
                }
            }
            _ => {}
        }
        for unit in self.units.clone() {
            // The last one is silent most of the time.
            if unit.number == 3 && self.chance.below(30) > 0 || self.chance.below(5) > 0 {
                continue;
            }
            let at = self.chance.below(self.scs.len() as u64) as usize;
            unit.beat(&self.scs[at]).await;
        }
        self.check().await;
    }

    /// Judges what was committed since the last time.
    async fn check(&mut self) {
        let store = self.cluster.database.open();
        let events = store.events_after(self.checked, u64::MAX).await.unwrap();
        for event in events {
            assert!(event.revision <= self.checked + 1, "dense");
            self.checked = event.revision;
            let Change::PutSpu(row) = &event.change else {
                continue;
            };
            if event.actor == "controller" && row.fenced {
                self.judge(row.spu);
            }
        }
        let now = self.cluster.now();
        for sc in &self.scs {
            if sc.controller.holds_lease() {
                self.holds.entry(sc.name.clone()).or_insert(now);
            } else {
                self.holds.remove(&sc.name);
            }
        }
    }

    /// Whoever shut the unit out had held the lease, and not heard of it, for a whole time-out.
    fn judge(&self, spu: SpuId) {
        let timeout = Duration::from_millis(SPU_TIMEOUT_MS_DEFAULT);
        let Some(holder) = self.scs.iter().find(|sc| sc.controller.holds_lease()) else {
            return;
        };
        // Seen at most a step late, and what is judged was done at most a step ago.
        let slack = Duration::from_millis(450);
        let since = self.holds.get(&holder.name).expect("seen before it acted");
        let held = self.cluster.now() - *since;
        assert!(held + slack >= timeout, "{spu} after {held:?} of holding");
        if let Some(report) = holder.controller.shared.roster.unit(spu) {
            let silent = clock::monotonic() - report.heard_at;
            assert!(silent >= timeout, "{spu} after {silent:?} of silence");
        }
    }
}

async fn run(seed: u64) -> (u64, usize) {
    let cluster = Cluster::new();
    let scs = vec![
        cluster.sc("x").await,
        cluster.sc("y").await,
        cluster.sc("z").await,
    ];
    let mut units = Vec::new();
    for number in 1..=3 {
        units.push(scs[0].register(number).await);
    }
    let mut run = Run {
        cluster,
        chance: Chance(seed),
        scs,
        units,
        holds: BTreeMap::new(),
        made: Vec::new(),
        checked: 0,
        born: 0,
    };
    for _ in 0..300 {
        run.step().await;
    }
    // Then all is well: somebody holds the lease, and everybody agrees.
    run.cluster.skew += Duration::from_secs(20);
    run.scs.iter().for_each(|sc| sc.store.set_down(false));
    run.cluster.pass(Duration::from_secs(15)).await;
    let end = run.cluster.end().await;
    for sc in &run.scs {
        assert_eq!(*sc.controller.model(), end, "seed {seed}");
        assert!(sc.controller.condition().borrow().alarm.is_none());
    }
    let holders = run.scs.iter().filter(|sc| sc.controller.holds_lease());
    assert_eq!(holders.count(), 1, "seed {seed}");
    for name in &run.made {
        assert!(run.scs[0].has(name), "seed {seed}: {name} was answered");
    }
    let fenced = end.spus.values().filter(|row| row.fenced).count();
    (end.revision, fenced)
}

#[tokio::test(start_paused = true)]
async fn nobody_is_shut_out_early_and_no_update_is_lost() {
    let mut fenced = 0;
    for seed in 1..=8 {
        let (revision, shut_out) = run(seed).await;
        assert!(revision > 20, "seed {seed} did something: {revision}");
        fenced += shut_out;
    }
    assert!(fenced > 0, "some run shut a silent unit out");
}
