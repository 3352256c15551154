//! `kt doctor` finds what would keep a gateway from running well, and names the remedy.

use crate::support::{Origin, Run};
use serde_json::Value;

/// Every finding about a subject, as `grade: text`.
fn of(report: &Value, subject: &str) -> Vec<String> {
    let findings = report["findings"].as_array().expect("findings");
    let about = findings.iter().filter(|f| f["subject"] == subject);
    about.map(|f| format!("{}: {}", f["grade"].as_str().unwrap(), f["text"].as_str().unwrap())).collect()
}

fn listing(ids: &[&str]) -> String {
    let data: Vec<Value> = ids.iter().map(|id| serde_json::json!({"id": id, "object": "model"})).collect();
    serde_json::json!({"object": "list", "data": data}).to_string()
}

async fn lists(ids: &[&str]) -> Origin {
    Origin::start().await.body(listing(ids))
}

#[tokio::test]
async fn all_is_well_with_a_gateway_that_can_serve() {
    let origin = lists(&["m0"]).await;
    let (code, report) = Run::chain("audit-logger", &[origin.url()]).doctor().await;
    assert_eq!((code, report["ok"].as_bool()), (0, Some(true)), "{report:#}");
    assert!(of(&report, "audit")[0].contains("can be written"), "{report:#}");
}

#[tokio::test]
async fn a_config_that_does_not_start_is_an_error_with_its_place() {
    let (code, report) = Run::config("pack: {name: x}\n").doctor().await;
    assert_eq!(code, 1);
    assert!(of(&report, "config").iter().any(|text| text.contains("E005")), "{report:#}");
}
