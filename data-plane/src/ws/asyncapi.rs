//! The AsyncAPI 3 document of the WebSocket, made from the same types that the code uses.
//!
//! Schemas come from the derives of `tidegate_proto::api::socket`; written by hand are only which
//! message goes which way, and why. The committed copy is compared with this by a test.

use serde_json::{Value, json};
use tidegate_proto::api::away::{Away, Back};
use tidegate_proto::api::records::MEDIA_TYPE_BATCH;
use tidegate_proto::api::socket::{
    Ack, CaughtUp, ClientFrame, CloseCode, Credit, Drain, ErrorFrame, Gap, GrantCredit, OfTopic,
    Ping, Produce, Reauthenticate, RecordsFrame, SUBPROTOCOL_BATCH, SUBPROTOCOL_JSON, Seek,
    ServerFrame, Subscribe, Subscribed,
};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::Schema;
use utoipa::{PartialSchema, ToSchema};

/// Message name (the value of `op`), schema, what it does.
const FROM_CLIENT: [(&str, &str, &str); 9] = [
    (
        "subscribe",
        "Subscribe",
        "Start a subscription; one per topic and socket.",
    ),
    ("credit", "GrantCredit", "Add to what may be outstanding."),
    (
        "pause",
        "OfTopic",
        "Hold records back; credit and position stay.",
    ),
    ("resume", "OfTopic", "Go on after pause."),
    (
        "seek",
        "Seek",
        "Move a subscription; answered by subscribed.",
    ),
    ("unsubscribe", "OfTopic", "End a subscription."),
    (
        "produce",
        "Produce",
        "Append records; may be pipelined, answered by ack or error.",
    ),
    (
        "produceBatches",
        PRODUCE_MESSAGE,
        "Batch subprotocol: append batches to one partition; may be pipelined, answered by ack or error.",
    ),
    (
        "auth",
        "Reauthenticate",
        "Give a fresh token for a socket that outlives its first.",
    ),
];

/// Message name (the value of `ev`), schema, what it says.
const FROM_SERVER: [(&str, &str, &str); 11] = [
    (
        "subscribed",
        "Subscribed",
        "A subscription stands, or has moved.",
    ),
    (
        "records",
        "RecordsFrame",
        "Records of one partition, in offset order. Not in the batch subprotocol.",
    ),
    (
        "recordsBatches",
        RECORDS_MESSAGE,
        "Batch subprotocol: whole stored batches of one partition, in offset order.",
    ),
    (
        "caught_up",
        "CaughtUp",
        "All that there was has been sent, but for partitions that are away; told once more after each `back`.",
    ),
    (
        "gap",
        "Gap",
        "Offsets that can no longer be read were passed over.",
    ),
    (
        "away",
        "Away",
        "Partitions cannot be reached now; the subscription goes on with the others.",
    ),
    (
        "back",
        "Back",
        "Partitions that were away can be read again.",
    ),
    ("ack", "Ack", "An operation is done."),
    (
        "error",
        "ErrorFrame",
        "An operation was refused or a subscription ended; the socket stays.",
    ),
    ("ping", "Ping", "High watermarks of all that is subscribed."),
    (
        "drain",
        "Drain",
        "The server is about to close with 1012; connect again with the cursors.",
    ),
];

/// The layout of binary messages, in place of a schema.
const PRODUCE_MESSAGE: &str =
    "u8 2, u32 id, u16 length of the topic's name, the name, u32 partition, batches";
const RECORDS_MESSAGE: &str = "u8 1, u32 topic_number as told in subscribed, batches";

const LICENSE: &str = "https://www.apache.org/licenses/LICENSE-2.0";

/// The document.
pub fn asyncapi() -> Value {
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "Tidegate WebSocket",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Produce and consume over one socket. One JSON object per text message; \
                the client's carry `op`, the server's `ev`. Unknown fields of a request are refused, \
                unknown fields and unknown `ev` of the server are to be ignored. In the subprotocol \
                tidegate.v1.batch records come in binary messages of stored batches, and may be sent \
                so; docs/wire-format.md describes a batch.",
            "license": { "name": "Apache-2.0", "url": LICENSE },
        },
        "defaultContentType": "application/json",
        "channels": {
            "socket": channel("/v1/ws", "Any number of topics.", None),
            "topicSocket": channel(
                "/v1/topics/{topic}/ws",
                "Subscribed to one topic at once, by the query: `from` or `cursor`, `partitions`.",
                Some(json!({ "topic": { "description": "Name of the topic." } })),
            ),
        },
        "operations": {
            "sendToSocket": operation("receive", "socket", &FROM_CLIENT),
            "receiveFromSocket": operation("send", "socket", &FROM_SERVER),
            "sendToTopicSocket": operation("receive", "topicSocket", &FROM_CLIENT),
            "receiveFromTopicSocket": operation("send", "topicSocket", &FROM_SERVER),
        },
        "components": {
            "messages": messages(),
            "schemas": schemas(),
            "securitySchemes": { "bearer": { "type": "http", "scheme": "bearer" } },
        },
        "x-subprotocols": [SUBPROTOCOL_JSON, SUBPROTOCOL_BATCH],
        "x-close-codes": close_codes(),
    })
}

