//! An upstream that breaks is never made to look whole, and never asked of twice once the caller has seen a byte.

use crate::support::{Gateway, Origin, Run};
use std::time::Duration;

const CHAIN: &str = "pii-detector, audit-logger";

fn piece(text: &str) -> String {
    format!("data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{text}\"}}}}]}}\n\n")
}

fn events(body: &str) -> Vec<&str> {
    body.split("\n\n").filter(|e| !e.is_empty()).collect()
}

/// The text so far, one error event of its own shape, no `[DONE]`, a proper end.
fn assert_broken_off(body: &str, text: &[&str]) {
    let events = events(body);
    let (last, before) = events.split_last().expect("events");
    assert_eq!(before, text.iter().map(|t| piece(t).trim_end().to_owned()).collect::<Vec<_>>(), "{body}");
    let error: serde_json::Value = serde_json::from_str(last.strip_prefix("data: ").expect("data")).expect("JSON");
    assert!(error["error"]["message"].is_string() && error["status_code"] == 502 || error["status_code"] == 504, "{error}");
    assert!(error.get("choices").is_none() && error.get("message").is_none(), "{error}");
    assert!(!body.contains("[DONE]"));
}

async fn stream(gateway: &Gateway) -> (u16, String) {
    let answer = gateway.chat_stream("hi").send().await.unwrap();
    (answer.status().as_u16(), answer.text().await.expect("the stream ends properly"))
}

async fn breaks_off(origin: Origin, text: &[&str], chain: &str) {
    let gateway = Run::chain(chain, &[origin.url()]).start().await;
    let (status, body) = stream(&gateway).await;
    assert_eq!(status, 200);
    assert_broken_off(&body, text);
    let record = gateway.completed().await;
    assert_eq!(record["outcome"], "error", "{record:#}");
    assert_eq!(record["attempts"].as_array().unwrap().len(), 1, "{record:#}");
    assert_ne!(record["attempts"][0]["reason"], serde_json::Value::Null, "{record:#}");
}

#[tokio::test]
async fn a_stream_that_breaks_off_ends_in_one_error_event_after_the_text_so_far() {
    let (one, two) = (piece("Hello, "), piece("wor"));
    let all: &[&[u8]] = &[one.as_bytes(), two.as_bytes()];
    for chain in [CHAIN, "audit-logger"] {
        let start = || async { Origin::start().await.streams_bytes(all) };
        let text = &["Hello, ", "wor"];
        breaks_off(start().await.truncates_after(2), text, chain).await;
        breaks_off(start().await.stalls_after(2), text, chain).await;
        breaks_off(start().await, text, chain).await;
    }
}

#[tokio::test]
async fn what_was_decided_before_a_malformed_event_leaves_even_in_one_segment() {
    let body = format!("{}{}data: {{\"choices\":[\n\n{}", piece("Hello, "), piece("wor"), piece("never"));
    let origin = Origin::start().await.streams_bytes(&[body.as_bytes()]);
    let gateway = Run::chain(CHAIN, &[origin.url()]).start().await;
    let (status, body) = stream(&gateway).await;
    assert_eq!(status, 200);
    assert_broken_off(&body, &["Hello, ", "wor"]);
}

#[tokio::test]
async fn an_upstream_cut_in_its_framing_shows_the_text_so_far() {
    let body = piece("Hello, ");
    let raw = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n{body}\r\nff\r\nda",
        body.len()
    );
    let spare = Origin::start().await.chat("spare");
    let origin = Origin::start().await.fragmented(raw.as_bytes(), 40);
    let gateway = Run::chain(CHAIN, &[origin.url(), spare.url()]).start().await;
    let (_, body) = stream(&gateway).await;
    assert_broken_off(&body, &["Hello, "]);
}

#[tokio::test]
async fn an_error_of_the_provider_inside_a_stream_is_the_last_event() {
    let error = "data: {\"error\":{\"message\":\"overloaded\",\"type\":\"t\",\"code\":\"c\"},\"status_code\":503}\n\n";
    let body = [piece("Hello, "), piece("wor"), error.into(), piece("never"), "data: [DONE]\n\n".into()].concat();
    for (chain, origin) in [
        (CHAIN, Origin::start().await.streams_bytes(&[body.as_bytes()])),
        ("audit-logger", Origin::start().await.streams_bytes(&[body.as_bytes()])),
        (
            CHAIN,
            Origin::start()
                .await
                .streams_bytes(&[piece("Hello, ").as_bytes(), piece("wor").as_bytes(), error.as_bytes()])
                .truncates_after(3),
        ),
    ] {
        let gateway = Run::chain(chain, &[origin.url()]).start().await;
        let (_, got) = stream(&gateway).await;
        assert_eq!(got, [piece("Hello, "), piece("wor"), error.into()].concat(), "{chain}");
        assert_eq!(gateway.completed().await["outcome"], "error");
    }
}

