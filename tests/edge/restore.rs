//! `restore: true`: the provider sees tokens, the caller its own values, and nothing on this side writes them down.

use crate::support::{Gateway, Origin, Run};
use serde_json::{Value, json};

const RESTORE: &str = "policy: {pii-detector: {restore: true, detect_patterns: ['<[^>]{3,40}>']}}\n";
const CHAIN: &str = "prompt-injection, pii-detector, audit-logger";
/// Two of a kind, and one that JSON must escape.
const PROMPT: &str = r#"ann@canary.org, bob@canary.org, ann@canary.org, <"Zoë" \ Ltd>"#;
const TOKENS: &str = "[EMAIL_1], [EMAIL_2], [EMAIL_1], [CUSTOM_1]";
const NAME: &str = r#"<"Zoë" \ Ltd>"#;

async fn gateway(origin: &Origin) -> Gateway {
    Run::chain(CHAIN, &[origin.url()]).with(RESTORE).env("RUST_LOG", "trace").start().await
}

/// What one text of the first choice says in the end.
fn spoken(body: &str, at: &str) -> String {
    let events = body.split("\n\n").filter_map(|event| event.strip_prefix("data: ")).filter(|data| *data != "[DONE]");
    let texts = events.map(|data| serde_json::from_str::<Value>(data).unwrap_or_else(|e| panic!("{e}: {data}")));
    texts.filter_map(|event| event["choices"][0].pointer(at).and_then(Value::as_str).map(String::from)).collect()
}

fn events(deltas: impl Iterator<Item = Value>) -> Vec<u8> {
    let mut out: Vec<u8> = deltas
        .flat_map(|delta| format!("data: {}\n\n", json!({"choices": [{"index": 0, "delta": delta}]})).into_bytes())
        .collect();
    out.extend_from_slice(b"data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n");
    out
}

#[tokio::test]
async fn a_provider_sees_tokens_and_the_caller_its_own_values() {
    let origin = Origin::start().await.chat("To [EMAIL_2] and [EMAIL_1], not [EMAIL_9] or eve@else.org: [CUSTOM_1]");
    let gateway = gateway(&origin).await;
    let answer = gateway.chat(PROMPT).send().await.unwrap();
    assert_eq!(answer.headers()["x-keeptrusts-redactions"], "4");
    let body: Value = answer.json().await.unwrap();
    assert_eq!(origin.only_request().json()["messages"][0]["content"], TOKENS);
    let expected = format!("To bob@canary.org and ann@canary.org, not [EMAIL_9] or [EMAIL_REDACTED]: {NAME}");
    assert_eq!(body["choices"][0]["message"]["content"], expected);
}

#[tokio::test]
async fn a_token_split_anywhere_in_any_channel_of_a_stream_comes_back_whole() {
    let text = "Dear [EMAIL_2], [EMAIL_1] and [CUSTOM_1] [";
    let expected = format!("Dear bob@canary.org, ann@canary.org and {NAME} [");
    let arguments = json!({"to": text, "n": 1.50}).to_string();
    let channels = [("content", "/delta/content"), ("reasoning", "/delta/reasoning"), ("refusal", "/delta/refusal")];
    let call = |piece: &str| json!({"tool_calls": [{"index": 0, "function": {"arguments": piece}}]});
    let (mut origin, widths) = (Origin::start().await, [1, 2, 5, 1000]);
    let cut = |text: &str, width: usize| -> Vec<String> {
        text.chars().collect::<Vec<_>>().chunks(width).map(|piece| piece.iter().collect()).collect()
    };
    for width in widths {
        for (name, _) in channels {
            origin = origin.streams_bytes(&[&events(cut(text, width).iter().map(|piece| json!({name: piece})))]).then();
        }
        origin = origin.streams_bytes(&[&events(cut(&arguments, width).iter().map(|piece| call(piece)))]).then();
    }
    let gateway = gateway(&origin).await;
    for width in widths {
        for (name, at) in channels {
            let body = gateway.chat_stream(PROMPT).send().await.unwrap().text().await.unwrap();
            assert_eq!(spoken(&body, at), expected, "{name} in pieces of {width}: {body}");
        }
        let body = gateway.chat_stream(PROMPT).send().await.unwrap().text().await.unwrap();
        let said = spoken(&body, "/delta/tool_calls/0/function/arguments");
        let said: Value = serde_json::from_str(&said).unwrap_or_else(|e| panic!("{e}: {said}"));
        assert_eq!(said, json!({"to": expected, "n": 1.50}), "arguments in pieces of {width}");
    }
}

