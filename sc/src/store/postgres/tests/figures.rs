//! A large cluster is made and read whole. It also says how long that takes, which decides nothing:
//! `cargo nextest run --release -p tidegate-sc --no-capture large_cluster`.

use tidegate_kit::clock::monotonic;

use super::*;

/// 10 of them make the 101,000 partitions of docs/metadata.md.
const TOPICS: usize = 2;
const PARTITIONS_EACH: u32 = 10_000;

/// Resident memory in KiB, where the system tells.
fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().nth(1));
    number.and_then(|number| number.parse().ok()).unwrap_or(0)
}

#[expect(clippy::print_stderr, reason = "for whoever runs it to measure")]
fn say(what: &str, since: std::time::Instant) {
    let (took, kib) = (monotonic() - since, resident_kib());
    eprintln!("{what}: {took:.2?}, resident {} MiB", kib / 1024);
}

#[tokio::test]
async fn a_large_cluster_is_made_and_read() {
    let server = Server::new().await;
    let store = server.store().await.unwrap();
    let mut model = store.snapshot().await.unwrap();
    let commit = creation(&model, "thousand", 1_000);
    let began = monotonic();
    let revision = store.apply(&commit).await.unwrap();
    say("a topic of 1,000 partitions committed", began);
    model.commit(revision, &commit.changes);
    for number in 0..TOPICS {
        let commit = creation(&model, &format!("wide-{number}"), PARTITIONS_EACH);
        let began = monotonic();
        let revision = store.apply(&commit).await.unwrap();
        say("a topic of 10,000 partitions committed", began);
        model.commit(revision, &commit.changes);
    }
    let began = monotonic();
    let read = store.snapshot().await.unwrap();
    say("a snapshot of all partitions read", began);
    assert!(read == model);
    let reopened = monotonic();
    let again = server.store().await.unwrap();
    assert_eq!(again.snapshot().await.unwrap().revision, model.revision);
    say("the store opened and the snapshot read", reopened);
    let began = monotonic();
    let events = store.events_after(0, u64::MAX).await.unwrap();
    say("all events read", began);
    assert_eq!(
        events.len(),
        1_001 + TOPICS * (PARTITIONS_EACH as usize + 1)
    );
}
