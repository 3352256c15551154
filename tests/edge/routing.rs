//! Which target is asked, what it is told of the caller, and what the caller is told when it fails.

use crate::support::{Gateway, Origin, Run};
use serde_json::{Value, json};

#[tokio::test]
async fn a_model_or_alias_chooses_the_target_and_each_target_gets_its_own_model_and_key() {
    let (large, small) = (Origin::start().await.chat("large"), Origin::start().await.replies(429));
    let config = format!(
        "pack: {{name: test, version: 1.0.0, enabled: true}}\npolicies:\n  chain: [audit-logger]\nproviders:\n  targets:\n    \
         - {{id: large, provider: 'up:chat:big', base_url: '{}', secret_key_ref: {{env: K0}}, models: [{{model_id: big-2, aliases: [bb]}}]}}\n    \
         - {{id: small, provider: 'up:chat:org/small@1', base_url: '{}', secret_key_ref: {{env: K1}}, api_key_header: x-api-key, \
         api_key_prefix: '', headers: {{x-extra: e}}}}\n",
        large.url(),
        small.url(),
    );
    let gateway = Run::config(config).env("K0", "key-0").env("K1", "key-1").start().await;
    for (asked, served) in [("big", "big"), ("big-2", "big-2"), ("bb", "big-2"), ("unknown", "big")] {
        let answer = ask(&gateway, asked).await;
        assert_eq!(answer.headers()["x-keeptrusts-model"], served);
        assert_eq!(answer.headers()["x-keeptrusts-attempts"], "1");
        assert_eq!(large.requests().last().unwrap().json()["model"], served);
    }
    assert!(small.requests().is_empty());
    let answer = ask(&gateway, "org/small@1").await;
    assert_eq!(
        (&answer.headers()["x-keeptrusts-target"], &answer.headers()["x-keeptrusts-attempts"]),
        (&"large".parse().unwrap(), &"3".parse().unwrap())
    );
    assert_eq!(answer.headers()["x-keeptrusts-failed-attempts"], "small=rate_limit, small=rate_limit");
    let (first, second) = (small.requests().remove(1), large.requests().pop().unwrap());
    assert_eq!((&first.json()["model"], &second.json()["model"]), (&json!("org/small@1"), &json!("big")));
    assert_eq!(
        (first.header("x-api-key"), first.header("x-extra"), first.header("authorization")),
        (Some("key-1"), Some("e"), None)
    );
    assert_eq!((second.header("authorization"), second.header("x-extra")), (Some("Bearer key-0"), None));
    for path in ["/v1/models/org/small@1", "/v1/models/org%2Fsmall%401"] {
        assert_eq!(gateway.get(path).await.json::<Value>().await.unwrap()["id"], "org/small@1");
    }
    let unknown = gateway.get("/v1/models/nothing").await;
    assert_eq!(unknown.status(), 404);
    let message = unknown.json::<Value>().await.unwrap()["error"]["message"].to_string();
    assert!(message.contains("nothing") && message.contains("org/small@1") && message.contains("bb"), "{message}");
}

#[tokio::test]
async fn nothing_of_the_callers_own_reaches_the_provider_and_nothing_of_the_providers_edge_the_caller() {
    let origin = Origin::start().await.chat("Hello");
    let origin =
        origin.with_header("x-keeptrusts-verdict", "evil").with_header("set-cookie", "a=b").with_header("x-ratelimit-limit", "9");
    let origin = origin.with_header("connection", "x-hop").with_header("x-hop", "1").with_header("x-request-id", "theirs");
    let gateway = Run::chain("audit-logger", &[origin.url()]).start().await;
    let request =
        gateway.chat("hi").header("authorization", "Bearer CALLER").header("cookie", "CALLER").header("x-api-key", "CALLER");
    let request =
        request.header("x-custom", "CALLER").header("x-forwarded-for", "CALLER").header("proxy-authorization", "CALLER");
    let request = request.header("te", "trailers").header("x-keeptrusts-target", "CALLER").header("x-request-id", "my-id");
    let answer = request.header("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01").send().await.unwrap();
    let got = origin.only_request();
    let allowed = [
        "host",
        "content-type",
        "content-length",
        "accept",
        "accept-encoding",
        "user-agent",
        "x-request-id",
        "traceparent",
        "authorization",
    ];
    let names: Vec<String> = got.headers.iter().map(|(name, _)| name.to_ascii_lowercase()).collect();
    assert!(names.iter().all(|name| allowed.contains(&name.as_str())), "{names:?}");
    assert!(!format!("{got:?}").contains("CALLER"));
    assert_eq!((got.header("authorization"), got.header("x-request-id")), (Some("Bearer key-0"), Some("my-id")));
    let trace = got.header("traceparent").unwrap();
    assert!(trace.starts_with("00-0af7651916cd43dd8448eb211c80319c-") && !trace.contains("b7ad6b7169203331"), "{trace}");
    let header = |name: &str| answer.headers().get(name).map(|v| v.to_str().unwrap());
    assert_eq!((header("x-request-id"), header("x-keeptrusts-verdict")), (Some("my-id"), Some("allow")));
    assert_eq!((header("x-ratelimit-limit"), header("set-cookie"), header("x-hop")), (Some("9"), None, None));
}

