//! The models a provider lists: renamed ones are found, unpinned ones are offered; fields it does not take are dropped.

use crate::support::{Gateway, Origin, Run};
use serde_json::{Value, json};

/// Targets as written, and keys `K0`, `K1` for them; probed every second.
fn targets(lines: &[String]) -> Run {
    probed(lines, "interval_seconds: 1")
}

fn probed(lines: &[String], probe: &str) -> Run {
    let targets: String = lines.iter().map(|line| format!("    - {{{line}, health_probe: {{{probe}}}}}\n")).collect();
    let config = format!(
        "pack: {{name: test, version: 1.0.0, enabled: true}}\npolicies:\n  chain: [pii-detector, audit-logger]\nproviders:\n  \
         targets:\n{targets}  retry_policy: {{max_retries: 0}}\n"
    );
    Run::config(config).env("K0", "key-0").env("K1", "key-1")
}

async fn ask(gateway: &Gateway, model: &str) -> reqwest::Response {
    let answer = gateway.post(&json!({"model": model, "messages": [{"role": "user", "content": "hi"}]})).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    answer
}

#[tokio::test]
async fn a_renamed_model_is_asked_for_by_its_new_name_and_everything_says_so() {
    let (plain, renamed) = (Origin::start().await.chat("plain"), Origin::start().await.chat("renamed"));
    renamed.lists(&["llama-3.3-70b", "qwen-3-32b"]);
    let gateway = targets(&[
        format!("id: plain, provider: 'up:chat:other', base_url: '{}', secret_key_ref: {{env: K0}}", plain.url()),
        format!("id: renamed, provider: 'up:chat:llama3.3-70b', base_url: '{}', secret_key_ref: {{env: K1}}", renamed.url()),
    ])
    .start()
    .await;
    let served_as = |health: &Value| health["targets"][1].get("served_as").cloned();
    gateway.until_health("renamed", |health| served_as(health) == Some("llama-3.3-70b".into())).await;

    // By the name of the config, and by the one the provider's own documents have.
    for (n, wanted) in ["llama3.3-70b", "llama-3.3-70b"].into_iter().enumerate() {
        let answer = ask(&gateway, wanted).await;
        let headers = answer.headers();
        assert_eq!(headers["x-keeptrusts-target"], "renamed", "{wanted}");
        assert_eq!(headers["x-keeptrusts-model"], "llama-3.3-70b", "{wanted}");
        assert_eq!(renamed.requests()[n].json()["model"], "llama-3.3-70b");
        let record = gateway.audit("llm.request.completed", n + 1).await.remove(n);
        assert_eq!(record["gen_ai.request.model"], wanted, "{record:#}");
        let attempt = &record["attempts"][0];
        assert_eq!(
            (&attempt["model"], &attempt["configured_model"]),
            (&json!("llama-3.3-70b"), &json!("llama3.3-70b")),
            "{record:#}"
        );
    }
    assert_eq!(gateway.metric("keeptrusts_llm_requests_total", &["model=\"llama-3.3-70b\""]).await, 2.0);

    // Two that could be meant: the config's own word stands. Then the very id is there: likewise.
    for list in [&["llama-3.3-70b", "Llama3.3-70B"][..], &["llama3.3-70b"]] {
        renamed.lists(&["llama-3.3-70b"]);
        gateway.until_health("renamed", |health| served_as(health).is_some()).await;
        renamed.lists(list);
        gateway.until_health("not renamed", |health| served_as(health).is_none()).await;
        assert_eq!(ask(&gateway, "llama3.3-70b").await.headers()["x-keeptrusts-model"], "llama3.3-70b");
    }
    assert!(plain.requests().is_empty());
}

#[tokio::test]
async fn what_a_list_changes_is_said_once() {
    let origin = Origin::start().await.chat("hi");
    origin.lists(&["llama-3.3-70b"]);
    let gateway = targets(&[format!(
        "id: a, provider: 'up:chat:llama3.3-70b', base_url: '{}', secret_key_ref: {{env: K0}}, models: [{{model_id: gone}}]",
        origin.url()
    )])
    .start()
    .await;
    let renamed = "its provider lists no model llama3.3-70b, but llama-3.3-70b: that one is asked for";
    let gone = "its provider lists no model gone\n";
    gateway.until_logged(renamed).await;
    // Another list, several probes later, with the same to say and one thing more.
    for list in [&["llama-3.3-70b", "x"][..], &["llama-3.3-70b", "y"]] {
        origin.lists(list);
        origin.wait_for_probes(2).await;
    }
    origin.lists(&["llama_3.3_70b"]);
    gateway.until_logged("llama3.3-70b, but llama_3.3_70b").await;
    let log = gateway.log();
    assert_eq!((log.matches(renamed).count(), log.matches(gone).count()), (1, 1), "{log}");
}

