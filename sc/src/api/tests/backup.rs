//! Backups over the API.

use super::*;
use crate::store::{Backups as _, MemoryDatabase, MetaStore as _, read_backup};

#[tokio::test]
async fn a_backup_is_for_administrators_and_makes_a_store_with_the_same_topics() {
    let server = Server::new().await;
    server.create("orders", 300).await;
    let path = "/v1/cluster/backup";
    let refused = server.send(ask("GET", path).bearer(READER)).await;
    assert_eq!(
        (refused.status.as_u16(), refused.code()),
        (403, "forbidden")
    );
    let request = |token: &str| {
        let request = axum::http::Request::get(path);
        let request = request.header("authorization", format!("Bearer {token}"));
        request.body(Body::empty()).unwrap()
    };
    let answer = server.router.clone().oneshot(request(ADMIN)).await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["content-type"], "application/x-ndjson");
    assert_eq!(answer.headers()["cache-control"], "no-store");
    // While one is not read to its end there is no other.
    let second = server.send(ask("GET", path)).await;
    assert_eq!((second.status.as_u16(), second.code()), (503, "overloaded"));
    let file = answer.into_body().collect().await.unwrap().to_bytes();
    let backup = read_backup(&*file).unwrap();
    let third = server.router.clone().oneshot(request(ADMIN)).await.unwrap();
    assert_eq!(third.status(), 200);

    let ids = (backup.head.cluster_id, backup.head.store_id);
    let restored = MemoryDatabase::new(ids.0, ids.1).open();
    restored.restore(&backup, 1).await.unwrap();
    let model = restored.snapshot().await.unwrap();
    assert_eq!(model, *server.controller.model());
}
