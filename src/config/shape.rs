//! The tree against the schema: unknown keys, wrong types, missing keys, words and ranges, all of them at once.
//!
//! One walker serves every type, because it reads the schema that is derived from them. What is wrong is left out of the tree it
//! returns, so that the later steps can speak of the rest.

use super::MOST_DIAGNOSTICS;
use super::diagnostic::{Code, Diagnostic, Place};
use super::schema::{alternatives, permits, places_of, tag, words};
use super::source::{looks_secret, quote};
use super::tree::{Entry, Node, Value};
use super::wording::{first_sentence, listed, nearest, where_secrets_go, where_that_secret_goes, wrong_type};
use regex::Regex;
use serde_json::Value as Json;

/// What the walk found.
pub(super) struct Shape {
    /// The tree without its faulty parts; `None` when nothing is left of it.
    pub sound: Option<Node>,
    pub faults: Vec<Diagnostic>,
    /// Places of values that are or may be secrets: no excerpt may show them.
    pub secrets: Vec<Place>,
}

/// Walks the whole tree.
pub(super) fn check(root: &Node, schema: &'static Json) -> Shape {
    let mut walk = Walk { path: String::new(), owner: Place::START, faults: Vec::new(), secrets: Vec::new() };
    let sound = walk.node(root, schema);
    Shape { sound, faults: walk.faults, secrets: walk.secrets }
}

struct Walk {
    /// Where the walk is, as a person would say it: `providers.targets[0]`.
    path: String,
    /// The key the current value belongs to.
    owner: Place,
    faults: Vec<Diagnostic>,
    secrets: Vec<Place>,
}

impl Walk {
    /// Checks one value; returns what is sound of it.
    fn node(&mut self, node: &Node, schema: &'static Json) -> Option<Node> {
        if *schema == Json::Bool(true) {
            // Anything goes: a part of somebody else's document.
            return Some(node.clone());
        }
        let choices = alternatives(schema);
        let kind = kind_of(&node.value);
        let mut fitting = choices.iter().copied().filter(|choice| permits(choice, kind));
        let schema = match (fitting.next(), &node.value) {
            (Some(variant), Value::Map(entries)) if tag(variant).is_some() => {
                Some(self.variant(node, entries, std::iter::once(variant).chain(fitting).collect())?)
            }
            (schema, _) => schema,
        };
        let Some(schema) = schema else {
            if choices.iter().any(|choice| choice["x-secret"] == true) {
                self.secret_in_clear(node);
            } else {
                let fault = wrong_type(node, &choices, &self.here());
                self.faults.push(fault);
            }
            return None;
        };
        match &node.value {
            Value::Null | Value::Bool(_) => Some(node.clone()),
            Value::Int { value, .. } => self.number(node, *value as f64, schema),
            Value::Float { value, .. } => self.number(node, *value, schema),
            Value::Text(text) => self.text(node, text, schema),
            Value::List(items) => self.list(node, items, schema),
            Value::Map(entries) => self.map(node, entries, schema),
        }
    }

