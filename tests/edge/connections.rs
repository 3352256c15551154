//! Connections cost round trips and handshakes: they are kept on both sides, resumed where they end, and never held up by Nagle.

use crate::support::sockets::{self, Socket};
use crate::support::{Gateway, Origin, Run, Wire};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{ClientConfig, HandshakeKind, RootCertStore, SupportedProtocolVersion};

const CHAIN: &str = "pii-detector, audit-logger";
/// Where nothing is written to disk: connections are the matter, and many.
const UNRECORDED: &str = "pii-detector";
const CONNECTIONS: &str = "keeptrusts_gateway_upstream_connections_total";

#[tokio::test]
async fn small_writes_are_never_held_back_on_either_leg_of_a_stream() {
    for (origin, tls) in providers().await {
        let origin = origin.streams_text(&["a ", "b "]).gated();
        let gateway = run(UNRECORDED, &[(&origin, tls)], tls).start().await;
        let (answer, ()) = tokio::join!(gateway.chat_stream("hi").send(), origin.next_event());
        let answer = answer.unwrap();

        let open = sockets::established(gateway.pid());
        let port: u16 = gateway.address().rsplit(':').next().unwrap().parse().unwrap();
        let to_callers: Vec<&Socket> = open.iter().filter(|socket| socket.local.port() == port).collect();
        let to_provider: Vec<&Socket> = open.iter().filter(|socket| socket.peer == origin.address()).collect();
        assert!(!to_callers.is_empty() && !to_provider.is_empty(), "tls {tls}: {open:#?}");
        assert!(open.iter().all(|socket| socket.nodelay), "tls {tls}: {open:#?}");

        for _ in 0..4 {
            origin.next_event().await;
        }
        assert!(answer.text().await.unwrap().ends_with("data: [DONE]\n\n"));
    }
}

#[tokio::test]
async fn under_steady_load_one_request_in_a_hundred_at_most_opens_a_connection() {
    // One connection of a caller may still be on its way back to the pool when the next request takes another: two a caller.
    const CALLERS: usize = 8;
    const TURNS: usize = 200;
    for (origin, tls) in providers().await {
        let origin = origin.chats_as_asked(&["Hel", "lo"]);
        let gateway = run(UNRECORDED, &[(&origin, tls)], false).start().await;
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let (gateway_of, client) = (&gateway, &client);
        let callers = (0..CALLERS).map(|caller| async move {
            for turn in 0..TURNS {
                ask(gateway_of, client, caller + turn).await;
            }
        });
        futures::future::join_all(callers).await;

        let (opened, kept) = connections(&gateway, "t0").await;
        let http2 = origin.requests()[0].http2;
        assert_eq!((opened + kept, opened), (CALLERS * TURNS, origin.connections()), "tls {tls}, http2 {http2}");
        let most = if http2 { CALLERS } else { CALLERS * TURNS / 100 };
        assert!(opened <= most, "tls {tls}, http2 {http2}: {opened} connections for {} requests", CALLERS * TURNS);
    }
}

#[tokio::test]
async fn leaving_at_done_costs_no_upstream_connection_and_leaving_mid_stream_costs_one_over_http1_and_none_over_http2() {
    for (origin, tls) in providers().await {
        let origin = origin.streams_text(&["a "]).then().streams_text(&["b "]).then().streams_text(&["c ", "d "]).gated();
        let origin = origin.then().chat("after");
        let gateway = run(CHAIN, &[(&origin, tls)], false).start().await;
        for turn in 1..=2 {
            leave_at(&gateway, "[DONE]\n\n").await;
            // The record is written when the upstream has ended its body and its connection was given back.
            assert_eq!(gateway.audit("llm.request.completed", turn).await[turn - 1]["outcome"], "success");
        }
        assert_eq!(connections(&gateway, "t0").await, (1, 1), "tls {tls}");

        tokio::join!(leave_at(&gateway, "\"c \""), async {
            origin.next_event().await;
            origin.next_event().await;
        });
        assert_eq!(origin.wait_for_abandonment().await, 2);
        assert_eq!(gateway.audit("llm.request.completed", 3).await[2]["outcome"], "aborted");
        assert_eq!(gateway.chat("hi").send().await.unwrap().status(), 200);
        let costs = usize::from(!origin.requests()[0].http2);
        assert_eq!(connections(&gateway, "t0").await, (1 + costs, 3 - costs), "tls {tls}");
        assert_eq!(origin.connections(), 1 + costs);
    }
}

