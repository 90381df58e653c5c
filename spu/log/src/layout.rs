//! Names in a data directory. All are made of ids and numbers, none of a topic's name, so that no
//! name from outside ever becomes a path.
//!
//! ```text
//! lock  identity  replicas.ckpt  ballast  failed  accepted
//! journal/<file_seq>.jnl   journal/<file_seq>.new (being filled)
//! replicas/<topic uuid>-<partition>-<generation uuid>/<base offset>.log|.index, snapshot, compaction, damage,
//!     <base offset>.log|.index.compact, <base offset>.index.new (being written)
//! trash/  quarantine/
//! ```

use std::path::PathBuf;

use tidegate_proto::id::{PartitionId, ReplicaGen, TopicId};
use tidegate_proto::position::{Offset, ReplicaKey};
use uuid::Uuid;

pub(crate) const LOCK: &str = "lock";
pub(crate) const IDENTITY: &str = "identity";
pub(crate) const CHECKPOINT: &str = "replicas.ckpt";
pub(crate) const JOURNAL: &str = "journal";
pub(crate) const REPLICAS: &str = "replicas";
pub(crate) const TRASH: &str = "trash";
pub(crate) const QUARANTINE: &str = "quarantine";
/// Takes space, to be given up when there is none.
pub(crate) const BALLAST: &str = "ballast";
/// Says that the disk failed; the directory is not opened while it is there.
pub(crate) const FAILED: &str = "failed";
/// Says that an operator accepted a failed disk; what is there is not called intact any more.
pub(crate) const ACCEPTED: &str = "accepted";
pub(crate) const SNAPSHOT: &str = "snapshot";
pub(crate) const COMPACTION: &str = "compaction";
/// Says what of a replica cannot be read.
pub(crate) const DAMAGE: &str = "damage";

const STAGED: &str = ".compact";
const REMADE: &str = ".new";

const UUID_LEN: usize = 36;

/// Name of a replica's directory under `replicas/`.
pub(crate) fn replica_dir(key: ReplicaKey, replica_gen: ReplicaGen) -> String {
    format!("{}-{}-{}", key.topic_id.0, key.partition.0, replica_gen.0)
}

/// The replica whose directory has that name; `None` for a name the log did not make.
pub(crate) fn parse_replica_dir(name: &str) -> Option<(ReplicaKey, ReplicaGen)> {
    let topic = name.get(..UUID_LEN)?;
    let rest = name.get(UUID_LEN..)?.strip_prefix('-')?;
    let (partition, generation) = rest.split_once('-')?;
    let key = ReplicaKey {
        topic_id: TopicId(Uuid::try_parse(topic).ok()?),
        partition: PartitionId(partition.parse().ok()?),
    };
    let replica_gen = ReplicaGen(Uuid::try_parse(generation).ok()?);
    (replica_dir(key, replica_gen) == name).then_some((key, replica_gen))
}

/// Path of a replica's directory from the root.
pub(crate) fn replica_path(key: ReplicaKey, replica_gen: ReplicaGen) -> PathBuf {
    PathBuf::from(REPLICAS).join(replica_dir(key, replica_gen))
}

pub(crate) fn segment(base: Offset) -> String {
    format!("{:020}.log", base.get())
}

pub(crate) fn index(base: Offset) -> String {
    format!("{:020}.index", base.get())
}

/// A segment's file while compaction writes it.
pub(crate) fn staged(name: &str) -> String {
    format!("{name}{STAGED}")
}

/// True for a file that compaction was writing, and for an index that was being made anew.
pub(crate) fn is_staged(name: &str) -> bool {
    let staged = name.strip_suffix(STAGED);
    let remade = name.strip_suffix(REMADE);
    staged.is_some_and(|name| parse_segment(name).or(parse_index(name)).is_some())
        || remade.is_some_and(|name| parse_index(name).is_some())
}

/// Base offset of a segment file; `None` for other files.
pub(crate) fn parse_segment(name: &str) -> Option<Offset> {
    parse_number(name, ".log").map(Offset::new)
}

/// Base offset of an index file; `None` for other files.
pub(crate) fn parse_index(name: &str) -> Option<Offset> {
    parse_number(name, ".index").map(Offset::new)
}

pub(crate) fn journal(file_seq: u64) -> String {
    format!("{file_seq:020}.jnl")
}

/// Sequence number of a journal file; `None` for other files.
pub(crate) fn parse_journal(name: &str) -> Option<u64> {
    parse_number(name, ".jnl")
}

fn parse_number(name: &str, suffix: &str) -> Option<u64> {
    let digits = name.strip_suffix(suffix)?;
    if digits.len() != 20 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directory_names_are_read_back() {
        let key = ReplicaKey {
            topic_id: TopicId(Uuid::from_u128(7)),
            partition: PartitionId(12),
        };
        let replica_gen = ReplicaGen(Uuid::from_u128(9));
        assert_eq!(
            parse_replica_dir(&replica_dir(key, replica_gen)),
            Some((key, replica_gen))
        );
    }

    #[test]
    fn names_that_the_log_did_not_make_are_not_taken() {
        for name in [
            "",
            "a",
            "1.log",
            "0000000000000000000x.log",
            "99999999999999999999.log",
        ] {
            assert_eq!(parse_segment(name), None, "{name}");
            assert_eq!(parse_replica_dir(name), None, "{name}");
        }
        assert_eq!(
            parse_segment(&segment(Offset::new(u64::MAX))),
            Some(Offset::new(u64::MAX))
        );
    }
}
