//! A provider's own headers say what is left: a target is left alone before it has to refuse, and asked again when it need not.

use crate::support::{Gateway, Origin, Run};
use futures::future::join_all;
use std::time::{Duration, Instant};

/// The words of one window: what the headers are called, what is left after each answer, when the window is full again, and the
/// least time in milliseconds until a request fits again.
type Window = (&'static str, u64, [u64; 3], &'static str, u64);

#[tokio::test]
async fn a_target_is_left_before_its_quota_is_gone_and_asked_again_when_there_is_some() {
    // A request that names no limit is taken for 16,384 tokens of output and a few of its own.
    let cases: [Window; 6] = [
        ("requests-day", 100, [2, 1, 0], "2.0", 2_000),
        ("tokens-minute", 60_000, [50_000, 33_000, 16_000], "1.537194", 1_500),
        ("requests-hour", 100, [2, 1, 0], "1.5", 1_500),
        // Without a period: a bucket that fills steadily, here by one request or 16,384 tokens in some half of the time.
        ("requests", 2, [2, 1, 0], "2s", 900),
        ("tokens", 33_000, [33_000, 17_000, 0], "2s", 900),
        ("tokens", 33_000, [33_000, 17_000, 0], "0m1500ms", 700),
    ];
    let checks = cases.map(|window| async move {
        let (name, _, left, _, earliest) = window;
        let mut first = Origin::start().await;
        for left in left.into_iter().chain([1_000_000]) {
            first = states(first.chat("first"), window, left);
        }
        let second = Origin::start().await.chat("second");
        let gateway = Run::chain("audit-logger", &[first.url(), second.url()]).start().await;
        let mut asked = Instant::now();
        for _ in left {
            asked = Instant::now();
            assert_eq!(ask(&gateway).await, "t0", "{window:?}");
        }
        let standing = gateway.standing("t0").await;
        let windows = standing["quota"].as_array().expect("quota");
        assert!(windows.iter().any(|known| known["window"] == name && known["remaining"].is_u64()), "{standing:#}");
        while ask(&gateway).await == "t1" {}
        assert!(asked.elapsed() >= Duration::from_millis(earliest), "{window:?}: {:?}", asked.elapsed());
        assert_eq!(first.requests().len(), 4, "{window:?}");
    });
    join_all(checks).await;
}

#[tokio::test]
async fn requests_under_way_are_taken_off_before_they_are_answered() {
    let window = ("requests-day", 100, [0; 3], "600", 0);
    let first = states(Origin::start().await.chat("first"), window, 3).then().hangs();
    let second = Origin::start().await.chat("second");
    let gateway = Run::chain("audit-logger", &[first.url(), second.url()]).timeouts(30).start().await;
    assert_eq!(ask(&gateway).await, "t0");
    let mut held = Vec::new();
    for under_way in 1..=3 {
        held.push(tokio::spawn(gateway.chat("hi").send()));
        first.wait_for_requests(1 + under_way).await;
    }
    assert_eq!(ask(&gateway).await, "t1");
    assert_eq!(gateway.standing("t0").await["quota"][0]["remaining"], 0);
    held.iter().for_each(tokio::task::JoinHandle::abort);
    gateway.until_idle().await;
}

#[tokio::test]
async fn with_one_target_a_spent_quota_is_advice_that_nobody_can_follow() {
    let window = ("requests-day", 100, [0; 3], "600", 0);
    let origin = states(Origin::start().await.chat("first"), window, 0);
    let gateway = Run::chain("audit-logger", &[origin.url()]).start().await;
    for _ in 0..5 {
        assert_eq!(ask(&gateway).await, "t0");
    }
}

#[tokio::test]
async fn with_nobody_else_to_ask_a_spent_quota_is_tried() {
    let window = ("requests-day", 100, [0; 3], "600", 0);
    let first = states(Origin::start().await.chat("first"), window, 0);
    let second = Origin::start().await.replies(500);
    let run = Run::chain("audit-logger", &[first.url(), second.url()]);
    let gateway = run.with("  circuit_breaker: {consecutive_failure_threshold: 1, cooldown_seconds: 600}\n").start().await;
    // The first is spent, so the second is asked before it, fails, and is left alone from then on.
    for posts in [(1, 0), (2, 1), (3, 1), (4, 1)] {
        assert_eq!(ask(&gateway).await, "t0");
        assert_eq!((first.requests().len(), second.requests().len()), posts);
    }
}

/// The last step's answer says what is left of the window.
fn states(origin: Origin, (name, limit, _, reset, _): Window, left: u64) -> Origin {
    let origin = origin.with_header(&format!("x-ratelimit-limit-{name}"), &limit.to_string());
    let origin = origin.with_header(&format!("x-ratelimit-remaining-{name}"), &left.to_string());
    origin.with_header(&format!("x-ratelimit-reset-{name}"), reset)
}

/// The target that answers the first time it is asked.
async fn ask(gateway: &Gateway) -> String {
    let answer = gateway.chat("hi").send().await.expect("an answer");
    assert_eq!(answer.status(), 200);
    answer.headers()["x-keeptrusts-target"].to_str().unwrap().to_owned()
}
