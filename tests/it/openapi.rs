//! The committed documents are what the program serves; every response is described.

use std::path::{Path, PathBuf};

use serde_json::Value;
use tidegate_tests::program::{command, words};
use tidegate_tests::server::Server;

fn committed(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../openapi")
        .join(name)
}

fn read(name: &str) -> Value {
    let text = std::fs::read_to_string(committed(name)).expect("run `cargo xtask openapi`");
    serde_json::from_str(&text).expect("JSON")
}

#[test]
fn committed_documents_are_what_the_handlers_say() {
    let home = tempfile::tempdir().expect("a directory");
    let documents = [
        ("control", "control-plane.json"),
        ("data", "data-plane.json"),
        ("merged", "tidegate.json"),
        ("frames", "frames.asyncapi.json"),
    ];
    for (plane, name) in documents {
        let output = command(home.path())
            .args(["openapi", "--plane", plane])
            .output()
            .expect("it runs");
        assert!(output.status.success(), "{}", words(&output));
        let said = String::from_utf8(output.stdout).expect("UTF-8");
        let kept = std::fs::read_to_string(committed(name)).unwrap_or_default();
        assert!(
            said == kept,
            "openapi/{name} has drifted: run `cargo xtask openapi`"
        );
    }
}

#[tokio::test]
async fn the_served_document_is_the_committed_one() {
    let server = Server::start_dev();
    let mut connection = server.connect().await.expect("a connection");
    let served = connection
        .get("/v1/openapi.json")
        .await
        .expect("an answer")
        .json();
    assert!(
        served == read("tidegate.json"),
        "served and committed documents differ"
    );
}

#[test]
fn every_operation_is_named_and_every_response_is_described() {
    let document = read("tidegate.json");
    assert_eq!(document["openapi"], "3.1.0");
    let mut names = std::collections::BTreeSet::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("operations") {
            if !operation.is_object() {
                continue;
            }
            let name = operation["operationId"]
                .as_str()
                .unwrap_or_else(|| panic!("{method} {path}"));
            assert!(names.insert(name.to_owned()), "{name} names two operations");
            for (status, response) in operation["responses"].as_object().expect("responses") {
                let said = response["description"].as_str().unwrap_or_default();
                assert!(
                    !said.is_empty(),
                    "{method} {path} {status} has no description"
                );
            }
        }
    }
    assert!(names.len() >= 15, "only {} operations", names.len());
}

/// Paths of the document exist on the server, and answer in JSON or as documented.
#[tokio::test]
async fn every_documented_path_is_routed() {
    let server = Server::start_dev();
    let mut connection = server.connect().await.expect("a connection");
    let document = read("tidegate.json");
    for (path, item) in document["paths"].as_object().expect("paths") {
        let segments = path.split('/').map(|segment| match segment {
            "{topic}" => "t",
            named if named.starts_with('{') => "0",
            other => other,
        });
        let mut real = segments.collect::<Vec<_>>().join("/");
        if path == "/v1/watch" {
            // A good one is answered without an end.
            real.push_str("?after=nothing");
        }
        for method in item.as_object().expect("operations").keys() {
            let Ok(method) = method.to_uppercase().parse::<http::Method>() else {
                continue;
            };
            let answer = connection
                .send(method.clone(), &real, &[], "")
                .await
                .expect("an answer");
            assert_ne!(
                answer.code().as_deref(),
                Some("route_not_found"),
                "{method} {path}"
            );
            assert_ne!(
                answer.code().as_deref(),
                Some("method_not_allowed"),
                "{method} {path}"
            );
            if answer.status.is_server_error() {
                assert_eq!(answer.status, 501, "{method} {path}: {}", answer.text());
            }
        }
    }
}
