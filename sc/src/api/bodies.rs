//! The bodies that create and ensure things, for the document.
//!
//! One shape is read for both. POST needs the key of what it creates; with PUT the path says it, and the
//! key in the body, which may only repeat the path, is not worth telling. Descriptions only.

use tidegate_proto::api::spu::{SpuGroupRequest, SpuRequest};
use tidegate_proto::api::topic::TopicRequest;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{Schema, SchemaType, Type};
use utoipa::{PartialSchema, ToSchema};

/// The body of `POST /v1/topics`.
pub(super) struct CreateTopic;
/// The body of `PUT /v1/topics/{topic}`.
pub(super) struct EnsureTopic;
/// The body of `POST /v1/spus`.
pub(super) struct CreateSpu;
/// The body of `PUT /v1/spus/{spu}`.
pub(super) struct EnsureSpu;
/// The body of `POST /v1/spu-groups`.
pub(super) struct CreateSpuGroup;
/// The body of `PUT /v1/spu-groups/{group}`.
pub(super) struct EnsureSpuGroup;

macro_rules! body {
    ($name:ident, $request:ident, $make:expr) => {
        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                $make($request::schema())
            }
        }

        impl ToSchema for $name {
            fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
                $request::schemas(schemas);
            }
        }
    };
}

body!(CreateTopic, TopicRequest, |schema| with(schema, &["name"]));
body!(EnsureTopic, TopicRequest, |schema| without(schema, "name"));
body!(CreateSpu, SpuRequest, |schema| with(schema, &["id"]));
body!(EnsureSpu, SpuRequest, |schema| without(schema, "id"));
body!(CreateSpuGroup, SpuGroupRequest, |schema| with(
    schema,
    &["name", "replicas"]
));
body!(EnsureSpuGroup, SpuGroupRequest, |schema| with(
    without(schema, "name"),
    &["replicas"]
));

/// With those fields required, and not `null`.
fn with(schema: RefOr<Schema>, fields: &[&str]) -> RefOr<Schema> {
    let RefOr::T(Schema::Object(mut object)) = schema else {
        return schema;
    };
    for field in fields {
        object.required.push((*field).to_owned());
        let Some(property) = object.properties.get_mut(*field) else {
            continue;
        };
        match property {
            RefOr::T(Schema::Object(property)) => {
                if let SchemaType::Array(types) = &property.schema_type
                    && let Some(kept) = types.iter().find(|kind| **kind != Type::Null)
                {
                    property.schema_type = SchemaType::Type(kept.clone());
                }
            }
            RefOr::T(Schema::OneOf(choices)) => {
                let is_reference = |item: &RefOr<Schema>| matches!(item, RefOr::Ref(_));
                if let Some(given) = choices.items.iter().find(|item| is_reference(item)) {
                    *property = given.clone();
                }
            }
            _ => {}
        }
    }
    RefOr::T(Schema::Object(object))
}

/// Without that field.
fn without(schema: RefOr<Schema>, field: &str) -> RefOr<Schema> {
    let RefOr::T(Schema::Object(mut object)) = schema else {
        return schema;
    };
    object.properties.remove(field);
    RefOr::T(Schema::Object(object))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn shape<T: PartialSchema>() -> Value {
        serde_json::to_value(T::schema()).unwrap()
    }

    #[test]
    fn what_creates_needs_its_key_and_what_ensures_has_none() {
        let create = shape::<CreateSpu>();
        assert_eq!(create["required"], json!(["id"]));
        assert_eq!(create["properties"]["id"]["type"], "integer");
        let create = shape::<CreateTopic>();
        let name = &create["properties"]["name"];
        assert!(name["$ref"].is_string(), "{name}");
        let ensure = shape::<EnsureSpuGroup>();
        assert_eq!(ensure["required"], json!(["replicas"]));
        assert_eq!(ensure["properties"]["replicas"]["type"], "integer");
        for ensure in [ensure, shape::<EnsureTopic>(), shape::<EnsureSpu>()] {
            assert!(ensure["properties"].get("name").is_none());
            assert!(ensure["properties"].get("id").is_none());
            assert_eq!(ensure["additionalProperties"], false);
        }
    }
}