    /// Which of several maps this one is, by the word of the key that tells them apart.
    fn variant(&mut self, node: &Node, entries: &[Entry], variants: Vec<&'static Json>) -> Option<&'static Json> {
        let tags: Vec<_> = variants.iter().filter_map(|variant| tag(variant)).collect();
        let (key, words) = (tags.first()?.0, tags.iter().map(|(_, word)| *word).collect::<Vec<_>>());
        let Some(entry) = entries.iter().find(|entry| entry.key == key) else {
            let fault = Diagnostic::new(Code::MissingKey, format!("`{key}` is missing{}", self.inside())).at(node.place);
            self.faults.push(fault.help(format!("`{key}` is one of {}", listed(words))));
            return None;
        };
        let written = if let Value::Text(text) = &entry.node.value { text.as_str() } else { "" };
        let found = variants.iter().find(|variant| tag(variant).is_some_and(|(_, word)| word == written));
        if found.is_none() {
            let message = format!("{} has no {key} {}", self.here(), quote(written));
            let near = nearest(written, &words).map(|near| format!("did you mean `{near}`?"));
            let help = near.unwrap_or_else(|| format!("`{key}` is one of {}", listed(words)));
            self.faults.push(Diagnostic::new(Code::BadValue, message).at(entry.node.place).help(help));
        }
        found.copied()
    }

    fn map(&mut self, node: &Node, entries: &[Entry], schema: &'static Json) -> Option<Node> {
        if node.entry("<<").is_some() {
            // Reported by the tree, and nobody knows which keys were meant to be here.
            return None;
        }
        let (owner, length) = (self.owner, self.path.len());
        let mut sound = Vec::with_capacity(entries.len());
        for entry in entries {
            let property = &schema["properties"][&entry.key];
            let schema = match property.is_null() {
                false => property,
                true if schema["additionalProperties"].is_object() || schema["additionalProperties"] == true => {
                    &schema["additionalProperties"]
                }
                true => {
                    self.unknown_key(entry, schema);
                    continue;
                }
            };
            self.enter(&entry.key, entry.place);
            if let Some(node) = self.node(&entry.node, schema) {
                sound.push(Entry { key: entry.key.clone(), place: entry.place, node });
            }
            self.path.truncate(length);
            self.owner = owner;
        }
        let required: Vec<&str> = schema["required"].as_array().into_iter().flatten().filter_map(Json::as_str).collect();
        for &key in required.iter().filter(|key| node.entry(key).is_none()) {
            let fault = Diagnostic::new(Code::MissingKey, format!("`{key}` is missing{}", self.inside())).at(owner);
            self.faults.push(match schema["properties"][key]["description"].as_str() {
                Some(description) => fault.help(format!("`{key}`: {}", first_sentence(description))),
                None => fault,
            });
        }
        // Counted without the keys that are already reported.
        let known = entries.iter().filter(|entry| schema["properties"].get(&entry.key).is_some()).count();
        let (least, most) = (schema["minProperties"].as_u64().unwrap_or(0), schema["maxProperties"].as_u64().unwrap_or(u64::MAX));
        if (known as u64) > most || (entries.is_empty() && least > 0) {
            let fault = Diagnostic::new(Code::BadValue, format!("{} takes exactly one of its keys", self.here())).at(owner);
            self.faults.push(fault.help(format!("keep one of {}", listed(keys_of(schema)))));
            return None;
        }
        // The whole configuration is examined as far as it goes; any other map is of no use without a key it needs.
        let usable = self.path.is_empty() || required.iter().all(|key| sound.iter().any(|entry| entry.key == *key));
        let usable = usable && sound.len() as u64 >= least;
        usable.then_some(Node { value: Value::Map(sound), place: node.place })
    }

    fn unknown_key(&mut self, entry: &Entry, schema: &'static Json) {
        let key = &entry.key;
        let properties = keys_of(schema);
        let reference =
            properties.iter().find(|property| **property == "secret_key_ref" || property.strip_suffix("_ref") == Some(key));
        if let Some(reference) = reference.or_else(|| properties.iter().find(|property| property.ends_with("_ref")))
            && names_a_secret(key)
        {
            self.secrets.push(entry.node.place);
            let fault = Diagnostic::new(Code::SecretInClear, format!("{} would hold a secret in clear", quote(key)));
            self.faults.push(fault.at(entry.place).help(where_secrets_go(reference)));
            return;
        }
        if self.faults.len() >= MOST_DIAGNOSTICS {
            // Never shown, and looking for what was meant takes longest of all.
            return;
        }
        let what = schema["x-what"].as_str();
        if is_later(schema, key) {
            let what = what.unwrap_or("key");
            let fault =
                Diagnostic::new(Code::NotInThisBuild, format!("the {what} {} is not supported by this build", quote(key)));
            self.faults.push(fault.at(entry.place).help("remove it: nothing would act on it"));
            return;
        }
        let code = if what == Some("policy kind") { Code::UnknownKind } else { Code::UnknownKey };
        let fault = Diagnostic::new(code, format!("unknown {} {}{}", what.unwrap_or("key"), quote(key), self.inside()));
        // Not the same place under another word of its tag.
        let here = without_indices(&self.path);
        let elsewhere: Vec<_> = places_of(key).into_iter().filter(|place| *place != format!("{here}.{key}")).collect();
        let help = match (nearest(key, &properties), elsewhere.first()) {
            (Some(near), _) => format!("did you mean `{near}`?"),
            (None, Some(place)) if elsewhere.len() == 1 => format!("`{key}` belongs at `{place}`"),
            _ if code == Code::UnknownKind => format!("this build has {}", listed(properties)),
            _ => format!("the keys here are {}", listed(properties)),
        };
        self.faults.push(fault.at(entry.place).help(help));
    }

    fn list(&mut self, node: &Node, items: &[Node], schema: &'static Json) -> Option<Node> {
        let (owner, length) = (self.owner, self.path.len());
        let (least, most) = (schema["minItems"].as_u64().unwrap_or(0), schema["maxItems"].as_u64().unwrap_or(u64::MAX));
        if (items.len() as u64) < least || items.len() as u64 > most {
            let bound = if items.is_empty() { "needs at least one item".into() } else { format!("takes at most {most} items") };
            self.faults.push(Diagnostic::new(Code::OutOfRange, format!("{} {bound}", self.here())).at(owner));
            return None;
        }
        let mut sound = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            self.path.push_str(&format!("[{index}]"));
            self.owner = item.place;
            sound.extend(self.node(item, &schema["items"]));
            self.path.truncate(length);
            self.owner = owner;
        }
        Some(Node { value: Value::List(sound), place: node.place })
    }

