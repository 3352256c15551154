//! What a whole configuration means and what is said of broken ones. Each file of `conf/invalid` has a snapshot of its
//! diagnostics, exactly as a person sees them.

use super::*;
use proptest::prelude::*;
use std::path::PathBuf;
use std::time::Duration;

/// The smallest configuration, with room for one more key of its target and for more keys at the end.
pub(super) fn minimal(target: &str, rest: &str) -> String {
    format!(
        "pack: {{name: a, version: 1.0.0, enabled: true}}\npolicies: {{chain: [audit-logger]}}\n\
         providers:\n  targets:\n    - {{id: a, provider: cerebras{target}}}\n{rest}"
    )
}

pub(super) fn config(text: &str) -> Config {
    parse("c.yaml", text).unwrap_or_else(|faults| panic!("{}", shown(&faults))).config
}

pub(super) fn codes(text: &str) -> Vec<&'static str> {
    match parse("c.yaml", text) {
        Ok(loaded) => loaded.warnings.iter().map(|fault| fault.code.as_str()).collect(),
        Err(faults) => faults.iter().map(|fault| fault.code.as_str()).collect(),
    }
}

fn shown(faults: &[Diagnostic]) -> String {
    faults.iter().map(Diagnostic::to_string).collect::<Vec<_>>().join("\n")
}

fn files(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    assert!(!files.is_empty());
    files
}

#[test]
fn every_example_loads_without_a_warning() {
    for path in files("conf/examples").into_iter().chain(files("conf")) {
        let loaded = load(&path).unwrap_or_else(|faults| panic!("{}", shown(&faults)));
        assert!(loaded.warnings.is_empty(), "{}", shown(&loaded.warnings));
    }
}

#[test]
fn every_broken_file_is_explained() {
    let mut settings = insta::Settings::clone_current();
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    for path in files("conf/invalid") {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&path).unwrap();
        let faults = match parse(&name, &text) {
            Ok(loaded) => loaded.warnings,
            Err(faults) => faults,
        };
        assert!(faults.iter().any(|fault| name.starts_with(fault.code.as_str())), "{name} does not show its code");
        settings.bind(|| insta::assert_snapshot!(name.trim_end_matches(".yaml"), shown(&faults)));
    }
}

#[test]
fn every_code_has_a_file_that_shows_it() {
    let mut shown: Vec<&str> = files("conf/invalid")
        .iter()
        .flat_map(|path| codes(&std::fs::read_to_string(path).unwrap()))
        .chain(["E018"]) // a file that cannot be read is no file
        .collect();
    shown.sort_unstable();
    shown.dedup();
    assert_eq!(shown, Code::ALL.iter().map(|code| code.as_str()).collect::<Vec<_>>());
}

#[test]
fn no_diagnostic_shows_a_secret() {
    let path = files("conf/invalid").into_iter().find(|path| path.ends_with("E009-secret-in-clear.yaml")).unwrap();
    let faults = load(&path).unwrap_err();
    for secret in ["not-a-real-key", "notarealkey"] {
        assert!(!shown(&faults).contains(secret), "{}", shown(&faults));
        assert!(!serde_json::to_string(&faults).unwrap().contains(secret));
    }
    let broken = parse("c.yaml", "providers: [{id: a, api_key: not-a-real-key").unwrap_err();
    assert!(!shown(&broken).contains("not-a-real-key"), "{}", shown(&broken));
}

#[test]
fn the_smallest_configuration_has_every_default() {
    let config = config(&minimal("", ""));
    let target = &config.providers.targets[0];
    assert_eq!(target.base_url.to_string(), "https://api.cerebras.ai/v1");
    assert_eq!(target.secret, Some(SecretRef::Env("CEREBRAS_API_KEY".into())));
    assert_eq!((target.api_key_header.as_str(), target.api_key_prefix.as_str()), ("Authorization", "Bearer "));
    assert_eq!((target.timeout, target.stream_timeout), (Duration::from_secs(30), Duration::from_secs(30)));
    assert_eq!(target.connect_timeout, Duration::from_secs(2));
    assert_eq!((target.model.as_deref(), target.include_usage, target.http2), (None, true, true));
    assert_eq!(target.health_probe.endpoint, "/v1/models");
    assert_eq!(target.health_probe.interval, Duration::from_secs(30));
    assert_eq!((target.weight, target.max_concurrency), (1.0, None));
    assert_eq!(config.providers.routing, Routing::default());
    assert!(!config.providers.fallback.enabled);
    assert_eq!(config.providers.fallback.mid_stream, MidStream::Error);
    assert_eq!(config.providers.circuit_breaker, CircuitBreaker::default());
    assert_eq!(config.providers.retry_policy, RetryPolicy::default());
    assert_eq!(config.providers.queue, Queue::default());
    assert_eq!(config.policy, PolicyBlocks::default());
    assert_eq!(config.size_limits, SizeLimits::default());
    assert_eq!(config.policies.chain, [ChainEntry { kind: Kind::AuditLogger, when: When::default() }]);
}

