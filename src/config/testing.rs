//! Cases that say what the chain should do: the block `testing`, and the same shape in the files of a pack's `tests/`.
//!
//! The gateway never acts on them; `kt policy test` does.

use super::diagnostic::Code;
use super::meaning::{Found, Spot};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Cases that belong together.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Suite {
    /// What the cases have in common.
    #[schemars(length(min = 1, max = 200))]
    pub name: String,
    /// The cases, in the order they are tried.
    #[schemars(length(min = 1, max = 4096))]
    pub cases: Vec<Case>,
}

/// One exchange and what the chain should say of it.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// What is expected, in a sentence.
    #[schemars(length(min = 1, max = 200))]
    pub name: String,
    /// What a caller sends and a provider answers.
    pub input: CaseInput,
    /// What the chain should say.
    pub expected: Expected,
}

/// The endpoint a request is sent to, by its path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum CaseEndpoint {
    /// Asked with `messages`.
    #[serde(rename = "/v1/chat/completions")]
    ChatCompletions,
    /// Asked with a `prompt`.
    #[serde(rename = "/v1/completions")]
    Completions,
    /// Asked with an `input`.
    #[serde(rename = "/v1/embeddings")]
    Embeddings,
}

impl CaseEndpoint {
    /// Its path.
    pub fn path(self) -> &'static str {
        match self {
            CaseEndpoint::ChatCompletions => "/v1/chat/completions",
            CaseEndpoint::Completions => "/v1/completions",
            CaseEndpoint::Embeddings => "/v1/embeddings",
        }
    }
}

/// What a caller sends and a provider answers: `messages`, a `prompt` or an `input`, an `upstream_response`, or one of each.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CaseInput {
    /// Where the request is sent; by itself where `messages`, `prompt` or `input` belong.
    pub endpoint: Option<CaseEndpoint>,
    /// The messages of a chat completion, as the API takes them.
    #[schemars(schema_with = "objects")]
    pub messages: Vec<Map<String, Value>>,
    /// The prompt of a completion: a text, texts, or token ids.
    #[schemars(schema_with = "texts")]
    pub prompt: Option<Value>,
    /// The input of an embedding, likewise.
    #[schemars(schema_with = "texts")]
    pub input: Option<Value>,
    /// The model the caller asks for, for conditions on it.
    pub model: Option<String>,
    /// The headers of the request, for conditions on them.
    pub headers: BTreeMap<String, String>,
    /// What the provider answers: a text, a whole answer object, or a list of stream events.
    #[schemars(schema_with = "response")]
    pub upstream_response: Option<UpstreamResponse>,
}

impl CaseInput {
    /// Where its request is sent.
    pub fn endpoint(&self) -> CaseEndpoint {
        self.endpoint.unwrap_or(match (&self.prompt, &self.input) {
            (Some(_), _) => CaseEndpoint::Completions,
            (None, Some(_)) => CaseEndpoint::Embeddings,
            (None, None) => CaseEndpoint::ChatCompletions,
        })
    }

    /// Why it is no case, and what to do about it.
    pub fn fault(&self) -> Option<(&'static str, &'static str)> {
        let asks = [
            (CaseEndpoint::ChatCompletions, !self.messages.is_empty()),
            (CaseEndpoint::Completions, self.prompt.is_some()),
            (CaseEndpoint::Embeddings, self.input.is_some()),
        ];
        if asks.iter().any(|(endpoint, present)| *present && *endpoint != self.endpoint()) {
            return Some((
                "has what its endpoint does not take",
                "a chat completion takes `messages`, a completion a `prompt`, an embedding an `input`",
            ));
        }
        let asks = asks.iter().any(|(_, present)| *present);
        (!asks && self.upstream_response.is_none())
            .then_some(("has nothing to judge", "give it `messages`, a `prompt`, an `input` or an `upstream_response`"))
    }
}

/// What the provider answers.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged, expecting = "`upstream_response` must be a text, an answer object, or a list of stream events")]
pub enum UpstreamResponse {
    /// The content of the answer's only choice.
    Text(String),
    /// A whole answer, as the API gives it.
    Whole(Map<String, Value>),
    /// The events of a stream, in order.
    Stream(Vec<StreamPart>),
}

/// One event of a stream.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged, expecting = "a stream event must be a text or an object")]
pub enum StreamPart {
    /// The next piece of the content, or `[DONE]`.
    Text(String),
    /// The event's object, as the API gives it.
    Event(Map<String, Value>),
}

/// What the chain should say.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Expected {
    /// The strongest verdict of the exchange, prompt and answer together.
    pub verdict: ExpectedVerdict,
    /// The reason of a policy that gave that verdict, such as `pii.detected`.
    #[serde(default)]
    #[schemars(length(min = 1, max = 200))]
    pub reason_code: Option<String>,
}

