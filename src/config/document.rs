//! A configuration as it is written: the types `serde_yaml` fills and the JSON Schema is derived from.
//!
//! Blocks whose written form is also their final form live with the other settings; those here still have holes that only
//! [`super::meaning`] can fill, because a default depends on another key.
//!
//! Two schema keywords of our own steer [`super::shape`] and are left out of the published schema: `x-later` names keys or values
//! that are documented but missing from this build, `x-what` says what an enum's values are called.

use super::kinds::{AuditLoggerConfig, Boundaries, Encoding, PiiDetectorConfig, Response};
use super::providers::{AssistantPrefix, ModelEntry, SizeLimits, yes};
use super::resilience::{CircuitBreaker, MidStream, Queue, RetryPolicy, Trigger};
use super::sinks::{AnchorDocument, SinkDocument};
use super::testing::Suite;
use super::{Kind, LATER_KINDS, Pack, Routing, SecretRef, When};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// The configuration of a `kt` gateway.
// The required blocks are options so that the rest of a file that lacks one can still be examined.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(
    title = "policy-config.yaml",
    extend("x-later" = [
        "consumer_groups", "cors", "distributed_rate_limit", "global_rate_limit", "ip_allowlist", "ip_rate_limit",
        "token_rate_limit", "user_rate_limit"
    ])
)]
pub(super) struct Document {
    /// The name and version of this configuration, and whether it serves at all.
    #[schemars(required)]
    pub pack: Option<Pack>,
    /// Which policies run, in which order.
    #[schemars(required)]
    pub policies: Option<PoliciesDocument>,
    /// The settings of each kind of policy; a kind without a block has its defaults.
    #[serde(default)]
    pub policy: Option<PolicyDocument>,
    /// Where requests go.
    #[schemars(required)]
    pub providers: Option<ProvidersDocument>,
    /// How large a request or an answer may be, in bytes.
    #[serde(default)]
    pub size_limits: Option<SizeLimits>,
    /// Cases that `kt policy test` tries on the chain; the gateway does not act on them.
    #[serde(default)]
    pub testing: Option<TestingDocument>,
}

/// Cases that `kt policy test` tries on the chain.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct TestingDocument {
    /// The suites, in the order they are tried.
    #[schemars(length(max = 256))]
    pub suites: Vec<Suite>,
}

/// The policies of this configuration.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PoliciesDocument {
    /// The policies in running order: the first block stops the chain.
    #[schemars(length(min = 1, max = 64))]
    pub chain: Vec<ChainItem>,
}

/// A kind, or a kind with its conditions.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged)]
pub(super) enum ChainItem {
    Plain(Kind),
    Conditional(BTreeMap<Kind, Option<ChainOptions>>),
}

impl JsonSchema for ChainItem {
    fn schema_name() -> Cow<'static, str> {
        "ChainItem".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let kind = generator.subschema_for::<Kind>();
        let options = generator.subschema_for::<Option<ChainOptions>>();
        let kinds: serde_json::Map<_, _> =
            Kind::ALL.iter().map(|kind| (kind.as_str().to_owned(), options.clone().to_value())).collect();
        json_schema!({
            "description": "A kind of policy, or `kind: {when: ...}`.",
            "anyOf": [kind, {
                "type": "object",
                "properties": kinds,
                "additionalProperties": false,
                "minProperties": 1,
                "maxProperties": 1,
                "x-what": "policy kind",
                "x-later": LATER_KINDS,
            }],
        })
    }
}

/// The options of one policy in the chain.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct ChainOptions {
    /// The requests this policy judges; all conditions must hold.
    pub when: When,
}

/// The settings of each kind of policy.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
#[schemars(extend("x-what" = "policy kind", "x-later" = LATER_KINDS))]
pub(super) struct PolicyDocument {
    /// Refuses prompts that try to take over the model.
    pub prompt_injection: Option<PromptInjectionDocument>,
    /// Redacts or refuses personal data and secrets, in prompts and in answers.
    pub pii_detector: Option<PiiDetectorConfig>,
    /// Records every exchange in the tamper-evident audit log.
    pub audit_logger: Option<AuditLoggerDocument>,
}

