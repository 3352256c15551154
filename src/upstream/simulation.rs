//! Hours of traffic over targets in all weathers, in virtual time: the whole of routing, retries, breakers, parking, quotas, room
//! and hedging at work together, held against what the README promises of it.
//!
//! [`provider`] is the other side, with an account of its own; [`oracle`] keeps its own idea of who may be asked, from outcomes
//! alone; [`world`] drives the real parts between the two as the proxy does; [`verdict`] is what must hold at the end.

mod account;
mod exchange;
mod oracle;
mod provider;
mod verdict;
mod world;

use super::fixture;
use crate::config::{Hedge, Providers, Strategy};
use proptest::prelude::*;
use provider::{Fills, Provider, Tariff, Weather};
use std::time::Duration;
use world::{Scenario, Tally, World};

const MINUTE: Duration = Duration::from_secs(60);

/// Tens of requests a second for a minute out of ten, few in between.
fn rush(now: Duration) -> f64 {
    if now.as_secs() / 60 % 10 == 0 { 30.0 } else { 2.0 }
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
    let changes = |offset: u64| {
        use Weather::*;
        let kinds = [Down, Fair, Flapping, Gone, HalfDown, Breaking, Silent, Unavailable(MINUTE), RateLimited(None), Fair];
        kinds.into_iter().enumerate().map(|(n, weather)| (MINUTE * (10 * n as u32 + 5) + Duration::from_secs(offset), weather)).collect()
    };
    let weather = vec![Provider::new(changes(0), None, MINUTE / 600), Provider::new(changes(90), None, MINUTE / 600), fair(100)];
    let tally = run(scenario(fixture::providers(3), weather, 180 * MINUTE, 1), Some(120 * MINUTE));
    eprintln!("{tally:?}");
    assert_eq!((tally.refused, tally.failed), (0, 0));
    assert_eq!(tally.calm[1..], [0, 0], "ordered: the first one is back");
}
