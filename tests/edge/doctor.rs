//! `kt doctor` finds what would keep a gateway from running well, and names the remedy.

use crate::support::{Origin, Run};
use serde_json::Value;

/// Every finding about a subject, as `grade: text`.
fn of(report: &Value, subject: &str) -> Vec<String> {
    let findings = report["findings"].as_array().expect("findings");
    let about = findings.iter().filter(|f| f["subject"] == subject);
    about.map(|f| format!("{}: {}", f["grade"].as_str().unwrap(), f["text"].as_str().unwrap())).collect()
}

async fn lists(ids: &[&str]) -> Origin {
    let origin = Origin::start().await;
    origin.lists(ids);
    origin
}

#[tokio::test]
async fn each_target_is_asked_for_its_models_and_nothing_else() {
    let (fine, renamed) = (lists(&["m0", "other"]).await, lists(&["M-1"]).await);
    let (doubtful, without) = (lists(&["M-2", "M_2"]).await, lists(&["x"]).await);
    let silent = Origin::start().await;
    let urls = [fine.url(), renamed.url(), doubtful.url(), without.url(), silent.url(), "http://127.0.0.1:9/v1".into()];
    let (code, report) = Run::chain("audit-logger", &urls).doctor().await;
    assert_eq!((code, report["ok"].as_bool()), (1, Some(false)));
    for (target, expected) in [
        ("target t0", "ok: it has the model m0"),
        ("target t1", "warning: it calls the model m1 now M-1: that one is asked for; rename it"),
        ("target t2", "error: it lists no model m2, but M-2 and M_2: say which"),
        ("target t3", "error: it lists no model m3: requests for it will be answered 404"),
        ("target t4", "warning: it answers, but its models cannot be checked: not a list of models"),
        ("target t5", "does not answer: ConnectRefused: Connection refused"),
    ] {
        let found = of(&report, target);
        assert!(found.iter().any(|text| text.contains(expected)), "{target}: {found:?}");
    }
    assert!(!report.to_string().contains("key-0"), "no key is shown");
    for origin in [fine, renamed, doubtful, without, silent] {
        assert!(origin.requests().is_empty(), "it is asked for nothing that costs a token");
    }
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
