//! The OpenAPI document: complete, and fit for strict readers.

use serde::de::DeserializeOwned;
use tidegate_proto::api::{cluster, metadata, operation, spu, stats, topic};

use super::*;

fn fits<T: DeserializeOwned>(body: &str) -> bool {
    serde_json::from_str::<T>(body).is_ok()
}

fn document() -> Value {
    serde_json::to_value(openapi()).unwrap()
}

fn operations(document: &Value) -> impl Iterator<Item = (String, &Value)> {
    document["paths"]
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(path, methods)| {
            let methods = methods.as_object().unwrap();
            methods
                .iter()
                .map(move |(method, operation)| (format!("{method} {path}"), operation))
        })
}

#[test]
fn every_operation_has_an_id_a_summary_and_described_responses() {
    let document = document();
    let mut ids = Vec::new();
    for (name, operation) in operations(&document) {
        ids.push(operation["operationId"].as_str().unwrap().to_owned());
        assert!(
            operation["summary"]
                .as_str()
                .is_some_and(|text| !text.is_empty()),
            "{name}"
        );
        let responses = operation["responses"].as_object().unwrap();
        for (status, response) in responses {
            let description = response["description"].as_str().unwrap_or("");
            assert!(!description.is_empty(), "{name} {status}");
            if status.as_str() >= "400" {
                assert!(
                    response["content"]["application/problem+json"].is_object(),
                    "{name} {status}"
                );
            }
        }
        for status in ["400", "401", "403", "500", "503"] {
            assert!(responses.contains_key(status), "{name} lacks {status}");
        }
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            assert!(parameter["description"].is_string(), "{name} {parameter}");
        }
    }
    ids.sort_unstable();
    assert_eq!(
        ids,
        [
            "backup_cluster",
            "cancel_operation",
            "create_join_token",
            "create_spu_group",
            "create_topic",
            "delete_join_token",
            "delete_spu_group",
            "delete_topic",
            "drain_spu",
            "elect_partition",
            "ensure_spu",
            "ensure_spu_group",
            "ensure_topic",
            "get_cluster",
            "get_metadata",
            "get_operation",
            "get_partition",
            "get_spu",
            "get_spu_group",
            "get_stats",
            "get_topic",
            "list_join_tokens",
            "list_operations",
            "list_partitions",
            "list_spu_groups",
            "list_spus",
            "list_topics",
            "reassign_partition",
            "rebalance",
            "recover_partition",
            "register_spu",
            "remove_spu",
            "resume_spu",
            "truncate_topic",
            "watch_changes",
        ]
    );
}

#[test]
fn every_reference_leads_somewhere() {
    fn references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
        match value {
            Value::Object(fields) => {
                found.extend(fields.get("$ref").and_then(Value::as_str));
                fields.values().for_each(|value| references(value, found));
            }
            Value::Array(items) => items.iter().for_each(|value| references(value, found)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    let document = document();
    let mut found = Vec::new();
    references(&document, &mut found);
    assert!(!found.is_empty());
    for reference in found {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
    assert!(document["components"]["schemas"]["Problem"].is_object());
    assert_eq!(document["security"], json!([{ "bearer": [] }]));
    assert_eq!(
        document["components"]["securitySchemes"]["bearer"]["scheme"],
        "bearer"
    );
    let topic = &document["paths"]["/v1/topics/{topic}"]["get"]["parameters"][0];
    assert_eq!(topic["schema"]["$ref"], "#/components/schemas/TopicName");
}

#[test]
fn request_and_answer_shapes_tell_required_from_optional() {
    let document = document();
    let schemas = &document["components"]["schemas"];
    assert_eq!(schemas["CreateTopic"]["required"], json!(["name"]));
    assert_eq!(
        schemas["EnsureTopic"]["required"],
        Value::Null,
        "every field may be absent"
    );
    let required = schemas["Topic"]["required"].as_array().unwrap();
    for field in ["id", "name", "partitions", "config", "version", "status"] {
        assert!(required.contains(&json!(field)), "{field}");
    }
    let config = schemas["TopicConfigRequest"]["properties"]
        .as_object()
        .unwrap();
    assert_eq!(config.len(), 11);
    for (name, field) in config {
        // A reference cannot carry a text of its own beside `null`; it has it inside.
        let texts = [&field["description"], &field["oneOf"][0]["description"]];
        assert!(texts.iter().any(|text| text.is_string()), "{name}");
    }
}

#[tokio::test]
async fn documented_operations_are_routed_and_answers_fit_their_types() {
    let server = Server::new().await;
    let recover = "/v1/topics/orders/partitions/0/recover";
    server.create("orders", 2).await;
    let group = json!({ "name": "hot", "replicas": 2 });
    server
        .send(ask("POST", "/v1/spu-groups").json(&group))
        .await;
    let begun = server
        .send(ask("POST", recover).json(&json!({ "force": true })))
        .await;
    let begun = begun.body["operation"]["id"]
        .as_str()
        .unwrap_or("")
        .to_owned();
    for (name, operation) in operations(&document()) {
        let (method, path) = name.split_once(' ').unwrap();
        // A watch does not end, and a backup is no document; they have tests of their own.
        let is_no_document = ["/v1/watch", "/v1/cluster/backup"].contains(&path);
        if method != "get" || is_no_document {
            continue;
        }
        let path = path
            .replace("{topic}", "orders")
            .replace("{partition}", "1")
            .replace("{operation}", &begun)
            .replace("{spu}", "0")
            .replace("{group}", "hot")
            .replace("/v1/metadata", "/v1/metadata?topics=orders");
        let answer = server.send(ask("GET", &path)).await;
        // A server that is all there is takes in no nodes; where they join it is tested there.
        if path == "/v1/join-tokens" {
            assert_eq!(answer.status, 501, "{name}");
            continue;
        }
        assert_eq!(answer.status, 200, "{name}");
        let body = answer.body.to_string();
        let schema = operation["responses"]["200"]["content"]["application/json"]["schema"]["$ref"]
            .as_str()
            .unwrap();
        let fits = match schema.rsplit('/').next().unwrap() {
            "Metadata" => fits::<metadata::Metadata>(&body),
            "Topic" => fits::<topic::Topic>(&body),
            "TopicList" => fits::<topic::TopicList>(&body),
            "Partition" => fits::<topic::Partition>(&body),
            "PartitionList" => fits::<topic::PartitionList>(&body),
            "Cluster" => fits::<cluster::Cluster>(&body),
            "Operation" => fits::<operation::Operation>(&body),
            "OperationList" => fits::<operation::OperationList>(&body),
            "Spu" => fits::<cluster::Spu>(&body),
            "SpuList" => fits::<cluster::SpuList>(&body),
            "Stats" => fits::<stats::Stats>(&body),
            "SpuGroup" => fits::<spu::SpuGroup>(&body),
            "SpuGroupList" => fits::<spu::SpuGroupList>(&body),
            other => panic!("{name} answers with {other}"),
        };
        assert!(fits, "{name}: {body}");
    }
}
