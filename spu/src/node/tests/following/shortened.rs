//! Logs that are cut or begun anew at the word of a leader, and ledgers that come with it.

use bytes::Bytes;
use tidegate_log::testing::{FaultyVfs, MemVfs, Step, Trouble};
use tidegate_spu_core::Ledger;

use super::*;
use crate::shard::Service;

fn diverged(asked: Asked, end: u64) -> Event {
    Event::Diverged {
        handle: asked.handle,
        leader_epoch: asked.epoch,
        epoch: LeaderEpoch(1),
        end: Offset::new(end),
    }
}

/// A follower with three records of epoch 1 that a leader of epoch 2 is asked to go on with.
async fn parted(followed: &mut Followed) -> (Stream, Asked) {
    let mut stream = followed.stream(Lane::Tail).await;
    stream.fill(followed.key, &["a", "b", "c"]).await;
    followed.site.next_epoch("flights");
    let asked = stream.asked().await;
    (stream, asked)
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_that_part_are_cut_durably_and_attached_anew() {
    let mut followed = Followed::new();
    let (mut stream, asked) = parted(&mut followed).await;
    stream.say(diverged(asked, 2));
    let again = stream.fill(followed.key, &["other"]).await;
    assert_eq!(again.end, 2);
    assert_ne!(again.handle, asked.handle);
    stream.push(again.handle, 3, &[]);
    followed.until_committed(3).await;
    assert_eq!(followed.holds(), ["a", "b", "other"]);
    followed.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_ends_below_the_leader_begins_anew_and_takes_its_ledger_in_pieces() {
    let mut followed = Followed::new();
    let mut stream = followed.stream(Lane::Tail).await;
    let asked = stream.fill(followed.key, &["a"]).await;
    stream.say(Event::Ended {
        handle: asked.handle,
        reason: EndReason::Over,
    });
    let asked = stream.asked().await;
    stream.say(Event::Reset {
        handle: asked.handle,
        leader_epoch: asked.epoch,
        log_start: Offset::new(50),
    });
    let asked = stream.asked().await;
    assert_eq!((asked.log_start, asked.end), (50, 50));
    assert!(!asked.is_whole);
    stream.attached(asked, true);
    let as_of = Offset::new(51);
    let bytes = Bytes::from(Ledger::default().encode());
    let (first, last) = (bytes.slice(..1), bytes.slice(1..));
    for (bytes, is_last) in [(first, false), (last, true)] {
        let piece = SnapshotPiece {
            handle: asked.handle,
            as_of,
            is_last,
            bytes,
        };
        stream.says.with(|pieces| {
            piece.encode(pieces);
        });
    }
    let at_once = stream.acked(asked.handle, |_| true).await;
    assert_eq!(at_once.ledger_as_of, None);
    // It is held until the log has come up to it.
    assert!(followed.site.reads.held() > 0);
    stream.push(
        asked.handle,
        51,
        &[stored(followed.key, 50, LeaderEpoch(1), "x")],
    );
    stream
        .acked(asked.handle, |acked| acked.ledger_as_of == Some(as_of))
        .await;
    assert_eq!(followed.site.reads.held(), 0);
    followed.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_log_that_stays_unreadable_fails_by_itself_and_says_so() {
    let disk = FaultyVfs::new(Arc::new(MemVfs::new()));
    let site = Site::on(Arc::new(disk.clone()), PathBuf::from("data"));
    let mut followed = Followed::on(site);
    let (stream, asked) = parted(&mut followed).await;
    followed.cool().await;
    disk.fail(Step::Read, 0, Trouble::Broken, true);
    stream.say(diverged(asked, 2));
    let found = async {
        loop {
            if let Some(damage) = followed.status().damage {
                return damage;
            }
            tokio::task::yield_now().await;
        }
    };
    let damage = timeout(LONG, found).await.unwrap();
    assert!(damage.read_only);
    let open = followed.life.node.directory.get(followed.key).unwrap();
    let failed = async {
        while open.reader.service() != Service::ReadOnly {
            tokio::task::yield_now().await;
        }
    };
    timeout(LONG, failed).await.unwrap();
    // Of the rest of such a disk nothing is promised here.
    let _ = followed.life.node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rot_in_what_a_cut_left_is_told_to_the_leader_and_shown() {
    let memory = MemVfs::new();
    let site = Site::on(Arc::new(memory.clone()), PathBuf::from("data"));
    let mut followed = Followed::with(site, |config| config.segment_bytes = 16_384);
    // Each in a segment of its own.
    let mut stream = followed.stream(Lane::Tail).await;
    let long = "x".repeat(20_000);
    stream.fill(followed.key, &[&long, &long, &long]).await;
    followed.site.next_epoch("flights");
    let asked = stream.asked().await;
    followed.cool().await;
    let topic = followed.key.topic_id.to_string();
    let segment = memory.files().into_iter().find(|path| {
        let path = path.to_string_lossy();
        path.contains(&topic) && path.ends_with(".log")
    });
    memory.damage(&segment.unwrap(), |bytes| {
        let at = bytes.len() / 2;
        bytes[at] ^= 1;
    });
    stream.say(diverged(asked, 2));
    let again = stream.asked().await;
    assert_eq!((again.end, again.is_intact), (2, false));
    assert!(followed.status().damage.is_some());
    followed.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shipped_ledger_that_is_given_up_with_its_leader_holds_nothing() {
    let mut followed = Followed::new();
    let mut stream = followed.stream(Lane::Tail).await;
    let asked = stream.asked().await;
    stream.attached(asked, true);
    let piece = SnapshotPiece {
        handle: asked.handle,
        as_of: Offset::new(7),
        is_last: true,
        bytes: Bytes::from(Ledger::default().encode()),
    };
    stream.says.with(|pieces| {
        piece.encode(pieces);
    });
    stream.acked(asked.handle, |_| true).await;
    assert!(followed.site.reads.held() > 0);
    followed.site.change(|topics| {
        let topic = topics.values_mut().next().unwrap();
        let row = &mut Arc::make_mut(topic).partitions[0];
        row.version += 1;
        row.leader_epoch = LeaderEpoch(2);
        row.leader = None;
    });
    let given_back = async {
        while followed.site.reads.held() > 0 {
            tokio::task::yield_now().await;
        }
    };
    timeout(LONG, given_back).await.unwrap();
    followed.stop().await;
}

impl Followed {
    /// What is durable is in segments, and not in memory.
    async fn cool(&self) {
        let log = self.life.node.log.clone();
        let replica = log.replica(self.key).unwrap();
        tokio::task::spawn_blocking(move || log.checkpoint().unwrap())
            .await
            .unwrap();
        replica.cool();
    }
}
