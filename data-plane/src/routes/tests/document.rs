//! The OpenAPI document is complete enough for generators.

use super::openapi;

#[test]
fn every_operation_has_an_id_and_every_response_a_description() {
    let document = serde_json::to_value(openapi()).unwrap();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    let mut ids = Vec::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            ids.push(operation["operationId"].as_str().unwrap().to_owned());
            assert!(operation["summary"].is_string(), "{method} {path}");
            for (status, response) in operation["responses"].as_object().unwrap() {
                let description = response["description"].as_str().unwrap_or("");
                assert!(!description.is_empty(), "{method} {path} {status}");
            }
        }
    }
    ids.sort_unstable();
    let expected = [
        "create_producer",
        "create_ws_ticket",
        "fetch_partition",
        "fetch_records",
        "fetch_sealed_page",
        "get_offsets",
        "list_sealed_pages",
        "open_socket",
        "open_topic_socket",
        "produce_records",
        "produce_to_partition",
        "stream_events",
    ];
    assert_eq!(ids, expected);
}

#[test]
fn every_reference_leads_somewhere() {
    let text = serde_json::to_string(&openapi()).unwrap();
    let document: serde_json::Value = serde_json::from_str(&text).unwrap();
    for piece in text.split("\"$ref\":\"#").skip(1) {
        let pointer = piece.split('"').next().unwrap();
        assert!(document.pointer(pointer).is_some(), "{pointer}");
    }
}