#[tokio::test]
async fn one_value_has_one_token_across_messages_calls_and_results_and_none_the_caller_wrote() {
    let call = |arguments: &str| json!([{"id": "c", "type": "function", "function": {"name": "send", "arguments": arguments}}]);
    let message = json!({"role": "assistant", "content": null, "tool_calls": call(r#"{"to":"[EMAIL_3]","name":"[CUSTOM_1]"}"#)});
    let whole = json!({"choices": [{"index": 0, "finish_reason": "tool_calls", "message": message}]});
    let origin = Origin::start().await.body(whole.to_string());
    let gateway = gateway(&origin).await;
    let request = json!({"model": "m0", "messages": [
        {"role": "user", "content": format!("[EMAIL_1] is literal; {PROMPT}")},
        {"role": "assistant", "content": null, "tool_calls": call(r#"{"to":"bob\u0040canary.org","n":1}"#)},
        {"role": "tool", "tool_call_id": "c", "content": "sent to bob@canary.org"}]});
    let body: Value = gateway.post(&request).send().await.unwrap().json().await.unwrap();
    let sent = origin.only_request().json();
    assert_eq!(sent["messages"][0]["content"], "[EMAIL_1] is literal; [EMAIL_2], [EMAIL_3], [EMAIL_2], [CUSTOM_1]");
    assert_eq!(sent["messages"][1]["tool_calls"][0]["function"]["arguments"], r#"{"to":"[EMAIL_3]","n":1}"#);
    assert_eq!(sent["messages"][2]["content"], "sent to [EMAIL_3]");
    let arguments = body["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"].as_str().unwrap();
    let arguments: Value = serde_json::from_str(arguments).unwrap();
    assert_eq!(arguments, json!({"to": "bob@canary.org", "name": NAME}));
}

#[tokio::test]
async fn the_target_that_answers_in_the_place_of_another_is_sent_and_given_back_the_same() {
    let (first, second) = (Origin::start().await.replies(500), Origin::start().await.chat("To [EMAIL_2]"));
    let gateway = Run::chain(CHAIN, &[first.url(), second.url()]).with(RESTORE).start().await;
    let body: Value = gateway.chat(PROMPT).send().await.unwrap().json().await.unwrap();
    assert_eq!(first.only_request().json()["messages"], second.only_request().json()["messages"]);
    assert_eq!(body["choices"][0]["message"]["content"], "To bob@canary.org");
}

#[tokio::test]
async fn a_race_is_run_with_tokens_and_whoever_wins_it_is_given_back_the_same() {
    let hedge = "  routing: {hedge: {after_ms: 30, max_ratio: 0.5}}\n  circuit_breaker: {enabled: false}\n";
    let pieces = ["To [EMA", "IL_2]", " and [EMAIL_1] [CUSTOM", "_1]!"];
    let expected = format!("To bob@canary.org and ann@canary.org {NAME}!");
    for streamed in [false, true] {
        // The purse for races begins empty: a quick request fills it.
        let first = Origin::start().await.chat("warm").then().hangs();
        let second = Origin::start().await.chats_as_asked(&pieces);
        let gateway = Run::chain(CHAIN, &[first.url(), second.url()]).with(hedge).with(RESTORE).start().await;
        assert!(gateway.chat("warm").send().await.unwrap().text().await.unwrap().contains("warm"));
        let request = if streamed { gateway.chat_stream(PROMPT) } else { gateway.chat(PROMPT) };
        let answer = request.send().await.unwrap();
        assert_eq!(answer.headers()["x-keeptrusts-failed-attempts"], "t0=superseded");
        let body = answer.text().await.unwrap();
        let said = match streamed {
            true => spoken(&body, "/delta/content"),
            false => serde_json::from_str::<Value>(&body).unwrap()["choices"][0]["message"]["content"].as_str().unwrap().into(),
        };
        assert_eq!(said, expected);
        first.wait_for_requests(2).await;
        for asked in [&first.requests()[1], &second.only_request()] {
            assert_eq!(asked.json()["messages"][0]["content"], TOKENS, "both are sent tokens, the same");
        }
    }
}

#[tokio::test]
async fn no_record_log_line_metric_or_error_holds_a_value() {
    let origin = Origin::start()
        .await
        .chat("To [EMAIL_2] [CUSTOM_1]")
        .then()
        .streams_text(&["To [EMAIL_2", "] [CUSTOM_1]"])
        .then()
        .replies(400)
        .then()
        .body("[EMAIL_1] is no JSON");
    let gateway = gateway(&origin).await;
    let mut answers = String::new();
    for turn in 0..4 {
        let request = if turn == 1 { gateway.chat_stream(PROMPT) } else { gateway.chat(PROMPT) };
        let text = request.send().await.unwrap().text().await.unwrap();
        if turn > 1 {
            answers += &text;
        }
    }
    let record = gateway.audit("llm.request.completed", 4).await.remove(0);
    let said = |phase: &str| {
        let mut decisions = record["policy"].as_array().unwrap().iter();
        decisions.find(|d| d["kind"] == "pii-detector" && d["phase"] == phase).map(|d| d["verdict"].clone())
    };
    assert_eq!(said("input"), Some(json!("redact")), "{record:#}");
    assert_ne!(said("output"), Some(json!("redact")), "what is put back is no find: {record:#}");
    let metrics = gateway.client.get(format!("{}/metrics", gateway.admin)).send().await.unwrap().text().await.unwrap();
    let all = json!(gateway.audit_now()).to_string();
    for (place, text) in [("records", all), ("errors", answers), ("metrics", metrics), ("log", gateway.log())] {
        assert!(!text.contains("canary.org") && !text.contains("Zoë"), "a value in the {place}");
    }
}
