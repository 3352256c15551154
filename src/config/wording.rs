//! The words diagnostics have in common: names of types, advice on secrets, the nearest word to a mistyped one.

use super::diagnostic::{Code, Diagnostic};
use super::schema::permits;
use super::source::{looks_secret, quote};
use super::tree::{Node, Value};
use serde_json::Value as Json;

/// The advice of every diagnostic about a secret.
pub(super) const WHERE_SECRETS_GO: &str =
    "write `secret_key_ref: {env: NAME}` for an environment variable or `secret_key_ref: {file: PATH}` for a file";

/// The same for another key than that of a target.
pub(super) fn where_secrets_go(key: &str) -> String {
    WHERE_SECRETS_GO.replace("secret_key_ref", key)
}

/// The advice for a secret in clear under a key; when it looks like the name of a variable, with that name in place.
pub(super) fn where_that_secret_goes(value: &Value, key: &str) -> String {
    let variable = match value {
        Value::Text(text) => text.trim_start_matches("env:").trim_start_matches('$').trim_matches(['{', '}']),
        _ => "",
    };
    let is_name = |text: &str| text.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_');
    match variable.contains('_') && is_name(variable) && !looks_secret(variable) {
        true => format!("for an environment variable write `{{env: {variable}}}`"),
        false => where_secrets_go(key),
    }
}

/// The word a person most likely meant.
pub(super) fn nearest<'a>(word: &str, words: &[&'a str]) -> Option<&'a str> {
    let plain = |word: &str| word.to_ascii_lowercase().replace(['_', ' ', '.'], "-");
    let word = plain(word);
    let bound = (word.chars().count() / 3).clamp(1, 4);
    let distance = |candidate: &&str| strsim::damerau_levenshtein(&word, &plain(candidate));
    // Bounded: the measure takes time in the product of the lengths, and nobody mistypes into a word this long.
    if word.len() > 100 {
        return None;
    }
    words.iter().copied().min_by_key(|candidate| distance(candidate)).filter(|candidate| distance(candidate) <= bound)
}

/// A value of another type than its key takes.
pub(super) fn wrong_type(node: &Node, choices: &[&'static Json], here: &str) -> Diagnostic {
    let expected = ["string", "integer", "number", "boolean", "array", "object"]
        .into_iter()
        .filter(|kind| choices.iter().any(|choice| permits(choice, kind)))
        .filter(|kind| *kind != "integer" || !choices.iter().any(|choice| permits(choice, "number")))
        .collect::<Vec<_>>();
    let named = expected.iter().map(|kind| name_of(kind)).collect::<Vec<_>>().join(" or ");
    let fault = Diagnostic::new(Code::WrongType, format!("{here} must be {named}, not {}", shown(&node.value))).at(node.place);
    match (&node.value, expected.as_slice()) {
        (Value::Int { raw, .. } | Value::Float { raw, .. }, ["string", ..]) => {
            fault.help(format!("put it in quotes: `\"{raw}\"`"))
        }
        (Value::Bool(value), ["string", ..]) => fault.help(format!("put it in quotes: `\"{value}\"`")),
        (Value::Text(text), ["boolean"]) => match text.to_ascii_lowercase().as_str() {
            "yes" | "y" | "on" | "true" => fault.help("write `true`, without quotes: in YAML 1.2 every other word is text"),
            "no" | "n" | "off" | "false" => fault.help("write `false`, without quotes: in YAML 1.2 every other word is text"),
            _ => fault,
        },
        (Value::Text(text), ["integer" | "number"]) => match text.replace('_', "").trim_start_matches('0').parse::<f64>() {
            Ok(value) => fault.help(format!("write `{value}`, without quotes, leading zeros or separators")),
            Err(_) => fault,
        },
        (Value::Null, _) => fault.help("give it a value, or remove the key"),
        (_, ["array"]) => fault.help("write a list: `[first, second]`, or one `- item` a line"),
        _ => fault,
    }
}

fn name_of(kind: &str) -> &'static str {
    match kind {
        "string" => "text",
        "integer" => "a whole number",
        "number" => "a number",
        "boolean" => "`true` or `false`",
        "array" => "a list",
        _ => "a map",
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::Null => "empty".into(),
        Value::Bool(value) => format!("`{value}`"),
        Value::Int { raw, .. } | Value::Float { raw, .. } => format!("the number {}", quote(raw)),
        Value::Text(text) => format!("the text {}", quote(text)),
        Value::List(_) => "a list".into(),
        Value::Map(_) => "a map".into(),
    }
}

/// A description as advice: its first sentence.
pub(super) fn first_sentence(text: &str) -> String {
    let text = text.replace('\n', " ");
    text.split_once(". ").map_or(text.as_str(), |(first, _)| first).trim_end_matches('.').to_owned()
}

/// Words in a row, each in back-quotes.
pub(super) fn listed(words: Vec<&str>) -> String {
    words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}