#[tokio::test]
async fn a_providers_own_error_is_kept_and_completed_and_never_quotes_the_key() {
    let long = |status: &str, rest: &str| format!("HTTP/1.1 {status} Scripted\r\n{rest}");
    let flat = r#"{"message":"no key-0 here","type":"t","param":"p","code":"c"}"#;
    let cases = [
        (
            long("400", &format!("content-type: application/json\r\ncontent-length: {}\r\n\r\n{flat}", flat.len())),
            400,
            "no *** here",
            "c",
        ),
        (long("422", "content-length: 43\r\n\r\n{\"error\":{\"message\":\"no\",\"type\":\"t\",\"x\":1}}"), 422, "no", "t"),
        (
            long("500", "content-type: text/html\r\ncontent-length: 6\r\n\r\n<html>"),
            500,
            "the provider answered 500 without a readable reason",
            "upstream_error",
        ),
        (
            long("503", "retry-after: 7\r\ncontent-length: 0\r\n\r\n"),
            503,
            "the provider answered 503 without a body",
            "upstream_error",
        ),
        (
            long("429", "retry-after: 7\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"),
            429,
            "the provider answered 429 without a readable reason",
            "upstream_error",
        ),
    ];
    for (bytes, status, message, code) in cases {
        let origin = Origin::start().await.raw(&bytes);
        let gateway = Run::chain("pii-detector, audit-logger", &[origin.url()]).start().await;
        let answer = gateway.chat("hi").send().await.unwrap();
        assert_eq!(
            (answer.status().as_u16(), &answer.headers()["content-type"]),
            (status, &"application/json".parse().unwrap()),
            "{bytes}"
        );
        if bytes.contains("retry-after") {
            assert_eq!(answer.headers()["retry-after"], "7");
        }
        let body: Value = answer.json().await.unwrap();
        assert_eq!((body["message"].as_str(), body["code"].as_str()), (Some(message), Some(code)), "{bytes} {body:#}");
        assert_eq!((&body["error"]["message"], &body["status_code"]), (&body["message"], &json!(status)));
    }
}

#[tokio::test]
async fn the_callers_own_mistakes_and_untriggered_failures_stay_with_the_first_target() {
    for (status, triggers) in
        [(400, ""), (422, ""), (401, ""), (429, "fallback: {triggers: [timeout]}"), (503, "fallback: {enabled: false}")]
    {
        let (first, second) = (Origin::start().await.replies(status), Origin::start().await.chat("second"));
        let gateway = Run::chain("audit-logger", &[first.url(), second.url()]).with(&format!("  {triggers}\n")).start().await;
        let answer = gateway.chat("hi").send().await.unwrap();
        assert_eq!(answer.status(), status, "{triggers}");
        assert_eq!(answer.json::<Value>().await.unwrap()["error"]["message"], format!("scripted {status}"));
        assert!(second.requests().is_empty());
    }
}

#[tokio::test]
async fn when_every_target_fails_the_caller_learns_why() {
    let (moved, hung) = (Origin::start().await.replies(302).with_header("location", "/elsewhere"), Origin::start().await.hangs());
    let switching = Origin::start().await.raw("HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n");
    let dead = "http://127.0.0.1:9/v1".to_owned();
    let cases = [
        (
            vec![dead, moved.url(), switching.url()],
            502,
            "upstream_error",
            "t0 (connect_error), t1 (unreadable_answer), t2 (unreadable_answer)",
        ),
        (vec![hung.url()], 504, "upstream_timeout", "t0 (timeout)"),
    ];
    for (urls, status, code, reasons) in cases {
        let gateway = Run::chain("pii-detector, audit-logger", &urls).start().await;
        let answer = gateway.chat("hi").send().await.unwrap();
        assert_eq!(answer.status(), status);
        assert_eq!(answer.headers()["x-keeptrusts-attempts"], urls.len().to_string());
        let body: Value = answer.json().await.unwrap();
        assert_eq!(body["error"]["code"], code, "{body:#}");
        assert!(body["message"].as_str().unwrap().contains(reasons), "{body:#}");
        assert!(!body.to_string().contains("key-") && !body.to_string().contains("127.0.0.1"), "{body:#}");
        let record = gateway.completed().await;
        assert_eq!((record["outcome"].as_str(), record["attempts"].as_array().map(Vec::len)), (Some("error"), Some(urls.len())));
    }
    assert_eq!(moved.requests().len(), 1);
}

async fn ask(gateway: &Gateway, model: &str) -> reqwest::Response {
    let body = json!({"model": model, "messages": [{"role": "user", "content": "hi"}]});
    let answer = gateway.post(&body).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    answer
}