    fn text(&mut self, node: &Node, text: &str, schema: &'static Json) -> Option<Node> {
        if let Some(words) = words(schema) {
            return self.word(node, text, &words, schema);
        }
        let length = text.chars().count() as u64;
        let (least, most) = (schema["minLength"].as_u64().unwrap_or(0), schema["maxLength"].as_u64().unwrap_or(u64::MAX));
        if length < least || length > most {
            let bound = if length < least { "must not be empty".into() } else { format!("is longer than {most} characters") };
            self.faults.push(Diagnostic::new(Code::OutOfRange, format!("{} {bound}", self.here())).at(node.place));
            return None;
        }
        let pattern = schema["pattern"].as_str();
        let variable = schema["x-variable"] == true;
        let pasted = variable && looks_secret(text);
        if pasted || !pattern.is_none_or(|pattern| Regex::new(pattern).is_ok_and(|pattern| pattern.is_match(text))) {
            if variable {
                self.secrets.push(node.place);
                let fault =
                    Diagnostic::new(Code::SecretInClear, format!("{} is no name of an environment variable", self.here()));
                self.faults
                    .push(fault.at(node.place).help("write the variable's name, such as `CEREBRAS_API_KEY`, not the key itself"));
            } else {
                let expected = schema["description"].as_str().map(first_sentence);
                let fault = Diagnostic::new(Code::BadValue, format!("{} cannot be {}", self.here(), quote(text))).at(node.place);
                let help = expected.unwrap_or_else(|| format!("it must match `{}`", pattern.unwrap_or_default()));
                self.faults.push(fault.help(help));
            }
            return None;
        }
        Some(node.clone())
    }

    fn word(&mut self, node: &Node, text: &str, words: &[&str], schema: &'static Json) -> Option<Node> {
        if words.contains(&text) {
            return Some(node.clone());
        }
        let kind = schema["x-what"] == "policy kind";
        let last = self.path.rsplit('.').next().unwrap_or_default().trim_end_matches(|c: char| "[]0123456789".contains(c));
        let what = schema["x-what"].as_str().unwrap_or(last).to_owned();
        let (code, message, help) = if is_later(schema, text) {
            let named = match schema["x-what"].as_str() {
                Some(what) => format!("the {what} {}", quote(text)),
                None => format!("`{what}: {text}`"),
            };
            (Code::NotInThisBuild, format!("{named} is not supported by this build"), None)
        } else {
            let code = if kind { Code::UnknownKind } else { Code::BadValue };
            (code, format!("unknown {what} {}", quote(text)), nearest(text, words).map(|near| format!("did you mean `{near}`?")))
        };
        let help = help.unwrap_or_else(|| match words {
            [one] => format!("this build has `{one}`"),
            _ => format!("this build has {}", listed(words.to_vec())),
        });
        self.faults.push(Diagnostic::new(code, message).at(node.place).help(help));
        None
    }

