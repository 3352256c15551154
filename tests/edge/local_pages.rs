//! What the gateway answers itself, in every state it can be in.

use crate::support::{Origin, Run, Wire};
use serde_json::Value;
use std::time::Duration;

#[tokio::test]
async fn pages_answer_get_and_head_and_refuse_the_rest_on_one_connection() {
    let origin = Origin::start().await.chat("Hello");
    let gateway = Run::chain("audit-logger", &[origin.url()]).start().await;
    let mut wire = Wire::open(gateway.address()).await;
    for path in ["/v1/models", "/v1/models/m0", "/v1/tcp_warming", "/health", "/healthz", "/readyz"] {
        for (method, status) in [("GET", 200), ("HEAD", 200), ("DELETE", 405), ("OPTIONS", 405)] {
            wire.send(format!("{method} {path} HTTP/1.1\r\nHost: x\r\n\r\n")).await;
            let answer = wire.answer_to(method).await.expect("an answer");
            assert_eq!(answer.status, status, "{method} {path}");
            if status == 405 {
                answer.assert_refusal(405, "method_not_allowed");
                assert_eq!(answer.header("allow"), Some("GET, HEAD"));
            }
        }
    }
    for path in
        ["/", "/v1", "/v1/", "/v1/responses", "/v1/chat/completions/", "//v1/chat/completions", "/v1/../v1/chat/completions"]
    {
        wire.send(format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{{}}")).await;
        wire.answer().await.expect(path).assert_refusal(404, "unknown_url");
    }
    let models: Value = gateway.get("/v1/models").await.json().await.unwrap();
    assert_eq!((&models["object"], &models["data"][0]["id"]), (&"list".into(), &"m0".into()));
    assert!(origin.requests().is_empty());
}

#[tokio::test]
async fn a_gateway_without_any_key_says_so_and_takes_nothing() {
    let origin = Origin::start().await.chat("Hello");
    let gateway = Run::chain("audit-logger", &[origin.url()]).env("KT_TEST_KEY_0", "").start().await;
    assert_eq!((gateway.get("/readyz").await.status().as_u16(), gateway.get("/healthz").await.status().as_u16()), (503, 200));
    let health: Value = gateway.get("/health").await.json().await.unwrap();
    assert_eq!((&health["status"], &health["targets"][0]["state"]), (&"unhealthy".into(), &"no_key".into()), "{health:#}");
    let answer = gateway.chat("hi").send().await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.headers().contains_key("retry-after")), (503, true));
    assert_eq!(answer.json::<Value>().await.unwrap()["error"]["code"], "not_ready");
    assert!(origin.requests().is_empty());
}

#[tokio::test]
async fn a_switched_off_gateway_answers_503_to_everything_under_v1() {
    let origin = Origin::start().await.chat("Hello");
    let config = format!(
        "pack: {{name: test, version: 1.0.0, enabled: false}}\npolicies: {{chain: [audit-logger]}}\nproviders:\n  targets:\n    \
         - {{id: a, provider: 'up:chat:m0', base_url: '{}', secret_key_ref: {{env: K}}}}\n",
        origin.url()
    );
    let gateway = Run::config(config).env("K", "key").start().await;
    for path in ["/v1/models", "/v1/models/m0", "/v1/tcp_warming", "/v1/anything", "/readyz"] {
        assert_eq!(gateway.get(path).await.status(), 503, "{path}");
    }
    let mut wire = Wire::open(gateway.address()).await;
    for _ in 0..2 {
        let answer =
            wire.send("POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}").await.answer().await;
        answer.expect("an answer").assert_refusal(503, "not_ready");
    }
    assert!(origin.requests().is_empty());
}

#[tokio::test]
async fn more_requests_than_allowed_are_refused_at_once_and_pages_still_answer() {
    let origin = Origin::start().await.streams(&["1", "[DONE]"], Duration::ZERO).gated().then().chat("Hello");
    let gateway = Run::chain("audit-logger", &[origin.url()]).arg("--max-concurrency").arg("1").start().await;
    let first = tokio::spawn(gateway.chat_stream("hi").send());
    origin.wait_for_requests(1).await;
    let answer = gateway.chat("hi").send().await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.headers().contains_key("retry-after")), (503, true));
    assert_eq!(answer.json::<Value>().await.unwrap()["error"]["code"], "overloaded");
    assert_eq!(gateway.get("/v1/models").await.status(), 200);
    origin.next_event().await;
    origin.next_event().await;
    assert!(first.await.unwrap().unwrap().text().await.unwrap().ends_with("[DONE]\n\n"));
    // The caller has its end before the upstream's is read and the place is free.
    gateway.audit("llm.request.completed", 2).await;
    assert_eq!(gateway.chat("hi").send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_stopping_gateway_says_so_and_still_serves_what_comes() {
    let origin = Origin::start().await.chat("Hello");
    let gateway = Run::chain("audit-logger", &[origin.url()]).start().await;
    assert_eq!(gateway.get("/readyz").await.status(), 200);
    gateway.signal("TERM");
    tokio::time::sleep(Duration::from_millis(150)).await;
    let ready = gateway.get("/readyz").await;
    assert_eq!(ready.status(), 503);
    assert!(ready.text().await.unwrap().contains("draining"));
    assert_eq!(gateway.chat("hi").send().await.unwrap().status(), 200);
    assert_eq!(gateway.ended().await.0, Some(0));
}