#[tokio::test]
async fn a_target_without_a_model_offers_what_its_provider_lists() {
    let (pinned, open) = (Origin::start().await.chat("pinned"), Origin::start().await.chat("open"));
    open.lists(&["alpha", "org/beta@2"]);
    let gateway = targets(&[
        format!("id: pinned, provider: 'up:chat:m0', base_url: '{}', secret_key_ref: {{env: K0}}", pinned.url()),
        format!("id: open, provider: up, base_url: '{}', secret_key_ref: {{env: K1}}", open.url()),
    ])
    .start()
    .await;
    assert_eq!(offered(&gateway, 3).await, ["m0", "alpha", "org/beta@2"]);
    for (wanted, target, sent) in [("m0", "pinned", "m0"), ("org/beta@2", "open", "org/beta@2"), ("unknown", "pinned", "m0")] {
        let answer = ask(&gateway, wanted).await;
        let headers = answer.headers();
        assert_eq!(
            (&headers["x-keeptrusts-target"], &headers["x-keeptrusts-model"]),
            (&target.parse().unwrap(), &sent.parse().unwrap())
        );
    }
    assert_eq!(open.only_request().json()["model"], "org/beta@2");
    open.lists(&["gamma"]);
    assert_eq!(offered(&gateway, 2).await, ["m0", "gamma"]);
    assert_eq!(gateway.get("/v1/models/gamma").await.status(), 200);
    assert_eq!(gateway.get("/v1/models/alpha").await.status(), 404);
    assert_eq!(ask(&gateway, "gamma").await.headers()["x-keeptrusts-target"], "open");
}

#[tokio::test]
async fn a_reload_probes_a_moved_target_at_once_and_the_others_by_their_new_interval() {
    let (stays, moves, moved) = (Origin::start().await, Origin::start().await, Origin::start().await);
    moved.lists(&["m-1"]);
    let gateway = Run::chain("audit-logger", &[stays.url(), moves.url()]).start().await;
    let path = gateway.dir().join("policy-config.yaml");
    let config = std::fs::read_to_string(&path).unwrap();
    // Every hour, but for the one that stays.
    let config = config.replacen("interval_seconds: 3600", "interval_seconds: 1", 1).replace(&moves.url(), &moved.url());
    std::fs::write(&path, config).unwrap();
    gateway.signal("HUP");
    gateway.until_health("moved", |health| health["targets"][1]["served_as"] == "m-1").await;
    stays.wait_for_probes(2).await;
}

#[tokio::test]
async fn a_target_that_is_slow_to_answer_its_probe_holds_up_no_other() {
    // Connections are taken by the kernel, and nobody reads them.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let origin = Origin::start().await;
    let slow =
        format!("id: a, provider: 'up:chat:m', base_url: 'http://{}', secret_key_ref: {{env: K0}}", silent.local_addr().unwrap());
    let quick = format!("id: b, provider: 'up:chat:m', base_url: '{}', secret_key_ref: {{env: K1}}", origin.url());
    let _gateway = probed(&[slow, quick], "interval_seconds: 1, timeout_ms: 10000").start().await;
    origin.wait_for_probes(3).await;
}

/// The ids of `/v1/models`, once there are so many.
async fn offered(gateway: &Gateway, count: usize) -> Vec<String> {
    loop {
        let page: Value = gateway.get("/v1/models").await.json().await.unwrap();
        let ids: Vec<String> = page["data"].as_array().unwrap().iter().map(|m| m["id"].as_str().unwrap().to_owned()).collect();
        if ids.len() == count {
            return ids;
        }
        // The next list comes with the next probe; what never comes ends with the test's own time limit.
        gateway.until_health("alive", |_| true).await;
    }
}

#[tokio::test]
async fn a_field_one_provider_does_not_take_is_dropped_for_it_alone_and_said() {
    let (cerebras, other) = (Origin::start().await.chat("first").then().replies(503), Origin::start().await.chat("second"));
    let gateway = targets(&[
        format!("id: cerebras, provider: 'cerebras:chat:m', base_url: '{}', secret_key_ref: {{env: K0}}", cerebras.url()),
        format!("id: other, provider: 'up:chat:m', base_url: '{}', secret_key_ref: {{env: K1}}", other.url()),
    ])
    .start()
    .await;
    let body = r#"{"store": true, "model":"m", "metadata": {"by": "jane@example.com"},"messages":[{"role":"user","content":"hi"}], "seed":7}"#;
    let send = || {
        gateway
            .client
            .post(format!("{}/v1/chat/completions", gateway.url))
            .header("content-type", "application/json")
            .body(body)
            .send()
    };

    let answer = send().await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.headers()["x-keeptrusts-dropped"].as_bytes()), (200, &b"store, metadata"[..]));
    let sent = cerebras.only_request();
    assert_eq!(sent.json(), json!({"model": "m", "messages": [{"role": "user", "content": "hi"}], "seed": 7}));
    assert!(sent.text().ends_with(r#""messages":[{"role":"user","content":"hi"}], "seed":7}"#), "{}", sent.text());
    let record = gateway.completed().await;
    assert_eq!(record["dropped_fields"], json!(["store", "metadata"]), "{record:#}");

    let answer = send().await.unwrap();
    assert_eq!(
        (&answer.headers()["x-keeptrusts-target"], answer.headers().get("x-keeptrusts-dropped")),
        (&"other".parse().unwrap(), None)
    );
    assert_eq!(other.only_request().text(), body.replace("jane@example.com", "[EMAIL_REDACTED]"));
    let record = gateway.audit("llm.request.completed", 2).await.remove(1);
    assert!(record.get("dropped_fields").is_none_or(|fields| fields == &json!([])), "{record:#}");
}
