//! What the simulator has seen: counts, and the last request as it arrived, for trying out redaction by hand.

use bytes::Bytes;
use http::{HeaderMap, Method};
use serde_json::{Map, Value, json};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// Counts since the start, and the last request to an inference endpoint.
#[derive(Debug, Default)]
pub struct Ledger {
    requests: AtomicU64,
    completed: AtomicU64,
    abandoned: AtomicU64,
    failed: AtomicU64,
    /// Held only to swap the value.
    last: Mutex<Option<Seen>>,
}

/// How an exchange ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Everything was sent.
    Completed,
    /// The caller went away first.
    Abandoned,
    /// A fault cut it short.
    Failed,
}

/// A request as it arrived.
#[derive(Debug, Clone)]
pub struct Seen {
    pub method: Method,
    pub path: String,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Ledger {
    /// Counts a request and returns its number, from one.
    pub fn arrived(&self) -> u64 {
        self.requests.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Counts an ending.
    pub fn ended(&self, outcome: Outcome) {
        let counter = match outcome {
            Outcome::Completed => &self.completed,
            Outcome::Abandoned => &self.abandoned,
            Outcome::Failed => &self.failed,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Keeps the request for `GET /sim/last`.
    pub fn remember(&self, seen: Seen) {
        if let Ok(mut last) = self.last.lock() {
            *last = Some(seen);
        }
    }

    /// The counts as JSON.
    pub fn counts(&self) -> Value {
        json!({
            "requests": self.requests.load(Ordering::Relaxed),
            "completed": self.completed.load(Ordering::Relaxed),
            "abandoned": self.abandoned.load(Ordering::Relaxed),
            "failed": self.failed.load(Ordering::Relaxed),
        })
    }

    /// The last request as JSON; null before the first.
    pub fn last(&self) -> Value {
        let seen = self.last.lock().ok().and_then(|last| last.clone());
        let Some(seen) = seen else { return Value::Null };
        let headers: Map<_, _> =
            seen.headers.iter().map(|(name, value)| (name.to_string(), shown(name.as_str(), value))).collect();
        let body: Value = serde_json::from_slice(&seen.body).unwrap_or_else(|_| String::from_utf8_lossy(&seen.body).into());
        json!({"method": seen.method.as_str(), "path": seen.path, "headers": headers, "body": body})
    }
}

/// A header's value; of one that may hold a key only the beginning, enough to tell which key it was.
fn shown(name: &str, value: &http::HeaderValue) -> Value {
    let text = String::from_utf8_lossy(value.as_bytes());
    if !matches!(name, "authorization" | "proxy-authorization" | "x-api-key" | "api-key" | "cookie") {
        return text.into();
    }
    let (scheme, key) = text.split_once(' ').unwrap_or(("", &text));
    let start: String = key.chars().take(4).collect();
    format!("{scheme} {start}... ({} characters)", key.chars().count()).trim_start().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_request_never_shows_a_key() {
        let ledger = Ledger::default();
        assert!(ledger.last().is_null());
        let headers = HeaderMap::from_iter([
            (http::header::AUTHORIZATION, http::HeaderValue::from_static("Bearer csk-very-secret")),
            (http::header::ACCEPT, http::HeaderValue::from_static("*/*")),
        ]);
        ledger.remember(Seen { method: Method::POST, path: "/v1/x".into(), headers, body: Bytes::from_static(b"{\"a\":1}") });
        let last = ledger.last();
        assert_eq!(last["body"]["a"], 1);
        assert_eq!(last["headers"]["accept"], "*/*");
        assert_eq!(last["headers"]["authorization"], "Bearer csk-... (15 characters)");
    }
}
