//! A provider behind TLS: its certificate is verified, its protocol negotiated.

use crate::support::{Origin, Run};
use std::time::Duration;

#[tokio::test]
async fn the_system_authorities_are_trusted_and_the_protocol_is_negotiated() {
    for (origin, http2) in [(Origin::start_tls().await, true), (Origin::start_tls_http1().await, false)] {
        let origin = origin.chat("Hello").then().streams_text(&["Hel", "lo"]);
        let files = tempfile::TempDir::new().unwrap();
        let authority = files.path().join("ca.pem");
        std::fs::write(&authority, origin.authority()).unwrap();
        let run = Run::chain("pii-detector, audit-logger", &[origin.url()]).env("SSL_CERT_FILE", authority.to_str().unwrap());
        let gateway = run.start().await;
        let answer =
            gateway.chat("write to jane@example.com").send().await.unwrap_or_else(|e| panic!("{e:?}\n{}", gateway.log()));
        assert_eq!(answer.status(), 200, "{}", gateway.log());
        let streamed = gateway.chat_stream("hi").send().await.unwrap().text().await.unwrap();
        assert!(streamed.ends_with("data: [DONE]\n\n"), "{streamed}");
        let requests: Vec<_> = origin.requests().into_iter().filter(|r| r.method == "POST").collect();
        assert_eq!(requests.iter().map(|r| r.http2).collect::<Vec<_>>(), [http2, http2]);
        assert_eq!(requests[0].json()["messages"][0]["content"], "write to [EMAIL_REDACTED]");
        assert_eq!(requests[0].header("content-length"), Some(requests[0].body.len().to_string().as_str()));
    }
}

#[tokio::test]
async fn a_certificate_nobody_vouches_for_is_a_failed_attempt() {
    let (impostor, stranger) = (Origin::start_tls().await.chat("impostor"), Origin::start_tls().await);
    let honest = Origin::start().await.chat("honest");
    let files = tempfile::TempDir::new().unwrap();
    let authority = files.path().join("ca.pem");
    std::fs::write(&authority, stranger.authority()).unwrap();
    let run = Run::chain("audit-logger", &[impostor.url(), honest.url()]).env("SSL_CERT_FILE", authority.to_str().unwrap());
    let gateway = run.start().await;
    let answer = gateway.chat("hi").send().await.unwrap();
    assert_eq!((answer.status().as_u16(), &answer.headers()["x-keeptrusts-target"]), (200, &"t1".parse().unwrap()));
    assert!(impostor.requests().is_empty());
    let record = gateway.completed().await;
    assert_eq!(record["attempts"][0]["reason"], "tls_error", "{record:#}");
}

#[tokio::test]
async fn a_large_body_moves_on_from_one_http2_target_to_the_next() {
    let firsts = [
        Origin::start_tls().await.replies(503),
        Origin::start_tls().await.closes_without_answer(),
        Origin::start_tls().await.replies(429).answers_without_reading(),
        Origin::start_tls().await.streams(&[], Duration::ZERO).resets_after(0),
        Origin::start_tls().await.hangs(),
    ];
    for first in firsts {
        let second = Origin::start_tls().await.chat("second");
        let files = tempfile::TempDir::new().unwrap();
        let authorities = files.path().join("ca.pem");
        std::fs::write(&authorities, format!("{}{}", first.authority(), second.authority())).unwrap();
        let run = Run::chain("pii-detector, audit-logger", &[first.url(), second.url()]);
        let gateway = run.env("SSL_CERT_FILE", authorities.to_str().unwrap()).start().await;
        let text = format!("{} jane@example.com", "words and words. ".repeat(1 << 17));
        let answer = gateway.chat(&text).send().await.unwrap_or_else(|e| panic!("{e:?}\n{}", gateway.log()));
        assert_eq!((answer.status().as_u16(), &answer.headers()["x-keeptrusts-attempts"]), (200, &"2".parse().unwrap()));
        assert!(answer.text().await.unwrap().contains("second"));
        let got = second.only_request();
        assert!(got.http2 && got.json()["messages"][0]["content"] == text.replace("jane@example.com", "[EMAIL_REDACTED]"));
    }
}
