//! Snapshots of ledgers that a leader ships: in pieces, under credit, few at once.

use super::*;

const PIECE: usize = SNAPSHOT_PIECE_BYTES_MAX;

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_goes_in_pieces_for_which_there_is_credit() {
    let (_site, life, key) = led(&["a"]).await;
    let as_of = life.snapshot(key, 3 * PIECE + 1).await;
    let mut played = life.played(Lane::Tail);
    played.say(attach_without_ledger(1, key));
    played.attached(true).await;
    played.is_quiet().await;
    let mut len = 0;
    // Each is larger than the credit and overdraws it.
    for number in 0..3 {
        played.credit(if number == 0 { 1 } else { PIECE as u32 + 13 });
        let piece = played.piece().await;
        assert_eq!((piece.as_of, piece.is_last), (as_of, false));
        len += piece.bytes.len();
        played.is_quiet().await;
    }
    played.credit(1 << 20);
    let last = played.piece().await;
    assert!(last.is_last);
    assert_eq!(len + last.bytes.len(), 3 * PIECE + 1);
    assert_eq!(played.values().await, ["a", "behind the snapshot"]);
    life.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_shipped_is_as_new_as_what_is_durable() {
    let (_site, life, key) = led(&["a"]).await;
    life.snapshot(key, 10).await;
    life.node.log.checkpoint().unwrap();
    // In the journal only: the segment writer comes by later.
    let newest = life.snapshot(key, 20).await;
    let mut played = life.played(Lane::Tail);
    played.credit(1 << 20);
    played.say(attach_without_ledger(1, key));
    played.attached(true).await;
    let piece = played.piece().await;
    assert_eq!((piece.as_of, piece.bytes.len()), (newest, 20));
    life.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_holds_few_snapshots_for_a_follower_that_takes_nothing() {
    const COUNT: u32 = 12;
    let mut site = Site::new();
    let life = site.start();
    let mut played = life.played(Lane::CatchUp);
    for handle in 0..COUNT {
        let key = site.create_copied(&format!("flights-{handle}"));
        life.append(key, &["a"]).await.unwrap();
        life.snapshot(key, 4 * PIECE).await;
        played.say(attach_without_ledger(handle, key));
    }
    for _ in 0..COUNT {
        played.attached(true).await;
    }
    played.is_quiet().await;
    let held = site.reads.held();
    assert!(held <= 2 * 4 * PIECE, "{held}");
    // What one of them leaves goes to the next.
    played.credit(u32::MAX);
    let mut whole = 0;
    while whole < COUNT {
        let arrived = played.frame().await;
        if arrived.kind != SNAPSHOT {
            continue;
        }
        let piece = SnapshotPiece::decode(arrived.payload).unwrap();
        whole += u32::from(piece.is_last);
    }
    assert_eq!(site.reads.held(), 0);
    life.stop().await;
}
