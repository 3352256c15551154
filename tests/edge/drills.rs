//! Fault drills against two scripted targets: whatever the first one does, the caller gets the right answer after the right
//! attempts, the record tells them, and no answer is delivered twice.
//!
//! All faults stand in one table ([`table`]). One gateway serves a whole table: each fault is a target with a model of its own,
//! and behind it stands the one spare target, which gives a proper answer. What is expected follows from the rules of the row.

#[path = "drills/begun.rs"]
mod begun;
#[path = "drills/drill.rs"]
mod drill;
#[path = "drills/table.rs"]
mod table;

use crate::support::{Origin, Run};
use drill::{Manner, run};
use serde_json::{Value, json};

const KIB: usize = 1024;
const WATCHED: &str = "pii-detector, audit-logger";
const UNWATCHED: &str = "audit-logger";

/// The spare target is there, nothing is asked twice, and the callers speak HTTP/1.1.
const PLAIN: Manner = Manner { alone: false, retries: 0, http2: false, upstream_http2: false, chain: UNWATCHED, padding: 0 };

#[tokio::test]
async fn the_next_target_answers_after_one_attempt() {
    run(PLAIN).await;
}

#[tokio::test]
async fn the_next_target_answers_after_the_retries_that_the_fault_allows() {
    run(Manner { retries: 1, chain: WATCHED, ..PLAIN }).await;
}

#[tokio::test]
async fn with_nothing_left_the_caller_gets_the_providers_words_or_ours() {
    run(Manner { alone: true, chain: WATCHED, ..PLAIN }).await;
}

#[tokio::test]
async fn with_nothing_left_the_retries_come_first() {
    run(Manner { alone: true, retries: 1, ..PLAIN }).await;
}

#[tokio::test]
async fn every_attempt_gets_the_whole_of_a_large_request() {
    run(Manner { retries: 1, padding: 200 * KIB, ..PLAIN }).await;
}

#[tokio::test]
async fn callers_over_http2_see_the_same() {
    run(Manner { retries: 1, http2: true, chain: WATCHED, padding: KIB, ..PLAIN }).await;
    run(Manner { alone: true, http2: true, padding: 200 * KIB, ..PLAIN }).await;
}

#[tokio::test]
async fn targets_that_speak_http2_are_judged_alike() {
    run(Manner { upstream_http2: true, chain: WATCHED, ..PLAIN }).await;
    run(Manner { upstream_http2: true, retries: 1, padding: 200 * KIB, ..PLAIN }).await;
    run(Manner { upstream_http2: true, retries: 1, alone: true, http2: true, ..PLAIN }).await;
}

#[tokio::test]
async fn the_only_target_is_left_alone_for_as_long_as_it_asked() {
    for (status, retries, then) in [(429, 0, (429, "upstream_rate_limited")), (503, 1, (503, "upstream_unavailable"))] {
        let origin = Origin::start().await.replies(status).with_header("retry-after", "60");
        let gateway = Run::chain(UNWATCHED, &[origin.url()]).retries(retries).start().await;
        let first = gateway.chat("hi").send().await.expect("an answer");
        assert_eq!((first.status().as_u16(), &first.headers()["retry-after"]), (status, &"60".parse().unwrap()));
        assert_eq!(code(first).await, format!("scripted_{status}"));
        for request in [gateway.chat("hi"), gateway.chat_stream("hi")] {
            let later = request.send().await.expect("an answer");
            let pause: u64 = later.headers()["retry-after"].to_str().unwrap().parse().expect("seconds");
            assert!((1..=60).contains(&pause), "{pause}");
            assert!(!later.headers().contains_key("x-keeptrusts-attempts"));
            assert_eq!((later.status().as_u16(), code(later).await.as_str()), then);
        }
        origin.only_request();
    }
}

