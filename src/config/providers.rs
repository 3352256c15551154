//! Where requests go: the targets, each with every default in place.

use super::{BaseUrl, CircuitBreaker, Fallback, ProviderRef, Queue, RetryPolicy, Routing, SecretRef};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// Everything about the providers of this configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct Providers {
    /// At least one; ids are unique.
    pub targets: Vec<TargetConfig>,
    /// In which order targets are tried.
    pub routing: Routing,
    /// What happens when a target fails.
    pub fallback: Fallback,
    /// When a target that keeps failing is left alone.
    pub circuit_breaker: CircuitBreaker,
    /// How often the same target is asked again.
    pub retry_policy: RetryPolicy,
    /// Where requests wait that find everything full.
    pub queue: Queue,
}

/// One provider endpoint.
#[derive(Debug, Clone, PartialEq)]
pub struct TargetConfig {
    /// Its name in headers, metrics and records.
    pub id: String,
    /// The provider as written.
    pub provider: ProviderRef,
    /// The model every request to this target carries; `None` passes the caller's.
    pub model: Option<String>,
    /// Where it answers.
    pub base_url: BaseUrl,
    /// Where its key is; `None` when it needs none.
    pub secret: Option<SecretRef>,
    /// The header that carries the key.
    pub api_key_header: String,
    /// What stands before the key in that header, its space included.
    pub api_key_prefix: String,
    /// Extra headers of every request to this target.
    pub headers: BTreeMap<String, String>,
    /// Time to the first byte of the answer.
    pub timeout: Duration,
    /// Longest silence inside a stream.
    pub stream_timeout: Duration,
    /// Time to connect, TLS included.
    pub connect_timeout: Duration,
    /// Its share under `weighted_round_robin`, above 0: twice the weight is twice the requests.
    pub weight: f64,
    /// Requests in flight on it, at most; `None` is no bound.
    pub max_concurrency: Option<u32>,
    /// The models of a multi-model target; may be empty.
    pub models: Vec<ModelEntry>,
    /// Longest prompt and answer together, in tokens.
    pub max_context_tokens: Option<u64>,
    /// What its tokens cost.
    pub pricing: Option<Pricing>,
    /// How its health is asked for.
    pub health_probe: HealthProbe,
    /// Whether it understands `stream_options.include_usage`.
    pub include_usage: bool,
    /// Whether to offer it HTTP/2.
    pub http2: bool,
    /// Top-level request fields it rejects: dropped from what is sent to it, and recorded.
    pub drop_fields: Vec<String>,
    /// How it is asked to go on with the beginning of an answer.
    pub assistant_prefix: AssistantPrefix,
}

/// How a target is asked to go on with an assistant text, for `fallback.mid_stream: continue`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AssistantPrefix {
    /// It cannot be asked to.
    #[default]
    None,
    /// It goes on with a last message whose role is `assistant`.
    LastMessage,
    /// The last message must say `"prefix": true`, as at Mistral and at DeepSeek.
    Prefix,
    /// The request must say `"continue_final_message": true` and `"add_generation_prompt": false`, as at vLLM and SGLang.
    ContinueFinalMessage,
}

impl AssistantPrefix {
    /// The way as a configuration spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            AssistantPrefix::None => "none",
            AssistantPrefix::LastMessage => "last_message",
            AssistantPrefix::Prefix => "prefix",
            AssistantPrefix::ContinueFinalMessage => "continue_final_message",
        }
    }
}

/// One model of a multi-model target.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ModelEntry {
    /// The model's name at the provider.
    #[schemars(length(min = 1, max = 200))]
    pub model_id: String,
    /// Other names callers may use for it.
    #[serde(default)]
    pub aliases: Vec<String>,
    /// `false` hides it.
    #[serde(default = "yes")]
    pub enabled: bool,
}

/// Prices in the currency of your choice.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pricing {
    /// Per million prompt tokens.
    pub input_price_per_million: f64,
    /// Per million prompt tokens the provider had cached; as [`Pricing::input_price_per_million`] unless given.
    pub cached_input_price_per_million: f64,
    /// Per million answer tokens.
    pub output_price_per_million: f64,
}

/// How a target's health is asked for. Never by a completion: probes cost no tokens.
#[derive(Debug, Clone, PartialEq)]
pub struct HealthProbe {
    /// The path to `GET` on the target's host.
    pub endpoint: String,
    /// Time between probes.
    pub interval: Duration,
    /// Time a probe may take.
    pub timeout: Duration,
}

/// How large a request or an answer may be, in bytes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SizeLimits {
    /// A request body, once decoded.
    #[schemars(range(min = 1024, max = 1_073_741_824))]
    pub max_body_bytes: u64,
    /// All headers of a request together.
    #[schemars(range(min = 1024, max = 1_048_576))]
    pub max_header_bytes: u64,
    /// The path and query of a request.
    #[schemars(range(min = 64, max = 65536))]
    pub max_url_bytes: u64,
    /// An answer; no limit unless given.
    #[schemars(range(min = 1024))]
    pub max_response_bytes: Option<u64>,
}

impl Default for SizeLimits {
    fn default() -> Self {
        Self { max_body_bytes: 10 << 20, max_header_bytes: 64 << 10, max_url_bytes: 8 << 10, max_response_bytes: None }
    }
}

pub(super) fn yes() -> bool {
    true
}
