//! A storage unit that hangs: its connections stay and nothing comes.

use std::future::pending;

use tidegate_proto::control::TopicSpec;
use tidegate_proto::error::ErrorCode;
use tidegate_proto::position::LeaderEpoch;
use tokio::sync::Notify;
use tokio::time::timeout;

use super::*;

const SILENT: SpuId = SpuId(2);

/// A unit that takes questions and answers none.
struct Silent {
    asked: Arc<Notify>,
    unit: Unit,
}

impl Silent {
    /// It leads the topic's one partition.
    fn leads(far: &Far, topic: &TopicSpec) -> Self {
        let asked = Arc::new(Notify::new());
        let told = Arc::clone(&asked);
        let routes = Router::new().fallback(move || {
            told.notify_one();
            pending::<()>()
        });
        let tasks = Tasks::new();
        let tls = far.cluster.node(NodeRole::Spu, &format!("spu-{SILENT}"));
        let port = listen(&tls, routes, &tasks);
        far.memory.enter(SILENT, Some(at_port(port)));
        far.memory
            .lead(topic, PartitionId(0), SILENT, LeaderEpoch(2));
        let unit = Unit { tasks, port };
        Self { asked, unit }
    }

    /// When a question is there.
    async fn asked(&self) {
        timeout(LONG, self.asked.notified()).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_question_that_hangs_is_asked_of_the_next_leader_as_soon_as_there_is_one() {
    let far = Far::new();
    let topic = far.memory.create_topic("t", 1);
    let silent = Silent::leads(&far, &topic);
    let key = topic.key(PartitionId(0));
    let moved = async {
        silent.asked().await;
        far.memory.lead(&topic, PartitionId(0), SPU, LeaderEpoch(3));
    };
    let (answer, ()) = tokio::join!(far.remote.offsets(key), moved);
    assert_eq!(answer.unwrap().high_watermark, Offset::ZERO);
    silent.unit.tasks.cancel();
    far.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_question_to_a_unit_that_hangs_ends_when_the_unit_is_away() {
    let far = Far::new();
    let topic = far.memory.create_topic("t", 1);
    let silent = Silent::leads(&far, &topic);
    let key = topic.key(PartitionId(0));
    let fenced = async {
        silent.asked().await;
        let spec = SpuSpec {
            standing: SpuStanding::Fenced,
            ..at_port(silent.unit.port)
        };
        far.memory.enter(SILENT, Some(spec));
    };
    let (answer, ()) = tokio::join!(far.remote.offsets(key), fenced);
    let problem = answer.unwrap_err();
    assert_eq!(problem.code(), ErrorCode::Unavailable);
    let detail = problem.detail();
    assert!(detail.starts_with("its leader is away: "), "{detail}");
    silent.unit.tasks.cancel();
    far.end().await;
}
