//! Every fault does what its name says.

use super::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[tokio::test]
async fn error_statuses_come_in_the_manners_of_the_model() {
    let simulator = Running::start();
    let limited =
        simulator.post("/v1/chat/completions", ask("sim-429", "Hello"), &[("x-sim-retry-after", "7")]).await.expect("an answer");
    assert_eq!(limited.status(), 429);
    assert_eq!(limited.headers()["retry-after"], "7");
    assert_eq!(json_of(limited).await["code"], "request_quota_exceeded");
    let nested =
        simulator.post("/v1/chat/completions", ask("gpt-4o", "Hello"), &[("x-sim-fault", "500")]).await.expect("an answer");
    assert_eq!(nested.status(), 500);
    assert_eq!(json_of(nested).await["error"]["type"], "server_error");
    let unknown =
        simulator.post("/v1/chat/completions", ask("gpt-4o", "Hello"), &[("x-sim-fault", "nonsense")]).await.expect("an answer");
    assert_eq!(unknown.status(), 400);
}

#[tokio::test]
async fn a_reset_and_a_truncation_break_the_stream_after_the_tokens_asked_for() {
    let simulator = Running::start();
    for model in ["sim-reset", "sim-truncated"] {
        let headers = [("x-sim-after", "3")];
        let response = simulator.post("/v1/chat/completions", streamed(model, "Hello"), &headers).await.expect("a head");
        let (text, broke) = read_until_broken(response).await;
        assert!(broke, "{model}");
        assert_eq!(chunks(&text).len(), 1 + 3, "{model}: {text}");
    }
    for model in ["sim-close", "sim-reset", "sim-truncated"] {
        let outcome = async { simulator.post("/v1/chat/completions", ask(model, "Hello"), &[]).await?.text().await }.await;
        assert!(outcome.is_err(), "{model}");
    }
}

#[tokio::test]
async fn streams_that_end_wrongly_but_cleanly_say_what_is_missing() {
    let simulator = Running::start();
    for (model, has_finish, has_done, is_json, has_error) in [
        ("sim-no-done", true, false, true, false),
        ("sim-no-finish", false, false, true, false),
        ("sim-malformed", true, true, false, false),
        ("sim-error-event", false, false, true, true),
    ] {
        let text = simulator.chat(streamed(model, "Hello")).await.text().await.expect("a clean end");
        let data = events(&text);
        assert_eq!(text.contains("finish_reason\":\"stop"), has_finish, "{model}");
        assert_eq!(data.contains(&"[DONE]"), has_done, "{model}");
        assert_eq!(
            data.iter().filter(|data| **data != "[DONE]").all(|data| serde_json::from_str::<Value>(data).is_ok()),
            is_json,
            "{model}"
        );
        assert_eq!(text.contains("\"error\":{"), has_error, "{model}");
    }
}

#[tokio::test]
async fn a_stalled_stream_that_is_given_up_counts_as_abandoned() {
    let simulator = Running::start();
    let mut response = simulator.chat(streamed("sim-stall", "Hello")).await;
    assert!(response.chunk().await.expect("the first tokens").is_some());
    drop(response);
    loop {
        if json_of(simulator.get("/sim/counts").await).await["abandoned"] == 1 {
            break;
        }
    }
}

#[tokio::test]
async fn a_flaky_model_fails_every_nth_time() {
    let simulator = Running::start();
    let mut statuses = Vec::new();
    for _ in 0..4 {
        statuses.push(simulator.chat(ask("sim-flaky-2", "Hello")).await.status().as_u16());
    }
    assert_eq!(statuses, [200, 503, 200, 503]);
}

#[tokio::test]
async fn a_reset_is_a_reset_and_a_truncation_an_orderly_close() {
    let simulator = Running::start();
    for (model, expected) in [("sim-reset", Some(io::ErrorKind::ConnectionReset)), ("sim-truncated", None), ("sim-close", None)] {
        let body = streamed(model, "Hello").to_string();
        let head = format!("POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n", body.len());
        let mut stream = tokio::net::TcpStream::connect(simulator.address).await.expect("a connection");
        stream.write_all((head + &body).as_bytes()).await.expect("the request");
        let mut answer = Vec::new();
        assert_eq!(stream.read_to_end(&mut answer).await.err().map(|error| error.kind()), expected, "{model}");
        assert!(!answer.ends_with(b"0\r\n\r\n"), "{model}");
    }
}
