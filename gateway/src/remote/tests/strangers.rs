//! Who is let in, and whom a gateway believes.

use tokio::time::timeout;

use super::*;

/// An append is refused, in the end for that reason.
async fn refused(far: &Far, tls: NodeTls, reason: &str) {
    let tasks = Tasks::new();
    let remote = RemotePartitions::new(far.memory.topology(), tls, Memory::default(), None, &tasks);
    let key = far.partition();
    let short = AppendRequest {
        timeout: Duration::from_millis(400),
        ..request(batch(&["a"], None))
    };
    // The first attempts may end before the unit has answered one.
    let saying = async {
        loop {
            let problem = remote.append(key, short.clone()).await.unwrap_err();
            assert_eq!(problem.status(), 503);
            assert!(problem.is_definite());
            if problem.detail().contains(reason) {
                break;
            }
        }
    };
    timeout(LONG, saying).await.expect(reason);
    assert!(all_values(&*far.memory, key).await.is_empty());
    tasks.shutdown(LONG).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_of_another_cluster_is_not_let_in() {
    let far = Far::new();
    refused(&far, Cluster::new().gateway(), "cannot be reached").await;
    far.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_controller_is_not_let_in() {
    let far = Far::new();
    refused(&far, far.cluster.node(NodeRole::Sc, "sc-a"), "403").await;
    far.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_unit_at_the_address_is_not_believed() {
    let far = Far::new();
    let other = far
        .cluster
        .unit(SpuId(2), Arc::clone(&far.memory) as Arc<dyn Partitions>);
    far.memory.enter(SPU, Some(at_port(other.port)));
    refused(&far, far.cluster.gateway(), "cannot be reached").await;
    other.tasks.shutdown(LONG).await;
    far.end().await;
}