#[tokio::test]
async fn a_pause_that_fits_is_waited_out_and_one_that_does_not_is_relayed() {
    for (pause, posts) in [("300", 2), ("2100", 1)] {
        let origin =
            Origin::start().await.replies(429).with_header("retry-after-ms", pause).then().chats_as_asked(&["from-first"]);
        let gateway = Run::chain(UNWATCHED, &[origin.url()]).retries(1).start().await;
        let answer = gateway.chat_stream("hi").send().await.expect("an answer");
        let (status, attempts) = (answer.status().as_u16(), answer.headers()["x-keeptrusts-attempts"].clone());
        let text = answer.text().await.expect("a body");
        assert_eq!((status, attempts), (if posts == 2 { 200 } else { 429 }, posts.to_string().parse().unwrap()), "{text}");
        assert_eq!(text.contains("from-first"), posts == 2, "{text}");
        assert_eq!(origin.requests().len(), posts);
        assert_ne!(gateway.completed().await["fallback"], true);
    }
}

#[tokio::test]
async fn a_kept_connection_that_died_is_no_failure_and_one_that_speaks_is_no_dead_one() {
    let dead = Origin::start().await.chats_as_asked(&["from-first"]).then().closes_without_answer().then().chat("from-first");
    let alive =
        Origin::start().await.chats_as_asked(&["from-first"]).then().raw("SSH-2.0-OpenSSH_9.6\r\n\r\n").then().chat("from-first");
    for (first, posts, attempts, says) in [(dead, 3, "1", "from-first"), (alive, 2, "2", "from-spare")] {
        let spare = Origin::start().await.chat("from-spare");
        let gateway = Run::chain(UNWATCHED, &[first.url(), spare.url()]).start().await;
        gateway.chat("hi").send().await.expect("an answer").text().await.expect("a body");
        let answer = gateway.chat("hi").send().await.expect("an answer");
        assert_eq!(answer.headers()["x-keeptrusts-attempts"], attempts);
        assert!(answer.text().await.expect("a body").contains(says));
        assert_eq!(first.requests().len(), posts);
        let records = gateway.audit("llm.request.completed", 2).await;
        assert_eq!(records[1]["attempts"].as_array().map(Vec::len), attempts.parse().ok(), "{:#}", records[1]);
    }
}

#[tokio::test]
async fn a_trigger_that_is_asked_for_moves_on_from_what_is_the_callers_otherwise() {
    let long = r#"{"error":{"message":"too long","type":"t","code":"context_length_exceeded"},"status_code":400}"#;
    let too_long = |origin: Origin| {
        let head =
            format!("HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", long.len());
        origin.raw(head + long)
    };
    let cases = [
        ("auth_error", Origin::start().await.replies(401), 401),
        ("auth_error", Origin::start().await.replies(403), 403),
        ("context_length_exceeded", too_long(Origin::start().await), 400),
    ];
    for (trigger, first, status) in cases {
        let spare = Origin::start().await.chats_as_asked(&["from-spare"]);
        let run = Run::chain(UNWATCHED, &[first.url(), spare.url()]).retries(1);
        let gateway = run.with(&format!("  fallback: {{triggers: [{trigger}]}}\n")).start().await;
        for (turn, request) in [gateway.chat("hi"), gateway.chat_stream("hi")].into_iter().enumerate() {
            let answer = request.send().await.expect("an answer");
            assert_eq!(answer.headers()["x-keeptrusts-failed-attempts"], format!("t0={trigger}"));
            let text = answer.text().await.expect("a body");
            assert!(text.contains("from-spare") && !text.contains("error"), "{text}");
            assert_eq!((first.requests().len(), spare.requests().len()), (turn + 1, turn + 1));
        }
        let records = gateway.audit("llm.request.completed", 2).await;
        let attempts: Vec<&Value> = records.iter().map(|record| &record["attempts"][0]["status"]).collect();
        assert_eq!(attempts, [&json!(status), &json!(status)]);
    }
}

async fn code(answer: reqwest::Response) -> String {
    let body: Value = answer.json().await.expect("JSON");
    assert_eq!(body["code"], body["error"]["code"], "{body:#}");
    body["code"].as_str().expect("a code").to_owned()
}
