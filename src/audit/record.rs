//! What the audit log says: one JSON object a record, hashed as written.
//!
//! Every field is listed in [`fields`](super::fields), with its unit and its name in the OpenTelemetry semantic conventions. What is
//! absent is left out. A record never holds a secret nor matched text: its fields name kinds, counts, sizes and rules.

mod content;

pub use super::event::Event;
pub use content::{Content, Coverage, Omission, Redacted, Redactions};

use serde::{Serialize, Serializer};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A word of the gateway's own vocabulary.
pub type Word = Cow<'static, str>;

/// The first record of an exchange: what is asked and by whom, durable before any of it leaves the host.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Received {
    /// Who asks for what.
    #[serde(flatten)]
    pub about: About,
    /// The target that is tried first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// What the chain said of the prompt, in chain order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub policy: Vec<PolicyDecision>,
}

/// The last record of an exchange: all of the first, and how it ended. A refused exchange has only this one.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Completed {
    /// Who asked for what.
    #[serde(flatten)]
    pub about: About,
    /// The target that answered, or the last one tried.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// The provider of that target.
    #[serde(rename = "gen_ai.provider.name", skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// The model that answered, as the provider names it.
    #[serde(rename = "gen_ai.response.model", skip_serializing_if = "Option::is_none")]
    pub response_model: Option<String>,
    /// The provider's id of the answer.
    #[serde(rename = "gen_ai.response.id", skip_serializing_if = "Option::is_none")]
    pub response_id: Option<String>,
    /// The answer as the caller got it.
    #[serde(rename = "resp", skip_serializing_if = "Option::is_none")]
    pub response: Option<Content>,
    /// Events of a streamed answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chunks: Option<u64>,
    /// Why each choice ended.
    #[serde(rename = "gen_ai.response.finish_reasons", skip_serializing_if = "Vec::is_empty")]
    pub finish_reasons: Vec<String>,
    /// What the chain said of the prompt and of the answer, in chain order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub policy: Vec<PolicyDecision>,
    /// The strongest verdict of the chain: `allow`, `warn`, `redact`, `escalate`, `block`.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub verdict: Word,
    /// The reason of that verdict, or the code of the gateway's own refusal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason_code: Option<Word>,
    /// How it ended.
    pub outcome: Outcome,
    /// The status the caller got; none when the caller left before it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http_status: Option<u16>,
    /// Every target tried, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub attempts: Vec<Attempt>,
    /// Another target than the first answered.
    #[serde(skip_serializing_if = "is_false")]
    pub fallback: bool,
    /// A target went on with a stream that another one broke off.
    #[serde(skip_serializing_if = "is_false")]
    pub continued: bool,
    /// Request fields that the target does not take and was not sent.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dropped_fields: Vec<String>,
    /// A policy could not judge and the fail mode let the exchange go on.
    #[serde(skip_serializing_if = "is_false")]
    pub degraded: bool,
    /// Tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<UsageNumbers>,
    /// Price of the tokens in US dollars. Of an attempt that was given up because another one was faster, the prompt is counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost_usd: Option<f64>,
    /// Milliseconds from the request's arrival to the first byte of the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttft_ms: Option<f64>,
    /// Milliseconds from arrival to the last byte.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<f64>,
    /// Microseconds of those that the gateway took itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overhead_us: Option<u64>,
    /// Output tokens a second after the first byte.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens_per_second: Option<f64>,
}

/// Who asks for what: the part both records of an exchange share, so that each can be read alone.
#[derive(Debug, Clone, Default, Serialize)]
pub struct About {
    /// The config in force when the exchange began.
    #[serde(flatten, serialize_with = "optional_arc", skip_serializing_if = "Option::is_none")]
    pub config: Option<Arc<ConfigStamp>>,
    /// Whose key the caller showed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub principal: Option<Principal>,
    /// `X-User-Id`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// `X-Team-Id`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub team: Option<String>,
    /// Where the request came from.
    #[serde(skip_serializing_if = "Client::is_unknown")]
    pub client: Client,
    /// `X-Conversation-ID`
    #[serde(rename = "gen_ai.conversation.id", skip_serializing_if = "Option::is_none")]
    pub conversation: Option<String>,
    /// `chat`, `text_completion` or `embeddings`.
    #[serde(rename = "gen_ai.operation.name", skip_serializing_if = "Option::is_none")]
    pub operation: Option<Word>,
    /// The model the caller named.
    #[serde(rename = "gen_ai.request.model", skip_serializing_if = "Option::is_none")]
    pub request_model: Option<String>,
    /// Path of the request, without its query.
    #[serde(rename = "url.path", skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The caller asked for a stream.
    #[serde(skip_serializing_if = "is_false")]
    pub stream: bool,
    /// Names of the tools offered.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tools: Vec<String>,
    /// Parameters as the caller set them (`temperature`, `max_tokens`, ...): numbers, flags and words of the API, never free text.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub parameters: BTreeMap<Word, serde_json::Value>,
    /// How often the caller's SDK had tried this call before (`x-stainless-retry-count`): one decision, counted once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry: Option<u32>,
    /// The request body.
    #[serde(rename = "req", skip_serializing_if = "Option::is_none")]
    pub request: Option<Content>,
    /// The trace it belongs to.
    #[serde(flatten)]
    pub trace: Trace,
}

