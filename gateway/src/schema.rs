//! What is true of the whole API and is therefore not said by any one handler.
//!
//! Integers stay below 2^53, a body that may be left out is not `null` either, and every operation
//! may run into a fault of the server or refuse how a body is packed. Descriptions go in and come out as JSON. Invariant: nothing
//! that a handler says itself is changed.

use serde_json::{Map, Value, json};
use tidegate_proto::limits::INTEGER_MAX;

/// The document with all that.
pub(crate) fn completed(mut document: Value) -> Value {
    bound_integers(&mut document);
    choose_any(&mut document);
    tell_contents(&mut document);
    let paths = document.get_mut("paths").and_then(Value::as_object_mut);
    for item in paths.into_iter().flat_map(Map::values_mut) {
        for operation in item.as_object_mut().into_iter().flat_map(Map::values_mut) {
            leave_out_null(operation);
            leave_out_null_parameters(operation);
            add_refusals(operation);
        }
    }
    if let Some(tags) = document.get_mut("tags").and_then(Value::as_array_mut) {
        tags.sort_by(|left, right| left["name"].as_str().cmp(&right["name"].as_str()));
    }
    document
}

/// `int32` and `int64` are signed; ours are not, and say how far they go.
fn bound_integers(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(bound_integers),
        Value::Object(fields) => {
            let is_unsigned = fields.get("minimum").and_then(Value::as_i64) >= Some(0);
            let maximum = match fields.get("format").and_then(Value::as_str) {
                Some("int32") if is_unsigned => Some(u64::from(u32::MAX)),
                Some("int64") if is_unsigned => Some(INTEGER_MAX),
                _ => None,
            };
            if let Some(maximum) = maximum {
                fields.insert("format".to_owned(), "int64".into());
                fields.entry("maximum").or_insert_with(|| maximum.into());
            }
            fields.values_mut().for_each(bound_integers);
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// An optional body is derived as one that may be `null`, which is a body and refused.
fn leave_out_null(operation: &mut Value) {
    let Some(body) = operation.get_mut("requestBody") else {
        return;
    };
    let contents = body.get_mut("content").and_then(Value::as_object_mut);
    let mut is_optional = false;
    for content in contents.into_iter().flat_map(Map::values_mut) {
        if let Some(given) = content.get("schema").and_then(given) {
            content["schema"] = given;
            is_optional = true;
        }
    }
    if is_optional {
        body["required"] = false.into();
    }
}

/// What is either of two things and `null` the other.
fn given(schema: &Value) -> Option<Value> {
    let choices = schema.get("oneOf")?.as_array()?;
    let [left, right] = &choices[..] else {
        return None;
    };
    match (&left["type"], &right["type"]) {
        (kind, _) if kind == "null" => Some(right.clone()),
        (_, kind) if kind == "null" => Some(left.clone()),
        _ => None,
    }
}

/// An optional parameter is absent; text that says `null` is a value as any other.
fn leave_out_null_parameters(operation: &mut Value) {
    let parameters = operation.get_mut("parameters");
    let parameters = parameters.and_then(Value::as_array_mut);
    for parameter in parameters.into_iter().flatten() {
        let Some(schema) = parameter.get_mut("schema") else {
            continue;
        };
        if let Some(types) = schema.get_mut("type").and_then(Value::as_array_mut) {
            types.retain(|kind| kind != "null");
            if let [only] = &types[..] {
                schema["type"] = only.clone();
            }
        }
        if let Some(given) = given(schema) {
            *schema = given;
        }
    }
}

/// What is one of several named shapes may fit more than one of them, as objects may have further
/// fields.
fn choose_any(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(choose_any),
        Value::Object(fields) => {
            let choices = fields.get("oneOf").and_then(Value::as_array);
            let is_named = |choice: &Value| choice.get("$ref").is_some();
            if choices.is_some_and(|choices| choices.iter().all(is_named))
                && !fields.contains_key("discriminator")
                && let Some(choices) = fields.remove("oneOf")
            {
                fields.insert("anyOf".to_owned(), choices);
            }
            fields.values_mut().for_each(choose_any);
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Text that is JSON of another shape (`x-content` names it) says so as JSON Schema does.
fn tell_contents(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(tell_contents),
        Value::Object(fields) => {
            if let Some(Value::String(name)) = fields.remove("x-content") {
                let schema = json!({ "$ref": format!("#/components/schemas/{name}") });
                fields.insert("contentMediaType".to_owned(), "application/json".into());
                fields.insert("contentSchema".to_owned(), schema);
            }
            fields.values_mut().for_each(tell_contents);
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// What the edge itself may answer to any request.
fn add_refusals(operation: &mut Value) {
    const ANY: [(&str, &str); 2] = [
        (
            "415",
            "`Content-Encoding` is not one of gzip, zstd and identity: `unsupported_media_type`",
        ),
        ("500", "A fault of the server: `internal`"),
    ];
    let responses = operation.get_mut("responses");
    let Some(responses) = responses.and_then(Value::as_object_mut) else {
        return;
    };
    for (status, description) in ANY {
        responses.entry(status).or_insert_with(|| {
            let schema = json!({ "$ref": "#/components/schemas/Problem" });
            let content = json!({ "application/problem+json": { "schema": schema } });
            json!({ "description": description, "content": content })
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unsigned_integers_get_their_bounds_and_keep_those_they_have() {
        let mut schema = json!({ "a": { "format": "int32", "minimum": 0, "type": "integer" },
            "b": [{ "format": "int64", "minimum": 1 }, { "format": "int64" }],
            "c": { "format": "int32", "minimum": 0, "maximum": 7 } });
        bound_integers(&mut schema);
        let expected = json!({ "a": { "format": "int64", "minimum": 0, "maximum": u32::MAX, "type": "integer" },
            "b": [{ "format": "int64", "minimum": 1, "maximum": INTEGER_MAX }, { "format": "int64" }],
            "c": { "format": "int64", "minimum": 0, "maximum": 7 } });
        assert_eq!(schema, expected);
    }

    #[test]
    fn a_body_may_be_left_out_or_is_one() {
        let mut operation = json!({ "requestBody": { "content": { "application/json": {
            "schema": { "oneOf": [{ "$ref": "#/x" }, { "type": "null" }] } } } } });
        leave_out_null(&mut operation);
        let content = json!({ "application/json": { "schema": { "$ref": "#/x" } } });
        let body = json!({ "content": content, "required": false });
        assert_eq!(operation["requestBody"], body);
    }

    #[test]
    fn parameters_are_absent_and_never_null() {
        let mut operation = json!({ "parameters": [{ "schema": { "type": ["string", "null"] } },
            { "schema": { "oneOf": [{ "type": "null" }, { "$ref": "#/x" }] } },
            { "schema": { "type": "integer" } }] });
        leave_out_null_parameters(&mut operation);
        let expected = json!([{ "schema": { "type": "string" } }, { "schema": { "$ref": "#/x" } },
            { "schema": { "type": "integer" } }]);
        assert_eq!(operation["parameters"], expected);
    }

    #[test]
    fn a_choice_of_named_shapes_is_any_of_them() {
        let mut schema = json!({ "oneOf": [{ "$ref": "#/a" }, { "$ref": "#/b" }] });
        choose_any(&mut schema);
        assert_eq!(
            schema,
            json!({ "anyOf": [{ "$ref": "#/a" }, { "$ref": "#/b" }] })
        );
        let mut schema = json!({ "oneOf": [{ "type": "null" }, { "$ref": "#/b" }] });
        let kept = schema.clone();
        choose_any(&mut schema);
        assert_eq!(schema, kept);
    }

    #[test]
    fn refusals_of_the_edge_are_added_where_an_operation_does_not_tell_its_own() {
        let mut operation = json!({ "responses": { "500": "own" } });
        add_refusals(&mut operation);
        assert_eq!(operation["responses"]["500"], "own");
        let mut operation = json!({ "responses": {} });
        add_refusals(&mut operation);
        assert!(operation["responses"]["415"]["content"].is_object());
    }
}
