//! What a listener may rely on when it hears of a round.

use std::sync::{Arc, Mutex, OnceLock};

use tidegate_proto::position::{Offset, ReplicaKey};

use super::{create, dir, generation, key, open, small, submit};
use crate::testing::{Dice, MemVfs};
use crate::{Entry, Log, LogDead, Replica, ReplicaMeta, RoundListener};

/// Notes what the replica says is durable at the moment the listener hears of the round.
#[derive(Debug, Default)]
struct MetaEars {
    replica: OnceLock<Arc<Replica>>,
    heard: Mutex<Vec<Option<u64>>>,
}

impl RoundListener for MetaEars {
    fn durable(&self, _shard: u16, _round: u64, _ends: &[(ReplicaKey, Offset)]) {
        let meta = self
            .replica
            .get()
            .and_then(|replica| replica.durable_meta());
        self.heard
            .lock()
            .unwrap()
            .push(meta.map(|meta| meta.version));
    }

    fn failed(&self, _error: &LogDead) {}
}

#[test]
fn durable_metadata_is_known_when_its_round_is_announced_and_not_before() {
    let vfs = MemVfs::new();
    let ears = Arc::new(MetaEars::default());
    let listener: Arc<dyn RoundListener> = Arc::clone(&ears) as Arc<dyn RoundListener>;
    let log = Log::open(Arc::new(vfs.clone()), &dir(), small(), listener)
        .unwrap()
        .log;
    let replica = create(&log, 0);
    ears.replica.set(Arc::clone(&replica)).unwrap();
    assert_eq!(replica.durable_meta(), None);
    log.run_round().unwrap();
    assert_eq!(
        replica.durable_meta(),
        Some(ReplicaMeta::new(generation(1)))
    );
    let meta = ReplicaMeta {
        version: 9,
        ..ReplicaMeta::new(generation(1))
    };
    submit(&log, vec![Entry::Meta { key: key(0), meta }]);
    assert_eq!(
        (
            replica.meta().version,
            replica.durable_meta().unwrap().version
        ),
        (9, 0)
    );
    log.run_round().unwrap();
    assert_eq!(*ears.heard.lock().unwrap(), [Some(9)]);
    let reopened = open(&vfs.power_lost(&mut Dice::new(1))).log;
    let replica = reopened.replica(key(0)).unwrap();
    assert_eq!(replica.durable_meta(), Some(meta));
}
