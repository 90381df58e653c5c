//! The live page in a real browser.

use serde_json::json;
use tidegate_tests::browser::run_script;
use tidegate_tests::server::Server;

#[tokio::test]
async fn the_page_lists_topics_and_tails_one_without_running_what_records_say() {
    let server = Server::start();
    server.create_topic("orders", 2).await;
    let mut connection = server.connect().await.expect("a connection");
    let attack = r#"<img src=x onerror="window.broken=true"><script>window.broken=true</script>"#;
    for n in 0..20 {
        let body =
            json!({"records": [{"key": format!("k{n}"), "value": {"n": n, "text": attack}}]});
        let answer = connection.post(
            "/v1/topics/orders/records",
            "application/json",
            body.to_string(),
        );
        assert_eq!(answer.await.expect("an answer").status, 200);
    }
    let target = server.target();
    let shot = server.home().join("page.png");
    let arguments = json!({"url": target.url, "token": target.token, "topic": "orders", "count": 20,
        "screenshot": shot});
    let report = run_script("page.mjs", &arguments);
    assert_eq!(report["received"], 20, "{report}");
    assert_eq!(
        report["complaints"],
        json!([]),
        "the browser complained: {report}"
    );
    let text = report["text"].as_str().expect("text");
    assert!(
        text.contains("onerror"),
        "records are shown as text: {text}"
    );
    assert!(report["rows"].as_u64().expect("rows") > 0, "{report}");
}
