//! Faults behind the first byte that reached the caller: one error event ends the stream, and nobody else is asked.

use crate::support::{Gateway, Origin, Run};
use std::time::Duration;

const ROLE: &str = r#"{"choices":[{"index":0,"delta":{"role":"assistant","content":"from-first, "}}]}"#;
const MORE: &str = r#"{"choices":[{"index":0,"delta":{"content":" and more"}}]}"#;

/// How a stream of two events goes wrong behind the first one.
struct Begun {
    name: &'static str,
    second: &'static str,
    ends: fn(Origin) -> Origin,
    reason: &'static str,
    /// The record's status of the attempt.
    status: Option<u16>,
    /// `status_code` of the last event.
    code: u16,
}

const FAULTS: [Begun; 6] = [
    Begun { name: "reset", second: MORE, ends: |o| o.resets_after(2), reason: "connection_broken", status: None, code: 502 },
    Begun { name: "closed", second: MORE, ends: |o| o.truncates_after(2), reason: "connection_broken", status: None, code: 502 },
    Begun { name: "no finish", second: MORE, ends: |o| o, reason: "connection_broken", status: None, code: 502 },
    Begun { name: "stalled", second: MORE, ends: |o| o.stalls_after(2), reason: "timeout", status: None, code: 504 },
    Begun { name: "unreadable", second: "{oops", ends: |o| o, reason: "unreadable_answer", status: None, code: 502 },
    Begun {
        name: "an error of its own",
        second: r#"{"error":{"message":"overloaded","type":"t","code":"c"},"status_code":503}"#,
        ends: |o| o,
        reason: "server_error",
        status: Some(503),
        code: 503,
    },
];

#[tokio::test]
async fn a_stream_that_has_begun_is_never_asked_of_another_target() {
    for fault in &FAULTS {
        let spare = Origin::start().await.chats_as_asked(&["from-spare"]);
        let first = (fault.ends)(Origin::start().await.streams(&[ROLE, fault.second], Duration::ZERO).gated());
        let run = Run::chain("pii-detector, audit-logger", &[first.url(), spare.url()]).retries(1);
        let gateway = run.start().await;
        let h2 = reqwest::Client::builder().no_proxy().http2_prior_knowledge().build().expect("a client");
        for (turn, client) in [gateway.client.clone(), h2].into_iter().enumerate() {
            check(&gateway, &client, fault, &first, turn).await;
        }
        assert!(spare.requests().is_empty(), "{}: another target was asked", fault.name);
        for record in gateway.audit("llm.request.completed", 2).await {
            let attempt = &record["attempts"][0];
            assert_eq!(record["attempts"].as_array().map(Vec::len), Some(1), "{}: {record:#}", fault.name);
            assert_eq!(
                (&attempt["target"], &attempt["reason"]),
                (&"t0".into(), &fault.reason.into()),
                "{}: {record:#}",
                fault.name
            );
            assert_eq!(attempt["status"].as_u64(), fault.status.map(u64::from), "{}: {record:#}", fault.name);
            assert_eq!(
                (&record["outcome"], &record["http_status"]),
                (&"error".into(), &200.into()),
                "{}: {record:#}",
                fault.name
            );
            assert_eq!((&record["target"], record["fallback"] == true), (&"t0".into(), false), "{}: {record:#}", fault.name);
        }
    }
}

/// Streams once: the fault comes when the caller has seen the first event, and not before.
async fn check(gateway: &Gateway, client: &reqwest::Client, fault: &Begun, first: &Origin, turn: usize) {
    let body = serde_json::json!({"model": "m0", "stream": true, "messages": [{"role": "user", "content": "hi"}]});
    let asking = client.post(format!("{}/v1/chat/completions", gateway.url)).json(&body).send();
    let (answer, ()) = tokio::join!(asking, first.next_event());
    let mut answer = answer.unwrap_or_else(|e| panic!("{}: {e:?}\n{}", fault.name, gateway.log()));
    let attempts = &answer.headers()["x-keeptrusts-attempts"];
    assert_eq!((answer.status().as_u16(), attempts), (200, &"1".parse().unwrap()), "{} {turn}\n{}", fault.name, gateway.log());
    let mut text = String::new();
    while let Some(piece) = answer.chunk().await.unwrap_or_else(|e| panic!("{}: {e:?} behind {text}", fault.name)) {
        let begins = text.is_empty();
        text.push_str(std::str::from_utf8(&piece).expect("text"));
        if begins {
            first.next_event().await;
        }
    }
    let events: Vec<&str> = text.split_terminator("\n\n").collect();
    let errors: Vec<&&str> = events.iter().filter(|event| event.contains("\"error\"")).collect();
    assert_eq!((text.matches("from-first").count(), errors.len()), (1, 1), "{}: {text}", fault.name);
    assert!(!text.contains("from-spare") && !text.contains("[DONE]"), "{}: {text}", fault.name);
    let last: serde_json::Value = serde_json::from_str(events[events.len() - 1].trim_start_matches("data: ")).expect("JSON");
    assert_eq!((&last["status_code"], last["error"].is_object()), (&fault.code.into(), true), "{}: {text}", fault.name);
    assert_eq!(first.requests().len(), turn + 1, "{}", fault.name);
}

#[tokio::test]
async fn a_stream_whose_text_is_still_undecided_has_not_begun() {
    let undecided = r#"{"choices":[{"index":0,"delta":{"content":"jane@example"}}]}"#;
    for ends in [|o: Origin| o.resets_after(1), |o: Origin| o.truncates_after(1), |o: Origin| o.stalls_after(1)] {
        let spare = Origin::start().await.chats_as_asked(&["from-spare"]);
        let first = ends(Origin::start().await.streams(&[undecided], Duration::ZERO));
        let run = Run::chain("pii-detector, audit-logger", &[first.url(), spare.url()]);
        let gateway = run.start().await;
        let answer = gateway.chat_stream("hi").send().await.expect("an answer");
        let attempts = answer.headers()["x-keeptrusts-attempts"].clone();
        let text = answer.text().await.expect("a stream");
        assert_eq!((attempts, text.matches("from-spare").count()), ("2".parse().unwrap(), 1), "{text}\n{}", gateway.log());
        assert!(!text.contains("jane") && !text.contains("error") && text.ends_with("data: [DONE]\n\n"), "{text}");
    }
}
