//! The ledger: receipts, join tokens that are used once, certificates.

use std::sync::Arc;

use tokio::task::JoinSet;

use super::Bench;
use crate::store::{JoinToken, NodeCertificate, Receipt, Redeemed, Use};

pub(super) async fn check<B: Bench>(bench: &impl AsyncFn() -> B) {
    a_join_token_is_used_once_by_one_of_many(&bench().await).await;
    a_join_token_expires_and_can_be_taken_back(&bench().await).await;
    of_tokens_without_a_name_one_takes_it(&bench().await).await;
    certificates_are_found_by_node_and_revoked(&bench().await).await;
    what_has_expired_is_dropped_and_nothing_else(&bench().await).await;
}

fn token(number: u8) -> JoinToken {
    JoinToken {
        hash: [number; 32],
        role: "spu".to_owned(),
        scope: "{\"group\":\"main\"}".to_owned(),
        created_by: "ann".to_owned(),
        created_at_ms: i64::from(number),
        expires_at_ms: 100,
        used: None,
    }
}

fn certificate(serial: &str, node: &str, expires_at_ms: i64) -> NodeCertificate {
    NodeCertificate {
        serial: serial.to_owned(),
        node: node.to_owned(),
        issued_at_ms: 5,
        expires_at_ms,
        revoked_at_ms: None,
    }
}

async fn a_join_token_is_used_once_by_one_of_many(bench: &impl Bench) {
    let store = bench.open().await;
    assert!(store.add_join_token(&token(1)).await.unwrap());
    assert!(
        !store.add_join_token(&token(1)).await.unwrap(),
        "there already"
    );
    let mut nodes = JoinSet::new();
    for node in 0..8 {
        let store = Arc::clone(&store);
        nodes.spawn(async move {
            let by = format!("spu-{node}");
            store
                .redeem_join_token(&[1; 32], &by, None, 50)
                .await
                .unwrap()
        });
    }
    let answers = nodes.join_all().await;
    let winners: Vec<&JoinToken> = answers
        .iter()
        .filter_map(|answer| match answer {
            Redeemed::Now(token) => Some(token),
            _ => None,
        })
        .collect();
    let [winner] = winners[..] else {
        panic!("{answers:?}")
    };
    let used = winner.used.clone().unwrap();
    assert_eq!(used.at_ms, 50);
    let losers = answers
        .iter()
        .filter(|answer| **answer == Redeemed::Before(used.clone()));
    assert_eq!(losers.count(), 7, "and each is told by whom");
    let expected = JoinToken {
        used: Some(used),
        ..token(1)
    };
    let found = store.join_token(&[1; 32]).await.unwrap();
    assert_eq!(found.as_ref(), Some(&expected));
    assert_eq!(store.join_token(&[2; 32]).await.unwrap(), None);
    assert_eq!(store.join_tokens().await.unwrap(), [expected]);
    assert!(store.revoke_join_token(&[1; 32]).await.unwrap());
    let again = store.redeem_join_token(&[1; 32], "spu-0", None, 51).await;
    assert_eq!(again.unwrap(), Redeemed::Unknown, "whoever used it neither");
    assert!(!store.revoke_join_token(&[1; 32]).await.unwrap());
}

async fn of_tokens_without_a_name_one_takes_it(bench: &impl Bench) {
    let store = bench.open().await;
    let mut nodes = JoinSet::new();
    for number in 1..=4 {
        store.add_join_token(&token(number)).await.unwrap();
        let store = Arc::clone(&store);
        nodes.spawn(async move {
            let by = format!("spu/spu-7 key-{number}");
            let hash = [number; 32];
            let redeemed = store.redeem_join_token(&hash, &by, Some("spu/spu-7"), 50);
            (number, redeemed.await.unwrap())
        });
    }
    let answers = nodes.join_all().await;
    let won = |(_, answer): &&(u8, Redeemed)| matches!(answer, Redeemed::Now(_));
    let [(winner, _)] = answers.iter().filter(won).collect::<Vec<_>>()[..] else {
        panic!("{answers:?}")
    };
    let lost = answers.iter().filter(|(_, it)| *it == Redeemed::NameTaken);
    assert_eq!(lost.count(), 3);
    let redeemed = async |number: u8, took, now_ms| {
        let hash = [number; 32];
        let redeemed = store.redeem_join_token(&hash, "x", took, now_ms);
        redeemed.await.unwrap()
    };
    // Whoever lost has a token that is as good as before, for another name or by its own name.
    let mut losers = (1..=4_u8).filter(|number| number != winner);
    let (second, third) = (losers.next().unwrap(), losers.next().unwrap());
    let taken = redeemed(second, Some("spu/spu-7"), 51).await;
    assert_eq!(taken, Redeemed::NameTaken);
    let other = redeemed(second, Some("spu/spu-8"), 51).await;
    assert!(matches!(other, Redeemed::Now(_)), "{other:?}");
    let named = redeemed(third, None, 51).await;
    assert!(matches!(named, Redeemed::Now(_)), "{named:?}");
    // The winner asks again, and the name is free once its token is gone.
    let again = redeemed(*winner, Some("spu/spu-7"), 52).await;
    assert!(matches!(again, Redeemed::Before(_)), "{again:?}");
    assert!(store.revoke_join_token(&[*winner; 32]).await.unwrap());
    let fourth = losers.next().unwrap();
    let free = redeemed(fourth, Some("spu/spu-7"), 53).await;
    assert!(matches!(free, Redeemed::Now(_)), "{free:?}");
}

