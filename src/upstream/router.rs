//! Chooses the targets of each exchange, by what the caller asks for, how the targets stand, and the configured strategy.

use super::Target;
use super::balancer::{Balancer, Candidate};
use super::dice::Dice;
use super::hedge::HedgeBudget;
use super::moment::Moment;
use super::parking::Cause;
use super::pass::NotNow;
use super::plan::{Plan, Rules};
use crate::config::{MidStream, Providers, Strategy};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Every target, and how one is chosen.
#[derive(Debug)]
pub struct Router {
    /// In base order.
    pub targets: Vec<Arc<Target>>,
    /// What follows a failure.
    pub rules: Rules,
    /// What follows a stream that breaks off.
    pub mid_stream: MidStream,
    /// A second target is raced when the first is slow.
    pub hedging: Option<Hedging>,
    strategy: Strategy,
    balancer: Balancer,
    /// Targets tried after the first, at most.
    fallbacks: usize,
    window: Duration,
    min_samples: u32,
}

/// Opt-in racing of a second target.
#[derive(Debug)]
pub struct Hedging {
    /// How long the first target may take to its first byte.
    pub after: Duration,
    /// Bounds the share of requests that are sent twice.
    pub budget: HedgeBudget,
}

/// No target can be asked now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unroutable {
    /// None has its key.
    NoKey,
    /// All are left alone for a while: every breaker is open, or the target asked for it.
    Closed {
        /// Until the first of them may be asked again.
        retry_after: Duration,
        /// Rate limits are the only reason.
        rate_limited: bool,
    },
}

/// What speaks against a target that may be asked: the least of these comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Doubt {
    None,
    /// It has other models than the one asked for.
    OtherModel,
    /// It has no room, or too little quota, for this request.
    Short,
    ShortOfOtherModel,
}

impl Router {
    /// Routes over `targets`, in base order, as the config says.
    pub fn new(targets: Vec<Arc<Target>>, config: &Providers) -> Self {
        let (routing, fallback) = (&config.routing, &config.fallback);
        let falls_back = fallback.enabled && routing.allow_fallbacks;
        let hedging = routing.hedge.as_ref().filter(|_| falls_back && targets.len() > 1);
        Self {
            targets,
            rules: Rules { triggers: fallback.triggers.clone(), retry: config.retry_policy.clone() },
            mid_stream: fallback.mid_stream,
            hedging: hedging.map(|hedge| Hedging { after: hedge.after, budget: HedgeBudget::new(hedge) }),
            strategy: routing.strategy,
            balancer: Balancer::new(routing),
            fallbacks: if falls_back { fallback.max_fallback_attempts as usize } else { 0 },
            window: routing.window,
            min_samples: routing.min_sample_count,
        }
    }

    /// The targets for one exchange: those that serve the model `wanted` in the strategy's order, then the others; those that would
    /// have to refuse this request, by their quota or their room, after those that would not; at most the first and
    /// `max_fallback_attempts` more. A target that is open or parked is not among them. `tokens` is what the request takes of a quota.
    ///
    /// # Errors
    /// No target can be asked now.
    pub fn route(&self, wanted: &str, tokens: u64, now: Instant, dice: &mut Dice) -> Result<Plan, Unroutable> {
        let moment = Moment::at(now);
        let open = self.reach(wanted).filter(|t| t.is_open(moment).is_ok());
        let mut open: Vec<(Doubt, &Arc<Target>)> = open.map(|t| (doubt(t, wanted, tokens, moment), t)).collect();
        let Some(least) = open.iter().map(|(doubt, _)| *doubt).min() else { return Err(self.closed(wanted, moment)) };
        open.sort_by_key(|(doubt, _)| *doubt);
        let best = open.iter().take_while(|(doubt, _)| *doubt == least).count();
        let mut targets: Vec<Arc<Target>> = Vec::with_capacity(open.len());
        if self.strategy == Strategy::Ordered || best == 1 {
            targets.extend(open.iter().map(|(_, target)| (*target).clone()));
        } else {
            let candidates: Vec<Candidate<'_>> = open[..best].iter().map(|(_, target)| self.candidate(target, moment)).collect();
            let mut ranking = Vec::with_capacity(best);
            self.balancer.rank(&candidates, dice, &mut ranking);
            targets.extend(ranking.iter().map(|ranked| open[ranked.index].1.clone()));
            targets.extend(open[best..].iter().map(|(_, target)| (*target).clone()));
        }
        targets.truncate(1 + self.fallbacks);
        Ok(Plan::new(targets, wanted, tokens, now))
    }

    /// The targets a request for this model may come to. Where nothing is fallen back to, a target that cannot serve now is not made
    /// up for by another one: those with the model are all there are and, in a fixed order, the first of them.
    fn reach(&self, wanted: &str) -> impl Iterator<Item = &Arc<Target>> {
        let usable = || self.targets.iter().filter(|t| t.has_key());
        let alone = self.fallbacks == 0;
        let with_model = alone && usable().any(|t| t.serves(wanted));
        let count = if alone && self.strategy == Strategy::Ordered { 1 } else { usize::MAX };
        usable().filter(move |t| !with_model || t.serves(wanted)).take(count)
    }

    /// Why no target can be asked for this model now.
    pub fn closed(&self, wanted: &str, now: Moment) -> Unroutable {
        let mut until: Option<Moment> = None;
        let mut rate_limited = true;
        for target in self.reach(wanted) {
            let (again, limited) = match target.is_open(now) {
                Ok(()) | Err(NotNow::Full) => (now + Duration::from_secs(1), false),
                Err(NotNow::Open(again)) => (again, false),
                Err(NotNow::Parked(again, cause)) => (again, cause == Cause::RateLimited),
            };
            rate_limited &= limited;
            until = Some(until.map_or(again, |until| until.min(again)));
        }
        match until {
            Some(until) => Unroutable::Closed { retry_after: until.saturating_since(now), rate_limited },
            None => Unroutable::NoKey,
        }
    }

    fn candidate<'a>(&self, target: &'a Arc<Target>, now: Moment) -> Candidate<'a> {
        let (standing, pace) = (&target.standing, &target.standing.pace);
        // A median looks through every sample: only the strategy that compares it asks for it.
        let (first_token, throughput) = match self.strategy {
            Strategy::LowestLatency => (pace.median_first_token(self.window, self.min_samples, now), None),
            Strategy::HighestThroughput => (None, pace.median_throughput(self.window, self.min_samples, now)),
            _ => (None, None),
        };
        let in_flight = standing.capacity.in_flight();
        Candidate { turn: &standing.turn, weight: target.weight, in_flight, first_token, throughput }
    }
}

fn doubt(target: &Target, wanted: &str, tokens: u64, now: Moment) -> Doubt {
    let standing = &target.standing;
    let full = target.max_concurrency.is_some_and(|limit| standing.capacity.in_flight() >= limit as usize);
    let short = full || standing.quota.exhausted(tokens, now).is_some();
    match (short, target.serves(wanted)) {
        (false, true) => Doubt::None,
        (false, false) => Doubt::OtherModel,
        (true, true) => Doubt::Short,
        (true, false) => Doubt::ShortOfOtherModel,
    }
}

#[cfg(test)]
mod tests;
