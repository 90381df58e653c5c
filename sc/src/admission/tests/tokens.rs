//! Tokens as operators see them, and how they end.

use super::*;
use crate::controller::Reported;

struct Unknown;

impl Statuses for Unknown {
    fn partition(&self, _: ReplicaKey) -> Option<Reported> {
        None
    }

    fn has_room(&self) -> bool {
        true
    }
}

// The public plane's answer, to `admin` or to `reader`.
async fn call(router: &Router, method: &str, path: &str, by: &str, body: &Value) -> (u16, Value) {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("authorization", format!("Bearer {by}"))
        .header("content-type", "application/json")
        .body(Body::from(body.to_string()))
        .unwrap();
    let answer = router.clone().oneshot(request).await.unwrap();
    let status = answer.status().as_u16();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&body).unwrap_or_default())
}

fn auth() -> Auth {
    let reader = Grants::limited(&[Op::Describe], Vec::new());
    Auth::with_tokens([
        ("admin", Principal::new("admin", Grants::all())),
        ("reader", Principal::new("reader", reader)),
    ])
}

#[tokio::test]
async fn operators_make_list_and_take_back_tokens() {
    let bench = Bench::new().await;
    let router = bench.admission.control_router(&auth(), Arc::new(Unknown));
    let path = "/v1/join-tokens";
    let asked = json!({ "role": "spu", "name": "spu-3", "ttl_s": 60 });
    assert_eq!(call(&router, "POST", path, "reader", &asked).await.0, 403);
    let (status, made) = call(&router, "POST", path, "admin", &asked).await;
    assert_eq!(status, 201, "{made}");
    let token = made["token"].as_str().unwrap();
    assert_eq!(made["created_by"], "admin");
    let life = made["expires_at"].as_i64().unwrap() - made["created_at"].as_i64().unwrap();
    assert_eq!(life, 60_000);
    let secret = token.parse::<JoinTicket>().unwrap().secret;
    assert!(!made["id"].as_str().unwrap().contains(&secret));
    call(
        &router,
        "POST",
        path,
        "admin",
        &json!({ "role": "gateway" }),
    )
    .await;

    assert_eq!(
        call(&router, "GET", path, "reader", &Value::Null).await.0,
        403
    );
    let (_, list) = call(&router, "GET", path, "admin", &Value::Null).await;
    assert_eq!(list["items"].as_array().unwrap().len(), 2);
    assert!(!list.to_string().contains(&secret), "shown once only");
    let (_, page) = call(
        &router,
        "GET",
        "/v1/join-tokens?limit=1",
        "admin",
        &Value::Null,
    )
    .await;
    let next = format!("/v1/join-tokens?next={}", page["next"].as_str().unwrap());
    let (_, rest) = call(&router, "GET", &next, "admin", &Value::Null).await;
    let items = [&page["items"][0], &rest["items"][0]];
    assert_eq!(
        items.map(|item| item["id"].clone()).to_vec(),
        *list_ids(&list)
    );

    let one = format!("{path}/{}", made["id"].as_str().unwrap());
    assert_eq!(
        call(&router, "DELETE", &one, "reader", &Value::Null)
            .await
            .0,
        403
    );
    assert_eq!(
        call(&router, "DELETE", &one, "admin", &Value::Null).await.0,
        204
    );
    let (status, problem) = call(&router, "DELETE", &one, "admin", &Value::Null).await;
    assert_eq!(
        (status, &problem["code"]),
        (404, &json!("join_token_not_found"))
    );
    let key = NodeKey::generate().unwrap();
    let (status, problem) = bench.join(token, &key, None).await;
    assert_eq!(
        (status.as_u16(), &problem["reason"]),
        (401, &json!("unknown"))
    );
}

fn list_ids(list: &Value) -> Vec<Value> {
    let items = list["items"].as_array().unwrap();
    items.iter().map(|item| item["id"].clone()).collect()
}

#[tokio::test]
async fn tokens_that_cannot_be_are_refused() {
    let bench = Bench::new().await;
    let router = bench.admission.control_router(&auth(), Arc::new(Unknown));
    for bad in [
        json!({}),
        json!({ "role": "sc" }),
        json!({ "role": "admin" }),
        json!({ "role": "spu", "name": "gateway-a" }),
        json!({ "role": "gateway", "name": "spu-3" }),
        json!({ "role": "gateway", "name": "A" }),
        json!({ "role": "spu", "ttl_s": 0 }),
        json!({ "role": "spu", "ttl_s": 86_401 }),
        json!({ "role": "spu", "uses": 2 }),
    ] {
        let (status, problem) = call(&router, "POST", "/v1/join-tokens", "admin", &bad).await;
        assert_eq!(status, 400, "{bad}: {problem}");
    }
    assert!(bench.admission.tokens().await.unwrap().is_empty());
}

#[tokio::test]
async fn where_nobody_joins_tokens_are_not_supported() {
    let bench = Bench::new().await;
    let router = bench
        .admission
        .controller()
        .router(auth(), Arc::new(Unknown));
    let asked = json!({ "role": "spu" });
    let (status, _) = call(&router, "POST", "/v1/join-tokens", "admin", &asked).await;
    assert_eq!(status, 501);
}