#[tokio::test]
async fn the_connections_of_the_target_that_serves_are_kept_while_another_keeps_failing() {
    const TURNS: usize = 200;
    for status in [429, 503] {
        let (failing, serving) =
            (Origin::start_tls_http1().await.replies(status), Origin::start_tls_http1().await.chats_as_asked(&["served"]));
        let gateway = run(UNRECORDED, &[(&failing, true), (&serving, true)], false).start().await;
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        for turn in 0..TURNS {
            ask(&gateway, &client, turn).await;
        }
        assert!(!failing.requests().is_empty());
        let (opened, kept) = connections(&gateway, "t1").await;
        assert_eq!((opened + kept, opened), (TURNS, serving.connections()), "{status}");
        assert!(opened <= TURNS / 100, "{status}: {opened} connections");
    }
}

#[tokio::test]
async fn a_connection_to_a_provider_that_closes_is_reopened_by_resuming_its_session() {
    let origin = Origin::start_tls_http1().await.chat("Hello").closes_after();
    let gateway = run(UNRECORDED, &[(&origin, true)], false).start().await;
    for _ in 0..3 {
        assert_eq!(gateway.chat("hi").send().await.unwrap().status(), 200);
    }
    assert_eq!(origin.handshakes()[1..], [HandshakeKind::Resumed; 2]);
}

#[tokio::test]
async fn a_caller_that_comes_back_resumes_its_session_over_either_protocol() {
    let origin = Origin::start().await.chat("Hello");
    let gateway = Run::chain(UNRECORDED, &[origin.url()]).with_certificate().start().await;
    for version in [&TLS12, &TLS13] {
        for protocol in ["http/1.1", "h2"] {
            let caller = caller(&gateway, version, protocol);
            let visits = [visit(&gateway, &caller).await, visit(&gateway, &caller).await];
            assert_eq!(visits, [HandshakeKind::Full, HandshakeKind::Resumed], "{version:?} {protocol}");
        }
    }
}

#[tokio::test]
async fn the_session_of_a_caller_is_remembered_however_many_others_come() {
    let origin = Origin::start().await.chat("Hello");
    let gateway = Run::chain(UNRECORDED, &[origin.url()]).with_certificate().start().await;
    let first = caller(&gateway, &TLS13, "http/1.1");
    assert_eq!(visit(&gateway, &first).await, HandshakeKind::Full);
    // More than a table of the usual 256 tickets would hold.
    for _ in 0..200 {
        assert_eq!(visit(&gateway, &caller(&gateway, &TLS13, "http/1.1")).await, HandshakeKind::Full);
    }
    assert_eq!(visit(&gateway, &first).await, HandshakeKind::Resumed);
}

#[tokio::test]
async fn a_certificate_that_cannot_be_used_ends_the_start_with_the_reason() {
    let dir = tempfile::tempdir().unwrap();
    let made = || rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    std::fs::write(dir.path().join("cert.pem"), made().cert.pem()).unwrap();
    std::fs::write(dir.path().join("other.pem"), made().signing_key.serialize_pem()).unwrap();
    for (key, why) in [("missing.pem", "missing.pem"), ("cert.pem", "cert.pem"), ("other.pem", "cert.pem with other.pem")] {
        let mut start = tokio::process::Command::new(env!("CARGO_BIN_EXE_kt"));
        start.args(["gateway", "run", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]).kill_on_drop(true);
        start.args(["--policy-config", concat!(env!("CARGO_MANIFEST_DIR"), "/conf/policy-config.yaml")]);
        start.args(["--tls-cert", "cert.pem", "--tls-key", key]).current_dir(dir.path());
        let ended = tokio::time::timeout(Duration::from_secs(20), start.output()).await.expect("it does not run").unwrap();
        let text = String::from_utf8_lossy(&ended.stderr);
        assert!(ended.status.code() == Some(1) && text.contains(why) && !text.contains("panicked"), "{text}");
        assert!(!dir.path().join("audit").exists(), "it began a log");
    }
}

