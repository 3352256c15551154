//! What the blocks `sinks` and `anchor` mean.

use super::super::tests::{codes, config, minimal};
use super::*;

/// A configuration whose `audit-logger` block is this.
fn logger(block: &str) -> String {
    minimal("", &format!("policy:\n  audit-logger: {block}\n"))
}

fn sinks(block: &str) -> Vec<SinkConfig> {
    config(&logger(block)).policy.audit_logger.sinks
}

fn env(name: &str) -> SecretRef {
    SecretRef::Env(name.into())
}

#[test]
fn a_store_has_every_default() {
    let found = sinks("{sinks: [{name: archive, type: s3, bucket: records}]}");
    let store =
        S3Store { bucket: "records".into(), prefix: String::new(), region: "us-east-1".into(), endpoint: None, keys: None };
    let s3 = S3Sink { store, flush: Duration::from_secs(10) };
    assert_eq!(found, [SinkConfig { name: "archive".into(), kind: SinkKind::S3(s3) }]);
}

#[test]
fn a_stream_may_have_several_servers_and_one_login() {
    let login = |keys: &str| {
        let sinks = sinks(&format!("{{sinks: [{{name: live, type: nats, url: 'tls://a, tls://b:4443'{keys}}}]}}"));
        match &sinks[0].kind {
            SinkKind::Nats(nats) => {
                assert_eq!(nats.servers.iter().map(ToString::to_string).collect::<Vec<_>>(), ["tls://a:4222", "tls://b:4443"]);
                assert_eq!((nats.stream.as_str(), nats.subject.as_str(), nats.replicas), ("kt-audit", "kt.audit", 1));
                nats.login.clone()
            }
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(login(""), NatsLogin::Nobody);
    assert_eq!(login(", token_ref: {env: T}"), NatsLogin::Token(env("T")));
    assert_eq!(login(", credentials_ref: {env: C}"), NatsLogin::Credentials(env("C")));
    assert_eq!(login(", user: kt, password_ref: {env: P}"), NatsLogin::Password { user: "kt".into(), password: env("P") });
}

#[test]
fn a_header_is_written_or_says_where_it_is() {
    let sinks =
        sinks("{sinks: [{name: s, type: otlp, endpoint: 'http://localhost:4318', headers: {a: b, authorization: {env: K}}}]}");
    let SinkKind::Otlp(otlp) = &sinks[0].kind else { panic!("{sinks:?}") };
    let expected =
        [("a".to_owned(), HeaderValue::Plain("b".into())), ("authorization".to_owned(), HeaderValue::Secret(env("K")))];
    assert_eq!(otlp.headers, expected);
}

#[test]
fn an_anchor_takes_the_store_of_a_sink_or_one_of_its_own() {
    let of_sink = config(&logger("{sinks: [{name: a, type: s3, bucket: records}], anchor: {s3: a}}")).policy.audit_logger;
    let own = config(&logger("{anchor: {s3: {bucket: records}, every_seconds: 60}}")).policy.audit_logger;
    assert!(of_sink.anchor.is_some());
    assert_eq!(of_sink.anchor, own.anchor);
    assert!(own.sinks.is_empty());
    let journal = config(&logger("{anchor: {system_log: journald}}")).policy.audit_logger.anchor;
    assert_eq!(journal.map(|anchor| anchor.system_log), Some(Some(SystemLog::Journald)));
    assert_eq!(codes(&logger("{anchor: {every_seconds: 5}}")), ["E005"]);
}

#[test]
fn what_leaves_this_machine_in_clear_is_pointed_at() {
    for (sink, expected) in [
        ("type: s3, bucket: records, endpoint: 'http://minio.internal'", vec!["W004"]),
        ("type: s3, bucket: records, endpoint: 'http://127.0.0.1:9000'", vec![]),
        ("type: nats, url: 'nats://nats.internal'", vec!["W004"]),
        ("type: nats, url: 'nats://localhost'", vec![]),
        ("type: otlp, endpoint: 'http://collector.internal'", vec!["W004"]),
    ] {
        assert_eq!(codes(&logger(&format!("{{sinks: [{{name: a, {sink}}}]}}"))), expected, "{sink}");
    }
}

#[test]
fn the_other_settings_are_checked_as_before() {
    assert_eq!(codes(&logger("{sinks: [], max_wait_ms: 0}")), ["E007"]);
    assert_eq!(codes(&logger("{sinks: [], max_wait: 5}")), ["E002"]);
    assert_eq!(config(&logger("{sinks: [], max_wait_ms: 7}")).policy.audit_logger.max_wait_ms, 7);
}
