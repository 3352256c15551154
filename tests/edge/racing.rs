//! A slow target is raced with the next one: one answer, one record, nobody asked twice or left behind.
//!
//! The purse for races begins empty and each request adds half a race, so every race here has a quick request before it.

use crate::support::{Gateway, Origin, Run, Wire};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const CHAIN: &str = "pii-detector, audit-logger";
const HEDGE: &str = "  routing: {hedge: {after_ms: 30, max_ratio: 0.5}}\n  circuit_breaker: {enabled: false}\n";

fn run(urls: &[String]) -> Run {
    Run::chain(CHAIN, urls).with(HEDGE)
}

/// Has had its quick request: the next slow one is raced.
async fn warm(run: Run) -> Gateway {
    let gateway = run.start().await;
    quick(&gateway).await;
    gateway
}

async fn quick(gateway: &Gateway) {
    let answer = gateway.chat("warm").send().await.unwrap();
    assert!(answer.text().await.unwrap().contains("warm"), "{}", gateway.log());
}

/// The record of the raced request, the second one, with `[target, model, result, reason]` of each attempt.
async fn raced(gateway: &Gateway) -> (Value, Vec<String>) {
    let mut records = gateway.audit("llm.request.completed", 2).await;
    assert_eq!(records.len(), 2, "{records:#?}");
    let record = records.remove(1);
    let attempts = attempts(&record);
    (record, attempts)
}

fn attempts(record: &Value) -> Vec<String> {
    let attempts = record["attempts"].as_array().unwrap().iter();
    let word = |attempt: &Value, key: &str| attempt[key].as_str().unwrap_or("-").to_owned();
    attempts.map(|a| format!("{} {} {}", word(a, "target"), word(a, "model"), word(a, "reason"))).collect()
}