    fn number(&mut self, node: &Node, value: f64, schema: &'static Json) -> Option<Node> {
        let least = schema["minimum"].as_f64().unwrap_or(f64::NEG_INFINITY);
        let most = schema["maximum"].as_f64().unwrap_or(match schema["format"].as_str() {
            Some("uint32") => f64::from(u32::MAX),
            Some("uint64") => u64::MAX as f64,
            _ => f64::INFINITY,
        });
        let above = schema["exclusiveMinimum"].as_f64();
        // Written so that NaN is out of every range.
        if value.is_finite() && least <= value && value <= most && above.is_none_or(|above| value > above) {
            return Some(node.clone());
        }
        let range = match (above, least.is_finite(), most.is_finite() && schema["maximum"].is_number()) {
            (Some(above), _, true) => format!("above {above}, up to {most}"),
            (Some(above), _, false) => format!("above {above}"),
            (None, true, true) => format!("from {least} to {most}"),
            (None, true, false) => format!("{least} or more"),
            (None, false, _) => "a finite number".to_owned(),
        };
        let shown = if let Value::Int { raw, .. } | Value::Float { raw, .. } = &node.value { raw.as_str() } else { "" };
        let fault = Diagnostic::new(Code::OutOfRange, format!("{} cannot be {}", self.here(), quote(shown))).at(node.place);
        self.faults.push(fault.help(format!("it must be {range}")));
        None
    }

    fn secret_in_clear(&mut self, node: &Node) {
        self.secrets.push(node.place);
        let fault = Diagnostic::new(Code::SecretInClear, format!("{} must say where the secret is, not the secret", self.here()));
        self.faults.push(
            fault.at(node.place).help(where_that_secret_goes(&node.value, self.path.rsplit('.').next().unwrap_or_default())),
        );
    }

    fn enter(&mut self, key: &str, place: Place) {
        if !self.path.is_empty() {
            self.path.push('.');
        }
        self.path.push_str(key);
        self.owner = place;
    }

    fn here(&self) -> String {
        if self.path.is_empty() { "the configuration".into() } else { format!("`{}`", self.path) }
    }

    fn inside(&self) -> String {
        if self.path.is_empty() { String::new() } else { format!(" in `{}`", self.path) }
    }
}

/// A path as [`places_of`] writes it.
fn without_indices(path: &str) -> String {
    path.split('.')
        .map(|key| key.split_once('[').map_or(key.to_owned(), |(key, _)| format!("{key}[]")))
        .collect::<Vec<_>>()
        .join(".")
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Int { .. } => "integer",
        Value::Float { .. } => "number",
        Value::Text(_) => "string",
        Value::List(_) => "array",
        Value::Map(_) => "object",
    }
}

fn keys_of(schema: &'static Json) -> Vec<&'static str> {
    schema["properties"].as_object().into_iter().flatten().map(|(key, _)| key.as_str()).collect()
}

fn is_later(schema: &Json, word: &str) -> bool {
    schema["x-later"].as_array().into_iter().flatten().any(|later| later == word)
}

/// Whether people write a key itself under such a name.
fn names_a_secret(key: &str) -> bool {
    let key = key.to_ascii_lowercase().replace(['-', '_'], "");
    [
        "apikey",
        "apitoken",
        "key",
        "secret",
        "secretkey",
        "token",
        "accesstoken",
        "authtoken",
        "password",
        "authorization",
        "bearer",
    ]
    .contains(&key.as_str())
}
