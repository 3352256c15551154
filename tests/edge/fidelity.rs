//! An answer in which nothing is found leaves as the very bytes that came, however they came.

use crate::support::{Origin, Run};
use std::time::Duration;

const THREE_POLICIES: &str = "prompt-injection, pii-detector, audit-logger";

/// One stream with everything that clients have seen gateways break.
const ODDITIES: &str = concat!(
    "\u{feff}: ping\n",
    "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":null},\"logprobs\":null,\"finish_reason\":null}],\"usage\":null}\n\n",
    ": ping\n\n",
    "data:{\"z\":1e15,\"choices\":[{\"delta\":{\"reasoning\":\"Let me th\"},\"index\":0}],\"a\":0.000073161}\n\n",
    "data: {\"choices\":[{\"delta\":{\"reasoning\":\"ink, caf\\u00e9 \\ud83d\\ude00\"},\"index\":0}]}\r\n\r\n",
    "data: {\"choices\":[{\"delta\":{\"reasoning_content\":\"hmm\"},\"index\":0}]}\n\n",
    ": x\n",
    "data: {\"choices\":[{\"delta\":{\"content\":\"Hel\"},\"index\":0,\"logprobs\":{\"content\":[{\"token\":\"Hel\",\"logprob\":-1E-7,\"bytes\":[72]}]}}]}\n\n",
    "data: {\"choices\":[{\"delta\":{\"content\":\"Bon\"},\"index\":1}]}\n\n",
    "data: {\"choices\":[{\"delta\":{\"content\":\"lo wörld 🦀, 12345678901234567890\"},\"index\":0}]}\n\n",
    "data: {\"choices\":[{\"delta\":{\"content\":\"jour\"},\"index\":1},{\"delta\":{\"refusal\":\"no\"},\"index\":2}]}\n\n",
    "data: {\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"t0\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"\"}}]},\"index\":0}]}\n\n",
    "data: {\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"{\\\"ci\"}},{\"index\":1,\"function\":{\"arguments\":\"{\\\"n\\\":\"}}]},\"index\":0}]}\n\n",
    "data: {\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":1,\"function\":{\"arguments\":\"1.50}\"}},{\"index\":0,\"function\":{\"arguments\":\"ty\\\":\\\"Oslo\\\"}\"}}]},\"index\":0}]}\n\n",
    "data: {\"choices\":[\ndata: {\"delta\":{\"content\":\"two lines\"},\"index\":1}]}\n\n",
    "data: {\"choices\":[{\"delta\":{},\"index\":1,\"finish_reason\":\"length\"}],\"unknown\":{\"deep\":[1,2,{\"x\":null}]}}\n\n",
    "data: {\"choices\":[{\"delta\":{},\"index\":0,\"finish_reason\":\"tool_calls\"}],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2},\"time_info\":{\"queue_time\":0.000073161,\"created\":1.7e9}}\n\n",
    "data: [DONE]\n\n",
);

async fn answer(client: &reqwest::Client, gateway: &crate::support::Gateway) -> Vec<u8> {
    let body = serde_json::json!({"model": "m0", "stream": true, "messages": [{"role": "user", "content": "hi"}]});
    let sent = client.post(format!("{}/v1/chat/completions", gateway.url)).json(&body).send().await.unwrap();
    assert_eq!((sent.status().as_u16(), &sent.headers()["cache-control"]), (200, &"no-cache".parse().unwrap()));
    sent.bytes().await.unwrap().to_vec()
}

