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
        let wait = httpdate::parse_http_date(value).ok()?.duration_since(sent).ok()?;
        (!wait.is_zero()).then(|| wait.min(LONGEST_WAIT))
    };
    let precise = text("retry-after-ms").and_then(number).and_then(wait);
    precise.or_else(|| text("retry-after").and_then(|value| seconds(value).or_else(|| date(value))))
}

/// A decimal number. Rust also reads `inf` and `nan`, which no provider means.
fn number(text: &str) -> Option<f64> {
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
mod tests {
    use super::*;
    use http::HeaderValue;
    use proptest::prelude::*;

    /// 2026-11-21 14:00:00 UTC, a Saturday.
    fn wall() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_269_600)
    }

    fn asked(pairs: &[(&'static str, &str)]) -> Option<Duration> {
        let value = |text: &str| HeaderValue::from_bytes(text.as_bytes()).expect("a header value");
        retry_after(&pairs.iter().map(|(name, text)| (http::HeaderName::from_static(name), value(text))).collect(), wall())
    }

    #[test]
    fn a_wait_is_read_in_every_form_providers_use() {
        let millis = |millis| Some(Duration::from_millis(millis));
        assert_eq!(asked(&[]), None);
        assert_eq!(asked(&[("retry-after", "7")]), millis(7_000));
        assert_eq!(asked(&[("retry-after", " 0.25 ")]), millis(250));
        assert_eq!(asked(&[("retry-after-ms", "1500"), ("retry-after", "2")]), millis(1_500));
        assert_eq!(asked(&[("retry-after-ms", "0.2")]), millis(1));
        assert_eq!(asked(&[("retry-after-ms", "soon"), ("retry-after", "2")]), millis(2_000));
        assert_eq!(asked(&[("retry-after", "Sat, 21 Nov 2026 14:00:30 GMT")]), millis(30_000));
        assert_eq!(asked(&[("retry-after", "Saturday, 21-Nov-26 14:00:30 GMT")]), millis(30_000));
        assert_eq!(asked(&[("retry-after", "Sat Nov 21 14:00:30 2026")]), millis(30_000));
    }

    #[test]
    fn what_asks_for_no_wait_is_none() {
        for text in ["", "0", "0.0", "-3", "soon", "nan", "inf", "-inf", "\u{fc}", "Sat, 21 Nov 2026 13:59:59 GMT", "1 s", "1,5"]
        {
            assert_eq!(asked(&[("retry-after", text)]), None, "{text}");
            assert_eq!(asked(&[("retry-after-ms", text)]), None, "{text}");
        }
    }

    #[test]
    fn an_absurd_wait_is_cut_to_a_day() {
        for text in ["86401", "1e300", "1e999", "99999999999999999999999999", "Sat, 21 Nov 2099 14:00:00 GMT"] {
            assert_eq!(asked(&[("retry-after", text)]), Some(LONGEST_WAIT), "{text}");
        }
    }

    #[test]
    fn a_date_is_counted_from_the_clock_that_wrote_it() {
        let ten_minutes_slow = ("date", "Sat, 21 Nov 2026 13:50:00 GMT");
        let wait = asked(&[ten_minutes_slow, ("retry-after", "Sat, 21 Nov 2026 13:50:20 GMT")]);
        assert_eq!(wait, Some(Duration::from_secs(20)));
    }

    proptest! {
        #[test]
        fn no_header_asks_for_more_than_a_day(name in "retry-after(-ms)?", text in "[ -~]{0,40}|-?[0-9]{0,30}(\\.[0-9]{0,10})?(e[0-9]{1,3})?") {
            let mut headers = HeaderMap::new();
            headers.insert(http::HeaderName::try_from(name)?, HeaderValue::try_from(text)?);
            prop_assert!(retry_after(&headers, wall()).is_none_or(|wait| !wait.is_zero() && wait <= LONGEST_WAIT));
        }

        #[test]
        fn the_latest_end_wins_and_keeps_its_cause(parks in prop::collection::vec((1..1000_u64, any::<bool>()), 1..20), now in 0..1000_u64) {
            let parking = Parking::default();
            let cause = |limited| if limited { Cause::RateLimited } else { Cause::Unavailable };
            parks.iter().for_each(|(until, limited)| parking.park(Moment::from_millis(*until), cause(*limited)));
            let last = parks.iter().map(|(until, _)| *until).max().unwrap_or(0);
            let found = parking.parked(Moment::from_millis(now));
            prop_assert_eq!(found.map(|(until, _)| until), (last > now.max(1)).then(|| Moment::from_millis(last)));
            prop_assert!(found.is_none_or(|(_, why)| parks.iter().any(|(until, limited)| *until == last && cause(*limited) == why)));
        }

        #[test]
        fn no_end_is_too_late_to_hold(until in any::<u64>()) {
            let parking = Parking::default();
            parking.park(Moment::from_millis(until), Cause::Unavailable);
            let held = parking.parked(Moment::from_millis(1));
            let expected = until.min(u64::MAX >> 1);
            prop_assert_eq!(held, (expected > 1).then(|| (Moment::from_millis(expected), Cause::Unavailable)));
        }
    }
}
