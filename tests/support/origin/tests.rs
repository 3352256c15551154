//! The origin keeps its promises, so that a failing journey is the gateway's failure.

use super::*;
use reqwest::{Certificate, Client, Response};

async fn post(origin: &Origin, client: &Client) -> reqwest::Result<Response> {
    client.post(format!("{}/chat/completions", origin.url())).header("x-Mixed", "a: b").body("{\"n\":1}").send().await
}

async fn text_until_broken(mut response: Response) -> (String, bool) {
    let mut text = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(part)) => text.extend_from_slice(&part),
            Ok(None) => return (String::from_utf8_lossy(&text).into_owned(), false),
            Err(_) => return (String::from_utf8_lossy(&text).into_owned(), true),
        }
    }
}

#[tokio::test]
async fn steps_are_taken_in_order_and_the_last_repeats() {
    let origin = Origin::start().await.replies(429).with_header("retry-after", "1").then().chat("Hello");
    let client = Client::new();
    let first = post(&origin, &client).await.expect("an answer");
    assert_eq!((first.status().as_u16(), first.headers()["retry-after"].as_bytes()), (429, &b"1"[..]));
    first.bytes().await.expect("a body");
    for _ in 0..2 {
        let answer: serde_json::Value = post(&origin, &client).await.expect("an answer").json().await.expect("JSON");
        assert_eq!(answer["choices"][0]["message"]["content"], "Hello");
    }
    assert_eq!((origin.requests().len(), origin.connections()), (3, 1));
    let request = &origin.requests()[2];
    assert_eq!((request.method.as_str(), request.path.as_str()), ("POST", "/v1/chat/completions"));
    assert_eq!((request.json()["n"].as_u64(), request.header("X-MIXED")), (Some(1), Some("a: b")));
}

#[tokio::test]
async fn a_gated_stream_sends_one_event_at_a_time() {
    let origin = Origin::start().await.streams(&["1", "2", "[DONE]"], Duration::ZERO).gated();
    let mut response = post(&origin, &Client::new()).await.expect("a head");
    for expected in ["data: 1\n\n", "data: 2\n\n", "data: [DONE]\n\n"] {
        origin.next_event().await;
        assert_eq!(response.chunk().await.expect("an event").expect("an event"), expected);
    }
    assert!(response.chunk().await.expect("the end").is_none());
}

#[tokio::test]
async fn a_caller_that_leaves_is_noticed_with_what_it_got() {
    let origin = Origin::start().await.streams(&["1", "2", "3"], Duration::ZERO).gated().then().hangs();
    let response = post(&origin, &Client::new()).await.expect("a head");
    origin.next_event().await;
    drop(response);
    assert_eq!(origin.wait_for_abandonment().await, 1);

    let waiting = tokio::spawn({
        let (url, client) = (origin.url(), Client::new());
        async move { client.post(url).body("{}").send().await }
    });
    origin.wait_for_requests(2).await;
    waiting.abort();
    assert_eq!(origin.wait_for_abandonment().await, 0);
}

#[tokio::test]
async fn streams_break_off_where_and_how_they_are_told_to() {
    let events = ["1", "2", "3"];
    let origin = Origin::start().await;
    let origin =
        origin.streams(&events, Duration::ZERO).resets_after(2).then().streams(&events, Duration::ZERO).truncates_after(1);
    let reset = text_until_broken(post(&origin, &Client::new()).await.expect("a head")).await;
    assert!(reset.1 && "data: 1\n\ndata: 2\n\n".starts_with(&reset.0), "{reset:?}");
    let truncated = text_until_broken(post(&origin, &Client::new()).await.expect("a head")).await;
    assert_eq!(truncated, ("data: 1\n\n".to_owned(), true));
}

#[tokio::test]
async fn raw_bytes_are_sent_as_they_are_however_they_are_cut() {
    let bytes = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-Odd:   yes\r\n\r\nHello";
    let origin = Origin::start().await.raw(bytes).then().fragmented(bytes, 1).then().closes_without_answer();
    for _ in 0..2 {
        let response = post(&origin, &Client::new()).await.expect("an answer");
        assert_eq!(response.headers()["x-odd"], "yes");
        assert_eq!(response.text().await.expect("a body"), "Hello");
    }
    assert!(post(&origin, &Client::new()).await.is_err());
}

#[tokio::test]
async fn an_origin_that_does_not_read_answers_all_the_same() {
    let origin = Origin::start().await.replies(413).answers_without_reading();
    assert_eq!(post(&origin, &Client::new()).await.expect("an answer").status(), 413);
    assert!(origin.only_request().body.is_empty());
}

#[tokio::test]
async fn a_stalled_stream_stays_open_and_an_answer_can_close_its_connection() {
    let origin = Origin::start()
        .await
        .chat("Hello")
        .closes_after()
        .then()
        .streams_bytes(&[b": hi\n", b"da", b"ta: 1\n\n"])
        .stalls_after(2);
    let client = Client::new();
    post(&origin, &client).await.expect("an answer").bytes().await.expect("a body");
    let mut response = post(&origin, &client).await.expect("a head");
    assert_eq!(origin.connections(), 2);
    let mut text = Vec::new();
    while text.len() < 7 {
        text.extend_from_slice(&response.chunk().await.expect("a piece").expect("a piece"));
    }
    assert_eq!(text, b": hi\nda");
    drop(response);
    assert_eq!(origin.wait_for_abandonment().await, 2);
    assert!(origin.url().contains(&origin.address().to_string()));
}

#[tokio::test]
async fn a_gzipped_stream_can_be_read_event_by_event() {
    use flate2::write::GzDecoder;
    use std::io::Write;
    let origin = Origin::start().await.streams(&["1", "2"], Duration::ZERO).gated().gzip();
    let mut response = post(&origin, &Client::new()).await.expect("a head");
    assert_eq!(response.headers()["content-encoding"], "gzip");
    let mut decoder = GzDecoder::new(Vec::new());
    for expected in ["data: 1\n\n", "data: 2\n\n"] {
        origin.next_event().await;
        decoder
            .write_all(&response.chunk().await.expect("an event").expect("an event"))
            .and_then(|()| decoder.flush())
            .expect("gzip");
        assert_eq!(std::mem::take(decoder.get_mut()), expected.as_bytes());
    }
}

#[tokio::test]
async fn behind_tls_the_protocol_is_negotiated_and_the_script_is_the_same() {
    for (origin, version) in [(Origin::start_tls().await, "HTTP/2.0"), (Origin::start_tls_http1().await, "HTTP/1.1")] {
        let origin =
            origin.streams_text(&["Hel", "lo"]).then().streams(&["1", "2"], Duration::ZERO).resets_after(1).then().hangs();
        let authority = Certificate::from_pem(origin.authority().as_bytes()).expect("a certificate");
        let client = Client::builder().add_root_certificate(authority).build().expect("a client");
        let response = post(&origin, &client).await.expect("an answer");
        assert_eq!(format!("{:?}", response.version()), version);
        assert!(response.text().await.expect("a stream").ends_with("data: [DONE]\n\n"));
        assert!(text_until_broken(post(&origin, &client).await.expect("a head")).await.1);
        assert_eq!(origin.requests()[0].http2, version == "HTTP/2.0");
        assert_eq!(origin.requests()[1].text(), "{\"n\":1}");
        let (url, hanging) = (origin.url(), client.clone());
        let waiting = tokio::spawn(async move { hanging.post(url).body("{}").send().await });
        origin.wait_for_requests(3).await;
        waiting.abort();
        assert_eq!(origin.wait_for_abandonment().await, 0);
    }
}
