//! Shutdown phases, failures and stages, on a paused clock.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::oneshot;

use super::*;

fn none() -> Span {
    Span::none()
}

struct SetOnDrop(Arc<AtomicBool>);

impl Drop for SetOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[tokio::test(start_paused = true)]
async fn shutdown_waits_for_kinds_that_end_by_themselves() {
    let tasks = Tasks::new();
    let finished = Arc::new(AtomicBool::new(false));
    let (flag, seen) = (Arc::clone(&finished), tasks.clone());
    tasks.spawn(TaskKind::Socket, none(), async move {
        seen.cancelled().await;
        let work = std::future::pending::<()>();
        let _ = tokio::time::timeout(Duration::from_secs(5), work).await;
        flag.store(true, Ordering::SeqCst);
    });
    assert!(tasks.shutdown(Duration::from_secs(10)).await);
    assert!(finished.load(Ordering::SeqCst));
    assert_eq!(tasks.running(), 0);
}

#[tokio::test(start_paused = true)]
async fn shutdown_drops_the_other_kinds_at_once() {
    let tasks = Tasks::new();
    let dropped = Arc::new(AtomicBool::new(false));
    let guard = SetOnDrop(Arc::clone(&dropped));
    tasks.spawn(TaskKind::Sweep, none(), async move {
        let _guard = guard;
        std::future::pending::<()>().await;
    });
    let before = crate::clock::monotonic();
    assert!(tasks.shutdown(Duration::from_secs(10)).await);
    assert_eq!(crate::clock::monotonic(), before);
    assert!(dropped.load(Ordering::SeqCst));
}

#[tokio::test(start_paused = true)]
async fn what_overstays_the_deadline_is_dropped_and_reported() {
    let tasks = Tasks::new();
    let dropped = Arc::new(AtomicBool::new(false));
    let guard = SetOnDrop(Arc::clone(&dropped));
    tasks.spawn(TaskKind::Socket, none(), async move {
        let _guard = guard;
        std::future::pending::<()>().await;
    });
    assert!(!tasks.shutdown(Duration::from_secs(10)).await);
    assert!(dropped.load(Ordering::SeqCst));
    assert_eq!(tasks.running(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_stage_ends_alone_and_with_its_parent() {
    let root = Tasks::new();
    let edge = root.child();
    let (seen_root, seen_edge) = (root.clone(), edge.clone());
    root.spawn(TaskKind::Shard, none(), async move {
        seen_root.cancelled().await
    });
    edge.spawn(TaskKind::Socket, none(), async move {
        seen_edge.cancelled().await
    });
    assert_eq!((root.running(), edge.running()), (2, 1));
    assert!(edge.shutdown(Duration::from_secs(1)).await);
    assert!(!root.is_cancelled());
    assert_eq!(root.running(), 1);

    let late = root.child();
    let seen_late = late.clone();
    late.spawn(TaskKind::Socket, none(), async move {
        seen_late.cancelled().await
    });
    assert!(root.shutdown(Duration::from_secs(1)).await);
    assert!(late.is_cancelled());
    assert_eq!(late.running(), 0);
}

#[tokio::test(start_paused = true)]
async fn killing_the_root_drops_the_tasks_of_its_stages() {
    let root = Tasks::new();
    let edge = root.child();
    edge.spawn(TaskKind::Socket, none(), std::future::pending::<()>());
    assert!(!root.shutdown(Duration::from_secs(1)).await);
    assert_eq!(edge.running(), 0);
}

#[tokio::test]
async fn the_failure_of_a_vital_task_cancels_the_whole_process() {
    let root = Tasks::new();
    let stage = root.child();
    stage.spawn(TaskKind::Shard, none(), async {
        Err::<(), _>("journal is dead")
    });
    root.cancelled().await;
    let failure = root.failure().unwrap();
    assert_eq!(failure.kind, TaskKind::Shard);
    assert_eq!(failure.detail, "journal is dead");
}

#[tokio::test]
async fn a_panic_of_a_vital_task_is_a_failure_with_its_message() {
    let root = Tasks::new();
    root.spawn(TaskKind::Shard, none(), async {
        panic!("offset {} is behind", 7)
    });
    root.cancelled().await;
    assert_eq!(root.failure().unwrap().detail, "panic: offset 7 is behind");
}

#[tokio::test(start_paused = true)]
async fn the_failure_of_a_socket_is_only_logged() {
    let root = Tasks::new();
    root.spawn(TaskKind::Socket, none(), async {
        Err::<(), _>("peer went away")
    });
    root.spawn(TaskKind::Connection, none(), async {
        panic!("one connection")
    });
    root.stage.tracker.close();
    root.stage.tracker.wait().await;
    assert!(!root.is_cancelled());
    assert_eq!(root.failure(), None);
}

#[tokio::test]
async fn blocking_work_answers_and_is_waited_for() {
    let tasks = Tasks::new();
    assert_eq!(
        tasks
            .spawn_blocking(TaskKind::Blocking, none(), || 41 + 1)
            .await,
        Ok(42)
    );
    let panicked = tasks
        .spawn_blocking(TaskKind::Blocking, none(), || panic!("bad page"))
        .await;
    assert_eq!(
        panicked,
        Err::<(), _>(BlockingError::Panicked("bad page".into()))
    );

    let (tx, rx) = oneshot::channel::<()>();
    let finished = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&finished);
    drop(tasks.spawn_blocking(TaskKind::Blocking, none(), move || {
        let _ = rx.blocking_recv();
        flag.store(true, Ordering::SeqCst);
    }));
    assert_eq!(tasks.running(), 1);
    tx.send(()).unwrap();
    assert!(tasks.shutdown(Duration::from_secs(10)).await);
    assert!(finished.load(Ordering::SeqCst));
}
