//! Bad requests against the real program: each gets the right status and code, nothing panics, and
//! memory stays where it was.

mod rows;

use bytes::Bytes;
use http::Method;
use tidegate_tests::http::{Answer, Connection};
use tidegate_tests::server::Server;

use rows::Row;

/// Room for buffers and caches that stay warm; a kept bomb would be far above it.
const GROWTH_BYTES_MAX: u64 = 48 * 1024 * 1024;

#[tokio::test]
async fn bad_requests_get_the_right_code_and_leave_no_trace() {
    let server = Server::start();
    server.create_topic("t", 2).await;
    let limited = r#"{"config":{"max_record_bytes":1000}}"#;
    let mut connection = server.connect().await.expect("a connection");
    let json = [("content-type", "application/json")];
    let created = connection
        .send(Method::PUT, "/v1/topics/small", &json, limited)
        .await;
    assert_eq!(created.expect("an answer").status, 201);

    let rows = rows::rows();
    assert!(rows.len() >= 120, "only {} rows", rows.len());
    let mut wrong = Vec::new();
    run(&server, &rows, &mut wrong).await;
    let before = server.resident_bytes();
    run(&server, &rows, &mut wrong).await;
    let after = server.resident_bytes();

    assert!(
        wrong.is_empty(),
        "{} wrong answers:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    assert!(
        after < before + GROWTH_BYTES_MAX,
        "memory grew from {before} to {after} bytes"
    );
    assert!(!server.log().contains("panicked"), "{}", server.log());
    for topic in ["t", "small"] {
        let path = format!("/v1/topics/{topic}/partitions/0/offsets");
        let mut connection = server.connect().await.expect("still alive");
        let offsets = connection.get(&path).await.expect("an answer").json();
        assert_eq!(
            offsets["end"], 0,
            "a refused request left a record in {topic}"
        );
    }
}

async fn run(server: &Server, rows: &[Row], wrong: &mut Vec<String>) {
    let mut connection = server.connect().await.expect("a connection");
    for row in rows {
        let answer = match ask(&mut connection, row).await {
            Ok(answer) => Ok(answer),
            // A refused body may end the connection; a second try tells that from a crash.
            Err(_) => {
                connection = server.connect().await.expect("the server is alive");
                ask(&mut connection, row).await
            }
        };
        match answer {
            Ok(answer) => wrong.extend(judge(row, &answer)),
            Err(error) => wrong.push(format!("{}: no answer: {error:#}", row.name)),
        }
    }
}

async fn ask(connection: &mut Connection, row: &Row) -> anyhow::Result<Answer> {
    let headers: Vec<(&str, &str)> = row
        .headers
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    connection
        .send(row.method.clone(), &row.path, &headers, row.body.clone())
        .await
}

/// What is wrong with an answer, if anything.
fn judge(row: &Row, answer: &Answer) -> Option<String> {
    let code = answer.code();
    let kind = answer.header("content-type").unwrap_or_default();
    let good = answer.status == row.status
        && code.as_deref() == Some(row.code)
        && kind.starts_with("application/problem+json")
        && answer.json()["type"] == format!("/docs/errors/{}", row.code)
        && answer.json()["request_id"].is_string();
    let got = format!("{} {:?} {kind} {}", answer.status, code, answer.text());
    let got: String = got.chars().take(400).collect();
    (!good).then(|| {
        format!(
            "{}: wanted {} {}, got {got}",
            row.name, row.status, row.code
        )
    })
}

/// A body of `length` bytes.
fn filler(length: usize) -> Bytes {
    vec![b'x'; length].into()
}
