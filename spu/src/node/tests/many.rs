//! A node with hundreds of partitions, and what it asks of the disk: counted, not timed.

use futures_util::StreamExt as _;
use futures_util::stream;
use tidegate_log::testing::MemVfs;

use super::*;

const COUNT: u32 = 600;
/// Requests under way at once.
const CLIENTS: usize = 64;

async fn append_to_all(life: &Life, keys: &[ReplicaKey], value: &'static str) {
    let appends = keys.iter().map(|key| async move {
        life.append(*key, &[value]).await.unwrap();
    });
    stream::iter(appends)
        .buffer_unordered(CLIENTS)
        .collect::<()>()
        .await;
}

async fn check_all(life: &Life, keys: &[ReplicaKey], expected: &[&str]) {
    for key in keys {
        assert_eq!(life.all(*key).await, expected, "{key}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hundreds_of_partitions_are_made_written_to_and_found_after_a_stop_and_a_kill() {
    let disk = MemVfs::new();
    let mut site = Site::on(Arc::new(disk.clone()), PathBuf::from("/data"));
    let life = site.start();
    let before = disk.counts();
    let keys = site.create("many", COUNT, TopicConfig::default());
    append_to_all(&life, &keys, "first").await;
    let made = disk.counts();
    assert!(
        made.dir_syncs - before.dir_syncs < 20,
        "names are synced in bulk: {made:?}"
    );
    let rounds = made.syncs - before.syncs;
    assert!(
        rounds < u64::from(COUNT) / 2,
        "a sync is for many partitions: {rounds}"
    );
    life.stop().await;

    let before = disk.counts();
    let life = site.start();
    append_to_all(&life, &keys, "second").await;
    let after = disk.counts();
    // At opening a directory is listed twice and the ends of two files are read, for each; then
    // nothing, but for the writer's turn.
    assert!(
        after.lists - before.lists <= u64::from(COUNT) * 2 + 10,
        "{after:?}"
    );
    assert!(
        after.opens - before.opens <= u64::from(COUNT) * 8,
        "{after:?}"
    );

    // The machine loses the process: nothing was stopped, and the files are as they are.
    let crashed = disk.killed();
    let topology = site.topology.borrow().clone();
    let mut site = Site::on(Arc::new(crashed), PathBuf::from("/data"));
    site.lives = 2;
    site.topology.send_replace(topology);
    let again = site.start();
    check_all(&again, &keys, &["first", "second"]).await;
    assert!(again.node.found.missing.is_empty());
    again.stop().await;
    life.stop().await;
}
