//! Registrations that come late: what they say was true of an earlier run of the unit.

use std::future::ready;

use super::cluster::Cluster;
use super::*;
use crate::store::Weather;

const MILLISECOND: Duration = Duration::from_millis(1);

#[tokio::test(start_paused = true)]
async fn a_registration_that_nobody_waits_for_is_not_carried_out() {
    let cluster = Cluster::new();
    let sc = cluster.sc("a").await;
    let before = cluster.end().await;
    tokio::select! {
        biased;
        made = sc.try_register(1) => panic!("made before it was given up: {made:?}"),
        () = ready(()) => {}
    }
    cluster.settle().await;
    assert_eq!(cluster.end().await, before);
    assert_eq!(sc.register(1).await.number, 1, "and it is asked for again");
}

/// The first run asks a controller whose store is slow, and the second, at any moment of that, another one.
#[tokio::test(start_paused = true)]
async fn a_registration_that_a_later_run_overtook_is_not_carried_out() {
    let mut overtaken = 0;
    for delay in 0..40 {
        let cluster = Cluster::new();
        let (slow, fast) = (cluster.sc("a").await, cluster.sc("b").await);
        slow.register(1).await;
        cluster.settle().await;
        slow.store.set_weather(Weather {
            seed: 7,
            refused_per_mille: 0,
            unknown_per_mille: 0,
            latency_max: 20 * MILLISECOND,
        });
        let mut late = std::pin::pin!(slow.try_register_as(1, 2));
        let made = tokio::time::timeout(delay * MILLISECOND, &mut late)
            .await
            .ok();
        // Refused too while its controller has not heard of the one before: then it asks again.
        let later = match fast.try_register_as(1, 3).await {
            Ok(later) => later,
            Err(refused) => {
                assert!(refused.is_definite() && refused.is_retryable());
                fast.try_register_as(1, 3).await.unwrap()
            }
        };
        let refused = match made {
            Some(made) => made.err(),
            None => late.await.err(),
        };
        if let Some(refused) = refused {
            assert!(refused.is_definite() && refused.is_retryable());
            overtaken += 1;
        }
        let row = cluster.end().await.spu(SpuId(1)).cloned().unwrap();
        let last = (row.run_id, row.incarnation);
        assert_eq!(last, (Some(later.run_id), later.incarnation), "{delay} ms");
    }
    assert!((1..40).contains(&overtaken), "{overtaken} were overtaken");
}