/// An origin without a script for each way to reach a provider, and whether that is behind TLS: plain, HTTP/1.1 in TLS, HTTP/2.
async fn providers() -> [(Origin, bool); 3] {
    [(Origin::start().await, false), (Origin::start_tls_http1().await, true), (Origin::start_tls().await, true)]
}

/// A gateway in front of these, `t0`, `t1`, ...; behind TLS itself or not.
fn run(chain: &str, origins: &[(&Origin, bool)], https: bool) -> Run {
    let urls: Vec<String> = origins.iter().map(|(origin, _)| origin.url()).collect();
    let run = Run::chain(chain, &urls);
    let run = if https { run.with_certificate() } else { run };
    origins.iter().filter(|(_, tls)| *tls).fold(run, |run, (origin, _)| run.trusts(origin))
}

/// Connections to a target that were opened, and uses of those that were kept.
async fn connections(gateway: &Gateway, target: &str) -> (usize, usize) {
    let target = format!("target=\"{target}\"");
    let opened = gateway.metric(CONNECTIONS, &[&target, "reused=\"false\""]).await;
    let kept = gateway.metric(CONNECTIONS, &[&target, "reused=\"true\""]).await;
    (opened as usize, kept as usize)
}

/// One request, by turns whole, streamed, and streamed to a caller that leaves at `[DONE]` as Python's SDKs do.
async fn ask(gateway: &Gateway, client: &reqwest::Client, turn: usize) {
    let stream = match turn % 3 {
        0 => false,
        1 => true,
        _ => return leave_at(gateway, "[DONE]\n\n").await,
    };
    let body = json!({"model": "m0", "stream": stream, "messages": [{"role": "user", "content": "hi"}]});
    let answer = client.post(format!("{}/v1/chat/completions", gateway.url)).json(&body).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.text().await.unwrap().contains("data: [DONE]"), stream);
}

/// Asks for a stream on a connection of its own, and closes that as soon as `end` has come.
async fn leave_at(gateway: &Gateway, end: &str) {
    let body = json!({"model": "m0", "stream": true, "messages": [{"role": "user", "content": "hi"}]}).to_string();
    let head = "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: ";
    let mut wire = Wire::open(gateway.address()).await;
    wire.send(format!("{head}{}\r\n\r\n{body}", body.len())).await.until(end).await;
}

/// A caller that keeps its TLS sessions, as an SDK's client does.
fn caller(gateway: &Gateway, version: &'static SupportedProtocolVersion, protocol: &str) -> TlsConnector {
    let mut trusted = RootCertStore::empty();
    trusted.add(gateway.certificate()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider())).with_protocol_versions(&[version]).unwrap();
    let mut config = config.with_root_certificates(trusted).with_no_client_auth();
    config.alpn_protocols = vec![protocol.into()];
    Arc::new(config).into()
}

/// One connection with one answer, by which the tickets of TLS 1.3 come.
async fn visit(gateway: &Gateway, caller: &TlsConnector) -> HandshakeKind {
    let tcp = TcpStream::connect(gateway.address()).await.unwrap();
    let mut stream = caller.connect(ServerName::try_from("localhost").unwrap(), tcp).await.unwrap();
    let session = &stream.get_ref().1;
    let (kind, http2) = (session.handshake_kind().unwrap(), session.alpn_protocol() == Some(b"h2"));
    if http2 {
        let (mut requests, connection) = h2::client::handshake(stream).await.unwrap();
        let request = http::Request::get("https://localhost/healthz").body(()).unwrap();
        let (answer, _) = requests.send_request(request, true).unwrap();
        tokio::select! {
            answer = answer => assert_eq!(answer.unwrap().status(), 200),
            ended = connection => panic!("the connection ended before its answer: {ended:?}"),
        }
    } else {
        stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        assert!(answer.starts_with(b"HTTP/1.1 200"));
    }
    kind
}
