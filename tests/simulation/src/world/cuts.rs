//! Ways between nodes that are cut and mended.
//!
//! Invariant: what a fault cut, its end mends, and no more.

use super::World;
use crate::fault::{Fault, FaultKind};
use crate::network::Node;
use crate::options::{CONTROLLERS, GATEWAYS, UNITS};

impl World {
    pub(super) fn cut(&mut self, fault: &Fault, unit: u32, is_cut: bool) {
        let node = Node::Unit(unit);
        let controllers = || (0..CONTROLLERS).map(Node::Controller);
        let units = || {
            (0..UNITS)
                .map(Node::Unit)
                .filter(move |other| *other != node)
        };
        let gateways = || (0..GATEWAYS).map(Node::Gateway);
        let step = 1 + fault.other % (UNITS - 1);
        let other = Node::Unit((unit + step) % UNITS);
        let (from, others): (Node, Vec<Node>) = match fault.kind {
            FaultKind::CutUnit => (
                node,
                controllers().chain(units()).chain(gateways()).collect(),
            ),
            FaultKind::CutFromControllers => (node, controllers().collect()),
            FaultKind::CutFromUnits => (node, units().collect()),
            FaultKind::CutFromGateways => (node, gateways().collect()),
            FaultKind::CutPair | FaultKind::CutOneWay => (node, vec![other]),
            _ => (
                Node::Controller(fault.target % CONTROLLERS),
                vec![Node::Store],
            ),
        };
        for other in others {
            self.network.cut(from, other, is_cut);
            if fault.kind != FaultKind::CutOneWay {
                self.network.cut(other, from, is_cut);
            }
        }
    }
}
