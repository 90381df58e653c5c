//! The row of the partition: changed by compare-and-set on its version, by rules L1, I1-I3 and S1.

use std::collections::BTreeSet;

use super::*;

pub(super) struct Row {
    pub(super) leader: Option<usize>,
    pub(super) epoch: u64,
    pub(super) version: u64,
    pub(super) isr: Vec<IsrMember>,
    pub(super) min_isr: u16,
    pub(super) recovery_gen: u64,
    gens: Vec<ReplicaGen>,
    /// Of each node, and whether it is taken for dead.
    incarnations: Vec<u64>,
    fenced: BTreeSet<usize>,
    /// Who leads in which epoch.
    pub(super) leaders: BTreeMap<LeaderEpoch, usize>,
    next: u64,
}

impl Row {
    pub(super) fn new(copies: usize, min_isr: u16) -> Self {
        let member = |node| IsrMember {
            spu: SpuId(node as u32),
            incarnation: Incarnation(0),
        };
        Self {
            leader: None,
            epoch: 0,
            version: 0,
            isr: (0..copies).map(member).collect(),
            min_isr,
            recovery_gen: 0,
            gens: (0..copies).map(Self::first_gen).collect(),
            incarnations: vec![0; copies],
            fenced: BTreeSet::new(),
            leaders: BTreeMap::new(),
            next: 100,
        }
    }

    pub(super) fn first_gen(node: usize) -> ReplicaGen {
        ReplicaGen::from_bytes([node as u8 + 1; 16])
    }

    fn position(&self, node: usize) -> Option<usize> {
        self.isr
            .iter()
            .position(|member| member.spu.0 as usize == node)
    }

    fn lead(&mut self, leader: Option<usize>) {
        self.leader = leader;
        self.epoch += 1;
        if let Some(node) = leader {
            self.leaders.insert(LeaderEpoch(self.epoch), node);
        }
    }

    /// S1: an intact copy keeps its place under the new registration, another leaves.
    pub(super) fn register(&mut self, node: usize, is_intact: bool) -> u64 {
        self.next += 1;
        self.incarnations[node] = self.next;
        self.fenced.remove(&node);
        self.version += 1;
        if let Some(at) = self.position(node) {
            if is_intact {
                self.isr[at].incarnation = Incarnation(self.next);
            } else {
                self.isr.remove(at);
            }
        }
        let led = self.leader == Some(node);
        if led || (self.leader.is_none() && self.epoch > 0) {
            let leader = self.candidate();
            self.lead(leader);
        }
        self.next
    }

    /// A new copy in the place of one whose disk is gone.
    pub(super) fn replace(&mut self, node: usize) -> ReplicaGen {
        self.next += 1;
        let replica_gen = ReplicaGen::from_bytes([self.next as u8; 16]);
        self.gens[node] = replica_gen;
        self.isr.retain(|member| member.spu.0 as usize != node);
        self.version += 1;
        let stays = self.leader.filter(|leader| *leader != node);
        let leader = stays.or_else(|| self.candidate());
        self.lead(leader);
        replica_gen
    }

    fn candidate(&self) -> Option<usize> {
        let nodes = self.isr.iter().map(|member| member.spu.0 as usize);
        nodes.filter(|node| !self.fenced.contains(node)).min()
    }

    pub(super) fn fence(&mut self, node: usize) {
        self.fenced.insert(node);
        self.version += 1;
        if self.isr.len() > usize::from(self.min_isr)
            && let Some(at) = self.position(node)
        {
            self.isr.remove(at);
        }
        if self.leader == Some(node) {
            let leader = self.candidate();
            self.lead(leader);
        }
    }

    /// A planned change of the leader, to a member of the set.
    pub(super) fn elect(&mut self, node: usize) {
        if self.position(node).is_some() && !self.fenced.contains(&node) {
            self.version += 1;
            self.lead(Some(node));
        }
    }

    pub(super) fn change_isr(
        &mut self,
        from: usize,
        incarnation: u64,
        wish: &IsrProposal,
    ) -> IsrOutcome {
        let version = self.version;
        let refused = |reason| IsrOutcome::Refused { reason, version };
        let own = IsrMember {
            spu: SpuId(from as u32),
            incarnation: Incarnation(incarnation),
        };
        let leads = self.leader == Some(from) && self.epoch == wish.leader_epoch.0;
        if !leads || !self.isr.contains(&own) {
            return refused(IsrRefusal::NotLeader);
        }
        if wish.version != version {
            return refused(IsrRefusal::Stale);
        }
        for candidate in &wish.isr {
            let node = candidate.member.spu.0 as usize;
            if self.gens[node] != candidate.replica_gen {
                return refused(IsrRefusal::NotReplica);
            }
            let is_live = !self.fenced.contains(&node)
                && self.incarnations[node] == candidate.member.incarnation.0;
            if !self.isr.contains(&candidate.member) && !is_live {
                return refused(IsrRefusal::NotCurrent);
            }
        }
        let members: Vec<IsrMember> = wish.isr.iter().map(|candidate| candidate.member).collect();
        let shrinks = self
            .isr
            .iter()
            .any(|old| !members.iter().any(|new| new.spu == old.spu));
        if shrinks && members.len() < usize::from(self.min_isr) {
            return refused(IsrRefusal::BelowMinIsr);
        }
        assert!(members.contains(&own));
        self.isr = members;
        self.version += 1;
        IsrOutcome::Accepted {
            version: self.version,
        }
    }

    pub(super) fn is_current(&self, member: &IsrMember) -> bool {
        self.incarnations[member.spu.0 as usize] == member.incarnation.0
    }

    pub(super) fn assignment(&self, node: usize) -> Assignment {
        let replica = |(node, replica_gen): (usize, &ReplicaGen)| ReplicaSpec {
            spu: SpuId(node as u32),
            replica_gen: *replica_gen,
        };
        Assignment {
            leader: self.leader.map(|node| SpuId(node as u32)),
            leader_epoch: LeaderEpoch(self.epoch),
            version: self.version,
            recovery_gen: self.recovery_gen,
            replica_gen: self.gens[node],
            replicas: self.gens.iter().enumerate().map(replica).collect(),
            isr: self.isr.clone(),
            min_isr: self.min_isr,
            begins_at: Offset::ZERO,
        }
    }
}

impl Row {
    pub(super) fn is_fenced(&self, node: usize) -> bool {
        self.fenced.contains(&node)
    }
}
