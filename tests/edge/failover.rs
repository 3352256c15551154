//! The second target gets the whole request, byte for byte, however the first one fails and however the request came.

use crate::support::origin::Request;
use crate::support::{Gateway, Origin, Run};
use bytes::Bytes;
use std::time::Duration;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;
const CHAIN: &str = "pii-detector, audit-logger";
const MAIL: &str = "jane@example.com";

#[derive(Clone, Copy, Debug, PartialEq)]
enum Framing {
    Length,
    Chunked,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Http {
    One,
    Two,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Text {
    Clean,
    Redacted,
}

use Framing::{Chunked, Length};
use Http::{One, Two};
use Text::{Clean, Redacted};

type Case = (usize, Framing, Http, Text);

#[tokio::test]
async fn after_a_refused_connection() {
    let dead = "http://127.0.0.1:9/v1".to_owned();
    moves_on(dead, "connect_error", &[(64 * KIB + 1, Length, One, Redacted), (MIB, Chunked, Two, Clean)]).await;
}

#[tokio::test]
async fn after_silence() {
    let first = Origin::start().await.hangs();
    moves_on(first.url(), "timeout", &[(MIB, Length, Two, Redacted), (64 * KIB - 1, Chunked, One, Clean)]).await;
    assert_eq!(posts(&first)[0].body.len(), MIB - MAIL.len() + "[EMAIL_REDACTED]".len());
}

#[tokio::test]
async fn after_429() {
    let first = Origin::start().await.replies(429);
    moves_on(first.url(), "rate_limit", &[(8 * MIB, Length, One, Redacted), (64 * KIB, Chunked, Two, Clean)]).await;
}

#[tokio::test]
async fn after_503() {
    let first = Origin::start().await.replies(503);
    moves_on(first.url(), "server_error", &[(MIB, Chunked, One, Clean), (64 * KIB + 1, Length, Two, Redacted)]).await;
}

#[tokio::test]
async fn after_500() {
    let first = Origin::start().await.replies(500);
    moves_on(first.url(), "server_error", &[(8 * MIB, Chunked, Two, Redacted), (100, Length, One, Clean)]).await;
}

#[tokio::test]
async fn after_404() {
    let first = Origin::start().await.replies(404);
    moves_on(first.url(), "model_not_found", &[(64 * KIB, Length, One, Redacted), (MIB, Length, Two, Clean)]).await;
}

#[tokio::test]
async fn after_a_close_without_an_answer() {
    let first = Origin::start().await.closes_without_answer();
    moves_on(first.url(), "connection_broken", &[(MIB, Chunked, One, Redacted), (64 * KIB - 1, Length, Two, Clean)]).await;
}

#[tokio::test]
async fn after_an_answer_that_did_not_read_the_request() {
    let first = Origin::start().await.replies(503).answers_without_reading();
    moves_on(first.url(), "", &[(8 * MIB, Length, One, Clean), (64 * KIB, Chunked, Two, Redacted)]).await;
}

#[tokio::test]
async fn after_a_reset_behind_the_head() {
    let first = Origin::start().await.streams(&[], Duration::ZERO).resets_after(0);
    moves_on(first.url(), "connection_broken", &[(MIB, Length, One, Redacted), (MIB, Chunked, Two, Redacted)]).await;
}

#[tokio::test]
async fn after_a_whole_answer_that_breaks_off_in_its_body() {
    let first =
        Origin::start().await.raw("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 500\r\n\r\n{\"id\":");
    moves_on(first.url(), "connection_broken", &[(64 * KIB + 1, Length, One, Clean), (100, Chunked, Two, Redacted)]).await;
}

#[tokio::test]
async fn behind_tls_over_either_protocol() {
    let first = Origin::start().await.replies(429);
    let second = Origin::start().await.chat("second");
    let identity = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
    let files = tempfile::TempDir::new().expect("a directory");
    let (cert, key) = (files.path().join("cert.pem"), files.path().join("key.pem"));
    std::fs::write(&cert, identity.cert.pem()).expect("the certificate");
    std::fs::write(&key, identity.signing_key.serialize_pem()).expect("the key");
    let run = Run::chain(CHAIN, &[first.url(), second.url()]).https();
    let run = run.arg("--tls-cert").arg(cert.to_str().unwrap()).arg("--tls-key").arg(key.to_str().unwrap());
    let gateway = run.start().await;
    for case in [(MIB, Length, One, Redacted), (MIB, Chunked, Two, Redacted), (64 * KIB, Chunked, One, Clean)] {
        check(&gateway, &second, case, "rate_limit").await;
    }
}

#[tokio::test]
async fn with_a_body_of_32_mib_when_the_limit_allows_it() {
    let first = Origin::start().await.replies(503);
    let second = Origin::start().await.chat("second");
    let run = Run::chain("audit-logger", &[first.url(), second.url()]).timeouts(20);
    let run = run.with("size_limits: {max_body_bytes: 40000000}\n");
    check(&run.start().await, &second, (32 * MIB, Length, One, Clean), "server_error").await;
}

/// Runs the cases through one gateway; at most two, for a third failure would put the first target last.
async fn moves_on(first: String, reason: &str, cases: &[Case]) {
    let second = Origin::start().await.chat("second");
    let gateway = Run::chain(CHAIN, &[first, second.url()]).start().await;
    for case in cases {
        check(&gateway, &second, *case, reason).await;
    }
}

async fn check(gateway: &Gateway, second: &Origin, case: Case, reason: &str) {
    let (size, framing, http, text) = case;
    let before = posts(second).len();
    let (sent, expected) = body(size, text);
    let client = reqwest::Client::builder().no_proxy().danger_accept_invalid_certs(true);
    let client = match (http, gateway.url.starts_with("https")) {
        (One, _) => client.http1_only(),
        (Two, false) => client.http2_prior_knowledge(),
        (Two, true) => client,
    };
    let body = match framing {
        Length => reqwest::Body::from(sent),
        Chunked => {
            let pieces: Vec<_> = sent.chunks(50_000).map(|p| Ok::<_, std::io::Error>(Bytes::copy_from_slice(p))).collect();
            reqwest::Body::wrap_stream(futures::stream::iter(pieces))
        }
    };
    let request = client.build().expect("a client").post(format!("{}/v1/chat/completions", gateway.url));
    let answer = request.header("content-type", "application/json").body(body).send().await;
    let answer = answer.unwrap_or_else(|e| panic!("{case:?}: {e:?}\n{}", gateway.log()));
    assert_eq!(answer.version() == reqwest::Version::HTTP_2, http == Two, "{case:?}");
    let (status, attempts) = (answer.status(), answer.headers()["x-keeptrusts-attempts"].clone());
    let said = answer.text().await.expect("a body");
    assert!(status == 200 && said.contains("second"), "{case:?}: {status} {said}\n{}", gateway.log());
    assert_eq!(attempts, "2", "{case:?}");
    let requests = posts(second);
    assert_eq!(requests.len(), before + 1, "{case:?}");
    let request = &requests[before];
    assert!(request.body == expected, "{case:?}: {} bytes instead of {}", request.body.len(), expected.len());
    assert_eq!(request.header("content-length"), Some(expected.len().to_string().as_str()));
    assert_eq!(request.header("transfer-encoding"), None);
    assert_eq!(request.header("authorization"), Some("Bearer key-1"));
    let record = gateway.audit("llm.request.completed", before + 1).await.remove(before);
    assert_eq!((record["target"].as_str(), record["fallback"].as_bool()), (Some("t1"), Some(true)), "{record:#}");
    if !reason.is_empty() {
        assert_eq!(record["attempts"][0]["reason"], reason, "{case:?} {record:#}");
    }
}

/// What the origin got, probes aside.
fn posts(origin: &Origin) -> Vec<Request> {
    origin.requests().into_iter().filter(|r| r.method == "POST").collect()
}

/// A chat request of exactly `size` bytes, and what the second target is to get.
fn body(size: usize, text: Text) -> (Vec<u8>, Vec<u8>) {
    let (head, tail) = (r#"{"model":"m0","messages":[{"role":"user","content":""#, r#""}],  "n":1.0}"#);
    let mail = if text == Redacted { MAIL } else { "" };
    let filling = "words and words. ".repeat(size / 17 + 1);
    let filling = &filling[..size - head.len() - tail.len() - mail.len() - 1];
    let sent = format!("{head}{filling} {mail}{tail}");
    assert_eq!(sent.len(), size);
    let expected = sent.replace(MAIL, "[EMAIL_REDACTED]").replacen("\"m0\"", "\"m1\"", 1);
    (sent.into_bytes(), expected.into_bytes())
}