fn raw(framing: &str, body: &[u8]) -> Vec<u8> {
    let mut bytes = format!("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n{framing}\r\n").into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

fn chunked(body: &[u8], size: usize) -> Vec<u8> {
    let mut framed = Vec::new();
    for piece in body.chunks(size) {
        framed.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
        framed.extend_from_slice(piece);
        framed.extend_from_slice(b"\r\n");
    }
    framed.extend_from_slice(b"0\r\n\r\n");
    framed
}

#[tokio::test]
async fn a_stream_without_findings_is_identical_for_any_fragmentation_framing_and_client() {
    let body = ODDITIES.as_bytes();
    let closing = raw("connection: close\r\n", body);
    let mut origin = Origin::start().await;
    for size in [1, 2, 3, 7, 64, 100_000] {
        origin = origin.raw(raw("transfer-encoding: chunked\r\n", &chunked(body, size))).then();
    }
    origin = origin.fragmented(&closing, 1).then().fragmented(&closing, 13).then().raw(&closing).then().streams_bytes(&[body]);
    let gateway = Run::chain(THREE_POLICIES, &[origin.url()]).start().await;
    let h2c = reqwest::Client::builder().no_proxy().http2_prior_knowledge().build().unwrap();
    for turn in 0..12 {
        let client = if turn % 2 == 0 { &gateway.client } else { &h2c };
        let got = answer(client, &gateway).await;
        assert_eq!(String::from_utf8_lossy(&got), ODDITIES, "turn {turn}");
    }
    assert_eq!(gateway.audit("llm.request.completed", 12).await.iter().filter(|r| r["outcome"] == "success").count(), 12);
}

#[tokio::test]
async fn a_stream_over_tls_and_http2_is_identical_too() {
    let lines: Vec<&[u8]> = ODDITIES.as_bytes().chunks(11).collect();
    let origin = Origin::start_tls().await.streams_bytes(&lines);
    let dir = tempfile::tempdir().unwrap();
    let ca = dir.path().join("ca.pem");
    std::fs::write(&ca, origin.authority()).unwrap();
    let gateway = Run::chain(THREE_POLICIES, &[origin.url()]).env("SSL_CERT_FILE", ca.to_str().unwrap()).start().await;
    assert_eq!(String::from_utf8_lossy(&answer(&gateway.client, &gateway).await), ODDITIES);
    assert!(origin.only_request().http2);
}

#[tokio::test]
async fn a_whole_answer_without_findings_is_identical() {
    let body = "{\n \"id\":\"x\", \"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"caf\\u00e9 \",\"refusal\":null,\"x\":1E+2},\
                \"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2},\"time_info\":{\"t\":0.000073161}}\n";
    let origin = Origin::start().await.body(body);
    let gateway = Run::chain(THREE_POLICIES, &[origin.url()]).start().await;
    let answer = gateway.chat("hi").send().await.unwrap();
    assert_eq!(answer.headers()["content-length"], body.len().to_string().as_str());
    assert_eq!(answer.text().await.unwrap(), body);
}

#[tokio::test]
async fn what_is_decided_leaves_before_the_next_event_comes() {
    let piece = |text: &str| format!("{{\"choices\":[{{\"index\":0,\"delta\":{{{text}}}}}]}}");
    let events: Vec<String> = [
        "\"role\":\"assistant\",\"content\":\"\"",
        "\"reasoning\":\"I think \"",
        "\"reasoning\":\"so\"",
        "\"content\":\"Well, \"",
        "\"content\":\"that is fine. \"",
        "\"content\":\"\\n\"",
    ]
    .map(piece)
    .to_vec();
    let mut frames: Vec<Vec<u8>> = events.iter().map(|e| format!("data: {e}\n\n").into_bytes()).collect();
    frames.push(b": ping\n".to_vec());
    frames.push(b"data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"last\"}}]}\n\n".to_vec());
    frames.push(b"data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n".to_vec());
    frames.push(b"data: [DONE]\n\n".to_vec());
    let pieces: Vec<&[u8]> = frames.iter().map(Vec::as_slice).collect();
    let origin = Origin::start().await.streams_bytes(&pieces).gated();
    let gateway = Run::chain(THREE_POLICIES, &[origin.url()]).start().await;
    let request = gateway.chat_stream("hi");
    let waiting = tokio::spawn(request.send());
    let (mut seen, mut sent, mut response) = (0, 0, None);
    let mut waiting = Some(waiting);
    // Held: the last word of the reasoning until the content begins, and the last word of all until the finish.
    let held = [2, 7];
    for (n, frame) in frames.iter().enumerate() {
        origin.next_event().await;
        sent += frame.len();
        if held.contains(&n) {
            continue;
        }
        if let Some(waiting) = waiting.take() {
            response = Some(waiting.await.unwrap().unwrap());
        }
        let response = response.as_mut().unwrap();
        while seen < sent {
            let next = tokio::time::timeout(Duration::from_secs(2), response.chunk()).await;
            let next = next.unwrap_or_else(|_| panic!("event {n} did not leave before event {}", n + 1));
            seen += next.unwrap().expect("more").len();
        }
    }
    assert!(response.unwrap().chunk().await.unwrap().is_none());
}
