//! Backups: what is in them comes back, in a store of any kind, and makes another store of it.

use std::sync::Arc;

use tidegate_proto::id::{LeaseEpoch, StoreId};
use uuid::Uuid;

use super::{Bench, commit, history};
use crate::limits::PRODUCER_IDS_PER_ADOPTION;
use crate::store::backup::LEASE_EPOCHS_PER_RESTORE;
use crate::store::{
    Acquired, Backup, ChainAt, JoinToken, MetaStore, NodeCertificate, Record, RestoreError,
    backup_lines, read_backup,
};

pub(super) async fn check<B: Bench>(bench: &impl AsyncFn() -> B) {
    a_store_that_was_restored_goes_on_where_the_other_was(&bench().await, &bench().await).await;
    what_nodes_saw_of_the_other_counts_once_the_store_is_adopted(&bench().await, &bench().await)
        .await;
    only_an_empty_store_is_restored(&bench().await, &bench().await).await;
    a_restore_that_fails_leaves_nothing(&bench().await, &bench().await).await;
}

/// Rows of the ledger, for every table to have some.
pub(super) async fn note(store: &dyn MetaStore) {
    let token = |number: u8| JoinToken {
        hash: [number; 32],
        role: "spu".to_owned(),
        scope: "{}".to_owned(),
        created_by: "ann \"x\"\n".to_owned(),
        created_at_ms: 1,
        expires_at_ms: 100,
        used: None,
    };
    for number in [1, 2] {
        assert!(store.add_join_token(&token(number)).await.unwrap());
    }
    store
        .redeem_join_token(&[1; 32], "b", Some("b"), 9)
        .await
        .unwrap();
    let certificate = |serial: &str, revoked_at_ms| NodeCertificate {
        serial: serial.to_owned(),
        node: "spu/spu-1".to_owned(),
        issued_at_ms: 1,
        expires_at_ms: i64::MAX,
        revoked_at_ms,
    };
    for (serial, revoked_at_ms) in [("0a", None), ("0b", Some(4))] {
        let certificate = certificate(serial, revoked_at_ms);
        assert!(store.add_certificate(&certificate).await.unwrap());
    }
}

/// As a file and read back.
pub(super) async fn carried(store: &dyn MetaStore) -> Backup {
    let backup = store.backup().await.unwrap();
    let file: String = backup_lines(backup.clone(), 1).collect();
    let read = read_backup(file.as_bytes()).unwrap();
    assert_eq!(read, backup);
    read
}

/// What a backup has beside whose it is.
pub(super) fn content(backup: &Backup) -> Vec<&Record> {
    let records = backup.records.iter();
    records
        .filter(|record| !matches!(record, Record::Adoption(_)))
        .collect()
}

/// What a store that is made of it has too.
pub(super) fn kept(backup: &Backup) -> Vec<&Record> {
    let mut records = content(backup);
    records.retain(|record| !matches!(record, Record::JoinToken(_)));
    records
}

