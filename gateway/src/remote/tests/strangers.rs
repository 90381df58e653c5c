//! Who is let in, and whom a gateway believes.

use super::*;

async fn refused(far: &Far, tls: NodeTls) -> String {
    let tasks = Tasks::new();
    let remote = RemotePartitions::new(far.memory.topology(), tls, Memory::default(), &tasks);
    let key = far.partition();
    let short = AppendRequest {
        timeout: Duration::from_millis(400),
        ..request(batch(&["a"], None))
    };
    let problem = remote.append(key, short).await.unwrap_err();
    assert_eq!(problem.status(), 503);
    assert!(problem.is_definite());
    assert!(all_values(&*far.memory, key).await.is_empty());
    tasks.shutdown(LONG).await;
    problem.detail().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_of_another_cluster_is_not_let_in() {
    let far = Far::new();
    refused(&far, Cluster::new().gateway()).await;
    far.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_controller_is_not_let_in() {
    let far = Far::new();
    let detail = refused(&far, far.cluster.node(NodeRole::Sc, "sc-a")).await;
    assert!(detail.contains("403"), "{detail}");
    far.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_unit_at_the_address_is_not_believed() {
    let far = Far::new();
    let other = far
        .cluster
        .unit(SpuId(2), Arc::clone(&far.memory) as Arc<dyn Partitions>);
    far.memory.enter(SPU, Some(at_port(other.port)));
    refused(&far, far.cluster.gateway()).await;
    other.tasks.shutdown(LONG).await;
    far.end().await;
}
