//! Which target is asked first: the block `providers.routing`.

use super::durations::{milliseconds, seconds};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// In which order targets are tried.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Routing {
    /// How the next target is chosen.
    pub strategy: Strategy,
    /// Target ids that come first, in this order; the others follow as they are listed.
    #[schemars(length(max = 1000))]
    pub order: Vec<String>,
    /// Use these targets alone; empty means all.
    #[schemars(length(max = 1000))]
    pub only: Vec<String>,
    /// Never use these targets.
    #[schemars(length(max = 1000))]
    pub ignore: Vec<String>,
    /// Whether other targets than the first may be used at all.
    pub allow_fallbacks: bool,
    /// How far back `lowest_latency` and `highest_throughput` look, in seconds.
    #[serde(rename = "window_seconds", with = "seconds")]
    #[schemars(with = "u32", range(min = 1, max = 86400))]
    pub window: Duration,
    /// Answers a target must have given within the window before its pace counts; until then targets take turns.
    // At most what a target remembers: more could never be reached.
    #[schemars(range(min = 1, max = 100))]
    pub min_sample_count: u32,
    /// Share of requests, 0 to 1, that `lowest_latency` and `highest_throughput` send to another target than the best, so that
    /// one that got better is noticed.
    #[schemars(range(min = 0, max = 1))]
    pub exploration_ratio: f64,
    /// Asks a second target when the first is slow to begin, and keeps whichever begins first; off unless given.
    pub hedge: Option<Hedge>,
}

impl Default for Routing {
    fn default() -> Self {
        Self {
            strategy: Strategy::Ordered,
            order: Vec::new(),
            only: Vec::new(),
            ignore: Vec::new(),
            allow_fallbacks: true,
            window: Duration::from_secs(300),
            min_sample_count: 5,
            exploration_ratio: 0.1,
            hedge: None,
        }
    }
}

impl Routing {
    /// Whether requests may go to the target of this id: `only` and `ignore` applied.
    pub fn uses(&self, id: &str) -> bool {
        (self.only.is_empty() || self.only.iter().any(|only| only == id)) && !self.ignore.iter().any(|ignored| ignored == id)
    }
}

/// How the next target is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// The first live target of the list.
    #[default]
    Ordered,
    /// The one whose answers begin soonest: the least median time to the first token.
    LowestLatency,
    /// The one that writes fastest: the highest median of answer tokens per second.
    HighestThroughput,
    /// Each in turn.
    RoundRobin,
    /// Each in turn, as often as its `weight` says.
    WeightedRoundRobin,
    /// The one with the fewest requests in flight.
    LeastConnections,
    /// Any.
    Random,
}

impl Strategy {
    /// The strategy as a configuration spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Strategy::Ordered => "ordered",
            Strategy::LowestLatency => "lowest_latency",
            Strategy::HighestThroughput => "highest_throughput",
            Strategy::RoundRobin => "round_robin",
            Strategy::WeightedRoundRobin => "weighted_round_robin",
            Strategy::LeastConnections => "least_connections",
            Strategy::Random => "random",
        }
    }

    /// Whether it compares targets by the pace of their recent answers.
    pub fn measures(self) -> bool {
        matches!(self, Strategy::LowestLatency | Strategy::HighestThroughput)
    }
}

/// A second request for one that is slow to be answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Hedge {
    /// Milliseconds without a first byte after which the next target is asked too.
    #[serde(rename = "after_ms", with = "milliseconds")]
    #[schemars(with = "u32", range(min = 1, max = 600_000))]
    pub after: Duration,
    /// Hedged requests are at most this share of all, above 0 and up to 0.5: when everything is slow, load must not double.
    #[serde(default = "one_in_twenty")]
    #[schemars(range(max = 0.5), extend("exclusiveMinimum" = 0))]
    pub max_ratio: f64,
}

fn one_in_twenty() -> f64 {
    0.05
}