/// Settings of `audit-logger`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub(super) struct AuditLoggerDocument {
    #[serde(flatten)]
    pub settings: AuditLoggerConfig,
    /// Places that get a copy of every record, in order: whoever owns this machine cannot change it there.
    #[schemars(length(max = 16))]
    pub sinks: Vec<SinkDocument>,
    /// Where signed checkpoints of the log go, so that it cannot be rewritten unseen.
    pub anchor: Option<AnchorDocument>,
}

/// Settings of `prompt-injection`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct PromptInjectionDocument {
    /// The score, 0 to 1, at which the local classifier blocks; 0.75 unless given.
    #[schemars(range(min = 0, max = 1))]
    pub embedding_threshold: Option<f64>,
    /// Regular expressions added to the built-in rules, matched after normalisation.
    #[schemars(length(max = 256), inner(length(min = 1, max = 4096)))]
    pub attack_patterns: Option<Vec<String>>,
    /// Which classifier scores a prompt.
    pub backend: Backend,
    /// Disguises that are undone before matching.
    pub encoding: Encoding,
    /// Attempts to forge the borders between messages.
    pub boundaries: Boundaries,
    /// What a refused caller sees.
    pub response: Response,
    /// Another place for `embedding_threshold` and `attack_patterns`.
    pub detection: Option<DetectionDocument>,
}

/// Another place for two settings of `prompt-injection`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct DetectionDocument {
    /// As `embedding_threshold` one level up.
    #[schemars(range(min = 0, max = 1))]
    pub embedding_threshold: Option<f64>,
    /// As `attack_patterns` one level up.
    #[schemars(length(max = 256), inner(length(min = 1, max = 4096)))]
    pub attack_patterns: Option<Vec<String>>,
}

/// Which classifier scores a prompt.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(extend("x-later" = ["external"]))]
pub(super) enum Backend {
    /// The one built in.
    #[default]
    Local,
}

/// Everything about the providers.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ProvidersDocument {
    /// The provider endpoints requests may go to.
    #[schemars(length(min = 1, max = 1000))]
    pub targets: Vec<TargetDocument>,
    /// In which order targets are tried.
    #[serde(default)]
    pub routing: Option<Routing>,
    /// What happens when a target fails. With two or more targets and no such block, fallback is on.
    #[serde(default)]
    pub fallback: Option<FallbackDocument>,
    /// When a target that keeps failing is left alone, and how it is let back in.
    #[serde(default)]
    pub circuit_breaker: Option<CircuitBreaker>,
    /// How often the same target is asked again before the next one is.
    #[serde(default)]
    pub retry_policy: Option<RetryPolicy>,
    /// Where requests wait, shortly and in order, that find the gateway or every target full.
    #[serde(default)]
    pub queue: Option<Queue>,
}

/// What happens when a target fails.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct FallbackDocument {
    /// Whether the next target is tried.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// The failures that count; `rate_limit`, `server_error`, `timeout` and `model_not_found` unless given.
    #[serde(default)]
    pub triggers: Option<Vec<Trigger>>,
    /// Targets tried after the first, at most.
    #[serde(default = "three")]
    #[schemars(range(min = 1, max = 100))]
    pub max_fallback_attempts: u32,
    /// What becomes of a stream that breaks after its first byte reached the caller.
    #[serde(default)]
    pub mid_stream: MidStream,
}

