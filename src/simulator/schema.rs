//! The smallest value a JSON Schema accepts, for structured outputs and tool arguments.
//!
//! Knows the keywords structured outputs use: `type`, `enum`, `const`, `default`, `properties`, `required`, `items`,
//! `prefixItems`, `anyOf`, `oneOf`, `allOf`, local `$ref`s, lengths, bounds and common formats. It does not solve `pattern`,
//! `not`, `if` or `uniqueItems`.

use serde_json::{Map, Number, Value, json};
use std::cell::Cell;

/// A value valid for `schema`. Properties are those `required`, or all of them where the schema names none as required.
pub fn instance(schema: &Value) -> Value {
    Reader { root: schema, budget: Cell::new(MAX_VALUES) }.value(schema, 0)
}

struct Reader<'a> {
    /// Where `#/...` references begin.
    root: &'a Value,
    /// How many values may still be made: a schema that refers to itself twice would double at every level.
    budget: Cell<u32>,
}

/// No instance has more values than this.
const MAX_VALUES: u32 = 4_096;

/// Beyond this depth optional properties are left out, so that recursive schemas end.
const OPTIONAL_DEPTH: usize = 4;
/// Beyond this depth nothing is filled in.
const MAX_DEPTH: usize = 32;
/// More than this many characters or elements are not made up, whatever the schema demands.
const MAX_LENGTH: u64 = 1_024;

impl Reader<'_> {
    fn value(&self, schema: &Value, depth: usize) -> Value {
        let Some(budget) = self.budget.get().checked_sub(1).filter(|_| depth <= MAX_DEPTH) else { return Value::Null };
        self.budget.set(budget);
        if let Some(target) = schema.get("$ref").and_then(Value::as_str).and_then(|reference| self.resolve(reference)) {
            return self.value(target, depth + 1);
        }
        for key in ["const", "default"] {
            if let Some(value) = schema.get(key) {
                return value.clone();
            }
        }
        for key in ["enum", "examples"] {
            if let Some(first) = schema.get(key).and_then(Value::as_array).and_then(|values| values.first()) {
                return first.clone();
            }
        }
        for key in ["anyOf", "oneOf"] {
            if let Some(first) = schema.get(key).and_then(Value::as_array).and_then(|options| options.first()) {
                return self.value(first, depth + 1);
            }
        }
        if let Some(parts) = schema.get("allOf").and_then(Value::as_array) {
            return self.all_of(schema, parts, depth);
        }
        match type_of(schema) {
            "object" => Value::Object(self.object(schema, depth)),
            "array" => self.array(schema, depth),
            "string" => Value::String(string(schema)),
            "integer" => number(schema, true),
            "number" => number(schema, false),
            "boolean" => Value::Bool(true),
            _ => Value::Null,
        }
    }

    fn resolve(&self, reference: &str) -> Option<&Value> {
        self.root.pointer(reference.strip_prefix('#')?)
    }

    /// Parts that are objects are laid over each other; of anything else the first part decides.
    fn all_of(&self, schema: &Value, parts: &[Value], depth: usize) -> Value {
        let mut merged = self.object(schema, depth);
        for part in parts {
            match self.value(part, depth + 1) {
                Value::Object(fields) => merged.extend(fields),
                other if merged.is_empty() => return other,
                _ => {}
            }
        }
        Value::Object(merged)
    }

    fn object(&self, schema: &Value, depth: usize) -> Map<String, Value> {
        let Some(properties) = schema.get("properties").and_then(Value::as_object) else { return Map::new() };
        let required = schema.get("required").and_then(Value::as_array);
        let wanted = |name: &str| match required {
            Some(required) => required.iter().any(|entry| entry == name),
            None => depth < OPTIONAL_DEPTH,
        };
        properties
            .iter()
            .filter(|(name, _)| wanted(name))
            .map(|(name, part)| (name.clone(), self.value(part, depth + 1)))
            .collect()
    }

    fn array(&self, schema: &Value, depth: usize) -> Value {
        let fixed = schema.get("prefixItems").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let mut items: Vec<Value> = fixed.iter().map(|part| self.value(part, depth + 1)).collect();
        // One element shows more than none; deep down none ends sooner.
        let shown = u64::from(depth < OPTIONAL_DEPTH).min(bound(schema, "maxItems").unwrap_or(1));
        let least = bound(schema, "minItems").unwrap_or(shown).min(MAX_LENGTH);
        if let Some(part) = schema.get("items").filter(|part| part.is_object()) {
            while (items.len() as u64) < least {
                items.push(self.value(part, depth + 1));
            }
        }
        Value::Array(items)
    }
}

/// The type a schema asks for; of several the first that is not null, of none the one its keywords suggest.
fn type_of(schema: &Value) -> &str {
    match schema.get("type") {
        Some(Value::String(name)) => name,
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).find(|name| *name != "null").unwrap_or("null"),
        _ if schema.get("items").is_some() || schema.get("prefixItems").is_some() => "array",
        _ if schema.get("minLength").is_some() || schema.get("format").is_some() => "string",
        _ => "object",
    }
}

