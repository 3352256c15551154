//! Each strategy shares requests as it promises, and falls back.

use crate::support::{Gateway, Origin, Run};
use serde_json::json;
use std::collections::BTreeMap;
use std::time::Duration;

/// A gateway over these targets. Nobody asks for a model that one of them has: all are as good.
async fn routed(origins: &[Origin], routing: &str, edit: impl Fn(Run) -> Run) -> Gateway {
    let urls: Vec<String> = origins.iter().map(Origin::url).collect();
    // Without `audit-logger`: hundreds of requests one after another, each with its two disk syncs, would be all of the work.
    edit(Run::chain("pii-detector", &urls).with(&format!("  routing: {{{routing}}}\n"))).start().await
}

async fn origins(count: usize) -> Vec<Origin> {
    let mut origins = Vec::new();
    for n in 0..count {
        origins.push(Origin::start().await.chats_as_asked(&[&format!("target {n}")]));
    }
    origins
}

/// So many requests, one after another; how many each target served. Each has to succeed.
async fn shares(gateway: &Gateway, requests: usize, stream: bool) -> BTreeMap<String, usize> {
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let body = json!({"model": "any", "stream": stream, "messages": [{"role": "user", "content": "hi"}]});
    let mut shares = BTreeMap::new();
    for _ in 0..requests {
        let answer = client.post(format!("{}/v1/chat/completions", gateway.url)).json(&body).send().await.expect("an answer");
        assert_eq!(answer.status(), 200);
        let target = answer.headers()["x-keeptrusts-target"].to_str().unwrap().to_owned();
        answer.bytes().await.expect("a body");
        *shares.entry(target).or_default() += 1;
    }
    shares
}

fn share(shares: &BTreeMap<String, usize>, target: &str) -> usize {
    shares.get(target).copied().unwrap_or_default()
}

#[tokio::test]
async fn round_robin_gives_each_its_turn() {
    let origins = origins(3).await;
    let gateway = routed(&origins, "strategy: round_robin", |run| run).await;
    let shares = shares(&gateway, 300, false).await;
    assert_eq!(shares.values().copied().collect::<Vec<_>>(), [100, 100, 100], "{shares:?}");
}

#[tokio::test]
async fn weighted_round_robin_gives_each_as_many_turns_as_its_weight() {
    let origins = origins(2).await;
    let gateway = routed(&origins, "strategy: weighted_round_robin", |run| run.of_target(0, "weight: 3")).await;
    let shares = shares(&gateway, 400, false).await;
    assert!((299..=301).contains(&share(&shares, "t0")), "{shares:?}");
}

#[tokio::test]
async fn random_gives_each_about_as_many() {
    let origins = origins(2).await;
    let gateway = routed(&origins, "strategy: random", |run| run).await;
    let shares = shares(&gateway, 400, false).await;
    // Seven standard deviations of a fair coin.
    assert!((130..=270).contains(&share(&shares, "t0")), "{shares:?}");
}

#[tokio::test]
async fn least_connections_avoids_the_busy_one() {
    let held = Origin::start().await.hangs().then().chat("free again");
    let origins = [held, Origin::start().await.chat("free")];
    let gateway = routed(&origins, "strategy: least_connections", |run| run.timeouts(30)).await;
    let body = json!({"model": "any", "messages": [{"role": "user", "content": "hi"}]});
    let held = tokio::spawn(gateway.post(&body).send());
    origins[0].wait_for_requests(1).await;
    for _ in 0..50 {
        assert_eq!(shares(&gateway, 1, false).await, BTreeMap::from([("t1".to_owned(), 1)]));
        gateway.until_health("one under way", |health| health["targets"][1]["in_flight"] == 0).await;
    }
    held.abort();
    gateway.until_idle().await;
    assert!(share(&shares(&gateway, 40, false).await, "t0") >= 10);
}

#[tokio::test]
async fn lowest_latency_and_highest_throughput_find_the_fastest_and_keep_an_eye_on_the_others() {
    let slowly = |gap: u64| async move {
        let text = json!({"id": "c", "model": "m", "choices": [{"index": 0, "delta": {"role": "assistant", "content": "hi"}}]});
        let end = json!({
            "id": "c", "model": "m", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 3, "completion_tokens": 8, "total_tokens": 11},
        });
        Origin::start().await.streams(&[&text.to_string(), &end.to_string(), "[DONE]"], Duration::from_millis(gap))
    };
    for strategy in ["lowest_latency", "highest_throughput"] {
        let origins = [slowly(40).await, slowly(1).await, slowly(40).await];
        let routing = format!("strategy: {strategy}, min_sample_count: 3, exploration_ratio: 0.1");
        let gateway = routed(&origins, &routing, |run| run).await;
        let first = shares(&gateway, 12, true).await;
        assert!(first.len() == 3 && first.values().all(|count| *count >= 2), "{strategy}: {first:?}");
        let shares = shares(&gateway, 150, true).await;
        // A tenth goes elsewhere, give or take four standard deviations.
        assert!((120..=148).contains(&share(&shares, "t1")), "{strategy}: {shares:?}");
    }
}

#[tokio::test]
async fn order_only_and_ignore_say_who_is_asked_and_when() {
    let cases = [
        ("order: [t2, t0]", vec!["t2", "t0", "t1"]),
        ("only: [t1]", vec!["t1"]),
        ("ignore: [t0]", vec!["t1", "t2"]),
        ("order: [t2], ignore: [t1]", vec!["t2", "t0"]),
    ];
    for (routing, order) in cases {
        let mut origins = Vec::new();
        for _ in 0..3 {
            origins.push(Origin::start().await.replies(500));
        }
        let fallback = |run: Run| run.with("  circuit_breaker: {enabled: false}\n");
        let gateway = routed(&origins, routing, fallback).await;
        let answer =
            gateway.post(&json!({"model": "any", "messages": [{"role": "user", "content": "hi"}]})).send().await.unwrap();
        let expected: Vec<String> = order.iter().map(|target| format!("{target}=server_error")).collect();
        assert_eq!(answer.headers()["x-keeptrusts-failed-attempts"], expected.join(", "), "{routing}");
        for (n, origin) in origins.iter().enumerate() {
            let asked = usize::from(order.contains(&format!("t{n}").as_str()));
            assert_eq!(origin.requests().len(), asked, "{routing} t{n}");
        }
    }
}

#[tokio::test]
async fn every_strategy_has_the_others_behind_its_choice() {
    let strategies =
        ["ordered", "round_robin", "weighted_round_robin", "least_connections", "random", "lowest_latency", "highest_throughput"];
    for strategy in strategies {
        let origins = [Origin::start().await.replies(500), Origin::start().await.chats_as_asked(&["second"])];
        let gateway =
            routed(&origins, &format!("strategy: {strategy}"), |run| run.with("  circuit_breaker: {enabled: false}\n")).await;
        let shares = shares(&gateway, 40, true).await;
        assert_eq!(share(&shares, "t1"), 40, "{strategy}");
        // Chance may spare it 40 times in a row once in a million million runs.
        assert!(!origins[0].requests().is_empty(), "{strategy}");
    }
}
