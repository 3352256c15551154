//! Why an attempt failed, and which of the configured triggers that pulls.

use super::parking::Cause;
use crate::config::Trigger;

/// Why an attempt on a target did not give the answer. An answer whose body has begun to reach the caller cannot fail this way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// The host name is not resolved yet, or does not exist.
    Dns,
    /// No TCP connection: refused, unreachable or not in time.
    Connect,
    /// No TLS session: bad certificate, handshake cut.
    Tls,
    /// Connected, and no first byte (or an idle gap before the first byte for the caller) in time.
    Timeout,
    /// The connection broke before the answer was complete enough to release.
    Broken,
    /// The answer is not what an OpenAI-format provider sends, or cannot be read by a policy that must read it.
    Unreadable,
    /// 429.
    RateLimit,
    /// 5xx.
    ServerError(u16),
    /// 404: the target does not know the model.
    ModelNotFound,
    /// 401 or 403: the target does not accept its key.
    Auth(u16),
    /// 400 with the code `context_length_exceeded`.
    ContextLength,
    /// The answer is larger than `size_limits.max_response_bytes`.
    TooLarge,
    /// A race between two targets went to the other one.
    Superseded,
}

impl Failure {
    /// One of each kind.
    pub const ALL: [Failure; 13] = [
        Failure::Dns,
        Failure::Connect,
        Failure::Tls,
        Failure::Timeout,
        Failure::Broken,
        Failure::Unreadable,
        Failure::RateLimit,
        Failure::ServerError(500),
        Failure::ModelNotFound,
        Failure::Auth(401),
        Failure::ContextLength,
        Failure::TooLarge,
        Failure::Superseded,
    ];

    /// The failure an HTTP status stands for; `None` for an answer and for the caller's own mistakes.
    pub fn of_status(status: u16) -> Option<Self> {
        match status {
            401 | 403 => Some(Failure::Auth(status)),
            404 => Some(Failure::ModelNotFound),
            429 => Some(Failure::RateLimit),
            500.. => Some(Failure::ServerError(status)),
            _ => None,
        }
    }

    /// The trigger of contract key `fallback.triggers` that covers this failure. Having no connection, or none that lasts to the
    /// first byte, falls under `timeout`: the target did not answer.
    pub fn trigger(self) -> Trigger {
        match self {
            Failure::Dns | Failure::Connect | Failure::Tls | Failure::Timeout | Failure::Broken | Failure::Superseded => {
                Trigger::Timeout
            }
            Failure::ServerError(_) | Failure::Unreadable | Failure::TooLarge => Trigger::ServerError,
            Failure::RateLimit => Trigger::RateLimit,
            Failure::ModelNotFound => Trigger::ModelNotFound,
            Failure::Auth(_) => Trigger::AuthError,
            Failure::ContextLength => Trigger::ContextLengthExceeded,
        }
    }

    /// The word used in records, metrics and headers.
    pub fn as_str(self) -> &'static str {
        match self {
            Failure::Dns => "dns_error",
            Failure::Connect => "connect_error",
            Failure::Tls => "tls_error",
            Failure::Timeout => "timeout",
            Failure::Broken => "connection_broken",
            Failure::Unreadable => "unreadable_answer",
            Failure::RateLimit => "rate_limit",
            Failure::ServerError(_) => "server_error",
            Failure::ModelNotFound => "model_not_found",
            Failure::Auth(_) => "auth_error",
            Failure::ContextLength => "context_length_exceeded",
            Failure::TooLarge => "answer_too_large",
            Failure::Superseded => "superseded",
        }
    }

    /// The upstream's HTTP status, when it answered at all.
    pub fn status(self) -> Option<u16> {
        match self {
            Failure::RateLimit => Some(429),
            Failure::ServerError(status) | Failure::Auth(status) => Some(status),
            Failure::ModelNotFound => Some(404),
            Failure::ContextLength => Some(400),
            _ => None,
        }
    }

    /// Whether the target itself is in doubt, as opposed to this request, this key or this minute: its circuit breaker counts it.
    pub fn blames_target(self) -> bool {
        matches!(
            self,
            Failure::Dns
                | Failure::Connect
                | Failure::Tls
                | Failure::Timeout
                | Failure::Broken
                | Failure::Unreadable
                | Failure::ServerError(_)
        )
    }

    /// Whether asking the same target again may help. A certificate does not heal in a second, nor does a missing name.
    pub fn is_transient(self) -> bool {
        match self {
            Failure::Connect | Failure::Timeout | Failure::Broken | Failure::RateLimit => true,
            // 501: it will never do that.
            Failure::ServerError(status) => status != 501,
            _ => false,
        }
    }

    /// Why a target that answers this with `Retry-After` is to be left alone until then.
    pub fn parks(self) -> Option<Cause> {
        match self {
            Failure::RateLimit => Some(Cause::RateLimited),
            Failure::ServerError(503 | 529) => Some(Cause::Unavailable),
            _ => None,
        }
    }
}