async fn a_join_token_expires_and_can_be_taken_back(bench: &impl Bench) {
    let store = bench.open().await;
    for number in [3, 2] {
        store.add_join_token(&token(number)).await.unwrap();
    }
    assert_eq!(store.join_tokens().await.unwrap(), [token(2), token(3)]);
    let redeemed = async |hash, now_ms| {
        let redeemed = store.redeem_join_token(&hash, "x", None, now_ms);
        redeemed.await.unwrap()
    };
    assert_eq!(redeemed([2; 32], 100).await, Redeemed::Expired);
    assert!(store.revoke_join_token(&[3; 32]).await.unwrap());
    assert_eq!(redeemed([3; 32], 5).await, Redeemed::Unknown);
    let by = Use {
        by: "x".to_owned(),
        at_ms: 99,
    };
    assert!(matches!(redeemed([2; 32], 99).await, Redeemed::Now(token) if token.used == Some(by)));
}

async fn certificates_are_found_by_node_and_revoked(bench: &impl Bench) {
    let store = bench.open().await;
    let all = [
        certificate("0b", "spu-1", 100),
        certificate("0c", "spu-1", 200),
        certificate("0a", "spu-2", 100),
    ];
    for one in &all {
        assert!(store.add_certificate(one).await.unwrap());
        assert!(
            !store.add_certificate(one).await.unwrap(),
            "serials are unique"
        );
    }
    assert_eq!(store.certificates(None).await.unwrap(), all);
    assert_eq!(store.certificates(Some("spu-2")).await.unwrap(), all[2..]);
    assert_eq!(
        store.certificate("0c").await.unwrap().as_ref(),
        Some(&all[1])
    );
    assert_eq!(store.certificate("0d").await.unwrap(), None);
    let is_certified = async |node, now_ms| store.is_certified(node, now_ms).await.unwrap();
    assert!(is_certified("spu-1", 199).await);
    assert!(!is_certified("spu-1", 200).await, "expired");
    assert!(!is_certified("spu-3", 5).await, "never seen");
    assert_eq!(store.revoke_certificates("spu-1", 7).await.unwrap(), 2);
    assert!(!is_certified("spu-1", 8).await, "revoked");
    assert!(is_certified("spu-2", 8).await);
    assert_eq!(store.revoke_certificates("spu-1", 8).await.unwrap(), 0);
    let of_it = store.certificates(Some("spu-1")).await.unwrap();
    assert!(of_it.iter().all(|one| one.revoked_at_ms == Some(7)));
}

async fn what_has_expired_is_dropped_and_nothing_else(bench: &impl Bench) {
    let store = bench.open().await;
    let receipt = |key: &str, expires_at_ms| Receipt {
        principal: "ann".to_owned(),
        key: key.to_owned(),
        request_hash: [1; 32],
        answer: String::new(),
        expires_at_ms,
    };
    assert!(store.put_receipt(&receipt("old", 50), 5).await.unwrap());
    assert!(!store.put_receipt(&receipt("old", 90), 49).await.unwrap());
    assert!(store.put_receipt(&receipt("new", 90), 5).await.unwrap());
    store.add_join_token(&token(1)).await.unwrap();
    store
        .add_certificate(&certificate("1", "n", 50))
        .await
        .unwrap();
    store
        .add_certificate(&certificate("2", "n", 51))
        .await
        .unwrap();
    assert_eq!(store.drop_expired(50).await.unwrap(), 2);
    assert_eq!(store.join_tokens().await.unwrap().len(), 1);
    assert_eq!(store.certificates(None).await.unwrap().len(), 1);
    assert!(store.receipt("ann", "new", 50).await.unwrap().is_some());
    // By an earlier clock it would still count, were it there.
    assert!(store.receipt("ann", "old", 5).await.unwrap().is_none());
}
