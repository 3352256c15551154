//! The blocks around the targets as they are written and as they arrive; what breaks them has its files in `conf/invalid`.

use crate::config::tests::{codes, config, minimal};
use crate::config::{
    AssistantPrefix, Backoff, BackoffStrategy, CircuitBreaker, Hedge, MidStream, Queue, RetryPolicy, Routing, Strategy,
};
use proptest::prelude::{ProptestConfig, any, prop_assert_eq, proptest};
use std::time::Duration;

#[test]
fn every_key_of_the_blocks_around_the_targets_arrives() {
    let second = "    - {id: b, provider: openai, weight: 2.5, max_concurrency: 8}\n";
    let blocks = "  routing: {strategy: lowest_latency, window_seconds: 60, min_sample_count: 9, exploration_ratio: 0,
            hedge: {after_ms: 250, max_ratio: 0.5}}
  fallback: {mid_stream: continue}
  circuit_breaker: {enabled: false, consecutive_failure_threshold: 2, cooldown_seconds: 7, half_open_successes: 3}
  retry_policy: {max_retries: 0, backoff: {strategy: fixed, base_ms: 1}}
  queue: {max_waiting: 0, timeout_ms: 60000}\n";
    let providers = config(&minimal(", assistant_prefix: prefix", &format!("{second}{blocks}"))).providers;
    let (seconds, milliseconds) = (Duration::from_secs, Duration::from_millis);
    let expected = Routing {
        strategy: Strategy::LowestLatency,
        window: seconds(60),
        min_sample_count: 9,
        exploration_ratio: 0.0,
        hedge: Some(Hedge { after: milliseconds(250), max_ratio: 0.5 }),
        ..Routing::default()
    };
    assert_eq!(providers.routing, expected);
    assert_eq!(providers.fallback.mid_stream, MidStream::Continue);
    let expected =
        CircuitBreaker { enabled: false, consecutive_failure_threshold: 2, cooldown: seconds(7), half_open_successes: 3 };
    assert_eq!(providers.circuit_breaker, expected);
    let backoff = Backoff { strategy: BackoffStrategy::Fixed, base: milliseconds(1) };
    assert_eq!(providers.retry_policy, RetryPolicy { max_retries: 0, backoff });
    assert_eq!(providers.queue, Queue { max_waiting: 0, timeout: seconds(60) });
    assert_eq!((providers.targets[1].weight, providers.targets[1].max_concurrency), (2.5, Some(8)));
    assert_eq!(providers.targets[0].assistant_prefix, AssistantPrefix::Prefix);
}

#[test]
fn a_hedge_needs_its_delay_and_has_a_ratio() {
    let with = |hedge: &str| minimal("", &format!("    - {{id: b, provider: openai}}\n  routing: {{hedge: {hedge}}}\n"));
    assert_eq!(config(&with("{after_ms: 300}")).providers.routing.hedge.unwrap().max_ratio, 0.05);
    assert_eq!(codes(&with("{max_ratio: 0.1}")), ["E005"]);
    assert_eq!(config(&with("")).providers.routing.hedge, None);
}

#[test]
fn what_a_provider_refuses_and_how_it_goes_on_is_known_unless_written() {
    let target = |keys: &str| config(&minimal("", "").replace("provider: cerebras", keys)).providers.targets.remove(0);
    assert!(target("provider: cerebras").drop_fields.contains(&"store".to_owned()));
    assert!(target("provider: openai").drop_fields.contains(&"reasoning_format".to_owned()));
    assert!(target("provider: groq").drop_fields.is_empty());
    assert!(target("provider: cerebras, drop_fields: []").drop_fields.is_empty(), "`[]` switches it off");
    assert_eq!(target("provider: groq, drop_fields: [seed]").drop_fields, ["seed"]);
    for (keys, how) in [
        ("provider: cerebras", AssistantPrefix::None),
        ("provider: mistral", AssistantPrefix::Prefix),
        ("provider: mistral, assistant_prefix: none", AssistantPrefix::None),
        ("provider: vllm", AssistantPrefix::ContinueFinalMessage),
        ("provider: sglang", AssistantPrefix::ContinueFinalMessage),
        ("provider: deepseek", AssistantPrefix::None),
        ("provider: deepseek, base_url: 'https://api.deepseek.com/beta'", AssistantPrefix::Prefix),
        ("provider: deepseek, base_url: 'https://api.deepseek.com/beta/v1'", AssistantPrefix::Prefix),
        ("provider: cerebras, assistant_prefix: last_message", AssistantPrefix::LastMessage),
    ] {
        assert_eq!(target(keys).assistant_prefix, how, "{keys}");
    }
}

#[test]
fn a_setting_the_strategy_uses_draws_no_warning() {
    let with =
        |routing: &str| codes(&minimal(", weight: 2", &format!("    - {{id: b, provider: openai}}\n  routing: {routing}\n")));
    assert_eq!(with("{strategy: weighted_round_robin}"), [""; 0]);
    assert_eq!(with("{strategy: ordered, order: [b]}"), ["W010"], "the weight alone");
    assert_eq!(with("{strategy: lowest_latency, window_seconds: 9, min_sample_count: 1, exploration_ratio: 1}"), ["W010"]);
    assert_eq!(with("{strategy: weighted_round_robin, hedge: {after_ms: 29999}}"), [""; 0]);
    assert_eq!(with("{strategy: weighted_round_robin, hedge: {after_ms: 30000}}"), ["W010"], "the timeout comes first");
    assert_eq!(with("{strategy: weighted_round_robin, allow_fallbacks: false, hedge: {after_ms: 1}}"), ["W010"]);
}

#[test]
fn every_word_of_a_strategy_is_the_one_it_is_shown_as() {
    let all = [
        Strategy::Ordered,
        Strategy::LowestLatency,
        Strategy::HighestThroughput,
        Strategy::RoundRobin,
        Strategy::WeightedRoundRobin,
        Strategy::LeastConnections,
        Strategy::Random,
    ];
    for strategy in all {
        let text = minimal("", &format!("  routing: {{strategy: {}}}\n", strategy.as_str()));
        assert_eq!(config(&text).providers.routing.strategy, strategy);
    }
}

#[test]
fn with_no_target_left_nothing_else_is_said() {
    let text = minimal("", "  routing: {ignore: [a], hedge: {after_ms: 1}}\n  fallback: {mid_stream: continue}\n");
    assert_eq!(codes(&text), ["E006"]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_weight_is_taken_exactly_when_it_is_above_0_and_up_to_a_million(weight in any::<f64>(), scaled in -0.1f64..1.1) {
        for weight in [weight, scaled * 1e6] {
            let text = minimal(&format!(", weight: {weight:e}"), "  routing: {strategy: weighted_round_robin}\n");
            prop_assert_eq!(codes(&text).is_empty(), weight > 0.0 && weight <= 1e6, "{}", weight);
        }
    }

    #[test]
    fn durations_arrive_in_the_unit_of_their_key(seconds in 1u32..=86400, milliseconds in 1u32..=60_000) {
        let blocks = format!("  circuit_breaker: {{cooldown_seconds: {seconds}}}\n  queue: {{timeout_ms: {milliseconds}}}\n");
        let providers = config(&minimal("", &blocks)).providers;
        prop_assert_eq!(providers.circuit_breaker.cooldown, Duration::from_secs(seconds.into()));
        prop_assert_eq!(providers.queue.timeout, Duration::from_millis(milliseconds.into()));
    }
}