#[test]
fn two_targets_fall_back_unless_told_otherwise() {
    let second = "    - {id: b, provider: openai, model: gpt-4o}\n";
    assert!(config(&minimal("", second)).providers.fallback.enabled);
    let off = format!("{second}  fallback: {{enabled: false}}\n");
    assert!(!config(&minimal("", &off)).providers.fallback.enabled);
    let block = format!("{second}  fallback: {{max_fallback_attempts: 1}}\n");
    let fallback = config(&minimal("", &block)).providers.fallback;
    assert!(fallback.enabled);
    assert_eq!((fallback.max_fallback_attempts, fallback.triggers.as_slice()), (1, &Trigger::DEFAULT[..]));
}

#[test]
fn the_model_of_the_shorthand_is_pinned() {
    let text = minimal("", "").replace("provider: cerebras", "provider: 'openrouter:chat:meta/llama@3:free', timeout_seconds: 7");
    let target = config(&text).providers.targets.remove(0);
    assert_eq!(target.model.as_deref(), Some("meta/llama@3:free"));
    assert_eq!(target.stream_timeout, Duration::from_secs(7), "as timeout_seconds unless given");
    assert_eq!(target.provider.to_string(), "openrouter:chat:meta/llama@3:free");
}

#[test]
fn both_spellings_of_the_detection_settings_mean_the_same() {
    let chain = |block: &str| {
        let rest = format!("policy: {{prompt-injection: {block}}}\n");
        config(&minimal("", &rest).replace("[audit-logger]", "[prompt-injection, audit-logger]")).policy.prompt_injection
    };
    let settings = "{embedding_threshold: 0.5, attack_patterns: [abc]}";
    assert_eq!(chain(settings), chain(&format!("{{detection: {settings}}}")));
    assert_eq!(chain(settings).embedding_threshold, 0.5);
}

#[test]
fn an_empty_block_is_a_block_with_every_default() {
    let text = minimal("", "policy:\n  audit-logger:\nsize_limits:\n");
    assert_eq!(config(&text), config(&minimal("", "")));
}

#[test]
fn conditions_are_kept_with_lower_case_header_names() {
    let text = minimal("", "").replace("[audit-logger]", "[pii-detector: {when: {header: {X-Team-Id: A}}}, audit-logger]");
    let chain = config(&text).policies.chain;
    assert_eq!(chain[0].kind, Kind::PiiDetector);
    assert_eq!(chain[0].when.headers.get("x-team-id").map(String::as_str), Some("A"));
}

#[test]
fn words_of_yaml_1_1_are_never_taken_for_values() {
    for (value, right) in [("yes", false), ("on", false), ("True", true), ("true", true), ("'true'", false), ("1", false)] {
        assert_eq!(codes(&minimal(&format!(", http2: {value}"), "")).is_empty(), right, "{value}");
    }
    for (value, right) in [("017", false), ("0o17", true), ("0x1F", true), ("1_000", false), ("60:00", false), ("+5", true)] {
        assert_eq!(codes(&minimal(&format!(", timeout_seconds: {value}"), "")).is_empty(), right, "{value}");
    }
    assert_eq!(config(&minimal(", timeout_seconds: 0o17", "")).providers.targets[0].timeout, Duration::from_secs(15));
}

#[test]
fn faults_of_every_step_are_reported_together() {
    let text = minimal(", base_url: nowhere, colour: red, http2: maybe", "policy: {pii-detector: {detect_patterns: ['(']}}\n");
    assert_eq!(codes(&text), ["E013", "E002", "E004", "E014"]);
}

