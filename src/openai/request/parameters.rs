//! The parameters a caller set, for the record: numbers, flags, and words the API defines. Never free text, and nothing that grows
//! with the body: what is no such value is left out, and a word the API does not have is `other`.

use super::members::source;
use super::{Members, Prompt};
use crate::openai::json::{Kind, Reader};
use serde_json::{Number, Value};

/// The longest number that is kept, in characters.
const LONGEST_NUMBER: usize = 24;
/// Values that are numbers or flags.
const PLAIN: [&str; 20] = [
    "best_of",
    "dimensions",
    "echo",
    "frequency_penalty",
    "logprobs",
    "max_completion_tokens",
    "max_tokens",
    "min_p",
    "min_tokens",
    "n",
    "parallel_tool_calls",
    "presence_penalty",
    "repetition_penalty",
    "seed",
    "store",
    "temperature",
    "top_k",
    "top_logprobs",
    "top_p",
    "use_beam_search",
];
/// Values that are a word, or an object whose `type` is one; each with the words the API has for it.
const WORDS: [(&str, &[&str]); 7] = [
    ("encoding_format", &["float", "base64"]),
    ("function_call", &["none", "auto"]),
    ("reasoning_effort", &["none", "minimal", "low", "medium", "high", "xhigh"]),
    ("response_format", &["text", "json_object", "json_schema"]),
    ("service_tier", &["auto", "default", "flex", "priority"]),
    ("tool_choice", &["none", "auto", "required", "function", "custom", "allowed_tools"]),
    ("verbosity", &["low", "medium", "high"]),
];

impl Prompt<'_> {
    /// What the caller set, by the API's names, in the order of the body. `stop` is there by its number of sequences alone, and an
    /// object by its type: `tool_choice: function`.
    pub fn parameters(&self) -> Vec<(&'static str, Value)> {
        parameters(&self.members, self.body)
    }
}

fn parameters(members: &Members, body: &[u8]) -> Vec<(&'static str, Value)> {
    let mut found = Vec::new();
    members.each(body, |member| {
        let name = member.name(body);
        let text = source(body, &member.value);
        let known = PLAIN.iter().find(|plain| **plain == name).and_then(|plain| Some((*plain, plain_value(text)?)));
        let known = known.or_else(|| {
            let (word, words) = WORDS.iter().find(|(word, _)| *word == name)?;
            Some((*word, word_of(text, words)?.into()))
        });
        let known = known.or_else(|| match name.as_ref() {
            "stop" => Some(("stop_sequences", sequences(text)?.into())),
            "stream_options" => Some(("include_usage", self::member(text, "include_usage").and_then(plain_value)?)),
            _ => None,
        });
        found.extend(known);
    });
    found
}

/// A number or a flag.
fn plain_value(text: &str) -> Option<Value> {
    match text {
        "true" => Some(Value::Bool(true)),
        "false" => Some(Value::Bool(false)),
        number if number.len() <= LONGEST_NUMBER => number.parse::<Number>().ok().map(Value::Number),
        _ => None,
    }
}

/// The word a value is, or that its type is; `None` for a value that is neither.
fn word_of(text: &str, words: &[&'static str]) -> Option<&'static str> {
    let text = if text.starts_with('{') { member(text, "type").unwrap_or("\"function\"") } else { text };
    let written = text.strip_prefix('"')?.strip_suffix('"')?;
    Some(words.iter().find(|word| **word == written).copied().unwrap_or("other"))
}

/// How many texts end the answer.
fn sequences(text: &str) -> Option<usize> {
    let mut reader = Reader::new(text);
    match reader.kind().ok()? {
        Kind::String => Some(1),
        Kind::Array => {
            reader.enter_array().ok()?;
            let mut count = 0;
            while reader.next_element().ok()? {
                reader.skip().ok()?;
                count += 1;
            }
            Some(count)
        }
        _ => None,
    }
}

/// The source of a member of an object.
fn member<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    let mut reader = Reader::new(text);
    reader.enter_object().ok()?;
    while let Some(key) = reader.next_key().ok()? {
        let found = key.decode() == name;
        let range = reader.skip().ok()?;
        if found {
            return text.get(range);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::openai::request::Endpoint;
    use serde_json::json;

    fn of(members: Value) -> serde_json::Map<String, Value> {
        let mut body = json!({"model": "m", "messages": []});
        body.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        let body = body.to_string();
        let prompt = Prompt::read(Endpoint::ChatCompletions, body.as_bytes()).unwrap();
        prompt.parameters().into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    #[test]
    fn what_the_caller_set_is_kept_as_it_was_set() {
        let set = json!({"temperature": 0.7, "max_tokens": 100, "top_p": 1, "seed": 42, "n": 2, "parallel_tool_calls": false});
        assert_eq!(Value::Object(of(set.clone())), set);
        let shaped = of(json!({
            "tool_choice": {"type": "function", "function": {"name": "secret_tool"}}, "stop": ["END", "HALT"],
            "response_format": {"json_schema": {"name": "x", "schema": {"type": "object"}}, "type": "json_schema"},
            "stream_options": {"include_usage": true}, "reasoning_effort": "high",
        }));
        let expected = json!({
            "tool_choice": "function", "stop_sequences": 2, "response_format": "json_schema", "include_usage": true,
            "reasoning_effort": "high",
        });
        assert_eq!(Value::Object(shaped), expected);
    }

    #[test]
    fn no_text_of_the_callers_is_among_them() {
        let free = json!({
            "stop": "jane@example.com", "user": "jane@example.com", "metadata": {"a": "jane"}, "tool_choice": "jane",
            "temperature": "jane", "service_tier": {"type": "jane"}, "seed": null, "logit_bias": {"50256": -100}, "jane": 1,
        });
        let expected = json!({"stop_sequences": 1, "tool_choice": "other", "service_tier": "other"});
        assert_eq!(Value::Object(of(free)), expected);
        let long = format!(r#"{{"messages":[],"seed":{}}}"#, "1".repeat(60));
        assert!(Prompt::read(Endpoint::ChatCompletions, long.as_bytes()).unwrap().parameters().is_empty());
    }
}
