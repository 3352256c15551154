//! What happens when a target fails, slows down or is full: the blocks `fallback`, `circuit_breaker`, `retry_policy` and `queue`.

use super::durations::{milliseconds, seconds};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What happens when a target fails.
#[derive(Debug, Clone, PartialEq)]
pub struct Fallback {
    /// Whether the next target is tried.
    pub enabled: bool,
    /// The failures that count, before the answer began.
    pub triggers: Vec<Trigger>,
    /// Targets tried after the first, at most.
    pub max_fallback_attempts: u32,
    /// What becomes of a stream that breaks after it began.
    pub mid_stream: MidStream,
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

/// What becomes of a stream that breaks after its first byte reached the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MidStream {
    /// It ends with an error event and without `[DONE]`.
    #[default]
    Error,
    /// A target with an `assistant_prefix` is asked to go on with what the caller has already read.
    Continue,
}

impl MidStream {
    /// The choice as a configuration spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            MidStream::Error => "error",
            MidStream::Continue => "continue",
        }
    }
}

/// When a target that keeps failing is left alone, and how it is let back in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CircuitBreaker {
    /// Whether targets that keep failing are left alone at all.
    pub enabled: bool,
    /// Failures in a row that open the breaker.
    #[schemars(range(min = 1, max = 1000))]
    pub consecutive_failure_threshold: u32,
    /// Seconds an open breaker admits nothing; then it is half-open.
    #[serde(rename = "cooldown_seconds", with = "seconds")]
    #[schemars(with = "u32", range(min = 1, max = 86400))]
    pub cooldown: Duration,
    /// Successes that close a half-open breaker, and requests it admits at a time.
    #[schemars(range(min = 1, max = 100))]
    pub half_open_successes: u32,
}

impl Default for CircuitBreaker {
    fn default() -> Self {
        Self { enabled: true, consecutive_failure_threshold: 5, cooldown: Duration::from_secs(30), half_open_successes: 1 }
    }
}

/// How often the same target is asked again before the next one is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RetryPolicy {
    /// Retries after the first request, at most; all of them stay inside the target's `timeout_seconds`.
    #[schemars(range(min = 0, max = 10))]
    pub max_retries: u32,
    /// The pause before each retry.
    pub backoff: Backoff,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self { max_retries: 1, backoff: Backoff::default() }
    }
}

/// The pause before a retry; what is slept is drawn from its upper half, so that callers do not come back all at once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Backoff {
    /// How the pause grows.
    pub strategy: BackoffStrategy,
    /// The first pause, in milliseconds.
    #[serde(rename = "base_ms", with = "milliseconds")]
    #[schemars(with = "u32", range(min = 1, max = 10_000))]
    pub base: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { strategy: BackoffStrategy::Exponential, base: Duration::from_millis(100) }
    }
}

/// How the pause grows from retry to retry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BackoffStrategy {
    /// Twice as long each time, up to 10 seconds.
    #[default]
    Exponential,
    /// Always the same.
    Fixed,
}

/// Where requests wait, shortly and in order, that find the gateway or every target full.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Queue {
    /// Requests that may wait at a time; the next one is answered 503 at once.
    #[schemars(range(min = 0, max = 100_000))]
    pub max_waiting: u32,
    /// Milliseconds a request waits before it is answered 503.
    #[serde(rename = "timeout_ms", with = "milliseconds")]
    #[schemars(with = "u32", range(min = 1, max = 60_000))]
    pub timeout: Duration,
}

impl Default for Queue {
    fn default() -> Self {
        Self { max_waiting: 100, timeout: Duration::from_millis(1000) }
    }
}
