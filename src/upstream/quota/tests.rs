//! Real headers, nonsense, and what holds for every window.

use super::*;
use proptest::prelude::*;

const NOW: Moment = Moment::from_millis(1_000_000);

fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
    let pair = |(name, text): &(&str, &str)| {
        let name = HeaderName::try_from(format!("x-ratelimit-{name}")).expect("a header name");
        (name, HeaderValue::from_bytes(text.as_bytes()).expect("a header value"))
    };
    pairs.iter().map(pair).collect()
}

fn learnt(pairs: &[(&str, &str)]) -> Quota {
    let quota = Quota::default();
    quota.learn(&headers(pairs), NOW);
    quota
}

fn later(millis: u64) -> Moment {
    NOW + Duration::from_millis(millis)
}

/// A window that only ends.
fn minute(limit: u64, remaining: u64, reset_ms: u64) -> Quota {
    let (limit, remaining, reset) = (limit.to_string(), remaining.to_string(), format!("{reset_ms}ms"));
    learnt(&[("limit-tokens-minute", &limit), ("remaining-tokens-minute", &remaining), ("reset-tokens-minute", &reset)])
}

/// A bucket that fills steadily.
fn bucket(limit: u64, remaining: u64, reset_ms: u64) -> Quota {
    let (limit, remaining, reset) = (limit.to_string(), remaining.to_string(), format!("{reset_ms}ms"));
    learnt(&[("limit-tokens", &limit), ("remaining-tokens", &remaining), ("reset-tokens", &reset)])
}

#[test]
fn the_headers_of_real_providers_are_understood() {
    let left = |window, limit, remaining, millis| Left { window, limit, remaining, resets_in: Duration::from_millis(millis) };
    let cerebras = learnt(&[
        ("limit-requests-day", "1000000000"),
        ("limit-tokens-minute", "1000000000"),
        ("remaining-requests-day", "999997455"),
        ("remaining-tokens-minute", "999998298"),
        ("reset-requests-day", "33011.382867097855"),
        ("reset-tokens-minute", "11.382867097854614"),
    ]);
    assert_eq!(
        cerebras.snapshot(NOW),
        [
            left("tokens-minute", Some(1_000_000_000), 999_998_298, 11_383),
            left("requests-day", Some(1_000_000_000), 999_997_455, 33_011_383)
        ]
    );
    let openai = learnt(&[
        ("limit-requests", "60"),
        ("limit-tokens", "150000"),
        ("remaining-requests", "59"),
        ("remaining-tokens", "149984"),
        ("reset-requests", "1s"),
        ("reset-tokens", "6m0s"),
    ]);
    assert_eq!(openai.snapshot(NOW), [left("requests", Some(60), 59, 1_000), left("tokens", Some(150_000), 149_984, 360_000)]);
    let groq = learnt(&[("remaining-requests", "14370"), ("reset-requests", "2m59.56s")]);
    assert_eq!(groq.snapshot(NOW), [left("requests", None, 14_370, 179_560)]);
}

#[test]
fn a_time_to_go_is_read_in_every_form_providers_use() {
    let table = [
        ("11.382867097854614", 11_382_867),
        ("0", 0),
        ("1s", 1_000_000),
        ("6m0s", 360_000_000),
        ("20ms", 20_000),
        ("7.66ms", 7_660),
        ("1h2m3.5s", 3_723_500_000),
        ("24h0m0s", 86_400_000_000),
        ("250µs", 250),
        ("250us", 250),
    ];
    for (text, micros) in table {
        assert_eq!(window::duration(text).map(|d| d.as_micros()), Some(micros), "{text}");
    }
    for text in
        ["", " ", "-1", "-1s", "nan", "inf", "1e300", "1e999", "1718000000", "soon", "s", "5x", "1m-3s", "1.2.3s", "25h", "1s5"]
    {
        assert_eq!(window::duration(text), None, "{text}");
    }
}

#[test]
fn nonsense_leaves_what_was_known() {
    let quota = minute(100, 0, 5_000);
    for (remaining, reset) in [("-1", "60"), ("nan", "60"), ("", "60"), ("50", "nan"), ("50", "-3"), ("50", "1e300"), ("50", "")]
    {
        quota.learn(&headers(&[("remaining-tokens-minute", remaining), ("reset-tokens-minute", reset)]), NOW);
        assert_eq!(quota.exhausted(1, NOW), Some(later(5_000)), "{remaining} {reset}");
    }
    quota.learn(&headers(&[("remaining-tokens-minute", "1e300"), ("reset-tokens-minute", "60")]), NOW);
    assert_eq!(quota.exhausted(u64::MAX >> 20, NOW), None, "as much as anyone could ask for");
}

#[test]
fn windows_nobody_heard_of_and_half_statements_say_nothing() {
    for pairs in [
        &[("remaining-tokens-fortnight", "0"), ("reset-tokens-fortnight", "60")][..],
        &[("remaining-tokens", "0")],
        &[("reset-tokens", "60")],
        &[("remaining", "0"), ("reset", "60")],
    ] {
        let quota = learnt(pairs);
        assert_eq!((quota.exhausted(u64::MAX, NOW), quota.snapshot(NOW)), (None, vec![]));
        assert_eq!(quota.known.load(Ordering::Relaxed), 0);
    }
}

