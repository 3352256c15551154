//! Waits as providers ask for them, and the one that is kept.

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
    for text in ["", "0", "0.0", "-3", "soon", "nan", "inf", "-inf", "\u{fc}", "Sat, 21 Nov 2026 13:59:59 GMT", "1 s", "1,5"] {
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

#[test]
fn a_wait_has_whole_milliseconds_so_that_its_end_is_the_same_to_all_who_count() {
    let headers = [(http::header::RETRY_AFTER, HeaderValue::from_static("Sat, 21 Nov 2026 14:00:30 GMT"))].into_iter().collect();
    let wait = retry_after(&headers, wall() + Duration::from_nanos(1_500_000));
    assert_eq!(wait, Some(Duration::from_millis(29_999)));
}

proptest! {
    #[test]
    fn no_header_asks_for_more_than_a_day(
        name in "retry-after(-ms)?",
        text in "[ -~]{0,40}|-?[0-9]{0,30}(\\.[0-9]{0,10})?(e[0-9]{1,3})?",
    ) {
        let mut headers = HeaderMap::new();
        headers.insert(http::HeaderName::try_from(name)?, HeaderValue::try_from(text)?);
        prop_assert!(retry_after(&headers, wall()).is_none_or(|wait| !wait.is_zero() && wait <= LONGEST_WAIT));
    }

    #[test]
    fn the_latest_end_wins_and_keeps_its_cause(
        parks in prop::collection::vec((1..1000_u64, any::<bool>()), 1..20),
        now in 0..1000_u64,
    ) {
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
