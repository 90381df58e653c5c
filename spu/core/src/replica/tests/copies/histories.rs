//! Random histories: whatever is lost, doubled, late or fenced, the invariants hold; and when it is over all
//! copies are alike and everybody has an answer.

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Op {
    Deliver(usize),
    DeliverAll,
    Drop(usize),
    Double(usize),
    Sync(usize, usize),
    Pump(usize, usize),
    Append(usize, u32, bool),
    Send { producer: u64, back: u32 },
    Tick(u64),
    Crash(usize),
    Start(usize),
    Fence(usize),
    Elect(usize),
    Unlink(usize),
    LoseDisk(usize),
    Retain(u64),
    Snapshot(usize),
    Rows,
}

fn op() -> impl Strategy<Value = Op> {
    let node = 0usize..3;
    prop_oneof![
        30 => any::<usize>().prop_map(Op::Deliver),
        12 => Just(Op::DeliverAll),
        2 => any::<usize>().prop_map(Op::Drop),
        2 => any::<usize>().prop_map(Op::Double),
        20 => (node.clone(), 1usize..6).prop_map(|(node, entries)| Op::Sync(node, entries)),
        14 => (node.clone(), 1usize..4).prop_map(|(node, most)| Op::Pump(node, most)),
        8 => (node.clone(), 1u32..4, any::<bool>()).prop_map(|(node, count, quorum)| Op::Append(node, count, quorum)),
        5 => (0u64..2, 0u32..3).prop_map(|(producer, back)| Op::Send { producer, back }),
        6 => (1u64..600).prop_map(Op::Tick),
        2 => node.clone().prop_map(Op::Crash),
        4 => node.clone().prop_map(Op::Start),
        2 => node.clone().prop_map(Op::Fence),
        2 => node.clone().prop_map(Op::Elect),
        2 => node.clone().prop_map(Op::Unlink),
        1 => node.clone().prop_map(Op::LoseDisk),
        1 => (0u64..10).prop_map(Op::Retain),
        1 => node.prop_map(Op::Snapshot),
        3 => Just(Op::Rows),
    ]
}

impl Cluster {
    pub(super) fn leader(&self) -> Option<usize> {
        (0..self.nodes.len())
            .find(|node| self.leads(*node) && epoch_of(self, *node) == self.row.epoch)
    }

    fn play(&mut self, senders: &mut BTreeMap<u64, u32>, op: Op) {
        let count = self.letters.len().max(1);
        match op {
            Op::Deliver(at) => {
                if let Some(letter) = self.letters.remove(at % count) {
                    self.deliver(letter);
                }
            }
            Op::DeliverAll => {
                for _ in 0..self.letters.len() {
                    let letter = self.letters.pop_front().unwrap();
                    self.deliver(letter);
                }
            }
            Op::Drop(at) => drop(self.letters.remove(at % count)),
            Op::Double(at) => {
                if let Some(letter) = self.letters.get(at % count).cloned() {
                    self.letters.push_back(letter);
                }
            }
            Op::Sync(node, entries) => self.sync(node, entries),
            Op::Pump(node, most) => self.pump(node, most),
            Op::Append(node, count, quorum) => {
                if self.is_up(node) && quorum {
                    self.append(node, count);
                } else if self.is_up(node) {
                    let key = u128::from(self.next_request).to_le_bytes();
                    self.append_as(node, vec![batch(None, count, Some(key))], Acks::Leader);
                }
            }
            Op::Send { producer, back } => {
                if let Some(leader) = self.leader() {
                    let next = senders.entry(producer).or_default();
                    let seq = next.saturating_sub(back);
                    let request = self.append_as(
                        leader,
                        vec![batch(Some((producer, 0, seq)), 1, None)],
                        Acks::Quorum,
                    );
                    let is_refused = matches!(self.replies.get(&request), Some(Err(_)));
                    *next = (*next).max(if is_refused { seq } else { seq + 1 });
                }
            }
            Op::Tick(ms) => self.tick(ms),
            Op::Crash(node) => self.crash_and_forget(node),
            Op::Start(node) if !self.is_up(node) => self.start(node),
            Op::Start(_) => {}
            Op::Fence(node) => self.fence(node),
            Op::Elect(node) => self.elect(node),
            Op::Unlink(node) if self.is_up(node) => self.unlink(node),
            Op::Unlink(_) => {}
            Op::LoseDisk(node) => {
                // Of what a quorum acknowledged one disk may go.
                let others = self.isr().iter().filter(|other| **other != node).count();
                if others >= 2 {
                    self.crash_and_forget(node);
                    self.lose_disk(node);
                }
            }
            Op::Retain(to) => {
                if let Some(leader) = self.leader() {
                    self.step(
                        leader,
                        Input::Retain {
                            to: Offset::new(to),
                        },
                    );
                }
            }
            Op::Snapshot(node) => self.step(node, Input::Snapshot),
            Op::Rows => self.tell_rows(),
        }
    }

    /// Requests of a process that is gone are not answered any more.
    pub(super) fn crash_and_forget(&mut self, node: usize) {
        if self.is_up(node) {
            self.step(node, Input::Close);
        }
        self.crash(node);
    }

    /// Nothing fails any more.
    pub(super) fn heal(&mut self) {
        self.letters.clear();
        for node in 0..self.nodes.len() {
            // Whoever was taken for dead has to register anew.
            if !self.is_up(node) || self.row.is_fenced(node) {
                self.crash_and_forget(node);
                self.start(node);
            }
        }
        (0..self.nodes.len()).for_each(|node| self.unlink(node));
        self.tell_rows();
        self.pass(4_000);
    }
}

impl Cluster {
    fn picture(&self) -> String {
        let mut text = format!(
            "epoch {} isr {:?} alarms {:?}",
            self.row.epoch, self.row.isr, self.alarms
        );
        for node in self.nodes.iter().filter_map(|node| node.replica.as_ref()) {
            let role = match &node.role {
                Role::Leading(_) => "leading".to_owned(),
                other => format!("{other:?}"),
            };
            let (status, members) = (node.status(), node.members(self.now));
            text += &format!(
                "\n{role} {status:?}\n whole {} {members:?}",
                node.standing.is_whole
            );
        }
        text
    }
}

fn epoch_of(cluster: &Cluster, node: usize) -> u64 {
    cluster.status(node).meta.leader_epoch.0
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn random_histories_of_three_copies_keep_the_invariants_and_end_alike(
        ops in proptest::collection::vec(op(), 1..250),
        min_isr in 1u16..3,
    ) {
        let mut cluster = Cluster::new(3, min_isr);
        let mut senders = BTreeMap::new();
        for op in ops {
            cluster.play(&mut senders, op);
        }
        cluster.heal();
        let leader = cluster.leader().expect("21: a leader");
        for node in 0..3 {
            let ends = (cluster.end(node), cluster.high_watermark(node));
            prop_assert_eq!(ends, (cluster.end(leader), cluster.end(leader)), "21: node {}", node);
        }
        prop_assert_eq!(cluster.isr().len(), 3, "{}", cluster.picture());
        let request = cluster.append(leader, 1);
        cluster.settle();
        prop_assert!(cluster.is_acked(request));
        cluster.tick(20_000);
        prop_assert_eq!(cluster.replies.len(), cluster.wanted.len(), "each request ends");
    }
}
