//! Hours of traffic over targets in all weathers, in virtual time: the whole of routing, retries, breakers, parking, quotas, room
//! and hedging at work together, held against what the README promises of it.
//!
//! [`provider`] is the other side, with an account of its own; [`oracle`] keeps its own idea of who may be asked, from outcomes
//! alone; [`world`] drives the real parts between the two as the proxy does; [`verdict`] is what must hold at the end.

mod account;
mod exchange;
mod oracle;
mod provider;
mod race;
mod scenario;
mod verdict;
mod world;

use super::fixture;
use crate::config::{self, Hedge, Providers};
use proptest::prelude::*;
use provider::{Fills, Provider, Tariff, Weather};
use scenario::{Scenario, Tally};
use std::time::Duration;
use world::World;

const MINUTE: Duration = Duration::from_secs(60);

/// Tens of requests a second for a minute out of ten, few in between.
fn rush(now: Duration) -> f64 {
    if (now.as_secs() / 60).is_multiple_of(10) { 30.0 } else { 2.0 }
}

fn scenario(providers: Providers, weather: Vec<Provider>, until: Duration, seed: u64) -> Scenario {
    Scenario { providers, weather, until, rate: rush, leaving: 0.03, tokens: 100, seed }
}

fn fair(base: u64) -> Provider {
    Provider::new(Vec::new(), None, Duration::from_millis(base))
}

/// Runs, and says what it came to.
fn run(scenario: Scenario, settled: Option<Duration>) -> Tally {
    let (tally, ..) = World::run(scenario, settled);
    assert_eq!(tally.arrived, tally.answered + tally.refused + tally.failed, "{tally:?}");
    tally
}

#[test]
fn three_hours_of_storms_are_served_by_the_one_target_that_stands() {
    use Weather::*;
    let storm = |offset: u64| {
        let kinds = [Down, Fair, Flapping, Gone, HalfDown, Breaking, Silent, Unavailable(MINUTE), RateLimited(None), Fair];
        let at = |n: usize| MINUTE * (10 * n as u32 + 5) + Duration::from_secs(offset);
        Provider::new(kinds.into_iter().enumerate().map(|(n, weather)| (at(n), weather)).collect(), None, MINUTE / 600)
    };
    let tally = run(scenario(fixture::providers(3), vec![storm(0), storm(90), fair(100)], 180 * MINUTE, 1), Some(120 * MINUTE));
    assert_eq!((tally.refused, tally.failed), (0, 0), "{tally:?}");
    assert_eq!(tally.calm[1..], [0, 0], "ordered: the first one is back");
}

#[test]
fn when_nothing_can_be_asked_callers_are_told_at_once_when_to_come_back() {
    let outage = |weather| Provider::new(vec![(3 * MINUTE, weather), (6 * MINUTE, Weather::Fair)], None, MINUTE / 600);
    let gone = [Weather::Down, Weather::Gone, Weather::Unavailable(45 * MINUTE / 60)].map(outage);
    let limited = [20, 50].map(|seconds| outage(Weather::RateLimited(Some(Duration::from_secs(seconds)))));
    for weather in [Vec::from(gone), Vec::from(limited)] {
        let mut providers = fixture::providers(weather.len());
        providers.fallback.max_fallback_attempts = 10;
        let tally = run(scenario(providers, weather, 10 * MINUTE, 2), Some(8 * MINUTE));
        assert!(tally.refused > 300 && tally.failed < tally.refused / 4, "{tally:?}");
    }
}

/// What a gateway knows of an account is one answer old. Where the count starts again on the minute, no more requests are refused
/// in a minute than were under way in it; where it fills bit by bit, and traffic wants several times as much, one in five.
#[test]
fn quotas_are_kept_to_by_the_providers_own_account() {
    for (fills, says_when) in [Fills::OnTheMinute, Fills::Steadily].into_iter().flat_map(|fills| [(fills, true), (fills, false)])
    {
        let metered = |tokens| Some(Tariff { tokens, fills, says_when });
        let provider = |tariff| Provider::new(Vec::new(), tariff, Duration::from_millis(300));
        let weather = vec![provider(metered(15_000)), provider(metered(30_000)), provider(None)];
        let tally = run(Scenario { rate: |_| 20.0, ..scenario(fixture::providers(3), weather, 20 * MINUTE, 3) }, None);
        assert_eq!((tally.refused, tally.failed), (0, 0), "{tally:?}");
        let kept = match fills {
            Fills::OnTheMinute => tally.excess.iter().all(|excess| *excess <= 0),
            Fills::Steadily => tally.over_quota.iter().zip(&tally.asked).all(|(over, asked)| over * 5 <= *asked),
        };
        assert!(kept, "{fills:?}, says when: {says_when}: {tally:?}");
        assert!(tally.asked.iter().all(|asked| *asked > 1_000), "each is used: {tally:?}");
    }
}

#[test]
fn slow_targets_are_raced_within_the_budget() {
    let slow = |delay| Provider::new(vec![(5 * MINUTE, Weather::Slow(delay)), (25 * MINUTE, Weather::Fair)], None, MINUTE / 600);
    let mut providers = fixture::providers(3);
    providers.routing.hedge = Some(Hedge { after: Duration::from_millis(400), max_ratio: 0.2 });
    let weather = vec![slow(Duration::from_secs(3)), fair(100), slow(Duration::from_secs(40))];
    let tally = run(scenario(providers, weather, 30 * MINUTE, 4), Some(27 * MINUTE));
    assert!(tally.failed == 0 && tally.overtaken > 50, "{tally:?}");
}