/// Which config governed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ConfigStamp {
    /// SHA-256 of the config file, in hex.
    pub config_sha256: String,
    /// The pack it declares.
    pub pack: Pack,
}

/// A pack's name and version.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Pack {
    /// `pack.name`
    pub name: String,
    /// `pack.version`
    pub version: String,
}

/// Whose key the caller showed; never the key.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Principal {
    /// What kind of identity: `anonymous` where no key was asked for.
    pub kind: Word,
    /// Its name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub id: String,
    /// Which of its keys.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_id: Option<String>,
}

/// Where a request came from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Client {
    /// Address, without the port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip: Option<String>,
    /// `User-Agent`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_agent: Option<String>,
}

impl Client {
    fn is_unknown(&self) -> bool {
        self.ip.is_none() && self.user_agent.is_none()
    }
}

/// What one policy said.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct PolicyDecision {
    /// The policy kind: `pii-detector`.
    pub kind: Word,
    /// `input` or `output`.
    pub phase: Word,
    /// Its word.
    pub verdict: Word,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason_code: Option<Word>,
    /// Rules that found something, distinct.
    #[serde(rename = "rule", skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<Word>,
    /// The highest score, 0 to 1, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub score: Option<f32>,
    /// What spoke most for the verdict, strongest first: rules and parts of the model, at most five. Never words of the prompt, nor
    /// hashes of them, which could be guessed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub features: Vec<Feature>,
    /// Microseconds it took.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub us: Option<u64>,
}

/// Something that spoke for a verdict.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Feature {
    /// The rule, or `model.window` for the linear model.
    pub id: Word,
    /// How strongly, 0 to 1.
    pub score: f32,
}

/// One target tried.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Attempt {
    /// The target's id.
    pub target: String,
    /// The model it was asked for.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub model: String,
    /// What the config calls that model, where its provider calls it otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub configured_model: Option<String>,
    /// What came of it.
    #[serde(flatten)]
    pub result: AttemptResult,
    /// Milliseconds until that was known.
    pub ms: f64,
    /// Why the plan moved on: `rate_limit`, `server_error`, `timeout`, ...
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Word>,
}

/// What came of an attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AttemptResult {
    /// The target answered with this HTTP status.
    Status(u16),
    /// No answer: `connect`, `tls`, `timeout`, `reset`, ...
    Error(Word),
}

impl Default for AttemptResult {
    fn default() -> Self {
        AttemptResult::Error(Word::Borrowed("unknown"))
    }
}

/// How an exchange ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The caller got the whole answer.
    Success,
    /// The gateway refused, before the provider or half way through its answer.
    Denied,
    /// Every target failed, or the answer broke off.
    #[default]
    Error,
    /// The caller left first.
    Aborted,
    /// The gateway stopped before it ended.
    Interrupted,
}

impl Outcome {
    /// The word used in records and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Success => "success",
            Outcome::Denied => "denied",
            Outcome::Error => "error",
            Outcome::Aborted => "aborted",
            Outcome::Interrupted => "interrupted",
        }
    }
}

/// Token counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct UsageNumbers {
    /// Tokens of the prompt.
    pub input_tokens: u64,
    /// Tokens of the answer.
    pub output_tokens: u64,
    /// Prompt tokens the provider had cached.
    #[serde(skip_serializing_if = "is_zero")]
    pub cached: u64,
    /// Output tokens spent on reasoning.
    #[serde(skip_serializing_if = "is_zero")]
    pub reasoning: u64,
    /// Who counted.
    pub source: UsageSource,
}

/// Who counted the tokens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum UsageSource {
    /// The provider.
    Upstream,
    /// The gateway, from sizes.
    #[default]
    Estimate,
}

/// Ids of the trace an exchange belongs to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Trace {
    /// From `traceparent`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
    /// The gateway's own span.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub span_id: Option<String>,
    /// `x-request-id`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
}

fn is_false(value: &bool) -> bool {
    !value
}

fn is_zero(value: &u64) -> bool {
    *value == 0
}

fn optional_arc<T: Serialize, S: Serializer>(value: &Option<Arc<T>>, serializer: S) -> Result<S::Ok, S::Error> {
    value.as_deref().serialize(serializer)
}
