//! Lines of a watch stream: what fits, what does not, and what a broken stream leaves behind.

use uuid::Uuid;

use super::*;
use crate::chain::ChainHash;
use crate::control::{PartitionSpec, SpuSpec, SpuStanding, TopicConfig, TopicSpec};
use crate::id::{Incarnation, SpuId};
use crate::position::{LeaderEpoch, Offset};

const TOPIC: TopicId = TopicId(Uuid::from_u128(7));

fn reset() -> WatchLine {
    WatchLine::Reset {
        cluster_id: ClusterId(Uuid::from_u128(1)),
        store_id: StoreId(Uuid::from_u128(2)),
    }
}

fn hash(revision: u64) -> ChainHash {
    ChainHash([revision as u8; 32])
}

fn whole(revision: u64, changes: Vec<TopologyChange>) -> WatchLine {
    let hash = Some(hash(revision));
    WatchLine::Changes {
        revision,
        changes,
        hash,
    }
}

fn part(revision: u64, changes: Vec<TopologyChange>) -> WatchLine {
    let hash = None;
    WatchLine::Changes {
        revision,
        changes,
        hash,
    }
}

fn topic(version: u64) -> TopologyChange {
    let spec = TopicSpec {
        id: TOPIC,
        name: TopicName::parse("orders").unwrap(),
        version,
        replication_factor: 1,
        min_in_sync: 1,
        config: TopicConfig::default(),
        partitions: Vec::new(),
    };
    TopologyChange::PutTopic { spec }
}

fn partition(number: u32, version: u64) -> TopologyChange {
    let spec = PartitionSpec {
        partition: PartitionId(number),
        leader: Some(SpuId(1)),
        leader_epoch: LeaderEpoch(1),
        version,
        replicas: Vec::new(),
        isr: Vec::new(),
        min_isr: 1,
        recovery_gen: 0,
        truncate_before: Offset::ZERO,
        begins_at: Offset::ZERO,
        is_sealed: false,
        losses: Vec::new(),
    };
    TopologyChange::PutPartition {
        topic_id: TOPIC,
        spec,
    }
}

fn versions(fold: &TopologyFold) -> Vec<u64> {
    let topology = fold.topology().unwrap();
    let topics = topology.topics.values();
    let partitions = topics.flat_map(|topic| &topic.partitions);
    partitions.map(|partition| partition.version).collect()
}

#[test]
fn a_snapshot_in_parts_counts_when_its_hash_came_and_changes_follow_it() {
    let mut fold = TopologyFold::new();
    fold.take(reset()).unwrap();
    let first = fold.take(part(5, vec![topic(1), partition(0, 1)])).unwrap();
    assert_eq!(
        (first, fold.topology(), fold.resume()),
        (Folded::Partial, None, None)
    );
    let second = fold.take(whole(5, vec![partition(1, 1)])).unwrap();
    assert_eq!((second, versions(&fold)), (Folded::Whole, vec![1, 1]));
    fold.take(whole(6, vec![topic(2), partition(1, 2)]))
        .unwrap();
    assert_eq!(versions(&fold), [1, 2]);
    assert_eq!(
        fold.topology()
            .unwrap()
            .topics
            .values()
            .next()
            .unwrap()
            .version,
        2
    );
    let seen = fold.resume().unwrap();
    assert_eq!((seen.revision, seen.hash), (6, hash(6)));
    let name = TopicName::parse("orders").unwrap();
    let gone = TopologyChange::RemoveTopic {
        topic_id: TOPIC,
        name,
    };
    fold.take(whole(7, vec![gone])).unwrap();
    assert!(fold.topology().unwrap().topics.is_empty());
}

#[test]
fn a_gap_a_repetition_and_a_stranger_are_errors_after_which_only_a_snapshot_fits() {
    let misfits = [
        (whole(7, vec![]), Some(FoldError::Gap { last: 5, found: 7 })),
        (whole(5, vec![]), Some(FoldError::Gap { last: 5, found: 5 })),
        (whole(6, vec![partition(3, 1)]), None),
        (
            whole(
                6,
                vec![TopologyChange::PutPartition {
                    topic_id: TopicId(Uuid::from_u128(9)),
                    spec: match partition(0, 1) {
                        TopologyChange::PutPartition { spec, .. } => spec,
                        other => panic!("{other:?}"),
                    },
                }],
            ),
            None,
        ),
    ];
    for (line, error) in misfits {
        let mut fold = TopologyFold::new();
        assert_eq!(fold.take(line.clone()), Err(FoldError::NoSnapshot));
        fold.take(reset()).unwrap();
        fold.take(whole(5, vec![topic(1), partition(0, 1)]))
            .unwrap();
        let refused = fold.take(line).unwrap_err();
        assert!(error.is_none_or(|error| error == refused), "{refused}");
        assert_eq!(fold.resume(), None);
        assert_eq!(fold.take(whole(6, vec![])), Err(FoldError::NoSnapshot));
        fold.take(reset()).unwrap();
        fold.take(whole(3, vec![])).unwrap();
        assert!(
            fold.topology().unwrap().topics.is_empty(),
            "the old state is gone"
        );
    }
}

#[test]
fn a_stream_that_breaks_within_a_revision_goes_on_with_that_revision() {
    let mut fold = TopologyFold::new();
    fold.take(reset()).unwrap();
    fold.take(whole(5, vec![topic(1)])).unwrap();
    fold.take(part(6, vec![partition(0, 1)])).unwrap();
    fold.broke_off();
    assert_eq!(fold.resume().unwrap().revision, 5);
    assert_eq!(fold.topology(), None, "half of a revision is not shown");
    fold.take(part(6, vec![partition(0, 1)])).unwrap();
    fold.take(whole(6, vec![partition(1, 1)])).unwrap();
    assert_eq!(versions(&fold), [1, 1]);
    // Within a snapshot there is nothing to go on from.
    fold.take(reset()).unwrap();
    fold.take(part(9, vec![topic(1)])).unwrap();
    fold.broke_off();
    assert_eq!(fold.resume(), None);
    assert_eq!(fold.take(whole(9, vec![])), Err(FoldError::NoSnapshot));
}

#[test]
fn lines_read_back_as_they_were_written() {
    let spec = SpuSpec {
        endpoints: Vec::new(),
        rack: Some("a".to_owned()),
        site: None,
        standing: SpuStanding::Draining,
        incarnation: Incarnation(3),
    };
    let put = TopologyChange::PutSpu {
        spu: SpuId(4),
        spec,
    };
    let alive = WatchLine::Alive {
        revision: 9,
        stale_ms: Some(8),
    };
    for line in [
        reset(),
        part(4, vec![put, topic(1), partition(0, 2)]),
        alive,
    ] {
        let text = serde_json::to_string(&line).unwrap();
        assert_eq!(serde_json::from_str::<WatchLine>(&text).unwrap(), line);
        assert!(!text.contains('\n'));
    }
}
