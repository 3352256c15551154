//! Where requests go: targets, their order, and what happens when one fails.

use super::{BaseUrl, ProviderRef, SecretRef};
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
    /// What happens when a target fails before the answer began.
    pub fallback: Fallback,
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

/// In which order targets are tried.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("x-later" = ["exploration_ratio", "hedge", "min_sample_count", "window_seconds"]))]
pub struct Routing {
    /// How the next target is chosen.
    pub strategy: Strategy,
    /// Target ids that come first, in this order; the others follow as they are listed.
    #[schemars(length(max = 1000))]
    pub order: Vec<String>,
    /// Use these targets alone; empty means all.
    #[schemars(length(max = 1000))]
    pub only: Vec<String>,
    /// Never use these targets.
    #[schemars(length(max = 1000))]
    pub ignore: Vec<String>,
    /// Whether other targets than the first may be used at all.
    pub allow_fallbacks: bool,
    /// How old a measurement may be.
    #[serde(skip)]
    pub window: Duration,
    /// Measurements a median needs.
    #[serde(skip)]
    pub min_sample_count: u32,
    /// Share of requests that try another target than the best.
    #[serde(skip)]
    pub exploration_ratio: f64,
    /// Whether a slow first token is raced against another target.
    #[serde(skip)]
    pub hedge: Option<Hedge>,
}

impl Default for Routing {
    fn default() -> Self {
        Self {
            strategy: Strategy::Ordered,
            order: Vec::new(),
            only: Vec::new(),
            ignore: Vec::new(),
            allow_fallbacks: true,
            window: Duration::from_secs(300),
            min_sample_count: 5,
            exploration_ratio: 0.1,
            hedge: None,
        }
    }
}

/// How the next target is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(extend("x-later" = [
    "least_connections", "highest_throughput", "lowest_latency", "random", "round_robin", "weighted_round_robin"
]))]
pub enum Strategy {
    /// The first live target of the list.
    #[default]
    Ordered,
    /// The shortest median time to the first token.
    #[serde(skip)]
    LowestLatency,
    /// The highest median of output tokens per second.
    #[serde(skip)]
    HighestThroughput,
    /// Each in turn.
    #[serde(skip)]
    RoundRobin,
    /// Each in turn, by weight.
    #[serde(skip)]
    WeightedRoundRobin,
    /// The fewest requests in flight.
    #[serde(skip)]
    LeastConnections,
    /// Any.
    #[serde(skip)]
    Random,
}

/// What happens when a target fails before the answer began.
#[derive(Debug, Clone, PartialEq)]
pub struct Fallback {
    /// Whether the next target is tried.
    pub enabled: bool,
    /// The failures that count.
    pub triggers: Vec<Trigger>,
    /// Targets tried after the first, at most.
    pub max_fallback_attempts: u32,
}

/// A failure that moves a request on to the next target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Trigger {
    /// 429.
    RateLimit,
    /// 5xx.
    ServerError,
    /// Connecting, TLS, the first byte or the next byte took too long, before the caller saw any.
    Timeout,
    /// 404 on the model.
    ModelNotFound,
    /// The prompt is too long for this target.
    ContextLengthExceeded,
    /// 401 or 403: this target's key is not accepted.
    AuthError,
}

impl Trigger {
    /// The triggers of a configuration that names none.
    pub const DEFAULT: [Trigger; 4] = [Trigger::RateLimit, Trigger::ServerError, Trigger::Timeout, Trigger::ModelNotFound];

    /// The trigger as a configuration spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Trigger::RateLimit => "rate_limit",
            Trigger::ServerError => "server_error",
            Trigger::Timeout => "timeout",
            Trigger::ModelNotFound => "model_not_found",
            Trigger::ContextLengthExceeded => "context_length_exceeded",
            Trigger::AuthError => "auth_error",
        }
    }
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

/// A second request, raced against one whose first token is late.
#[derive(Debug, Clone, PartialEq)]
pub struct Hedge {
    /// How late the first token must be.
    pub after: Duration,
    /// Share of requests that may be hedged.
    pub max_ratio: f64,
}

/// How often the same target is asked again before the next one.
#[derive(Debug, Clone, PartialEq)]
pub struct RetryPolicy {
    /// Further tries of one target.
    pub max_retries: u32,
    /// The wait before each.
    pub backoff: Backoff,
}

/// The wait before a retry.
#[derive(Debug, Clone, PartialEq)]
pub struct Backoff {
    /// How it grows.
    pub strategy: BackoffStrategy,
    /// The first wait.
    pub base: Duration,
}

/// How the wait before a retry grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BackoffStrategy {
    /// Doubles with every retry.
    Exponential,
    /// Stays.
    Fixed,
}
