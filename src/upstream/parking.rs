//! How long a target asked to be left alone: a `429` or `503` that names a time is taken at its word.

use super::moment::Moment;
use http::HeaderMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

/// The longest a provider is believed. A value beyond it is a mistake, and the target is worth a new question the next day.
pub const LONGEST_WAIT: Duration = Duration::from_secs(24 * 60 * 60);

/// Why a target is parked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// It answered 429.
    RateLimited,
    /// It answered 503.
    Unavailable,
}

impl Cause {
    /// The word used in logs and on the status page.
    pub fn as_str(self) -> &'static str {
        match self {
            Cause::RateLimited => "rate_limited",
            Cause::Unavailable => "unavailable",
        }
    }
}

/// Until when one target is left alone, and why. One atomic: the moment above, the cause in the lowest bit, 0 for never parked.
/// Nothing else is published with it, so every access is relaxed.
#[derive(Debug, Default)]
pub struct Parking(AtomicU64);

impl Parking {
    /// Leaves the target alone until `until`. When it is parked already, the later end wins and keeps its cause.
    pub fn park(&self, until: Moment, why: Cause) {
        self.0.fetch_max(encode(until, why), Ordering::Relaxed);
    }

    /// Until when and why the target is left alone; `None` when it may be asked.
    pub fn parked(&self, now: Moment) -> Option<(Moment, Cause)> {
        let (until, why) = decode(self.0.load(Ordering::Relaxed))?;
        (until > now).then_some((until, why))
    }
}

/// How long an answer asks to be left alone: `retry-after-ms` in milliseconds or else `Retry-After` in seconds (whole or decimal)
/// or as an HTTP date (RFC 9110 10.2.3), at most [`LONGEST_WAIT`]. `None` when neither asks for a wait: absent, unreadable, zero,
/// negative or past.
///
/// A date is counted from the `Date` of the same answer, which comes from the same clock, and from `wall` when there is none.
pub fn retry_after(headers: &HeaderMap, wall: SystemTime) -> Option<Duration> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let seconds = |value: &str| number(value).and_then(|seconds| wait(seconds * 1_000.0));
    let date = |value: &str| {
        let sent = text("date").and_then(|date| httpdate::parse_http_date(date).ok()).unwrap_or(wall);
        wait(httpdate::parse_http_date(value).ok()?.duration_since(sent).ok()?.as_secs_f64() * 1_000.0)
    };
    let precise = text("retry-after-ms").and_then(number).and_then(wait);
    precise.or_else(|| text("retry-after").and_then(|value| seconds(value).or_else(|| date(value))))
}

/// A decimal number as headers write it, not negative; infinite when it is beyond all bounds. Rust also reads the words `inf` and
/// `nan`, which no provider means.
pub(super) fn number(text: &str) -> Option<f64> {
    text.starts_with(|c: char| c.is_ascii_digit() || c == '.').then(|| text.parse().ok()).flatten()
}

fn wait(millis: f64) -> Option<Duration> {
    // The cast saturates, and rounding up keeps a fraction of a millisecond a wait.
    (millis > 0.0).then(|| Duration::from_millis(millis.ceil() as u64).min(LONGEST_WAIT))
}

fn encode(until: Moment, why: Cause) -> u64 {
    let why = match why {
        Cause::RateLimited => 0,
        Cause::Unavailable => 1,
    };
    (until.as_millis().min(u64::MAX >> 1) << 1) | why
}

fn decode(word: u64) -> Option<(Moment, Cause)> {
    let why = if word & 1 == 0 { Cause::RateLimited } else { Cause::Unavailable };
    (word != 0).then(|| (Moment::from_millis(word >> 1), why))
}

#[cfg(test)]
mod tests;