fn channel(address: &str, description: &str, parameters: Option<Value>) -> Value {
    let names = FROM_CLIENT
        .iter()
        .map(|row| (row.0, "client"))
        .chain(FROM_SERVER.iter().map(|row| (row.0, "server")));
    let messages: serde_json::Map<String, Value> = names
        .map(|(name, _)| {
            (
                name.to_owned(),
                json!({ "$ref": format!("#/components/messages/{name}") }),
            )
        })
        .collect();
    let mut channel = json!({
        "address": address,
        "description": description,
        "messages": messages,
        "bindings": { "ws": { "method": "GET" } },
    });
    if let Some(parameters) = parameters {
        channel["parameters"] = parameters;
    }
    channel
}

fn operation(action: &str, channel: &str, rows: &[(&str, &str, &str)]) -> Value {
    let messages: Vec<Value> = rows
        .iter()
        .map(|row| json!({ "$ref": format!("#/channels/{channel}/messages/{}", row.0) }))
        .collect();
    let description = match action {
        "receive" => "What a client sends.",
        _ => "What the server sends.",
    };
    json!({
        "action": action,
        "description": description,
        "security": [{ "$ref": "#/components/securitySchemes/bearer" }],
        "channel": { "$ref": format!("#/channels/{channel}") },
        "messages": messages,
    })
}

fn messages() -> Value {
    let client = FROM_CLIENT.iter().map(|row| ("op", row));
    let server = FROM_SERVER.iter().map(|row| ("ev", row));
    let messages: serde_json::Map<String, Value> = client
        .chain(server)
        .map(|(tag, (name, schema, summary))| {
            if [PRODUCE_MESSAGE, RECORDS_MESSAGE].contains(schema) {
                return ((*name).to_owned(), binary(name, schema, summary));
            }
            let message = json!({
                "name": name,
                "summary": summary,
                "payload": { "allOf": [
                    { "type": "object", "required": [tag], "properties": { tag: { "const": name } } },
                    { "$ref": format!("#/components/schemas/{schema}") },
                ] },
            });
            ((*name).to_owned(), message)
        })
        .collect();
    Value::Object(messages)
}

/// A message of bytes, which no JSON schema can say more about.
fn binary(name: &str, layout: &str, summary: &str) -> Value {
    json!({
        "name": name,
        "summary": summary,
        "description": format!("A binary message, numbers in little endian: {layout}."),
        "contentType": MEDIA_TYPE_BATCH,
        "payload": { "type": "string", "format": "binary" },
    })
}

fn schemas() -> Value {
    let mut found: Vec<(String, RefOr<Schema>)> = Vec::new();
    collect::<Subscribe>(&mut found);
    collect::<GrantCredit>(&mut found);
    collect::<Credit>(&mut found);
    collect::<OfTopic>(&mut found);
    collect::<Seek>(&mut found);
    collect::<Produce>(&mut found);
    collect::<Reauthenticate>(&mut found);
    collect::<Subscribed>(&mut found);
    collect::<RecordsFrame>(&mut found);
    collect::<CaughtUp>(&mut found);
    collect::<Gap>(&mut found);
    collect::<Away>(&mut found);
    collect::<Back>(&mut found);
    collect::<Ack>(&mut found);
    collect::<ErrorFrame>(&mut found);
    collect::<Ping>(&mut found);
    collect::<Drain>(&mut found);
    ClientFrame::schemas(&mut found);
    ServerFrame::schemas(&mut found);
    let schemas: serde_json::Map<String, Value> = found
        .into_iter()
        .map(|(name, schema)| {
            let mut schema = serde_json::to_value(schema).expect("schemas are plain data");
            stand_alone(&mut schema);
            (name, schema)
        })
        .collect();
    Value::Object(schemas)
}

/// What stands beside a reference is not read, but what stands beside a list of one is.
fn stand_alone(schema: &mut Value) {
    match schema {
        Value::Array(items) => items.iter_mut().for_each(stand_alone),
        Value::Object(fields) => {
            if fields.len() > 1
                && let Some(target) = fields.remove("$ref")
            {
                fields.insert("allOf".to_owned(), json!([{ "$ref": target }]));
            }
            fields.values_mut().for_each(stand_alone);
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn collect<T: ToSchema + PartialSchema>(found: &mut Vec<(String, RefOr<Schema>)>) {
    found.push((T::name().into_owned(), T::schema()));
    T::schemas(found);
}

fn close_codes() -> Value {
    let codes: serde_json::Map<String, Value> = CloseCode::ALL
        .into_iter()
        .map(|code| {
            let meaning = json!({ "reason": code.reason(), "reconnect": code.may_reconnect() });
            (code.number().to_string(), meaning)
        })
        .collect();
    Value::Object(codes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn references(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(members) => {
                if let Some(Value::String(reference)) = members.get("$ref") {
                    found.push(reference.clone());
                }
                members
                    .values()
                    .for_each(|member| references(member, found));
            }
            Value::Array(items) => items.iter().for_each(|item| references(item, found)),
            _ => {}
        }
    }

    #[test]
    fn every_reference_leads_somewhere() {
        let document = asyncapi();
        let mut found = Vec::new();
        references(&document, &mut found);
        assert!(found.len() > 60);
        for reference in found {
            let pointer = reference.strip_prefix('#').unwrap();
            assert!(
                document.pointer(pointer).is_some(),
                "{reference} leads nowhere"
            );
        }
    }
}
