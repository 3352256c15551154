//! What a simulation is of, and what it comes to.

use super::provider::Provider;
use crate::config::Providers;
use std::time::Duration;

/// What a simulation is of.
pub(super) struct Scenario {
    pub(super) providers: Providers,
    pub(super) weather: Vec<Provider>,
    pub(super) until: Duration,
    /// Requests a second.
    pub(super) rate: fn(Duration) -> f64,
    /// Share of callers that leave.
    pub(super) leaving: f64,
    /// Tokens of a request, at most.
    pub(super) tokens: u64,
    pub(super) seed: u64,
}

/// What is counted for the end.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) arrived: u64,
    pub(super) answered: u64,
    pub(super) refused: u64,
    pub(super) failed: u64,
    pub(super) shed: u64,
    pub(super) overtaken: u64,
    /// By target: first choices since the last bad weather and its aftermath.
    pub(super) calm: Vec<u64>,
    /// By target: everything it was asked.
    pub(super) asked: Vec<u64>,
    /// By target: what its own account refused of it while another target could serve.
    pub(super) over_quota: Vec<u64>,
    /// By target: the most of those within a minute, less the most requests that were under way in that minute.
    pub(super) excess: Vec<i64>,
}
