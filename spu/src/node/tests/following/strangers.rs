//! Who may open a stream of replication, over real certificates.

use super::*;
use crate::private::{PrivateConfig, service};

/// What a unit answers to such a request.
async fn answered(tls: NodeTls, to: &SpuSpec, versions: &str, lane: Option<&str>) -> u16 {
    let tasks = Tasks::new();
    let config = ChannelConfig {
        endpoints: vec![to.endpoints[0].url.clone()],
        tls,
        expect: Expect::spu(OWN),
        tasks: tasks.child(),
    };
    let channel = Channel::new(&config).unwrap();
    let mut request = http::Request::post(REPLICATE_PATH).header(VERSION_HEADER, versions);
    if let Some(lane) = lane {
        request = request.header(LANE_HEADER, lane);
    }
    let answer = channel.send(request.body(Body::empty()).unwrap()).await;
    let status = answer.map_or(0, |answer| answer.status().as_u16());
    tasks.shutdown(LONG).await;
    status
}

#[tokio::test(flavor = "multi_thread")]
async fn only_storage_units_that_speak_a_known_version_and_name_a_lane_may_follow() {
    let (authority, tasks) = (Authority::new(), Tasks::new());
    let mut site = Site::new();
    let life = site.start();
    let routes = |followers| {
        service(PrivateConfig {
            followers,
            partitions: life.node.partitions(),
            memory: Memory::default(),
            tasks: tasks.child(),
        })
    };
    let own = authority.unit(OWN);
    let unit = listen(&own, routes(Some(life.node.followers())), &tasks);
    let alone = listen(&own, routes(None), &tasks);
    let other = || authority.unit(LEADER);
    let (tail, far) = (Some("tail"), Authority::new());
    assert_eq!(answered(other(), &unit, "1-9", tail).await, 200);
    assert_eq!(answered(other(), &unit, "1-1", Some("catch-up")).await, 200);
    assert_eq!(answered(other(), &unit, "2-3", tail).await, 501);
    assert_eq!(answered(other(), &unit, "", tail).await, 501);
    assert_eq!(answered(other(), &unit, "1-1", None).await, 501);
    assert_eq!(answered(other(), &unit, "1-1", Some("Tail")).await, 501);
    assert_eq!(answered(other(), &alone, "1-1", tail).await, 501);
    for (role, name) in [(NodeRole::Gateway, "gateway-a"), (NodeRole::Sc, "sc-a")] {
        let tls = authority.node(role, name);
        assert_eq!(answered(tls, &unit, "1-1", tail).await, 403, "{name}");
    }
    // Of another cluster: not even a connection.
    assert_eq!(answered(far.unit(LEADER), &unit, "1-1", tail).await, 0);
    life.stop().await;
    tasks.shutdown(LONG).await;
}
