//! The table says neither more nor less than records hold.

use super::super::commitment::Salt;
use super::super::entry::{Gap, Interrupted};
use super::super::event::{Event, PrunedSegment};
use super::super::inbox::{Access, Action, Erasure};
use super::super::record::*;
use super::super::vault::Erase;
use super::*;
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

/// A body with all it can have.
fn content() -> Content {
    let commitment = Some(Salt::from_bytes([1; 32]).unwrap().begin().finish().commitment);
    Content {
        bytes: 1,
        commitment,
        redacted: Some(Redacted { bytes: 1, commit: "00".into() }),
        body_ref: Some("vault/id/req".into()),
        body_omitted: Some(Omission::TooLarge),
        redactions: vec![Redactions { kind: "email".into(), count: 1 }],
        coverage: Coverage { scanned: vec!["content".into()], unscanned: vec!["image".into()] },
    }
}

fn about() -> About {
    let parameters = FIELDS.iter().filter_map(|field| field.path.strip_prefix("parameters."));
    let some = || Some("x".to_owned());
    About {
        config: Some(stamp()),
        principal: Some(Principal { kind: "anonymous".into(), id: "x".into(), key_id: some() }),
        user: some(),
        team: some(),
        client: Client { ip: some(), user_agent: some() },
        conversation: some(),
        operation: Some("chat".into()),
        request_model: some(),
        path: some(),
        stream: true,
        tools: vec!["x".into()],
        parameters: parameters.map(|name| (name.into(), json!(1))).collect(),
        retry: Some(1),
        request: Some(content()),
        trace: Trace { trace_id: some(), span_id: some(), request_id: some() },
    }
}

fn stamp() -> Arc<ConfigStamp> {
    Arc::new(ConfigStamp { config_sha256: "00".into(), pack: Pack { name: "a".into(), version: "1.0.0".into() } })
}

fn policy() -> Vec<PolicyDecision> {
    vec![PolicyDecision {
        kind: "prompt-injection".into(),
        phase: "input".into(),
        verdict: "block".into(),
        reason_code: Some("x".into()),
        rules: vec!["x".into()],
        score: Some(1.0),
        features: vec![Feature { id: "x".into(), score: 1.0 }],
        us: Some(1),
    }]
}

fn completed() -> Completed {
    let some = || Some("x".to_owned());
    let attempt = |result| Attempt {
        target: "t".into(),
        model: "m".into(),
        configured_model: some(),
        result,
        ms: 1.0,
        reason: Some("timeout".into()),
    };
    Completed {
        about: about(),
        target: some(),
        provider: some(),
        response_model: some(),
        response_id: some(),
        response: Some(Content { redacted: None, ..content() }),
        chunks: Some(1),
        finish_reasons: vec!["stop".into()],
        policy: policy(),
        verdict: "block".into(),
        reason_code: Some("x".into()),
        outcome: Outcome::Success,
        http_status: Some(200),
        attempts: vec![attempt(AttemptResult::Status(200)), attempt(AttemptResult::Error("timeout".into()))],
        fallback: true,
        continued: true,
        dropped_fields: vec!["x".into()],
        degraded: true,
        usage: Some(UsageNumbers { input_tokens: 1, output_tokens: 1, cached: 1, reasoning: 1, source: UsageSource::Upstream }),
        cost_usd: Some(1.0),
        ttft_ms: Some(1.0),
        duration_ms: Some(1.0),
        overhead_us: Some(1),
        tokens_per_second: Some(1.0),
    }
}

fn events() -> Vec<Event> {
    let text = || "x".to_owned();
    let access = Access { action: Action::Read, user: text(), at: text(), what: text(), records: Some(1) };
    vec![
        Event::GatewayStart { config: stamp(), listen: vec![text()] },
        Event::GatewayStop { reason: "signal".into() },
        Event::ConfigLoaded { config: stamp() },
        Event::ConfigRejected { config_sha256: text(), errors: 1, first: text() },
        Event::AuthFailure { about: Box::new(about()), reason_code: "x".into(), http_status: 401 },
        Event::Access(access),
        Event::Erased(Erasure { record: text(), what: Erase::All, user: text(), at: text() }),
        Event::Pruned { by: "x".into(), new_minimum: 1, segments: vec![PrunedSegment { first: 0, last: 0, sha256: text() }] },
        Event::Epoch { previous: text(), reason: text(), checkpoint: text() },
    ]
}

/// The places of all values of a record.
fn places(value: &Value, at: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                places(value, &if at.is_empty() { name.clone() } else { format!("{at}.{name}") }, found);
            }
        }
        Value::Array(items) if items.iter().any(Value::is_object) => {
            items.iter().for_each(|item| places(item, &format!("{at}[]"), found));
        }
        _ => {
            found.insert(at.to_owned());
        }
    }
}

#[test]
fn every_field_of_every_record_is_in_the_table_and_nothing_else_is() {
    let head = json!({
        "v": 1, "schema": "", "id": "", "type": "", "time": "", "origin": "", "boot_id": "", "gateway_version": "", "parent": "",
        "cut": {"from_bytes": 1},
    });
    let gap = Gap { count: 1, bytes: Some(1), from: UNIX_EPOCH, to: UNIX_EPOCH, reason: "x" };
    fn json_of(record: &impl Serialize) -> Value {
        serde_json::to_value(record).unwrap()
    }
    let received = Received { about: about(), target: Some("t".into()), policy: policy() };
    let mut records = vec![head, json_of(&received), json_of(&completed()), json_of(&gap), json_of(&Interrupted::because("x"))];
    records.extend(events().iter().map(json_of));
    let mut written = BTreeSet::new();
    records.iter().for_each(|record| places(record, "", &mut written));
    let listed: BTreeSet<String> = FIELDS.iter().map(|field| field.path.to_owned()).collect();
    assert_eq!(listed.len(), FIELDS.len(), "a field is listed twice");
    assert_eq!(written.difference(&listed).collect::<Vec<_>>(), [""; 0], "not in the table");
    assert_eq!(listed.difference(&written).collect::<Vec<_>>(), [""; 0], "in no record");
}

#[test]
fn the_page_is_made_from_the_table() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/audit-record.md");
    if std::env::var_os("KT_WRITE_DOCS").is_some() {
        std::fs::write(path, markdown()).unwrap();
    }
    let page = std::fs::read_to_string(path).unwrap_or_default();
    assert!(page == markdown(), "docs/audit-record.md is not what the table says: run this test with KT_WRITE_DOCS=1");
}

#[test]
fn a_field_named_by_the_conventions_keeps_its_name() {
    for field in FIELDS.iter().filter(|field| field.path.starts_with("gen_ai.") || field.path.starts_with("url.")) {
        assert_eq!(field.otel, Some(Attribute { name: field.path, scale: 1.0 }));
    }
    assert_eq!(attribute("ttft_ms"), Some(Attribute { name: "gen_ai.response.time_to_first_chunk", scale: 0.001 }));
    assert_eq!(attribute("chunks"), None);
}
