//! The life of the process: start, reload, drain, and the words with which it refuses to start.

use crate::support::{Gateway, Origin, Run};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

const CHAIN: &str = "pii-detector, audit-logger";

async fn ready(gateway: &Gateway) -> u16 {
    gateway.get("/readyz").await.status().as_u16()
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !holds().await {
        assert!(began.elapsed() < Duration::from_secs(5), "{what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_stop_lets_a_running_stream_end_and_turns_balancers_away_first() {
    let origin = Origin::start().await.streams_text(&["a ", "b "]).gated().then().chat("late");
    let gateway = Run::chain(CHAIN, &[origin.url()]).start().await;
    let waiting = tokio::spawn(gateway.chat_stream("hi").send());
    origin.next_event().await;
    let answer = waiting.await.unwrap().unwrap();
    assert_eq!(ready(&gateway).await, 200);
    gateway.signal("TERM");
    until("readyz is 503", async || ready(&gateway).await == 503).await;
    assert_eq!(gateway.chat("just in time").send().await.unwrap().status(), 200);
    tokio::time::sleep(Duration::from_millis(700)).await;
    for _ in 0..4 {
        origin.next_event().await;
    }
    assert!(answer.text().await.unwrap().ends_with("data: [DONE]\n\n"));
    let (code, dir) = gateway.ended().await;
    assert_eq!(code, Some(0));
    let tail = kt(dir.path(), &["audit", "tail", "--json", "-n", "100", "--audit-dir", "audit"]);
    let tail = String::from_utf8_lossy(&tail.stdout).into_owned();
    assert_eq!(tail.matches("\"llm.request.completed\"").count(), 2, "{tail}");
    assert!(tail.contains("\"gateway.stop\""));
}

#[tokio::test]
async fn a_second_signal_cuts() {
    let origin = Origin::start().await.hangs();
    let gateway = Run::chain(CHAIN, &[origin.url()]).start().await;
    let waiting = tokio::spawn(gateway.chat("hi").send());
    origin.wait_for_requests(1).await;
    gateway.signal("TERM");
    until("it drains", async || ready(&gateway).await == 503).await;
    gateway.signal("TERM");
    let began = Instant::now();
    assert_eq!(gateway.ended().await.0, Some(1));
    assert!(began.elapsed() < Duration::from_secs(1));
    waiting.await.unwrap().unwrap_err();
}

#[tokio::test]
async fn an_exchange_keeps_the_gateway_it_began_with_and_a_bad_reload_changes_nothing() {
    let (one, two) = (Origin::start().await.streams_text(&["a "]).gated(), Origin::start().await.chat("two"));
    let gateway = Run::chain(CHAIN, &[one.url()]).start().await;
    let waiting = tokio::spawn(gateway.chat_stream("hi").send());
    one.next_event().await;
    let answer = waiting.await.unwrap().unwrap();
    let path = gateway.dir().join("policy-config.yaml");
    let config = std::fs::read_to_string(&path).unwrap();
    let reload = || gateway.client.post(format!("{}/keeptrusts/config/reload", gateway.admin)).send();

    std::fs::write(&path, config.replace("chain:", "chains:")).unwrap();
    assert_eq!(reload().await.unwrap().status(), 422);
    gateway.signal("HUP");
    gateway.audit("config.rejected", 2).await;

    std::fs::write(&path, config.replace(&one.url(), &two.url())).unwrap();
    assert_eq!(reload().await.unwrap().status(), 200);
    assert!(gateway.chat("hi").send().await.unwrap().text().await.unwrap().contains("two"));
    for _ in 0..3 {
        one.next_event().await;
    }
    assert!(answer.text().await.unwrap().ends_with("data: [DONE]\n\n"));
    gateway.signal("HUP");
    gateway.audit("config.loaded", 2).await;
}

#[tokio::test]
async fn it_says_why_it_does_not_start() {
    let dir = tempfile::tempdir().unwrap();
    let config = concat!(env!("CARGO_MANIFEST_DIR"), "/conf/policy-config.yaml");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = taken.local_addr().unwrap().to_string();
    let out =
        kt(dir.path(), &["gateway", "run", "--policy-config", config, "--listen", &listen, "--admin-listen", "127.0.0.1:0"]);
    assert_eq!(out.status.code(), Some(1));
    assert!(errors(&out).contains(&listen) && errors(&out).contains("in use"), "{}", errors(&out));

    std::fs::write(
        dir.path().join("bad.yaml"),
        "pack: {name: x, version: 1.0.0, enabled: true, colour: 1}\npolicies: {chain: [pii]}\n",
    )
    .unwrap();
    let out = kt(
        dir.path(),
        &["gateway", "run", "--policy-config", "bad.yaml", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"],
    );
    assert_eq!(out.status.code(), Some(2));
    assert!(errors(&out).contains("E001") && errors(&out).contains("E002"), "{}", errors(&out));
}

#[tokio::test]
async fn without_its_key_it_starts_and_says_that_it_is_not_ready() {
    let config = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/conf/policy-config.yaml")).unwrap();
    let gateway = Run::config(config).start().await;
    assert_eq!(ready(&gateway).await, 503);
    let answer = gateway.chat("hi").send().await.unwrap();
    assert_eq!(answer.status(), 503);
    let body: serde_json::Value = answer.json().await.unwrap();
    assert_eq!(body["code"], "not_ready");
}

fn kt(dir: &std::path::Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_kt")).args(args).env_remove("CEREBRAS_API_KEY").current_dir(dir).output().unwrap()
}

fn errors(out: &Output) -> String {
    String::from_utf8_lossy(&out.stderr).into_owned()
}