#[test]
fn after_the_storm_every_strategy_shares_out_as_before() {
    use config::Strategy::*;
    for strategy in [RoundRobin, WeightedRoundRobin, LeastConnections, Random, LowestLatency, HighestThroughput] {
        let mut providers = fixture::providers(3);
        providers.routing.strategy = strategy;
        providers.targets.iter_mut().zip([1.0, 2.0, 5.0]).for_each(|(target, weight)| target.weight = weight);
        let storm = |base, weather| {
            let weather = vec![(4 * MINUTE, weather), (8 * MINUTE, Weather::Fair)];
            Provider::new(weather, None, Duration::from_millis(base))
        };
        let weather = vec![storm(100, Weather::Down), storm(200, Weather::Silent), storm(400, Weather::Breaking)];
        let tally = run(scenario(providers, weather, 45 * MINUTE, 5), Some(15 * MINUTE));
        let expected = match strategy {
            WeightedRoundRobin => [0.125, 0.25, 0.625],
            // One in ten explores.
            LowestLatency => [0.9, 0.05, 0.05],
            // They write equally fast.
            _ => [1.0 / 3.0; 3],
        };
        let slack = if matches!(strategy, RoundRobin | WeightedRoundRobin) { 0.001 } else { 0.03 };
        let all: u64 = tally.calm.iter().sum();
        let near = |(count, share): (&u64, f64)| (*count as f64 / all as f64 - share).abs() < slack;
        assert!(tally.calm.iter().zip(expected).all(near), "{strategy:?}: {tally:?}");
    }
}

/// Weather that lasts from a minute to five, and clears after a quarter of an hour.
fn climate() -> impl Strategy<Value = (Provider, Option<u32>)> {
    use Weather::*;
    let seconds = Duration::from_secs;
    let kinds = vec![
        Fair,
        Down,
        HalfDown,
        Gone,
        Flapping,
        Silent,
        Breaking,
        Slow(seconds(2)),
        Slow(seconds(29)),
        RateLimited(None),
        RateLimited(Some(seconds(1))),
        RateLimited(Some(seconds(40))),
        Unavailable(seconds(50)),
    ];
    let changes = prop::collection::vec((1u32..=5, prop::sample::select(kinds)), 0..4);
    let fills = prop::sample::select(vec![Fills::OnTheMinute, Fills::Steadily]);
    let tariff = prop::option::weighted(0.3, (2_000u64..20_000, fills, any::<bool>()));
    (changes, tariff, 50u64..1_000, prop::option::weighted(0.3, 1u32..8)).prop_map(|(changes, tariff, base, room)| {
        let mut at = Duration::ZERO;
        let mut forecast = Vec::new();
        for (minutes, weather) in changes {
            forecast.push((at, weather));
            at += minutes * MINUTE;
        }
        forecast.push((at, Fair));
        let tariff = tariff.map(|(tokens, fills, says_when)| Tariff { tokens, fills, says_when });
        (Provider::new(forecast, tariff, Duration::from_millis(base)), room)
    })
}

/// Settings of every kind, over as many targets.
fn settings(count: usize) -> impl Strategy<Value = Providers> {
    use config::Strategy::*;
    let strategies = vec![Ordered, RoundRobin, WeightedRoundRobin, LeastConnections, Random, LowestLatency, HighestThroughput];
    let hedge = prop::option::of((50u64..3_000, 0.01..0.5f64));
    let breaker = (1u32..8, 1u64..90, 1u32..4);
    (prop::sample::select(strategies), hedge, breaker, 0u32..4, 1u64..2_000, 2u64..40).prop_map(
        move |(strategy, hedge, (threshold, cooldown, successes), retries, base, timeout)| {
            let mut providers = fixture::providers(count);
            providers.routing.strategy = strategy;
            providers.routing.hedge = hedge.map(|(after, max_ratio)| Hedge { after: Duration::from_millis(after), max_ratio });
            providers.circuit_breaker.consecutive_failure_threshold = threshold;
            providers.circuit_breaker.cooldown = Duration::from_secs(cooldown);
            providers.circuit_breaker.half_open_successes = successes;
            providers.retry_policy.max_retries = retries;
            providers.retry_policy.backoff.base = Duration::from_millis(base);
            providers.fallback.max_fallback_attempts = 10;
            providers.targets.iter_mut().for_each(|target| target.timeout = Duration::from_secs(timeout));
            providers
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn every_promise_holds_in_any_weather_under_any_settings(
        (climates, providers) in prop::collection::vec(climate(), 1..5).prop_flat_map(|climates| {
            let count = climates.len();
            (Just(climates), settings(count))
        }),
        seed in any::<u64>(),
    ) {
        let mut providers = providers;
        let (weather, rooms): (Vec<_>, Vec<_>) = climates.into_iter().unzip();
        providers.targets.iter_mut().zip(rooms).for_each(|(target, room)| target.max_concurrency = room);
        // The last trial in bad weather may take all its time, and costs another cooldown.
        let settled = 17 * MINUTE + providers.circuit_breaker.cooldown + providers.targets[0].timeout;
        let mut scenario = scenario(providers, weather, settled + MINUTE, seed);
        scenario.rate = |now| if (now.as_secs() / 60).is_multiple_of(5) { 12.0 } else { 1.5 };
        run(scenario, Some(settled));
    }
}
