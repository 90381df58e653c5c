//! Where each answer leads: what a client may ask for next with what it was just told.
//!
//! A table over operation ids of both planes, so that no handler has to know the others; a document gets
//! the links whose both ends it describes. Descriptions go in and come out as JSON. Invariant: a response
//! that is not described gets no link, and a link that a handler says itself stays as it is.

use serde_json::{Map, Value, json};

/// From some answers to one operation each.
struct Way {
    /// Operation and status of the answers.
    from: &'static [(&'static str, &'static str)],
    to: &'static [&'static str],
    /// Parameters of the next request by name, as runtime expressions or constants.
    with: &'static [(&'static str, &'static str)],
}

/// A constant: every topic has this partition. (As text, for linters take no numbers here.)
const FIRST_PARTITION: &str = "0";

const WAYS: [Way; 15] = [
    Way {
        from: &[("create_topic", "201"), ("ensure_topic", "201")],
        to: &[
            "ensure_topic",
            "list_partitions",
            "produce_records",
            "fetch_records",
            "stream_events",
        ],
        with: &[("topic", "$response.body#/name")],
    },
    Way {
        from: &[("create_topic", "201"), ("ensure_topic", "201")],
        to: &[
            "get_partition",
            "elect_partition",
            "reassign_partition",
            "recover_partition",
            "get_offsets",
            "produce_to_partition",
            "fetch_partition",
            "list_sealed_pages",
        ],
        with: &[
            ("topic", "$response.body#/name"),
            ("partition", FIRST_PARTITION),
        ],
    },
    Way {
        from: &[("create_topic", "201")],
        to: &["get_topic", "delete_topic", "truncate_topic"],
        with: &[("topic", "$response.body#/name")],
    },
    // What was read is changed only when nobody else did.
    Way {
        from: &[("get_topic", "200"), ("ensure_topic", "201")],
        to: &["delete_topic", "truncate_topic"],
        with: &[
            ("topic", "$request.path.topic"),
            ("If-Match", "$response.header.ETag"),
        ],
    },
    Way {
        from: &[("get_topic", "200")],
        to: &["ensure_topic"],
        with: &[
            ("topic", "$request.path.topic"),
            ("If-Match", "$response.header.ETag"),
        ],
    },
    Way {
        from: &[("produce_records", "200"), ("produce_to_partition", "200")],
        to: &["fetch_partition", "list_sealed_pages"],
        with: &[
            ("topic", "$request.path.topic"),
            ("partition", "$response.body#/partitions/0/partition"),
            ("from", "$response.body#/partitions/0/base_offset"),
        ],
    },
    Way {
        from: &[("produce_records", "200"), ("produce_to_partition", "200")],
        to: &["get_offsets"],
        with: &[
            ("topic", "$request.path.topic"),
            ("partition", "$response.body#/partitions/0/partition"),
        ],
    },
    Way {
        from: &[("fetch_records", "200"), ("fetch_partition", "200")],
        to: &["fetch_records", "stream_events"],
        with: &[
            ("topic", "$request.path.topic"),
            ("cursor", "$response.header.Tidegate-Cursor"),
        ],
    },
    Way {
        from: &[
            ("reassign_partition", "202"),
            ("recover_partition", "202"),
            ("drain_spu", "202"),
            ("rebalance", "202"),
        ],
        to: &["get_operation", "cancel_operation"],
        with: &[("operation", "$response.body#/operation/id")],
    },
    Way {
        from: &[("register_spu", "201"), ("ensure_spu", "201")],
        to: &[
            "get_spu",
            "ensure_spu",
            "drain_spu",
            "resume_spu",
            "remove_spu",
        ],
        with: &[("spu", "$response.body#/id")],
    },
    Way {
        from: &[("get_spu", "200")],
        to: &["remove_spu"],
        with: &[
            ("spu", "$request.path.spu"),
            ("If-Match", "$response.header.ETag"),
        ],
    },
    Way {
        from: &[("create_spu_group", "201"), ("ensure_spu_group", "201")],
        to: &["get_spu_group", "ensure_spu_group", "delete_spu_group"],
        with: &[("group", "$response.body#/name")],
    },
    Way {
        from: &[("get_spu_group", "200")],
        to: &["delete_spu_group"],
        with: &[
            ("group", "$request.path.group"),
            ("If-Match", "$response.header.ETag"),
        ],
    },
    Way {
        from: &[("create_join_token", "201")],
        to: &["delete_join_token"],
        with: &[("id", "$response.body#/id")],
    },
    // Changes after what a list shows.
    Way {
        from: &[
            ("list_topics", "200"),
            ("list_spus", "200"),
            ("list_operations", "200"),
        ],
        to: &["watch_changes"],
        with: &[("from_revision", "$response.header.Tidegate-Revision")],
    },
];