async fn a_store_that_was_restored_goes_on_where_the_other_was(old: &impl Bench, new: &impl Bench) {
    let store = old.open().await;
    let model = history(&*store).await;
    note(&*store).await;
    store
        .acquire_lease("sc-1", std::time::Duration::from_secs(60))
        .await
        .unwrap();
    let backup = carried(&*store).await;
    let restored = new.open().await;
    let id = restored.restore(&backup, 9).await.unwrap();
    restored.close().await;
    drop(restored);

    let restored = new.open().await;
    let standing = restored.standing().await.unwrap();
    assert_eq!(standing.store_id, id);
    assert_ne!(id, backup.head.store_id);
    assert_eq!(standing.cluster_id, backup.head.cluster_id);
    assert_eq!(standing.revision, model.revision);
    assert_eq!(restored.snapshot().await.unwrap(), model);
    let again = restored.backup().await.unwrap();
    assert_eq!(content(&again), kept(&backup));
    assert!(restored.join_tokens().await.unwrap().is_empty());
    let chain = restored.chain_at(model.revision).await.unwrap();
    assert_eq!(chain, ChainAt::Known(backup.head.chain));
    let before = restored.chain_at(model.revision - 1).await.unwrap();
    assert!(matches!(before, ChainAt::Compacted { .. }), "{before:?}");
    let ids = restored.lease_producer_ids(5).await.unwrap();
    let first = backup.head.next_producer_id + PRODUCER_IDS_PER_ADOPTION;
    assert_eq!(ids, first..first + 5);
    let lease = restored.acquire_lease("sc-2", std::time::Duration::from_secs(60));
    let epoch = LeaseEpoch(backup.head.lease_epoch + LEASE_EPOCHS_PER_RESTORE + 1);
    assert_eq!(lease.await.unwrap(), Acquired::Ours(epoch));

    // The same commit gives the same hash in both: the history goes on.
    let spus = model.spus.values().next().unwrap().clone();
    let version = spus.version + 1;
    let next = commit(vec![tidegate_sc_core::change::Change::PutSpu(
        tidegate_sc_core::rows::SpuRow { version, ..spus },
    )]);
    let revision = store.apply(&next).await.unwrap();
    assert_eq!(restored.apply(&next).await.unwrap(), revision);
    assert_eq!(
        restored.chain_at(revision).await.unwrap(),
        store.chain_at(revision).await.unwrap()
    );
}

async fn what_nodes_saw_of_the_other_counts_once_the_store_is_adopted(
    old: &impl Bench,
    new: &impl Bench,
) {
    let store = old.open().await;
    let former = store.standing().await.unwrap().store_id;
    store.adopt("ann", 3).await.unwrap();
    let backup = carried(&*store).await;
    let origin = backup.head.store_id;
    let restored = new.open().await;
    let id = restored.restore(&backup, 9).await.unwrap();
    let has_been = async |id: StoreId| restored.has_been(id).await.unwrap();
    assert!(has_been(id).await && has_been(former).await);
    assert!(!has_been(origin).await, "nobody said that it is the same");
    // A backup of it, before anybody says so, says no more.
    let waiting = carried(&*restored).await;
    assert_eq!(waiting.head.store_id, id);
    restored.adopt("bob", 10).await.unwrap();
    assert!(has_been(origin).await && has_been(id).await && has_been(former).await);
    assert!(!has_been(StoreId(Uuid::from_u128(99))).await);
}

async fn only_an_empty_store_is_restored(old: &impl Bench, new: &impl Bench) {
    let store = old.open().await;
    history(&*store).await;
    let backup = carried(&*store).await;
    let other = new.open().await;
    note(&*other).await;
    for (store, at) in [(&store, backup.head.revision), (&other, 0)] {
        let before = store.backup().await.unwrap();
        let refused = store.restore(&backup, 9).await.unwrap_err();
        assert!(
            matches!(refused, RestoreError::NotEmpty { revision } if revision == at),
            "{refused}"
        );
        assert_eq!(store.backup().await.unwrap(), before);
    }
}

async fn a_restore_that_fails_leaves_nothing(old: &impl Bench, new: &impl Bench) {
    let store = old.open().await;
    history(&*store).await;
    note(&*store).await;
    let backup = carried(&*store).await;
    let mut bad = backup.clone();
    let twice = bad.records.last().cloned().unwrap();
    bad.records.push(twice);
    let mut orphaned = backup.clone();
    orphaned.records.retain(|record| record.table() != "topics");
    let restored: Arc<dyn MetaStore> = new.open().await;
    let before = restored.backup().await.unwrap();
    for bad in [bad, orphaned] {
        let refused = restored.restore(&bad, 9).await;
        assert!(refused.is_err(), "{}: {refused:?}", restored.name());
        assert_eq!(restored.backup().await.unwrap(), before);
    }
    restored.restore(&backup, 9).await.unwrap();
}