/// One provider endpoint.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("x-later" = ["data_policy", "region"]))]
pub(super) struct TargetDocument {
    /// Its name in headers, metrics and records: letters, digits and `._:/@-`, unique.
    #[schemars(length(min = 1, max = 128), regex(pattern = "^[A-Za-z0-9][A-Za-z0-9._:/@-]*$"))]
    pub id: String,
    /// `name` or `name:mode:model`, such as `cerebras:chat:llama3.3-70b`.
    #[schemars(length(min = 1, max = 300))]
    pub provider: String,
    /// The model every request to this target carries; from the shorthand unless given.
    #[serde(default)]
    #[schemars(length(min = 1, max = 200))]
    pub model: Option<String>,
    /// Where it answers, with or without `/v1`; known providers have one.
    #[serde(default)]
    #[schemars(extend("format" = "uri"))]
    pub base_url: Option<String>,
    /// Where its key is: `{env: NAME}` or `{file: PATH}`; known providers have a variable.
    #[serde(default)]
    pub secret_key_ref: Option<SecretRef>,
    /// The language it speaks.
    #[serde(default)]
    pub format: Format,
    /// The header that carries the key.
    #[serde(default = "authorization")]
    pub api_key_header: String,
    /// What stands before the key in that header; `"Bearer "` unless given.
    #[serde(default)]
    pub api_key_prefix: Option<String>,
    /// Extra headers of every request to this target.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// Seconds to the first byte of the answer.
    #[serde(default = "thirty")]
    #[schemars(range(min = 1, max = 86400))]
    pub timeout_seconds: u32,
    /// Longest silence inside a stream, in seconds; as `timeout_seconds` unless given.
    #[serde(default)]
    #[schemars(range(min = 1, max = 86400))]
    pub stream_timeout_seconds: Option<u32>,
    /// Milliseconds to connect, TLS included.
    #[serde(default = "two_thousand")]
    #[schemars(range(min = 1, max = 600_000))]
    pub connect_timeout_ms: u32,
    /// Its share under `weighted_round_robin`, above 0: twice the weight is twice the requests.
    #[serde(default = "one")]
    #[schemars(range(max = 1_000_000), extend("exclusiveMinimum" = 0))]
    pub weight: f64,
    /// Requests in flight on it, at most; no bound unless given.
    #[serde(default)]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max_concurrency: Option<u32>,
    /// The models of a multi-model target.
    #[serde(default)]
    pub models: Vec<ModelEntry>,
    /// Longest prompt and answer together, in tokens.
    #[serde(default)]
    #[schemars(range(min = 1))]
    pub max_context_tokens: Option<u64>,
    /// What its tokens cost.
    #[serde(default)]
    pub pricing: Option<PricingDocument>,
    /// How its health is asked for.
    #[serde(default)]
    pub health_probe: Option<HealthProbeDocument>,
    /// Whether it understands `stream_options.include_usage`; set `false` for servers that reject it.
    #[serde(default = "yes")]
    pub include_usage: bool,
    /// Whether to offer it HTTP/2.
    #[serde(default = "yes")]
    pub http2: bool,
    /// Top-level request fields this target rejects: dropped from what is sent to it, and recorded. By provider unless given; `[]`
    /// drops nothing.
    #[serde(default)]
    #[schemars(length(max = 100), inner(length(min = 1, max = 200)))]
    pub drop_fields: Option<Vec<String>>,
    /// How this target is asked to go on with the beginning of an answer, for `fallback.mid_stream: continue`. By provider unless
    /// given.
    #[serde(default)]
    pub assistant_prefix: Option<AssistantPrefix>,
}

/// The language a target speaks.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, JsonSchema)]
#[schemars(extend("x-what" = "format", "x-later" = ["anthropic", "azure", "bedrock", "cohere", "gemini", "vertex"]))]
pub(super) enum Format {
    /// Chat completions as OpenAI and Cerebras serve them.
    #[default]
    #[serde(rename = "openai")]
    OpenAi,
}

/// What a target's tokens cost, in the currency of your choice.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PricingDocument {
    /// Per million prompt tokens.
    #[schemars(range(min = 0))]
    pub input_price_per_million: f64,
    /// Per million prompt tokens the provider had cached; as `input_price_per_million` unless given.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub cached_input_price_per_million: Option<f64>,
    /// Per million answer tokens.
    #[schemars(range(min = 0))]
    pub output_price_per_million: f64,
}

/// How a target's health is asked for: a `GET`, never a completion, because probes must cost no tokens.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct HealthProbeDocument {
    /// A path on the target's host; the list of models unless given.
    #[serde(default)]
    pub endpoint: Option<String>,
    /// Seconds between probes.
    #[serde(default = "thirty")]
    #[schemars(range(min = 1, max = 86400))]
    pub interval_seconds: u32,
    /// Milliseconds a probe may take.
    #[serde(default = "two_thousand")]
    #[schemars(range(min = 1, max = 60_000))]
    pub timeout_ms: u32,
}

impl Default for HealthProbeDocument {
    fn default() -> Self {
        Self { endpoint: None, interval_seconds: thirty(), timeout_ms: two_thousand() }
    }
}

fn one() -> f64 {
    1.0
}

fn three() -> u32 {
    3
}

fn thirty() -> u32 {
    30
}

fn two_thousand() -> u32 {
    2000
}

fn authorization() -> String {
    "Authorization".into()
}
