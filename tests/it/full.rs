//! A server with as many connections as it may have: one more is told so, and the others are served.

use tidegate_tests::crowd::Crowd;
use tidegate_tests::http::Connection;
use tidegate_tests::server::Server;
use tidegate_tests::wait::wait_for;

const PATH: &str = "/v1/topics/t/ws?from=latest";

#[tokio::test]
async fn one_socket_too_many_is_refused_and_the_others_go_on() {
    const MOST: usize = 20;
    for flags in [&["--dev"][..], &[]] {
        let most = MOST.to_string();
        let arguments = [flags, &["--connections-max", &most]].concat();
        let server = Server::start_with(&arguments);
        server.create_topic("t", 1).await;
        let target = server.target();
        let mut crowd = wait_for("the last connection to be over", async || {
            Crowd::open(&target, PATH, MOST - 1, "caught_up").await.ok()
        })
        .await;
        let mut last = wait_for("a place", async || {
            let mut connection = Connection::open(&target).await.ok()?;
            let answer = connection.get("/v1/topics/t").await.ok()?;
            (answer.status == 200).then_some(connection)
        })
        .await;

        let mut refused = Connection::open(&target).await.expect("it is accepted");
        let answer = refused.get("/v1/topics/t").await.expect("an answer");
        assert_eq!(answer.status, 503, "{}", answer.text());
        assert_eq!(answer.code().as_deref(), Some("overloaded"));
        assert!(answer.header("retry-after").is_some());
        let again = refused.get("/v1/topics/t").await;
        assert!(again.is_err(), "it was the last answer");
        let socket = Crowd::open(&target, PATH, 1, "caught_up").await;
        let refusal = socket.expect_err("one too many").to_string();
        assert!(
            refusal.contains("503") || refusal.contains("greeting"),
            "{refusal}"
        );

        let answer = last.post("/v1/topics/t/records", "text/plain", "still here");
        assert_eq!(answer.await.expect("an answer").status, 200);
        crowd.all_say("still here").await.expect("all are served");
        drop(crowd);
        wait_for("a place again", async || {
            Crowd::open(&target, PATH, 1, "caught_up").await.ok()
        })
        .await;
    }
}