fn string(schema: &Value) -> String {
    let text = match schema.get("format").and_then(Value::as_str) {
        Some("date-time") => return "2026-01-01T00:00:00Z".into(),
        Some("date") => return "2026-01-01".into(),
        Some("time") => return "00:00:00Z".into(),
        Some("duration") => return "PT1S".into(),
        Some("email") => return "someone@example.com".into(),
        Some("hostname") => return "example.com".into(),
        Some("ipv4") => return "192.0.2.1".into(),
        Some("ipv6") => return "2001:db8::1".into(),
        Some("uuid") => return "00000000-0000-4000-8000-000000000000".into(),
        Some("uri" | "url") => return "https://example.com/".into(),
        _ => "simulated",
    };
    let least = bound(schema, "minLength").unwrap_or(0).min(MAX_LENGTH) as usize;
    let most = bound(schema, "maxLength").unwrap_or(u64::MAX).max(least as u64);
    text.chars().cycle().take(text.len().max(least).min(usize::try_from(most).unwrap_or(usize::MAX))).collect()
}

fn number(schema: &Value, whole: bool) -> Value {
    let limit = |key| schema.get(key).and_then(Value::as_f64);
    let step = limit("multipleOf").filter(|step| *step > 0.0).unwrap_or(1.0);
    let mut value = match (limit("minimum"), limit("exclusiveMinimum")) {
        (Some(least), _) => (least / step).ceil() * step,
        (None, Some(below)) => ((below / step).floor() + 1.0) * step,
        (None, None) => step,
    };
    if let Some(most) = limit("maximum").filter(|most| value > *most) {
        value = if whole { most.floor() } else { most };
    }
    if let Some(above) = limit("exclusiveMaximum").filter(|above| value >= *above) {
        value = if whole { above.ceil() - 1.0 } else { above - step.min(1.0) / 2.0 };
    }
    if whole || value.fract() == 0.0 {
        return json!(value as i64);
    }
    Number::from_f64(value).map_or(Value::Null, Value::Number)
}

fn bound(schema: &Value, key: &str) -> Option<u64> {
    schema.get(key).and_then(Value::as_u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_has_what_is_required_and_nothing_else() {
        let schema = json!({"type": "object", "required": ["city", "days"], "additionalProperties": false, "properties": {
            "city": {"type": "string", "minLength": 20}, "days": {"type": "integer", "minimum": 3}, "note": {"type": "string"}}});
        let value = instance(&schema);
        assert_eq!(value.as_object().map(Map::len), Some(2));
        assert_eq!(value["city"].as_str().map(str::len), Some(20));
        assert_eq!(value["days"], 3);
    }

    #[test]
    fn each_keyword_is_obeyed() {
        for (schema, expected) in [
            (json!({"enum": ["celsius", "kelvin"]}), json!("celsius")),
            (json!({"const": 7}), json!(7)),
            (json!({"type": ["null", "boolean"]}), json!(true)),
            (json!({"type": "null"}), json!(null)),
            (json!({"type": "string", "maxLength": 3}), json!("sim")),
            (json!({"type": "string", "format": "date"}), json!("2026-01-01")),
            (json!({"type": "integer", "exclusiveMinimum": 9}), json!(10)),
            (json!({"type": "integer", "maximum": -4}), json!(-4)),
            (json!({"type": "integer", "minimum": 11, "multipleOf": 5}), json!(15)),
            (json!({"type": "number", "exclusiveMaximum": 1}), json!(0.5)),
            (json!({"type": "array", "items": {"type": "boolean"}, "minItems": 2}), json!([true, true])),
            (json!({"type": "array", "items": {"type": "boolean"}, "maxItems": 0}), json!([])),
            (json!({"anyOf": [{"type": "boolean"}, {"type": "null"}]}), json!(true)),
            (
                json!({"allOf": [{"properties": {"a": {"const": 1}}}, {"properties": {"b": {"const": 2}}}]}),
                json!({"a": 1, "b": 2}),
            ),
            (json!({"$ref": "#/$defs/x", "$defs": {"x": {"const": "found"}}}), json!("found")),
            (json!({}), json!({})),
        ] {
            assert_eq!(instance(&schema), expected, "{schema}");
        }
    }

    #[test]
    fn a_recursive_schema_ends() {
        let tree = json!({"type": "object", "properties": {"children": {"type": "array", "items": {"$ref": "#"}}}});
        assert!(instance(&tree).to_string().len() < 1_000);
        assert!(instance(&json!({"$ref": "#"})).is_null());
        let doubling = json!({"required": ["a", "b"], "properties": {"a": {"$ref": "#"}, "b": {"$ref": "#"}}});
        assert!(instance(&doubling).to_string().len() < 100_000);
        let forked = json!({"type": "array", "items": {"$ref": "#"}, "minItems": 1});
        assert!(instance(&forked).to_string().len() < 1_000);
    }
}