/// A verdict, as a case names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ExpectedVerdict {
    /// Nothing was found.
    Allow,
    /// Something was found that is only recorded.
    Warn,
    /// Parts were replaced.
    Redact,
    /// It went on, marked for a person to look at.
    Escalate,
    /// It was refused.
    Block,
}

impl ExpectedVerdict {
    /// The verdict as a case spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            ExpectedVerdict::Allow => "allow",
            ExpectedVerdict::Warn => "warn",
            ExpectedVerdict::Redact => "redact",
            ExpectedVerdict::Escalate => "escalate",
            ExpectedVerdict::Block => "block",
        }
    }
}

/// What no schema can say of suites: a case has something to judge.
pub(super) fn check(suites: &[Suite], spot: Spot<'_>, found: &mut Found) {
    for (at, suite) in suites.iter().enumerate() {
        for (number, case) in suite.cases.iter().enumerate() {
            if let Some((why, advice)) = case.input.fault() {
                let spot = spot.item(at).key("cases").item(number).key("input");
                found.add(spot, Code::MissingKey, format!("this case {why}"), advice);
            }
        }
    }
}

/// Objects of somebody else's making.
fn objects(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "array", "items": {"type": "object", "additionalProperties": true}})
}

/// A text, texts, or token ids, one list of them or several.
fn texts(_: &mut SchemaGenerator) -> Schema {
    let ids = json_schema!({"type": "array", "items": {"type": "integer"}});
    json_schema!({"anyOf": [
        {"type": "string"},
        {"type": "array", "items": {"anyOf": [{"type": "string"}, {"type": "integer"}, ids]}},
    ]})
}

fn response(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"anyOf": [
        {"type": "string"},
        {"type": "object", "additionalProperties": true},
        {"type": "array", "items": {"anyOf": [{"type": "string"}, {"type": "object", "additionalProperties": true}]}},
    ]})
}

#[cfg(test)]
mod tests {
    use super::super::tests::{codes, config, minimal};
    use super::*;

    fn with_case(case: &str) -> String {
        minimal("", &format!("testing:\n  suites:\n    - name: s\n      cases:\n        - {case}\n"))
    }

    #[test]
    fn a_suite_keeps_messages_and_answers_as_they_are_written() {
        let input =
            r#"{messages: [{role: user, content: [{type: text, text: "hi 🙂"}]}], upstream_response: {choices: [{n: 1.5}]}}"#;
        let case = format!("{{name: c, input: {input}, expected: {{verdict: allow}}}}");
        let suites = config(&with_case(&case)).testing;
        let input = &suites[0].cases[0].input;
        assert_eq!(
            serde_json::to_string(&input.messages).unwrap(),
            r#"[{"role":"user","content":[{"type":"text","text":"hi 🙂"}]}]"#
        );
        assert!(matches!(&input.upstream_response, Some(UpstreamResponse::Whole(answer)) if answer["choices"][0]["n"] == 1.5));
    }

    #[test]
    fn an_answer_is_a_text_an_object_or_a_list_of_events() {
        for (written, fine) in
            [("hello", true), ("{a: 1}", true), ("['hel', {b: 2}, '[DONE]']", true), ("3", false), ("[4]", false)]
        {
            let case = format!("{{name: c, input: {{upstream_response: {written}}}, expected: {{verdict: redact}}}}");
            assert_eq!(codes(&with_case(&case)).is_empty(), fine, "{written}");
        }
    }

    #[test]
    fn a_case_that_is_not_one_is_explained() {
        assert_eq!(codes(&with_case("{name: c, input: {}, expected: {verdict: block}}")), ["E005"]);
        assert_eq!(codes(&with_case("{name: c, input: {messages: [{role: user}]}, expected: {verdict: blocked}}")), ["E006"]);
        assert_eq!(codes(&with_case("{name: c, input: {message: []}, expected: {verdict: block, why: x}}")), ["E002", "E002"]);
        assert_eq!(codes(&with_case("{name: c, expected: {verdict: block}}")), ["E005"]);
        for (input, fault) in [
            ("{prompt: hi}", None),
            ("{prompt: [[1, 2], [3]]}", None),
            ("{endpoint: /v1/embeddings, input: [hi, you]}", None),
            ("{endpoint: /v1/completions, upstream_response: hi}", None),
            ("{endpoint: /v1/completions, messages: [{role: user}]}", Some("E005")),
            ("{prompt: hi, input: hi}", Some("E005")),
            ("{endpoint: /v1/models, prompt: hi}", Some("E006")),
        ] {
            let found = codes(&with_case(&format!("{{name: c, input: {input}, expected: {{verdict: block}}}}")));
            assert_eq!(found.first().copied(), fault, "{input}");
        }
    }
}
