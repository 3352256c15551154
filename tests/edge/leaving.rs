//! Callers that go away: early, which saves the provider's tokens, or right after the end, which is no failure.

use crate::support::{Origin, Run};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const CHAIN: &str = "pii-detector, audit-logger";
const ASK: &str = "{\"model\":\"m0\",\"stream\":true,\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}";

async fn ask(address: &str) -> TcpStream {
    let mut socket = TcpStream::connect(address).await.unwrap();
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{ASK}",
        ASK.len()
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    socket
}

async fn read_until(socket: &mut TcpStream, end: &str) -> String {
    let mut bytes = Vec::new();
    while !String::from_utf8_lossy(&bytes).contains(end) {
        let n = tokio::time::timeout(Duration::from_secs(5), socket.read_buf(&mut bytes)).await.expect("in time").unwrap();
        assert!(n > 0, "closed after {}", String::from_utf8_lossy(&bytes));
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[tokio::test]
async fn a_caller_that_leaves_mid_stream_cancels_the_upstream_and_the_record_says_so() {
    for chain in [CHAIN, "audit-logger"] {
        let origin = Origin::start().await.streams_text(&["a ", "b ", "c "]).gated();
        let gateway = Run::chain(chain, &[origin.url()]).start().await;
        let mut socket = ask(gateway.address()).await;
        origin.next_event().await;
        origin.next_event().await;
        read_until(&mut socket, "\"a \"").await;
        drop(socket);
        let left = Instant::now();
        assert_eq!(origin.wait_for_abandonment().await, 2);
        assert!(left.elapsed() < Duration::from_secs(2));
        let record = gateway.completed().await;
        assert_eq!(record["outcome"], "aborted", "{record:#}");
        assert_eq!(gateway.audit_now().iter().filter(|r| r["type"] == "llm.request.received").count(), 1);
    }
}

#[tokio::test]
async fn a_caller_that_leaves_before_the_first_byte_cancels_the_upstream_too() {
    let origin = Origin::start().await.hangs();
    let gateway = Run::chain(CHAIN, &[origin.url()]).start().await;
    let socket = ask(gateway.address()).await;
    origin.wait_for_requests(1).await;
    drop(socket);
    let left = Instant::now();
    origin.wait_for_close().await;
    assert!(left.elapsed() < Duration::from_millis(1500));
    assert_eq!(gateway.completed().await["outcome"], "aborted");
}

#[tokio::test]
async fn a_caller_that_closes_right_after_done_is_a_success_and_the_upstream_connection_is_kept() {
    let origin = Origin::start().await.streams(
        &[
            "{\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"}}]}",
            "{\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}",
            "[DONE]",
            "late",
        ],
        Duration::from_millis(30),
    );
    let gateway = Run::chain(CHAIN, &[origin.url()]).start().await;
    for turn in 0..6 {
        let mut socket = ask(gateway.address()).await;
        let got = read_until(&mut socket, "[DONE]\n\n").await;
        assert_eq!(got.matches("[DONE]").count(), 1);
        drop(socket);
        // The record is written when the upstream has ended its body.
        assert_eq!(gateway.audit("llm.request.completed", turn + 1).await[turn]["outcome"], "success");
    }
    assert_eq!(origin.connections(), 1);
}

#[tokio::test]
async fn the_answer_ends_with_done_even_while_the_upstream_does_not() {
    let origin = Origin::start().await.streams_text(&["a"]).stalls_after(4);
    let gateway = Run::chain(CHAIN, &[origin.url()]).start().await;
    let began = Instant::now();
    let body = gateway.chat_stream("hi").send().await.unwrap().text().await.unwrap();
    assert!(body.ends_with("data: [DONE]\n\n") && began.elapsed() < Duration::from_millis(1500), "{:?}", began.elapsed());
    let record = gateway.completed().await;
    assert_eq!(record["outcome"], "success", "{record:#}");
    assert_eq!(record["attempts"][0]["status"], 200, "{record:#}");
    assert_eq!(gateway.chat_stream("again").send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_hundred_streams_at_once_are_a_hundred_whole_streams() {
    let origin = Origin::start().await.streams_text(&["one ", "two ", "mail jane@ex", "ample.com now"]);
    let gateway = Run::chain(CHAIN, &[origin.url()]).start().await;
    let all = (0..100).map(|_| async { gateway.chat_stream("hi").send().await.unwrap().text().await.unwrap() });
    for body in futures::future::join_all(all).await {
        assert!(body.contains("[EMAIL_REDACTED]") && !body.contains("jane") && body.ends_with("data: [DONE]\n\n"), "{body}");
    }
    let records = gateway.audit("llm.request.completed", 100).await;
    assert!(records.len() == 100 && records.iter().all(|r| r["outcome"] == "success"));
}