#[tokio::test]
async fn a_stream_that_dies_before_its_first_byte_is_asked_of_the_next_target() {
    let error = "data: {\"error\":{\"message\":\"overloaded\"},\"status_code\":503}\n\n";
    let raw = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
    let half = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{\"choices\"";
    let malformed = "data: {oops\n\n";
    let origins = [
        Origin::start().await.raw(raw),
        Origin::start().await.streams_bytes(&[error.as_bytes()]),
        Origin::start().await.raw(half),
        Origin::start().await.streams_bytes(&[b"x"]).stalls_after(0),
        Origin::start().await.streams_bytes(&[malformed.as_bytes()]),
        Origin::start().await.chat("x").gzip(),
    ];
    for (turn, first) in origins.iter().enumerate() {
        let spare = Origin::start().await.streams_text(&["spare"]);
        let gateway = Run::chain(CHAIN, &[first.url(), spare.url()]).start().await;
        let answer = gateway.chat_stream("hi").send().await.unwrap();
        assert_eq!(
            (answer.status().as_u16(), answer.headers()["x-keeptrusts-target"].to_str().unwrap()),
            (200, "t1"),
            "turn {turn}"
        );
        let body = answer.text().await.unwrap();
        assert!(body.contains("spare") && body.ends_with("data: [DONE]\n\n") && !body.contains("error"), "turn {turn}: {body}");
        let record = gateway.completed().await;
        assert_eq!(record["attempts"].as_array().unwrap().len(), 2, "{record:#}");
        assert_eq!((record["outcome"].as_str(), record["fallback"].as_bool()), (Some("success"), Some(true)));
    }
}

#[tokio::test]
async fn a_whole_answer_that_cannot_be_had_is_a_502_that_every_sdk_reads() {
    let half = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{\"choices\"";
    let origin = Origin::start().await.raw(half).then().body("<html>").then().chat("x").gzip();
    let gateway = Run::chain(CHAIN, &[origin.url()]).start().await;
    for turn in 0..3 {
        let answer = gateway.chat("hi").send().await.unwrap();
        assert_eq!(answer.status(), 502, "turn {turn}");
        let body: serde_json::Value = answer.json().await.unwrap();
        assert!(
            body["message"].is_string() && body["error"]["message"] == body["message"] && body["status_code"] == 502,
            "{body}"
        );
        assert!(["type", "param", "code"].iter().all(|f| body[f].is_string()), "{body}");
    }
    for record in gateway.audit("llm.request.completed", 3).await {
        assert_eq!(record["attempts"].as_array().unwrap().len(), 1, "{record:#}");
        assert_eq!(record["outcome"], "error");
    }
}

#[tokio::test]
async fn an_error_of_the_provider_in_an_encoding_nobody_asked_for_is_readable() {
    let origin = Origin::start().await.body("{\"message\":\"no\"}").gzip().with_header("x-y", "z").then().replies(429).gzip();
    let gateway = Run::chain("audit-logger", &[origin.url()]).start().await;
    assert_eq!(gateway.chat("hi").send().await.unwrap().status(), 502);
    let answer = gateway.chat("hi").send().await.unwrap();
    assert_eq!(answer.status(), 429);
    assert!(!answer.headers().contains_key("content-encoding"));
    let body: serde_json::Value = answer.json().await.unwrap();
    assert_eq!(body["status_code"], 429);
}

#[tokio::test]
async fn a_slow_reader_costs_neither_memory_nor_the_stream() {
    let event = piece(&"word ".repeat(4000));
    let mut pieces = vec![event.as_bytes(); 1500];
    let done: &[u8] = b"data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";
    pieces.push(done);
    let origin = Origin::start().await.streams_bytes(&pieces);
    let gateway = Run::chain("audit-logger", &[origin.url()]).start().await;
    let mut answer = gateway.chat_stream("hi").send().await.unwrap();
    let mut bytes = answer.chunk().await.unwrap().unwrap().len();
    // Longer than the stream timeout: the pause is the caller's, not the upstream's.
    tokio::time::sleep(Duration::from_secs(4)).await;
    let status = std::fs::read_to_string(format!("/proc/{}/status", gateway.pid())).unwrap();
    let kb = status
        .lines()
        .find_map(|l| l.strip_prefix("VmRSS:"))
        .unwrap()
        .trim()
        .trim_end_matches(" kB")
        .trim()
        .parse::<u64>()
        .unwrap();
    assert!(kb < 100_000, "{kb} kB");
    while let Some(chunk) = answer.chunk().await.expect("no break") {
        bytes += chunk.len();
    }
    assert_eq!(bytes, pieces.iter().map(|p| p.len()).sum::<usize>());
    assert_eq!(gateway.completed().await["outcome"], "success");
}
