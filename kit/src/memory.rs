//! The memory of a process that outside input can fill, and its parts.
//!
//! Every part has a fixed share, and the shares sum to no more than the whole, so one kind of load
//! cannot take the memory of another: uploads do not stop reads. Programs, their stacks, fixed
//! structures and idle connections are not in it; those are bounded by count.

use metrics::gauge;

use crate::budget::{ByteBudget, KeyedBudgets};

/// Least that a process can work in: one body of the largest size, and some of everything else.
pub const MEMORY_BYTES_MIN: usize = 64 * 1024 * 1024;
/// What a process takes when it is not told and the machine has plenty.
pub const MEMORY_BYTES_DEFAULT: usize = 1024 * 1024 * 1024;

/// Parts are counted in these.
const SIXTEENTHS: usize = 16;
/// One principal holds at most three of four bytes of a part: the others always have the fourth.
const PRINCIPAL_QUARTERS: usize = 3;

/// The budgets of one process. Clones share them.
#[derive(Debug, Clone)]
pub struct Memory {
    /// All of it.
    pub process: ByteBudget,
    /// Request bodies, decompressed, and the batches that streamed uploads build: 4/16.
    pub bodies: KeyedBudgets,
    /// Windows of request decoders: 1/16.
    pub decoders: ByteBudget,
    /// Answers and events until their clients have taken them: 2/16.
    pub answers: KeyedBudgets,
    /// Messages that sockets sent us, and what stands in their write buffers: 3/16.
    pub sockets: KeyedBudgets,
    /// Chunks read from disk until they are written out: 1/16.
    pub reads: ByteBudget,
    /// Batches between admission and durability: 2/16.
    pub appends: ByteBudget,
    /// Frames of sockets, recent ones for those who may want them and those on their way, each counted
    /// once however many share it: 1/16.
    pub frames: ByteBudget,
    /// What the log keeps of batches between durability and their segments, and of recent ones for
    /// readers at the tail: 2/16, taken once by who opens the log, which keeps within it by itself.
    pub log: ByteBudget,
}

impl Memory {
    /// The parts of `bytes_max` bytes, which is at least [`MEMORY_BYTES_MIN`].
    #[must_use]
    pub fn new(bytes_max: usize) -> Self {
        let bytes_max = bytes_max.max(MEMORY_BYTES_MIN);
        let process = ByteBudget::named("process", bytes_max);
        let part = |name, share: usize| process.child(name, bytes_max / SIXTEENTHS * share);
        Self {
            bodies: by_principal(part("bodies", 4)),
            decoders: part("decoders", 1),
            answers: by_principal(part("answers", 2)),
            sockets: by_principal(part("sockets", 3)),
            reads: part("reads", 1),
            appends: part("appends", 2),
            frames: part("frames", 1),
            log: part("log", 2),
            process,
        }
    }

    /// The whole and its parts.
    #[must_use]
    pub fn nodes(&self) -> [&ByteBudget; 9] {
        [
            &self.process,
            self.bodies.parent(),
            &self.decoders,
            self.answers.parent(),
            self.sockets.parent(),
            &self.reads,
            &self.appends,
            &self.frames,
            &self.log,
        ]
    }

    /// Sets the gauges of every node.
    pub fn publish(&self) {
        for node in self.nodes() {
            let holding = node.holding();
            let set = |name: &'static str, amount: usize| {
                gauge!(name, "part" => holding.name).set(amount as f64);
            };
            set("tidegate_memory_held_bytes", holding.held);
            set("tidegate_memory_max_bytes", holding.bytes_max);
            set("tidegate_memory_refusals", holding.refused);
        }
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self::new(MEMORY_BYTES_DEFAULT)
    }
}

/// A budget and its children by principal, who hold at most three quarters of it each.
#[must_use]
pub fn by_principal(part: ByteBudget) -> KeyedBudgets {
    let bytes_max = part.total() / 4 * PRINCIPAL_QUARTERS;
    KeyedBudgets::new(part, "principal", bytes_max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_never_sum_above_the_whole() {
        for bytes_max in [0, MEMORY_BYTES_MIN, MEMORY_BYTES_DEFAULT, usize::MAX / 2] {
            let memory = Memory::new(bytes_max);
            let [process, parts @ ..] = memory.nodes();
            let sum: usize = parts.iter().map(|part| part.total()).sum();
            assert!(sum <= process.total());
            assert!(process.total() >= MEMORY_BYTES_MIN);
        }
    }

    #[test]
    fn a_full_part_leaves_the_others_alone() {
        let memory = Memory::new(MEMORY_BYTES_MIN);
        let bodies = memory.bodies.parent();
        let _all = bodies.try_acquire(bodies.total()).unwrap();
        for node in &memory.nodes()[2..] {
            assert!(node.try_acquire(node.total()).is_some());
        }
    }
}