/// Polls until the gateway's log says so.
async fn until_logged(gateway: &Gateway, line: &str) {
    let began = Instant::now();
    while !gateway.log().contains(line) {
        assert!(began.elapsed() < Duration::from_secs(10), "no {line:?}:\n{}", gateway.log());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Polls until a target stands so.
async fn until_state(gateway: &Gateway, target: usize, state: &str) {
    let began = Instant::now();
    loop {
        let health: Value = gateway.get("/health").await.json().await.unwrap();
        if health["targets"][target]["state"] == state {
            return;
        }
        assert!(began.elapsed() < Duration::from_secs(10), "{health:#}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Polls until no target has a request under way.
async fn until_idle(gateway: &Gateway) {
    let began = Instant::now();
    loop {
        let health: Value = gateway.get("/health").await.json().await.unwrap();
        let busy = health["targets"].as_array().unwrap().iter().any(|target| target["in_flight"] != 0);
        if !busy && health["requests"]["in_flight"] == 0 {
            return;
        }
        assert!(began.elapsed() < Duration::from_secs(10), "{health:#}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn text(stream: &str) -> String {
    let events = stream.split("\n\n").filter_map(|e| e.strip_prefix("data: ")).filter(|e| *e != "[DONE]");
    let chunks = events.map(|e| serde_json::from_str::<Value>(e).unwrap_or_else(|e| panic!("{e}: {stream}")));
    chunks.filter_map(|c| c["choices"][0]["delta"]["content"].as_str().map(String::from)).collect()
}

#[tokio::test]
async fn a_slow_target_is_overtaken_plain_or_streamed_over_either_protocol_with_any_body() {
    let mut first = Origin::start().await;
    for _ in 0..6 {
        first = first.chat("warm").then().hangs();
    }
    let second = Origin::start().await.chats_as_asked(&["write to jane@exam", "ple.com", " now"]);
    let gateway = run(&[first.url(), second.url()]).start().await;
    let one = reqwest::Client::builder().no_proxy().http1_only().build().unwrap();
    let two = reqwest::Client::builder().no_proxy().http2_prior_knowledge().build().unwrap();
    let long = format!("{} bob@example.com", "words and words. ".repeat(12_000));
    let cases = [
        (&one, false, "hi"),
        (&one, true, "hi"),
        (&two, false, "hi"),
        (&two, true, "hi"),
        (&one, true, &long),
        (&two, false, &long),
    ];
    for (turn, (client, streamed, ask)) in cases.into_iter().enumerate() {
        quick(&gateway).await;
        let body = json!({"model": "m0", "stream": streamed, "messages": [{"role": "user", "content": ask}]});
        let request = client.post(format!("{}/v1/chat/completions", gateway.url)).json(&body);
        let answer = request.send().await.unwrap_or_else(|e| panic!("turn {turn}: {e}\n{}", gateway.log()));
        let header = |name: &str| answer.headers()[name].to_str().unwrap().to_owned();
        assert_eq!(answer.status(), 200, "turn {turn}: {}", gateway.log());
        assert_eq!((header("x-keeptrusts-target"), header("x-keeptrusts-attempts")), ("t1".into(), "2".into()), "turn {turn}");
        assert_eq!(header("x-keeptrusts-failed-attempts"), "t0=superseded");
        let said = answer.text().await.unwrap();
        let said = if streamed { text(&said) } else { said };
        assert!(said.contains("write to [EMAIL_REDACTED] now") && !said.contains("jane"), "turn {turn}: {said}");
        assert_eq!(first.wait_for_abandonment().await, 0);
        let got = second.requests();
        assert_eq!(got.len(), turn + 1);
        let sent = got[turn].json();
        assert_eq!(
            (&sent["model"], &sent["messages"][0]["content"]),
            (&json!("m1"), &json!(ask.replace("bob@example.com", "[EMAIL_REDACTED]")))
        );
        assert_eq!(got[turn].header("authorization"), Some("Bearer key-1"));
        let record = &gateway.audit("llm.request.completed", turn * 2 + 2).await[turn * 2 + 1];
        assert_eq!(attempts(record), ["t0 m0 superseded", "t1 m1 -"], "{record:#}");
        assert_eq!((&record["outcome"], &record["target"], &record["fallback"]), (&json!("success"), &json!("t1"), &json!(true)));
    }
    assert_eq!(gateway.metric("keeptrusts_gateway_hedges_total", &["won"]).await, 6.0);
    assert_eq!(gateway.metric("keeptrusts_gateway_hedges_total", &["started"]).await, 6.0);
    until_idle(&gateway).await;
}

#[tokio::test]
async fn a_race_between_targets_behind_tls_is_over_http2_and_http1() {
    let first = Origin::start_tls().await.chat("warm").then().hangs();
    let second = Origin::start_tls().await.chats_as_asked(&["second"]);
    let gateway = warm(run(&[first.url(), second.url()]).trusts(&first).trusts(&second)).await;
    let answer = gateway.chat_stream("hi").send().await.unwrap();
    assert_eq!(text(&answer.text().await.unwrap()), "second");
    assert_eq!(first.wait_for_abandonment().await, 0);
    assert!(first.requests()[1].http2 && !second.only_request().http2);
    assert_eq!(raced(&gateway).await.1, ["t0 m0 superseded", "t1 m1 -"]);
}

#[tokio::test]
async fn a_target_that_does_not_even_connect_is_overtaken_at_once() {
    // Its queue of connections is full, and nobody takes one out: the next SYN is not answered.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut filling = Vec::new();
    while let Ok(Ok(stream)) = tokio::time::timeout(Duration::from_millis(200), tokio::net::TcpStream::connect(address)).await {
        filling.push(stream);
    }
    let second = Origin::start().await.chat("warm").then().chat("second");
    let gateway = warm(run(&[format!("http://{address}/v1"), second.url()]).of_target(0, "connect_timeout_ms: 1000")).await;
    assert_overtaken(&gateway).await;
}

#[tokio::test]
async fn a_target_that_never_ends_its_tls_handshake_is_overtaken_at_once() {
    // Connections are accepted by the kernel, and nobody says a word.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let second = Origin::start_tls().await.chat("warm").then().chat("second");
    let url = format!("https://localhost:{}/v1", listener.local_addr().unwrap().port());
    let run = run(&[url, second.url()]).of_target(0, "connect_timeout_ms: 1000").trusts(&second);
    let gateway = warm(run).await;
    assert_overtaken(&gateway).await;
}

/// The first request paid the connect timeout, for it had no budget; the second is answered by the rival.
async fn assert_overtaken(gateway: &Gateway) {
    let answer = gateway.chat("hi").send().await.unwrap();
    assert_eq!(answer.headers()["x-keeptrusts-failed-attempts"], "t0=superseded");
    assert!(answer.text().await.unwrap().contains("second"));
    let records = gateway.audit("llm.request.completed", 2).await;
    assert_eq!(attempts(&records[0]), ["t0 m0 timeout", "t1 m1 -"], "over the purse");
    assert_eq!(attempts(&records[1]), ["t0 m0 superseded", "t1 m1 -"]);
}

#[tokio::test]
async fn connections_made_under_the_threat_of_a_race_are_kept() {
    let first = Origin::start().await.chat("first");
    let second = Origin::start().await.chat("second");
    let hedge = HEDGE.replace("after_ms: 30", "after_ms: 20000");
    let gateway = Run::chain(CHAIN, &[first.url(), second.url()]).with(&hedge).start().await;
    for _ in 0..5 {
        assert!(gateway.chat("hi").send().await.unwrap().text().await.unwrap().contains("first"));
    }
    assert_eq!((first.connections(), second.requests().len()), (1, 0));
}

#[tokio::test]
async fn a_first_target_that_begins_after_all_answers_and_the_rival_is_given_up() {
    let first = Origin::start().await.chat("warm").then().streams_text(&["first"]).gated();
    let second = Origin::start().await.hangs();
    let gateway = warm(run(&[first.url(), second.url()])).await;
    let asking = gateway.chat_stream("hi").send();
    let (answer, ()) = tokio::join!(asking, async {
        second.wait_for_requests(1).await;
        for _ in 0..4 {
            first.next_event().await;
        }
    });
    assert_eq!(text(&answer.unwrap().text().await.unwrap()), "first");
    assert_eq!(second.wait_for_abandonment().await, 0);
    let (record, attempts) = raced(&gateway).await;
    assert_eq!(attempts, ["t0 m0 -", "t1 m1 superseded"], "{record:#}");
    assert_eq!((&record["target"], &record["fallback"]), (&json!("t0"), &Value::Null));
    assert_eq!(gateway.metric("keeptrusts_gateway_hedges_total", &["superseded"]).await, 1.0);
    until_idle(&gateway).await;
}

#[tokio::test]
async fn a_rival_that_fails_changes_nothing_and_is_not_asked_again() {
    let refused = "http://127.0.0.1:9/v1".to_owned();
    let garbage = Origin::start().await.raw("SSH-2.0-OpenSSH_9.6\r\n");
    let error_event = Origin::start().await.streams(&["{\"error\":{\"message\":\"m\"},\"status_code\":503}"], Duration::ZERO);
    let server_error = Origin::start().await.replies(500);
    let cases = [
        (refused, "connect_error", None),
        (garbage.url(), "unreadable_answer", Some(&garbage)),
        (error_event.url(), "server_error", Some(&error_event)),
        (server_error.url(), "server_error", Some(&server_error)),
    ];
    for (url, reason, rival) in cases {
        for first_fails in [false, true] {
            let asked = rival.map_or(0, |rival| rival.requests().len());
            let first = Origin::start().await.chat("warm").then();
            let first = if first_fails { first.replies(500).held() } else { first.chat("first").held() };
            let gateway = warm(run(&[first.url(), url.clone()])).await;
            let (answer, ()) = tokio::join!(gateway.chat_stream("hi").send(), async {
                until_logged(&gateway, "asked beside another one").await;
                first.next_event().await;
            });
            let answer = answer.unwrap();
            assert_eq!(answer.status(), if first_fails { 502 } else { 200 }, "{reason}: {}", gateway.log());
            let said = answer.text().await.unwrap();
            let (_, mut attempts) = raced(&gateway).await;
            attempts.sort();
            if first_fails {
                assert!(said.contains("t0 (server_error)") && said.contains(&format!("t1 ({reason})")), "{said}");
                assert_eq!(attempts, ["t0 m0 server_error".to_owned(), format!("t1 m1 {reason}")]);
            } else {
                assert!(said.contains("first"), "{said}");
                assert_eq!(attempts, ["t0 m0 -".to_owned(), format!("t1 m1 {reason}")]);
            }
            if let Some(rival) = rival {
                assert_eq!(rival.requests().len(), asked + 1, "{reason}");
            }
        }
    }
}

#[tokio::test]
async fn a_first_target_that_fails_during_the_race_leaves_the_answer_to_the_rival() {
    for retries in [0, 1] {
        let first = Origin::start().await.chat("warm").then().replies(500).held();
        let second = Origin::start().await.chat("second").held();
        let gateway = warm(run(&[first.url(), second.url()]).retries(retries)).await;
        let (answer, ()) = tokio::join!(gateway.chat("hi").send(), async {
            second.wait_for_requests(1).await;
            first.next_event().await;
            until_logged(&gateway, "target t0: server_error").await;
            second.next_event().await;
        });
        assert!(answer.unwrap().text().await.unwrap().contains("second"), "{}", gateway.log());
        assert_eq!((first.requests().len(), second.requests().len()), (2, 1));
        assert_eq!(raced(&gateway).await.1, ["t0 m0 server_error", "t1 m1 -"]);
        until_idle(&gateway).await;
    }
}

#[tokio::test]
async fn when_both_fail_the_caller_is_told_of_both() {
    let first = Origin::start().await.chat("warm").then().replies(500).held();
    let second = Origin::start().await.replies(503).held();
    let gateway = warm(run(&[first.url(), second.url()])).await;
    let (answer, ()) = tokio::join!(gateway.chat("hi").send(), async {
        second.wait_for_requests(1).await;
        first.next_event().await;
        until_logged(&gateway, "target t0: server_error").await;
        second.next_event().await;
    });
    let answer = answer.unwrap();
    assert_eq!(answer.status(), 502);
    let body: Value = answer.json().await.unwrap();
    let message = body["message"].as_str().unwrap();
    assert!(message.contains("t0 (server_error), t1 (server_error)"), "{message}");
    assert_eq!(raced(&gateway).await.1, ["t0 m0 server_error", "t1 m1 server_error"]);
    assert_eq!(second.requests().len(), 1);
}

#[tokio::test]
async fn a_caller_that_leaves_during_a_race_leaves_nobody_at_work() {
    for first_fails in [false, true] {
        let first = Origin::start().await.chat("warm").then();
        let first = if first_fails { first.replies(500).held() } else { first.hangs() };
        let (second, third) = (Origin::start().await.hangs(), Origin::start().await.chat("third"));
        let gateway = warm(run(&[first.url(), second.url(), third.url()])).await;
        let mut wire = Wire::open(gateway.address()).await;
        let body = "{\"model\":\"m0\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}";
        wire.send(format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        ))
        .await;
        second.wait_for_requests(1).await;
        if first_fails {
            first.next_event().await;
            until_logged(&gateway, "target t0: server_error").await;
        }
        drop(wire);
        if !first_fails {
            assert_eq!(first.wait_for_abandonment().await, 0);
        }
        assert_eq!(second.wait_for_abandonment().await, 0);
        let (record, attempts) = raced(&gateway).await;
        assert_eq!(record["outcome"], "aborted", "{record:#}");
        assert!(attempts.contains(&"t1 m1 superseded".to_owned()), "{record:#}");
        assert!(third.requests().is_empty(), "never more than one rival");
        until_idle(&gateway).await;
    }
}

#[tokio::test]
async fn races_are_at_most_their_share_of_the_requests() {
    let events = ["{\"choices\":[{\"index\":0,\"delta\":{\"content\":\"slow\"},\"finish_reason\":\"stop\"}]}", "[DONE]"];
    let first = Origin::start().await.streams(&events, Duration::from_millis(300));
    let second = Origin::start().await.streams_text(&["second"]);
    let hedge = "  routing: {hedge: {after_ms: 20, max_ratio: 0.1}}\n";
    let gateway = Run::chain("audit-logger", &[first.url(), second.url()]).with(hedge).start().await;
    let all = (0..40).map(|_| async { gateway.chat_stream("hi").send().await.unwrap().text().await.unwrap() });
    let answers = futures::future::join_all(all).await;
    assert!(answers.iter().all(|answer| ["slow", "second"].contains(&text(answer).as_str())));
    let sent_twice = second.requests().len();
    assert!((1..=4).contains(&sent_twice), "{sent_twice} of 40");
    assert_eq!(gateway.metric("keeptrusts_gateway_hedges_total", &["started"]).await, sent_twice as f64);
    assert_eq!(gateway.metric("keeptrusts_gateway_hedges_total", &["over_budget"]).await, (40 - sent_twice) as f64);
}

#[tokio::test]
async fn a_rival_that_asks_to_be_left_alone_is_parked_and_raced_no_more() {
    let first = Origin::start().await.chat("warm").then().chat("slow").held().then().chat("warm").then().chat("slow").held();
    let second = Origin::start().await.replies(429).with_header("retry-after", "60");
    let gateway = warm(run(&[first.url(), second.url()])).await;
    let (answer, ()) = tokio::join!(gateway.chat("hi").send(), async {
        until_logged(&gateway, "asked beside another one").await;
        first.next_event().await;
    });
    assert!(answer.unwrap().text().await.unwrap().contains("slow"));
    let health: Value = gateway.get("/health").await.json().await.unwrap();
    assert_eq!(health["targets"][1]["state"], "parked", "{health:#}");
    quick(&gateway).await;
    let (answer, ()) = tokio::join!(gateway.chat("hi").send(), async {
        first.wait_for_requests(4).await;
        // Long past the moment of a race: what is shown is that nothing comes.
        tokio::time::sleep(Duration::from_millis(150)).await;
        first.next_event().await;
    });
    assert!(answer.unwrap().text().await.unwrap().contains("slow"));
    assert_eq!(second.requests().len(), 1);
    let records = gateway.audit("llm.request.completed", 4).await;
    assert_eq!(attempts(&records[1]), ["t0 m0 -", "t1 m1 rate_limit"]);
    assert_eq!(attempts(&records[3]), ["t0 m0 -"]);
}

#[tokio::test]
async fn an_open_rival_is_not_raced() {
    let first = Origin::start().await.chat("warm").then().chat("slow").held();
    let second = Origin::start().await.replies(500);
    let hedge = HEDGE.replace("{enabled: false}", "{consecutive_failure_threshold: 1}");
    let gateway = Run::chain(CHAIN, &[first.url(), second.url()]).with(&hedge).start().await;
    let ask = json!({"model": "m1", "messages": [{"role": "user", "content": "hi"}]});
    assert!(gateway.post(&ask).send().await.unwrap().text().await.unwrap().contains("warm"));
    let (answer, ()) = tokio::join!(gateway.chat("hi").send(), async {
        first.wait_for_requests(2).await;
        // Long past the moment of a race: what is shown is that nothing comes.
        tokio::time::sleep(Duration::from_millis(150)).await;
        first.next_event().await;
    });
    assert!(answer.unwrap().text().await.unwrap().contains("slow"));
    assert_eq!((second.requests().len(), raced(&gateway).await.1), (1, vec!["t0 m0 -".to_owned()]));
}

#[tokio::test]
async fn a_rival_on_trial_is_heard_although_nobody_else_may_be_asked() {
    let first = Origin::start().await.chat("warm").then().replies(500).held();
    let second = Origin::start().await.replies(500).then().chat("second").held();
    let hedge = HEDGE.replace("{enabled: false}", "{consecutive_failure_threshold: 1, cooldown_seconds: 1}");
    let gateway = Run::chain(CHAIN, &[first.url(), second.url()]).with(&hedge).start().await;
    let ask = json!({"model": "m1", "messages": [{"role": "user", "content": "hi"}]});
    assert!(gateway.post(&ask).send().await.unwrap().text().await.unwrap().contains("warm"));
    until_state(&gateway, 1, "half_open").await;
    let (answer, ()) = tokio::join!(gateway.chat("hi").send(), async {
        second.wait_for_requests(2).await;
        first.next_event().await;
        until_logged(&gateway, "target t0: server_error").await;
        second.next_event().await;
    });
    assert!(answer.unwrap().text().await.unwrap().contains("second"), "{}", gateway.log());
    assert_eq!(raced(&gateway).await.1, ["t0 m0 server_error", "t1 m1 -"]);
    until_state(&gateway, 1, "healthy").await;
}

#[tokio::test]
async fn a_rival_that_refuses_a_large_request_unread_is_heard() {
    let first = Origin::start().await.chat("warm").then().chat("first").held();
    let second = Origin::start().await.replies(429).with_header("retry-after", "60").answers_without_reading();
    let gateway = warm(run(&[first.url(), second.url()])).await;
    let (answer, ()) = tokio::join!(gateway.chat(&"words and words. ".repeat(1 << 18)).send(), async {
        until_logged(&gateway, "target t1: rate_limit").await;
        first.next_event().await;
    });
    assert!(answer.unwrap().text().await.unwrap().contains("first"));
    assert_eq!(raced(&gateway).await.1, ["t0 m0 -", "t1 m1 rate_limit"]);
}

#[tokio::test]
async fn the_loser_is_billed_the_prompt_it_read() {
    let first = Origin::start().await.chat("warm").then().hangs();
    let second = Origin::start().await.chat("second");
    let price = |input| format!("pricing: {{input_price_per_million: {input}, output_price_per_million: 1}}");
    let run = run(&[first.url(), second.url()]).of_target(0, &price(10)).of_target(1, &price(1));
    let gateway = warm(run).await;
    assert_eq!(gateway.chat("hi").send().await.unwrap().status(), 200);
    let (record, _) = raced(&gateway).await;
    // Three tokens in and two out, and the three once more for the one that was given up.
    let cost = record["cost_usd"].as_f64().unwrap();
    assert!((cost - (3.0 + 2.0 + 30.0) / 1e6).abs() < 1e-9, "{record:#}");
}
