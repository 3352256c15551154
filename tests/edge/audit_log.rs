//! `kt audit` beside a gateway that is writing: looks at the log are in the log, and what it shows can be proved to a stranger.

use crate::support::{Gateway, Origin, Run};
use serde_json::{Value, json};
use std::path::PathBuf;

const POLICY: &str = "policy: {audit-logger: {max_wait_ms: 15000}}\n";

async fn gateway(origin: &Origin) -> Gateway {
    Run::chain("prompt-injection, pii-detector, audit-logger", &[origin.url()]).with(POLICY).start().await
}

/// Runs `kt audit ...`, which must succeed, and returns what it prints.
fn audit(gateway: &Gateway, command: &[&str]) -> String {
    let out = gateway.kt(&[&["audit"], command].concat());
    assert_eq!(out.status.code(), Some(0), "{command:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap()
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The directory of the only log.
fn home(gateway: &Gateway) -> PathBuf {
    let below = std::fs::read_dir(gateway.dir().join("audit/kt")).unwrap();
    let mut homes: Vec<PathBuf> = below.map(|entry| entry.unwrap().path()).collect();
    assert_eq!(homes.len(), 1, "{homes:?}");
    homes.remove(0)
}

#[tokio::test]
async fn whoever_looks_at_the_log_is_in_the_log() {
    let origin = Origin::start().await.chat("a");
    let gateway = gateway(&origin).await;
    gateway.chat("hi").send().await.unwrap().text().await.unwrap();
    let report: Value = serde_json::from_str(&audit(&gateway, &["verify", "--json"])).unwrap();
    audit(&gateway, &["query", "--type", "completed"]);
    audit(&gateway, &["export", "--csv"]);
    audit(&gateway, &["hold", "add", "case-7", "--reason", "a letter came"]);
    audit(&gateway, &["hold", "lift", "case-7"]);
    let verified = gateway.audit("audit.verify", 1).await.remove(0);
    assert_eq!(verified["what"], "audit verify --json");
    assert_eq!(verified["records"], report["logs"][0]["records"]);
    assert!(verified["user"].as_str().unwrap().contains('('), "{verified}");
    let read = gateway.audit("audit.read", 1).await.remove(0);
    assert_eq!((&read["what"], &read["records"]), (&json!("audit query --type completed"), &json!(1)));
    assert_eq!(gateway.audit("audit.export", 1).await[0]["what"], "audit export --csv");
    let held: Vec<Value> = gateway.audit("audit.hold", 2).await.iter().map(|record| record["what"].clone()).collect();
    assert_eq!(held, [json!("audit hold add case-7 --reason 'a letter came'"), json!("audit hold lift case-7")]);
}

#[tokio::test]
async fn an_exchange_is_found_by_its_id_and_proved_to_somebody_who_has_the_key_alone() {
    let origin = Origin::start().await.chat("a");
    let gateway = gateway(&origin).await;
    let answer = gateway.chat("hi").header("x-user-id", "jane").send().await.unwrap();
    let id = answer.headers()["x-keeptrusts-event-id"].to_str().unwrap().to_owned();
    answer.text().await.unwrap();
    gateway.audit("llm.request.completed", 1).await;
    let found = lines(&audit(&gateway, &["query", "--id", &id, "--user", "jane", "--since", "1h", "--json"]));
    let kinds: Vec<&Value> = found.iter().map(|record| &record["type"]).collect();
    assert_eq!(kinds, ["llm.request.received", "llm.request.completed"]);
    audit(&gateway, &["prove", "--id", &id, "--out", "proof", "--with-record", "record"]);
    // Far away, with nothing but the key.
    let elsewhere = tempfile::tempdir().unwrap();
    for file in ["proof", "record"] {
        std::fs::rename(gateway.dir().join(file), elsewhere.path().join(file)).unwrap();
    }
    std::fs::copy(home(&gateway).join("key.pub"), elsewhere.path().join("key")).unwrap();
    let check = || {
        let mut kt = std::process::Command::new(env!("CARGO_BIN_EXE_kt"));
        kt.args(["audit", "prove", "--check", "proof", "--record", "record", "--key", "key"]);
        kt.current_dir(elsewhere.path()).output().unwrap()
    };
    let proved = check();
    assert_eq!(proved.status.code(), Some(0), "{}", String::from_utf8_lossy(&proved.stderr));
    let record = std::fs::read_to_string(elsewhere.path().join("record")).unwrap();
    assert!(record.contains(&id));
    std::fs::write(elsewhere.path().join("record"), record.replace("jane", "anne")).unwrap();
    assert_eq!(check().status.code(), Some(1));
}

#[tokio::test]
async fn a_checkpoint_kept_elsewhere_convicts_a_log_that_was_made_anew() {
    let origin = Origin::start().await.chat("a");
    let gateway = gateway(&origin).await;
    gateway.chat("hi").send().await.unwrap().text().await.unwrap();
    gateway.completed().await;
    gateway.signal("TERM");
    let (code, dir) = gateway.ended().await;
    assert_eq!(code, Some(0));
    let home = std::fs::read_dir(dir.path().join("audit/kt")).unwrap().next().unwrap().unwrap().path();
    std::fs::copy(home.join("checkpoint"), dir.path().join("kept")).unwrap();
    let verify = |options: &[&str]| {
        let mut kt = std::process::Command::new(env!("CARGO_BIN_EXE_kt"));
        kt.args(["audit", "verify"]).args(options).current_dir(dir.path()).output().unwrap().status.code()
    };
    assert_eq!(verify(&["--anchor", "kept"]), Some(0));
    let checkpoint = std::fs::read_to_string(home.join("checkpoint")).unwrap();
    // All that is younger than the first record goes, and with it the signatures over it.
    let wal = std::fs::read_dir(home.join("wal")).unwrap().map(|file| file.unwrap().path());
    let wal = wal.into_iter().find(|path| path.extension().is_some_and(|kind| kind == "wal")).unwrap();
    let mut bytes = std::fs::read(&wal).unwrap();
    let first = u32::from_le_bytes(bytes[4096..4100].try_into().unwrap()) as usize;
    bytes[4096 + 40 + first..].fill(0);
    std::fs::write(&wal, bytes).unwrap();
    assert_eq!(verify(&[]), Some(1), "{checkpoint}");
    std::fs::remove_file(home.join("checkpoint")).unwrap();
    std::fs::remove_dir_all(home.join("checkpoints")).unwrap();
    assert_eq!(verify(&[]), Some(0), "whoever owns the host can cut the end off");
    assert_eq!(verify(&["--anchor", "kept"]), Some(1));
}

#[tokio::test]
async fn every_command_works_beside_a_gateway_under_load() {
    let origin = Origin::start().await.chat("a");
    let gateway = gateway(&origin).await;
    let load = async {
        for _ in 0..60 {
            gateway.chat("hi").send().await.unwrap().text().await.unwrap();
        }
    };
    let (dir, kt) = (gateway.dir().to_path_buf(), env!("CARGO_BIN_EXE_kt"));
    let looks = tokio::task::spawn_blocking(move || {
        let mut tree = 0;
        for _ in 0..4 {
            tree += 1;
            let tree = format!("tree-{tree}");
            for command in [
                &["verify"][..],
                &["tail"],
                &["query", "-n", "5"],
                &["export", "--ocsf", "--out", "events"],
                &["export", "--tiles", &tree],
            ] {
                let out = std::process::Command::new(kt).arg("audit").args(command).current_dir(&dir).output().unwrap();
                let said = String::from_utf8_lossy(&out.stderr);
                let unsigned = out.status.code() == Some(2) && said.contains("no checkpoint yet");
                assert!(out.status.success() || unsigned, "{command:?}: {}{said}", String::from_utf8_lossy(&out.stdout));
            }
        }
    });
    let ((), looked) = tokio::join!(load, looks);
    looked.unwrap();
    let exported = lines(&audit(&gateway, &["export", "--jsonl", "--type", "received"]));
    assert_eq!(exported.len(), 60);
}
