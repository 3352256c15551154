//! The JSON Schema of a configuration, derived from the types that read it: one truth for the reader, the checks and editors.

use super::document::Document;
use schemars::generate::SchemaSettings;
use serde_json::Value;
use std::sync::LazyLock;

/// The derived schema, our own keywords included.
pub(super) static SCHEMA: LazyLock<Value> = LazyLock::new(|| {
    let settings = SchemaSettings::draft2020_12().for_deserialize();
    settings.into_generator().into_root_schema_for::<Document>().to_value()
});

/// The schema as published, for editors: standard keywords alone.
pub fn json_schema() -> Value {
    let mut schema = SCHEMA.clone();
    publish(&mut schema);
    schema
}

fn publish(schema: &mut Value) {
    match schema {
        Value::Object(map) => {
            map.retain(|key, value| !(key.starts_with("x-") || (key == "default" && value.is_null())));
            map.values_mut().for_each(publish);
        }
        Value::Array(items) => items.iter_mut().for_each(publish),
        // Descriptions are doc comments: the brackets of their links mean nothing outside rustdoc.
        Value::String(text) if text.contains("[`") => *text = text.replace("[`", "`").replace("`]", "`"),
        _ => {}
    }
}

/// What a `$ref` stands for; any other schema stands for itself.
pub(super) fn deref(schema: &'static Value) -> &'static Value {
    let target = schema["$ref"].as_str().and_then(|pointer| SCHEMA.pointer(pointer.trim_start_matches('#')));
    target.unwrap_or(schema)
}

/// The alternatives of a schema: itself unless it is a choice. `null` is one only for keys that may be left empty.
pub(super) fn alternatives(schema: &'static Value) -> Vec<&'static Value> {
    let schema = deref(schema);
    match schema["anyOf"].as_array().or_else(|| variants(schema)) {
        Some(choices) => choices.iter().flat_map(alternatives).collect(),
        None => vec![schema],
    }
}

/// The maps that a map may be, each told by the word of one key: see [`tag`].
fn variants(schema: &'static Value) -> Option<&'static Vec<Value>> {
    schema["oneOf"].as_array().filter(|choices| choices.iter().all(|choice| tag(choice).is_some()))
}

/// The key that tells a variant from its siblings, and its word.
pub(super) fn tag(variant: &'static Value) -> Option<(&'static str, &'static str)> {
    let properties = variant["properties"].as_object()?;
    properties.iter().find_map(|(key, property)| Some((key.as_str(), property["const"].as_str()?)))
}

/// The words an enum permits; `None` for a schema that is no enum of words.
pub(super) fn words(schema: &'static Value) -> Option<Vec<&'static str>> {
    if let Some(words) = schema["enum"].as_array() {
        return Some(words.iter().filter_map(Value::as_str).collect());
    }
    if let Some(word) = schema["const"].as_str() {
        return Some(vec![word]);
    }
    let choices: Option<Vec<_>> = schema["oneOf"].as_array()?.iter().map(words).collect();
    Some(choices?.concat())
}

/// Whether a schema permits a JSON type.
pub(super) fn permits(schema: &'static Value, kind: &str) -> bool {
    match &schema["type"] {
        Value::String(one) => one == kind || (one == "number" && kind == "integer"),
        Value::Array(many) => {
            many.iter().filter_map(Value::as_str).any(|one| one == kind || (one == "number" && kind == "integer"))
        }
        _ => kind == "string" && words(schema).is_some(),
    }
}

/// Where else in a configuration a key of this name may stand, as paths.
pub(super) fn places_of(key: &str) -> Vec<String> {
    let mut found = Vec::new();
    seek(&SCHEMA, key, &mut String::new(), 0, &mut found);
    found
}

fn seek(schema: &'static Value, key: &str, path: &mut String, depth: usize, found: &mut Vec<String>) {
    if depth > 8 {
        return;
    }
    let before = path.len();
    for schema in alternatives(schema) {
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            if !path.is_empty() {
                path.push('.');
            }
            path.push_str(name);
            if name == key {
                found.push(path.clone());
            }
            seek(property, key, path, depth + 1, found);
            path.truncate(before);
        }
        if schema["items"].is_object() {
            path.push_str("[]");
            seek(&schema["items"], key, path, depth + 1, found);
            path.truncate(before);
        }
    }
}