/// Adds the links of the table to what the document describes.
pub(crate) fn add_links(document: &mut Value) {
    let described: Vec<String> = operations(document)
        .filter_map(|operation| operation["operationId"].as_str().map(str::to_owned))
        .collect();
    for operation in operations(document) {
        let Some(id) = operation["operationId"].as_str().map(str::to_owned) else {
            continue;
        };
        for way in &WAYS {
            for (_, status) in way.from.iter().filter(|(from, _)| *from == id) {
                let response = operation["responses"].get_mut(*status);
                let Some(response) = response.and_then(Value::as_object_mut) else {
                    continue;
                };
                let known = |to: &&&str| described.iter().any(|name| name == **to);
                for to in way.to.iter().filter(known) {
                    add_link(response, to, way.with);
                }
            }
        }
    }
}

fn operations(document: &mut Value) -> impl Iterator<Item = &mut Value> {
    let paths = document.get_mut("paths").and_then(Value::as_object_mut);
    let items = paths.into_iter().flat_map(Map::values_mut);
    items.flat_map(|item| item.as_object_mut().into_iter().flat_map(Map::values_mut))
}

fn add_link(response: &mut Map<String, Value>, to: &str, with: &[(&str, &str)]) {
    let links = response.entry("links").or_insert_with(|| json!({}));
    let Some(links) = links.as_object_mut() else {
        return;
    };
    let parameter = |(name, value): &(&str, &str)| ((*name).to_owned(), json!(value));
    let parameters: Map<String, Value> = with.iter().map(parameter).collect();
    let link = || json!({ "operationId": to, "parameters": parameters });
    links.entry(to).or_insert_with(link);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_lead_to_operations_of_the_same_document_only() {
        let mut document = json!({ "paths": { "/v1/topics": {
            "parameters": [],
            "post": { "operationId": "create_topic", "responses": { "201": {}, "400": {} } },
            "get": { "operationId": "list_topics", "responses": { "200": { "links": { "get_topic": 1 } } } },
        }, "/v1/topics/{topic}": {
            "get": { "operationId": "get_topic", "responses": {} },
        } } });
        add_links(&mut document);
        let item = &document["paths"]["/v1/topics"];
        let get = json!({ "operationId": "get_topic", "parameters": { "topic": "$response.body#/name" } });
        let created = json!({ "201": { "links": { "get_topic": get } }, "400": {} });
        assert_eq!(item["post"]["responses"], created);
        let own = &item["get"]["responses"]["200"]["links"];
        assert_eq!(own, &json!({ "get_topic": 1 }));
    }

    #[test]
    fn every_way_begins_and_ends_at_what_the_whole_document_describes() {
        let mut whole: Value = serde_json::from_str(crate::openapi::TIDEGATE).expect("JSON");
        let described: Vec<Value> = operations(&mut whole).map(|one| one.take()).collect();
        let find = |id: &str| {
            let mut found = described.iter().filter(|one| one["operationId"] == id);
            found.next().unwrap_or_else(|| panic!("no operation {id}"))
        };
        for way in &WAYS {
            for (from, status) in way.from {
                assert!(
                    find(from)["responses"][status].is_object(),
                    "{from} {status}"
                );
            }
            for to in way.to {
                let parameters = find(to)["parameters"].as_array().expect("parameters");
                for (name, _) in way.with {
                    let has = parameters.iter().any(|one| one["name"] == *name);
                    assert!(has, "{to} takes no {name}");
                }
            }
        }
    }
}