#[test]
fn the_tightest_window_decides() {
    let quota = learnt(&[
        ("remaining-requests-day", "0"),
        ("reset-requests-day", "3600"),
        ("remaining-tokens-minute", "10"),
        ("reset-tokens-minute", "20"),
    ]);
    assert_eq!(quota.exhausted(5, NOW), Some(later(3_600_000)));
    quota.learn(&headers(&[("remaining-requests-day", "1"), ("reset-requests-day", "3600")]), NOW);
    assert_eq!(quota.exhausted(5, NOW), None);
    assert_eq!(quota.exhausted(11, NOW), Some(later(20_000)));
}

#[test]
fn a_bucket_has_room_again_before_it_is_full() {
    let quota = bucket(1_000, 0, 60_000);
    assert_eq!(quota.exhausted(100, NOW), Some(later(6_000)));
    assert_eq!(quota.exhausted(100, later(6_000)), None);
    assert_eq!(minute(1_000, 0, 60_000).exhausted(100, NOW), Some(later(60_000)), "a window that only ends does not");
}

#[test]
fn a_request_larger_than_the_window_fits_a_full_one_only() {
    assert_eq!(minute(100, 100, 5_000).exhausted(101, NOW), None);
    assert_eq!(minute(100, 99, 5_000).exhausted(101, NOW), Some(later(5_000)));
}

#[test]
fn an_answer_corrects_what_was_estimated() {
    let quota = minute(100, 50, 5_000);
    quota.spend(50);
    assert!(quota.exhausted(1, NOW).is_some());
    quota.learn(&headers(&[("remaining-tokens-minute", "90"), ("reset-tokens-minute", "4")]), NOW);
    assert_eq!(quota.exhausted(90, NOW), None);
}

fn quotas() -> impl Strategy<Value = (bool, u64, u64, u64)> {
    (any::<bool>(), 1..5_000_u64, 0..5_000_u64, 1..100_000_u64)
}

fn quota_of((fills, limit, remaining, reset): (bool, u64, u64, u64)) -> Quota {
    if fills { bucket(limit, remaining.min(limit), reset) } else { minute(limit, remaining.min(limit), reset) }
}

proptest! {
    #[test]
    fn a_request_fits_from_the_promised_moment_on_and_not_before(
        said in quotas(), spent in prop::collection::vec(0..500_u64, 0..10), tokens in 0..6_000_u64, wait in 0..100_000_u64
    ) {
        let quota = quota_of(said);
        spent.iter().for_each(|tokens| quota.spend(*tokens));
        let now = later(wait);
        if let Some(until) = quota.exhausted(tokens, now) {
            prop_assert!(until > now && until <= later(said.3));
            prop_assert_eq!(quota.exhausted(tokens, until), None);
            let just_before = Moment::from_millis(until.as_millis() - 1);
            prop_assert_eq!(quota.exhausted(tokens, just_before), Some(until));
        }
    }

    #[test]
    fn more_tokens_never_fit_sooner(said in quotas(), fewer in 0..6_000_u64, more in 0..6_000_u64) {
        let quota = quota_of(said);
        prop_assert!(quota.exhausted(fewer.min(more), NOW) <= quota.exhausted(fewer.max(more), NOW));
    }

    #[test]
    fn what_is_left_fits_and_one_more_does_not(said in quotas(), spent in 0..6_000_u64, wait in 0..100_000_u64) {
        let quota = quota_of(said);
        quota.spend(spent);
        let now = later(wait);
        match quota.snapshot(now)[..] {
            [left] => {
                prop_assert!(left.resets_in == Duration::from_millis(said.3 - wait));
                prop_assert!(left.remaining == 0 || quota.exhausted(left.remaining, now).is_none());
                prop_assert!(left.remaining >= said.1 || quota.exhausted(left.remaining + 1, now).is_some());
            }
            _ => prop_assert!(wait >= said.3 && quota.exhausted(u64::MAX, now).is_none()),
        }
    }

    #[test]
    fn a_burst_between_two_answers_takes_what_was_left_and_no_more(remaining in 0..50_u64) {
        let text = remaining.to_string();
        let quota = learnt(&[("remaining-requests-minute", &text), ("reset-requests-minute", "60")]);
        let sent = (0..100).take_while(|_| quota.exhausted(1_000, NOW).is_none()).inspect(|_| quota.spend(1_000)).count();
        prop_assert_eq!(sent as u64, remaining);
    }

    #[test]
    fn no_header_shuts_a_target_out_for_more_than_a_day(
        fields in prop::collection::vec(
            (
                "(limit|remaining|reset)-(requests|tokens)(-minute|-hour|-day|)",
                "[ -~]{0,12}|-?[0-9]{0,25}(\\.[0-9]{0,9})?(e[0-9]{1,3}|ms|s|m[0-9]s|h|d)?",
            ),
            0..12,
        ),
        now: u64, spent: u64, tokens: u64,
    ) {
        let now = Moment::from_millis(now);
        let quota = Quota::default();
        let pairs: Vec<(&str, &str)> = fields.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
        quota.learn(&headers(&pairs), now);
        quota.spend(spent);
        let day = Duration::from_secs(24 * 60 * 60);
        prop_assert!(quota.exhausted(tokens, now).is_none_or(|until| until.saturating_since(now) <= day));
        prop_assert!(quota.snapshot(now).iter().all(|left| left.resets_in <= day));
        prop_assert_eq!(quota.exhausted(tokens, now + day), None);
    }
}