#[test]
fn a_file_beyond_the_bound_is_refused_unread() {
    assert_eq!(codes(&minimal("", &"# padding\n".repeat(120_000))), ["E019"]);
    assert_eq!(codes(&minimal("", &format!("x: [{}]\n", "1,".repeat(110_000)))), ["E019"]);
}

#[test]
fn a_file_of_nothing_but_faults_is_cheap() {
    let keys: String = (0..40_000).map(|number| format!("k{number}: 0, ")).collect();
    let faults = parse("c.yaml", &format!("{{{keys}}}")).unwrap_err();
    assert_eq!(faults.len(), MOST_DIAGNOSTICS);
    assert!(faults.iter().all(|fault| fault.excerpt.len() <= 120));
}

#[test]
fn an_empty_file_is_told_what_it_needs() {
    assert_eq!(codes(""), ["E004"]);
    assert_eq!(codes("{}"), ["E005", "E005", "E005"]);
}

#[test]
fn free_space_is_an_amount_or_a_share() {
    let free = |value: &str| {
        config(&minimal("", &format!("policy: {{audit-logger: {{min_free: {value}}}}}\n"))).policy.audit_logger.min_free
    };
    assert_eq!(free("2GiB"), MinFree { percent: 0, bytes: 2 << 30 });
    assert_eq!(free("4096"), MinFree { percent: 0, bytes: 4096 });
    assert_eq!(free("10%").on_disk_of(1000), 100);
    assert_eq!(MinFree::default().on_disk_of(10 << 30), 1 << 30, "the larger of the two");
    assert_eq!(MinFree::default().on_disk_of(100 << 30), 5 << 30, "the larger of the two");
}

#[test]
fn the_documented_defaults_are_in_the_published_schema() {
    let schema = json_schema();
    let target = &schema["$defs"]["TargetDocument"]["properties"];
    assert_eq!(target["timeout_seconds"]["default"], 30);
    assert_eq!(schema["$defs"]["AuditLoggerDocument"]["properties"]["retention_days"]["default"], 365);
    let breaker = &schema["$defs"]["CircuitBreaker"]["properties"]["cooldown_seconds"];
    assert_eq!((&breaker["type"], &breaker["default"], &breaker["minimum"]), (&"integer".into(), &30.into(), &1.into()));
    assert_eq!(schema["$defs"]["RetryPolicy"]["properties"]["backoff"]["default"]["base_ms"], 100);
    assert_eq!(schema["$defs"]["SinkDocument"]["oneOf"][0]["additionalProperties"], false);
    assert!(!schema.to_string().contains("\"x-"), "our own keywords are not published");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_text_makes_the_reader_panic(text in "[-a-z0-9:{}\\[\\]&*!#|>'\",?% \t\n\u{e9}\u{202e}]{0,120}") {
        let _ = parse("c.yaml", &text).map_err(|faults| shown(&faults));
    }

    #[test]
    fn a_configuration_with_one_mistyped_place_never_makes_the_reader_panic(
        at in 0usize..2000, drop in 0usize..4, insert in "[-:{}\\[\\]&*!|>'\",a0 \n]{0,3}"
    ) {
        let text: Vec<char> = include_str!("../../conf/examples/06-routing-and-fallback.yaml").chars().collect();
        let at = at.min(text.len());
        let after = (at + drop).min(text.len());
        let text: String = text[..at].iter().copied().chain(insert.chars()).chain(text[after..].iter().copied()).collect();
        let _ = parse("c.yaml", &text).map_err(|faults| shown(&faults));
    }

    #[test]
    fn a_scalar_means_the_same_to_both_readers(text in "[-+0-9a-fxobnulTRUE._~]{1,12}") {
        let (tree, faults) = tree::build(&text);
        if let (Some(tree), true, Ok(value)) = (tree, faults.is_empty(), serde_yaml::from_str::<serde_yaml::Value>(&text)) {
            prop_assert_eq!(tree.to_yaml(), Some(value));
        }
    }

    #[test]
    fn a_configuration_cut_anywhere_is_never_taken_for_a_whole_one_with_another_meaning(cut in 0usize..700) {
        let text = include_str!("../../conf/examples/02-fallback.yaml");
        let text: String = text.chars().take(cut).collect();
        if let Ok(loaded) = parse("c.yaml", &text) {
            prop_assert_eq!(loaded.config.providers.targets.len(), 2);
        }
    }
}
