//! Ends, cuts and departures mean the same over HTTP/2 on either side, and connections are kept where they can be.

use crate::support::{Gateway, Origin, Run};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const CHAIN: &str = "pii-detector, audit-logger";

fn h2c() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().http2_prior_knowledge().build().unwrap()
}

async fn ask(client: &reqwest::Client, gateway: &Gateway) -> reqwest::Response {
    let body = serde_json::json!({"model": "m0", "stream": true, "messages": [{"role": "user", "content": "hi"}]});
    client.post(format!("{}/v1/chat/completions", gateway.url)).json(&body).send().await.unwrap()
}

/// An origin behind TLS that speaks HTTP/2, and a gateway that trusts it.
async fn behind_tls(script: impl FnOnce(Origin) -> Origin) -> (Origin, Gateway, tempfile::TempDir) {
    let origin = script(Origin::start_tls().await);
    let dir = tempfile::tempdir().unwrap();
    let ca = dir.path().join("ca.pem");
    std::fs::write(&ca, origin.authority()).unwrap();
    let gateway = Run::chain(CHAIN, &[origin.url()]).env("SSL_CERT_FILE", ca.to_str().unwrap()).start().await;
    (origin, gateway, dir)
}

#[tokio::test]
async fn a_stream_that_is_stopped_ends_properly_over_http2_and_its_connection_lives_on() {
    let origin = Origin::start()
        .await
        .streams_text(&["it is ", "jane.doe@example.com", " ."])
        .then()
        .streams_text(&["it is ", "fine "])
        .truncates_after(3)
        .then()
        .streams_text(&["fine"]);
    let gateway = Run::chain(CHAIN, &[origin.url()]).with("policy: {pii-detector: {action: block}}\n").start().await;
    let client = h2c();
    for code in ["output_blocked", "upstream_error"] {
        let body = ask(&client, &gateway).await.text().await.expect("a proper end");
        assert!(body.contains("it is ") && body.contains(code) && !body.contains("jane") && !body.contains("[DONE]"), "{body}");
    }
    assert!(ask(&client, &gateway).await.text().await.unwrap().ends_with("data: [DONE]\n\n"));
}

#[tokio::test]
async fn an_http2_upstream_that_resets_is_an_error_event_too() {
    let (_origin, gateway, _dir) = behind_tls(|o| o.streams_text(&["one ", "two "]).resets_after(3)).await;
    let body = ask(&gateway.client, &gateway).await.text().await.expect("a proper end");
    assert!(body.contains("two ") && body.matches("\"status_code\":502").count() == 1 && !body.contains("[DONE]"), "{body}");
    assert_eq!(gateway.completed().await["outcome"], "error");
}

#[tokio::test]
async fn a_caller_that_leaves_an_http2_stream_cancels_an_http2_upstream() {
    let (origin, gateway, _dir) = behind_tls(|o| o.streams_text(&["one ", "two "]).gated()).await;
    for client in [h2c(), reqwest::Client::builder().no_proxy().build().unwrap()] {
        let waiting = ask(&client, &gateway);
        let (mut answer, ()) = tokio::join!(waiting, async {
            origin.next_event().await;
            origin.next_event().await;
        });
        answer.chunk().await.unwrap().unwrap();
        drop(answer);
        drop(client);
        let left = Instant::now();
        assert_eq!(origin.wait_for_abandonment().await, 2);
        assert!(left.elapsed() < Duration::from_secs(2));
    }
    assert!(gateway.audit("llm.request.completed", 2).await.iter().all(|r| r["outcome"] == "aborted"));
}

#[tokio::test]
async fn one_connection_of_the_caller_carries_stream_after_stream() {
    let origin = Origin::start().await.streams_text(&["a ", "jane.doe@example.com"]);
    let gateway = Run::chain(CHAIN, &[origin.url()]).start().await;
    let mut socket = tokio::net::TcpStream::connect(gateway.address()).await.unwrap();
    let ask = "{\"model\":\"m0\",\"stream\":true,\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}";
    for _ in 0..5 {
        let head = format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{ask}",
            ask.len()
        );
        socket.write_all(head.as_bytes()).await.unwrap();
        let mut got = Vec::new();
        while !got.ends_with(b"0\r\n\r\n") {
            let read = tokio::time::timeout(Duration::from_secs(5), socket.read_buf(&mut got)).await.expect("in time").unwrap();
            assert!(read > 0, "closed after {}", String::from_utf8_lossy(&got));
        }
        let got = String::from_utf8_lossy(&got);
        assert!(got.contains("[EMAIL_REDACTED]") && got.contains("data: [DONE]\n\n"), "{got}");
    }
    assert_eq!(origin.connections(), 1);
}

#[tokio::test]
async fn an_event_beyond_all_bounds_breaks_the_stream_and_not_the_gateway() {
    let start = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"ok \"}}]}\n\n";
    let piece = vec![b'x'; 1 << 20];
    let mut pieces: Vec<&[u8]> = vec![start.as_bytes(), b"data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\""];
    pieces.resize(22, &piece);
    let origin = Origin::start().await.streams_bytes(&pieces);
    for chain in [CHAIN, "audit-logger"] {
        let gateway = Run::chain(chain, &[origin.url()]).start().await;
        let body = ask(&gateway.client, &gateway).await.text().await.expect("a proper end");
        assert!(body.starts_with(start) && body.len() < 1000 && body.contains("\"status_code\":502"), "{} bytes", body.len());
    }
}

#[tokio::test]
async fn a_target_that_takes_no_stream_options_gets_none() {
    let origin = Origin::start().await.streams_text(&["a"]);
    let gateway = Run::chain(CHAIN, &[origin.url()]).of_target(0, "include_usage: false").start().await;
    ask(&gateway.client, &gateway).await.text().await.unwrap();
    assert!(origin.only_request().json().get("stream_options").is_none());
}

#[tokio::test]
async fn observation_lets_a_blocking_policy_only_watch() {
    let origin = Origin::start().await.streams_text(&["it is ", "jane.doe@exam", "ple.com"]);
    let gateway =
        Run::chain(CHAIN, &[origin.url()]).with("policy: {pii-detector: {action: block}}\n").arg("--observe").start().await;
    let body = ask(&gateway.client, &gateway).await.text().await.unwrap();
    assert!(body.contains("jane.doe@exam") && body.ends_with("data: [DONE]\n\n"), "{body}");
    let record = gateway.completed().await;
    assert_eq!((record["outcome"].as_str(), record["verdict"].as_str()), (Some("success"), Some("block")), "{record:#}");
}