#[tokio::test]
async fn a_token_expires_and_its_use_is_kept_for_the_record() {
    let bench = Bench::new().await;
    let secret = "s".repeat(43);
    let token = |expires_at_ms| JoinToken {
        hash: *SecretDigest::of(&secret).as_bytes(),
        role: "spu".to_owned(),
        scope: "{}".to_owned(),
        created_by: "tester".to_owned(),
        created_at_ms: 0,
        expires_at_ms,
        used: None,
    };
    let past = token(clock::now_ms() - 1);
    assert!(bench.store().add_join_token(&past).await.unwrap());
    let pin = bench.admission.authority.pin();
    let ticket = JoinTicket {
        secret: secret.clone(),
        pin,
    };
    let key = NodeKey::generate().unwrap();
    let (status, problem) = bench.join(&ticket.expose(), &key, Some("spu-3")).await;
    assert_eq!(
        (status.as_u16(), &problem["reason"]),
        (401, &json!("expired"))
    );
    assert!(bench.admission.tokens().await.unwrap().is_empty());

    let good = bench.token(NodeRole::Spu, None).await;
    assert_eq!(bench.join(&good, &key, Some("spu-3")).await.0, 200);
    let shown: Vec<Shown> = bench.admission.tokens().await.unwrap();
    let used = shown[0].used.as_ref().unwrap();
    assert_eq!(used.by, "spu/spu-3");
    let kept = bench.store().join_tokens().await.unwrap();
    let Some(Use { by, .. }) = &kept.last().unwrap().used else {
        panic!("{kept:?}")
    };
    assert!(by.starts_with("spu/spu-3 "), "{by}");
    let taken_back = bench.admission.revoke_token(&shown[0].id).await.unwrap();
    assert!(taken_back && bench.admission.tokens().await.unwrap().is_empty());
    let (status, problem) = bench.join(&good, &key, Some("spu-3")).await;
    assert_eq!(
        (status.as_u16(), &problem["reason"]),
        (401, &json!("unknown")),
        "whoever used it cannot join with it again"
    );
}

#[tokio::test]
async fn a_unit_that_was_removed_does_not_come_back_under_its_number() {
    let bench = Bench::new().await;
    let router = bench.admission.control_router(&auth(), Arc::new(Unknown));
    let (status, entered) = call(&router, "POST", "/v1/spus", "admin", &json!({ "id": 3 })).await;
    assert_eq!(status, 201, "{entered}");
    let token = bench.token(NodeRole::Spu, Some("spu-3")).await;
    let (key, other) = (NodeKey::generate().unwrap(), NodeKey::generate().unwrap());
    assert_eq!(bench.join(&token, &key, None).await.0, 200);
    let gone = call(&router, "DELETE", "/v1/spus/3", "admin", &Value::Null).await;
    assert!(gone.0 < 300, "{gone:?}");

    let token = bench.token(NodeRole::Spu, Some("spu-3")).await;
    let (status, problem) = bench.join(&token, &other, None).await;
    assert_eq!(
        (status.as_u16(), &problem["code"]),
        (409, &json!("conflict"))
    );
    let body = json!({ "request_pem": key.signing_request().unwrap() });
    let node = NodeIdentity::spu(bench.admission.controller.cluster_id(), SpuId(3));
    let path = "/internal/v1/certificate";
    let (status, problem) = bench.ask(path, &body, Some((node, "1"))).await;
    assert_eq!(
        (status.as_u16(), &problem["code"]),
        (409, &json!("conflict"))
    );
}

#[tokio::test]
async fn a_token_without_a_name_takes_no_name_that_a_node_has() {
    let bench = Bench::new().await;
    let (key, other) = (NodeKey::generate().unwrap(), NodeKey::generate().unwrap());
    let first = bench.token(NodeRole::Spu, None).await;
    assert_eq!(bench.join(&first, &key, Some("spu-3")).await.0, 200);
    assert_eq!(
        bench.join(&first, &key, Some("spu-3")).await.0,
        200,
        "its own is no other's"
    );
    let second = bench.token(NodeRole::Spu, None).await;
    let (status, problem) = bench.join(&second, &other, Some("spu-3")).await;
    assert_eq!(
        (status.as_u16(), &problem["code"]),
        (409, &json!("conflict"))
    );
    let noted = bench.store().certificates(None).await.unwrap();
    assert!(noted.iter().any(|noted| noted.revoked_at_ms.is_none()));
    assert_eq!(
        bench.join(&second, &other, Some("spu-4")).await.0,
        200,
        "the token is still good"
    );
    let named = bench.token(NodeRole::Spu, Some("spu-3")).await;
    assert_eq!(bench.join(&named, &other, None).await.0, 200);
}

#[tokio::test]
async fn a_crowd_that_joins_is_told_to_come_again_before_its_requests_are_looked_at() {
    let bench = Bench::new().await;
    let token = bench.token(NodeRole::Spu, Some("spu-3")).await;
    let key = NodeKey::generate().unwrap();
    let places = bench.admission.joins.clone();
    let crowd = places
        .acquire_many(u32::try_from(JOINS_AT_ONCE_MAX).unwrap())
        .await;
    let (status, problem) = bench.join(&token, &key, None).await;
    assert_eq!(
        (status.as_u16(), &problem["code"]),
        (503, &json!("overloaded"))
    );
    drop(crowd);
    assert_eq!(bench.join(&token, &key, None).await.0, 200);
}
