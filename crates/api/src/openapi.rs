//! The OpenAPI document of what this server really serves: made from the registered routes, with names and schemas of the
//! published contract. A route that the contract does not know is listed with a free body.

use std::{collections::BTreeSet, sync::Arc};

use axum::body::Bytes;
use serde_json::{Map, Value, json};

use crate::Operation;

const CONTRACT: &str = include_str!("../contract/config-api-seed-sdk.json");

/// The text of the document; cheap to clone.
#[derive(Clone)]
pub struct Document(Arc<Bytes>);

impl Document {
    pub fn of(operations: &[Operation]) -> Self {
        let text = serde_json::to_vec_pretty(&document(operations)).unwrap_or_default();
        Self(Arc::new(text.into()))
    }

    pub fn text(&self) -> Bytes {
        self.0.as_ref().clone()
    }
}

pub fn document(operations: &[Operation]) -> Value {
    let contract: Value = serde_json::from_str(CONTRACT).unwrap_or_default();
    let schemas = contract["schemas"].as_object().cloned().unwrap_or_default();
    let known: Vec<Value> = contract["operations"].as_array().cloned().unwrap_or_default();
    let mut wanted = BTreeSet::new();
    let mut paths = Map::new();
    for operation in operations {
        let path = format!("/v1{}", operation.path);
        let found = known.iter().find(|known| known["path"] == path.as_str() && known["method"] == operation.method);
        let entry = match found {
            Some(found) => described(found, &mut wanted),
            None => free(operation),
        };
        let methods = paths.entry(path).or_insert_with(|| json!({}));
        methods[operation.method.to_lowercase()] = entry;
    }
    json!({
        "openapi": "3.0.0",
        "info": {
            "title": "Leat Configuration API",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Sources, destinations, connections and their jobs. Every operation is a POST with a JSON body, except health and openapi."
        },
        "servers": [{ "url": "/api" }],
        "paths": paths,
        "components": { "schemas": components(&schemas, wanted) }
    })
}

fn described(operation: &Value, wanted: &mut BTreeSet<String>) -> Value {
    let mut responses = Map::new();
    for (status, response) in operation["responses"].as_object().into_iter().flatten() {
        let mut answer = json!({ "description": description(status) });
        if let Some(schema) = response["schema"].as_str() {
            wanted.insert(schema.to_owned());
            answer["content"] = json!({ "application/json": { "schema": reference(schema) } });
        } else if operation["path"] == "/v1/openapi" {
            answer["content"] = json!({ "text/plain": { "schema": { "type": "string" } } });
        }
        responses.insert(status.clone(), answer);
    }
    let mut entry = json!({
        "operationId": operation["operationId"],
        "tags": operation["tags"],
        "responses": responses,
    });
    if let Some(schema) = operation["request"]["schema"].as_str() {
        wanted.insert(schema.to_owned());
        entry["requestBody"] =
            json!({ "required": true, "content": { "application/json": { "schema": reference(schema) } } });
    }
    entry
}

/// Operations newer than the contract.
fn free(operation: &Operation) -> Value {
    let id = operation.path.trim_start_matches('/').replace('/', "_");
    json!({
        "operationId": id,
        "requestBody": { "content": { "application/json": { "schema": { "type": "object" } } } },
        "responses": { "200": { "description": description("200"), "content": { "application/json": { "schema": { "type": "object" } } } } }
    })
}

fn description(status: &str) -> &'static str {
    match status {
        "200" | "204" => "Done.",
        "404" => "An id that nothing has.",
        "409" => "It would be fine at another time.",
        "422" => "The request cannot be accepted; validationErrors name the fields.",
        _ => "The request was refused.",
    }
}

fn reference(schema: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{schema}") })
}

/// The named schemas and all that they refer to, in the words of OpenAPI.
fn components(schemas: &Map<String, Value>, mut open: BTreeSet<String>) -> Map<String, Value> {
    let mut done = Map::new();
    while let Some(name) = open.pop_first() {
        if done.contains_key(&name) {
            continue;
        }
        let schema = schemas.get(&name).map(|schema| translated(schema, &mut open)).unwrap_or_else(|| json!({}));
        done.insert(name, schema);
    }
    done.sort_keys();
    done
}

fn translated(schema: &Value, open: &mut BTreeSet<String>) -> Value {
    match schema {
        Value::Object(members) => {
            if let Some(name) = members.get("ref").and_then(Value::as_str) {
                open.insert(name.to_owned());
                return reference(name);
            }
            let mut plain = Map::new();
            for (name, member) in members {
                match name.as_str() {
                    "kind" => {}
                    // A property may have any name, `kind` and `ref` too.
                    "properties" => {
                        let properties: Map<String, Value> = member
                            .as_object()
                            .into_iter()
                            .flatten()
                            .map(|(name, property)| (name.clone(), translated(property, open)))
                            .collect();
                        plain.insert(name.clone(), properties.into());
                    }
                    // The contract's slip: it requires `json_schema` and calls the property `jsonSchema`.
                    "required" => {
                        let required: Vec<&Value> =
                            member.as_array().into_iter().flatten().filter(|word| *word != "json_schema").collect();
                        plain.insert(name.clone(), json!(required));
                    }
                    // Newer fields may be added to any answer.
                    "additionalProperties" if *member == Value::Bool(false) => {}
                    _ => {
                        plain.insert(name.clone(), translated(member, open));
                    }
                }
            }
            plain.into()
        }
        Value::Array(items) => items.iter().map(|item| translated(item, open)).collect(),
        other => other.clone(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn every_route_is_in_the_document_and_every_reference_leads_somewhere() {
        let routes = crate::routes();
        let document = document(routes.operations());
        for operation in routes.operations() {
            let entry = &document["paths"][format!("/v1{}", operation.path)][operation.method.to_lowercase()];
            assert!(entry["operationId"].is_string(), "{operation:?}");
            assert!(entry["responses"].as_object().is_some_and(|responses| !responses.is_empty()), "{operation:?}");
        }
        let text = document.to_string();
        for part in text.split("#/components/schemas/").skip(1) {
            let name = part.split('"').next().unwrap();
            assert!(document["components"]["schemas"][name].is_object(), "{name}");
        }
    }
}
