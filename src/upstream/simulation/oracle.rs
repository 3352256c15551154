//! What the README promises of targets that fail, kept account of from outcomes alone: it never looks at a breaker, a parking or a
//! capacity, only at what was asked and what came of it.

use crate::config::{CircuitBreaker, Providers};
use crate::upstream::{Failure, Unroutable};
use std::time::Duration;

/// What callers are told to wait for a trial.
const A_SECOND: Duration = Duration::from_secs(1);

/// Watches every attempt on every target.
#[derive(Debug)]
pub(super) struct Oracle {
    rules: CircuitBreaker,
    pub(super) targets: Vec<Watched>,
    max_ratio: Option<f64>,
    pub(super) requests: u64,
    pub(super) hedges: u64,
    /// How often anything changed in who may be asked.
    pub(super) turns: u64,
}

/// One target, from outside.
#[derive(Debug)]
pub(super) struct Watched {
    mode: Mode,
    /// Failures in a row while closed: of traffic, and of probes.
    failures: (u32, u32),
    /// Traffic had a part in the failures that closed it to traffic last.
    by_traffic: bool,
    period: u32,
    parked: Option<(Duration, Failure)>,
    room: Option<u32>,
    pub(super) under_way: u32,
    /// When it was last closed to traffic, or let back in.
    pub(super) turned: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Mode {
    Closed,
    Open { until: Duration },
    HalfOpen { trials: u32, successes: u32 },
}

/// One attempt, as the oracle saw it begin.
#[derive(Debug)]
pub(super) struct Sighting {
    pub(super) target: usize,
    /// The half-open period it is a trial of.
    trial: Option<u32>,
    /// A trial that has had its say.
    told: bool,
}

impl Oracle {
    pub(super) fn new(providers: &Providers) -> Self {
        let watched = |config: &crate::config::TargetConfig| Watched {
            mode: Mode::Closed,
            failures: (0, 0),
            by_traffic: false,
            period: 0,
            parked: None,
            room: config.max_concurrency,
            under_way: 0,
            turned: Duration::ZERO,
        };
        Self {
            rules: providers.circuit_breaker.clone(),
            targets: providers.targets.iter().map(watched).collect(),
            max_ratio: providers.routing.hedge.as_ref().map(|hedge| hedge.max_ratio),
            requests: 0,
            hedges: 0,
            turns: 0,
        }
    }

    /// A request arrived that may be hedged.
    pub(super) fn request(&mut self) {
        self.requests += 1;
    }

    /// A hedge leaves.
    pub(super) fn hedge(&mut self) {
        self.hedges += 1;
        let most = self.max_ratio.unwrap_or(0.0) * self.requests as f64;
        assert!(self.hedges as f64 <= most, "{} hedges for {} requests", self.hedges, self.requests);
    }

    /// An attempt leaves for a target: it must not, while the target is to be left alone.
    pub(super) fn leaves(&mut self, target: usize, now: Duration) -> Sighting {
        self.tick(target, now);
        let most = self.rules.half_open_successes;
        let one = &mut self.targets[target];
        assert!(!one.is_parked(now), "t{target} asked at {now:?} while parked: {one:?}");
        let trial = match &mut one.mode {
            Mode::Closed => None,
            Mode::Open { until } => panic!("t{target} asked at {now:?} while open until {until:?}"),
            Mode::HalfOpen { trials, .. } => {
                *trials += 1;
                assert!(*trials <= most, "t{target} has {trials} trials under way at {now:?}, and may have {most}");
                self.turns += 1;
                Some(one.period)
            }
        };
        one.under_way += 1;
        assert!(one.room.is_none_or(|room| one.under_way <= room), "t{target} has {} of {:?} places", one.under_way, one.room);
        Sighting { target, trial, told: false }
    }

    /// The first byte of an answer: a trial succeeds with it.
    pub(super) fn answers(&mut self, sighting: &mut Sighting, now: Duration) {
        if let Some(period) = sighting.trial.take() {
            sighting.told = true;
            self.succeeds(sighting.target, Some(period), now);
        }
    }

    /// An answer came to its end.
    pub(super) fn ends(&mut self, sighting: Sighting, now: Duration) {
        self.targets[sighting.target].under_way -= 1;
        if !sighting.told {
            self.succeeds(sighting.target, sighting.trial, now);
        }
    }

    /// The caller left, or another attempt was faster.
    pub(super) fn dropped(&mut self, sighting: Sighting, now: Duration) {
        self.turns += 1;
        self.tick(sighting.target, now);
        let one = &mut self.targets[sighting.target];
        one.under_way -= 1;
        one.freed(sighting.trial, now);
    }

    /// An attempt failed.
    pub(super) fn fails(&mut self, sighting: Sighting, failure: Failure, pause: Option<Duration>, now: Duration) {
        let Sighting { target, trial, .. } = sighting;
        self.turns += 1;
        self.tick(target, now);
        let rules = self.rules.clone();
        let one = &mut self.targets[target];
        one.under_way -= 1;
        if let (Failure::RateLimit | Failure::ServerError(503 | 529), Some(pause)) = (failure, pause)
            && one.parked.is_none_or(|(until, _)| until < now + pause)
        {
            one.parked = Some((now + pause, failure));
            one.turned = now;
        }
        // 429 is a matter of the minute, not of the target.
        if failure == Failure::RateLimit {
            return one.freed(trial, now);
        }
        match (one.mode, trial) {
            (Mode::Closed, None) => {
                one.failures.0 += 1;
                one.judge(&rules, now);
            }
            (Mode::HalfOpen { .. }, Some(period)) if period == one.period => one.open(true, &rules, now),
            _ => {}
        }
    }

    /// A probe's outcome: it counts while closed, lets a target back in that probes alone had closed, and is never asked where
    /// traffic knows better.
    pub(super) fn probed(&mut self, target: usize, healthy: bool, now: Duration) {
        self.turns += 1;
        self.tick(target, now);
        let rules = self.rules.clone();
        let one = &mut self.targets[target];
        match (one.mode, healthy) {
            (Mode::Closed, true) => one.failures.1 = 0,
            (Mode::Closed, false) => {
                one.failures.1 += 1;
                one.judge(&rules, now);
            }
            (Mode::Open { .. } | Mode::HalfOpen { trials: 0, .. }, true) if !one.by_traffic => one.close(now),
            (Mode::HalfOpen { trials: 0, .. }, false) => one.open(one.by_traffic, &rules, now),
            _ => {}
        }
    }

    /// Whether a target is to be asked like any other.
    pub(super) fn is_sound(&self, target: usize, now: Duration) -> bool {
        self.targets[target].mode == Mode::Closed && !self.targets[target].is_parked(now)
    }

    /// Whether it may be asked, be it on trial.
    pub(super) fn may_be_asked(&self, target: usize, now: Duration) -> bool {
        let one = &self.targets[target];
        self.reopens(target, now) <= now && one.room.is_none_or(|room| one.under_way < room)
    }

    /// A refusal: nothing may be asked, and the time it names is when something may. Returns it, and what [`Oracle::turns`] is as
    /// long as that holds; `None` where a trial is under way, whose end nobody knows.
    pub(super) fn refused(&self, why: Unroutable, now: Duration) -> (Duration, Option<u64>) {
        let again = (0..self.targets.len()).map(|target| self.reopens(target, now)).min().unwrap_or(now);
        assert!(again > now, "refused at {now:?} though a target may be asked: {:?}", self.targets);
        let limited = |one: &Watched| matches!(one.parked, Some((until, Failure::RateLimit)) if until > now && self.breaker_ends(one, now) < until);
        let rate_limited = self.targets.iter().all(limited);
        assert_eq!(why, Unroutable::Closed { retry_after: again - now, rate_limited }, "at {now:?}: {:?}", self.targets);
        let guessed = self.targets.iter().any(|one| self.breaker_ends(one, now) == now + A_SECOND);
        (again, (!guessed).then_some(self.turns))
    }

    /// When a target may be asked again; while trials are under way, a second is a guess like any.
    fn reopens(&self, target: usize, now: Duration) -> Duration {
        let one = &self.targets[target];
        self.breaker_ends(one, now).max(one.parked.map_or(Duration::ZERO, |(until, _)| until))
    }

    fn breaker_ends(&self, one: &Watched, now: Duration) -> Duration {
        match one.mode {
            Mode::Closed => Duration::ZERO,
            Mode::Open { until } => until,
            Mode::HalfOpen { trials, .. } if trials < self.rules.half_open_successes => Duration::ZERO,
            Mode::HalfOpen { .. } => now + A_SECOND,
        }
    }

    fn succeeds(&mut self, target: usize, trial: Option<u32>, now: Duration) {
        self.turns += 1;
        self.tick(target, now);
        let needed = self.rules.half_open_successes;
        let one = &mut self.targets[target];
        match (&mut one.mode, trial) {
            (Mode::Closed, None) => one.failures = (0, 0),
            (Mode::HalfOpen { trials, successes }, Some(period)) if period == one.period => {
                *trials -= 1;
                *successes += 1;
                if *successes >= needed {
                    one.close(now);
                }
            }
            _ => {}
        }
    }

    /// An open target whose cooldown is over is half-open.
    fn tick(&mut self, target: usize, now: Duration) {
        let one = &mut self.targets[target];
        if matches!(one.mode, Mode::Open { until } if until <= now) {
            one.period += 1;
            one.mode = Mode::HalfOpen { trials: 0, successes: 0 };
        }
    }
}

impl Watched {
    fn is_parked(&self, now: Duration) -> bool {
        self.parked.is_some_and(|(until, _)| until > now)
    }

    fn judge(&mut self, rules: &CircuitBreaker, now: Duration) {
        if self.failures.0 + self.failures.1 >= rules.consecutive_failure_threshold {
            self.open(self.failures.0 > 0, rules, now);
        }
    }

    fn open(&mut self, by_traffic: bool, rules: &CircuitBreaker, now: Duration) {
        (self.mode, self.failures, self.by_traffic) = (Mode::Open { until: now + rules.cooldown }, (0, 0), by_traffic);
        self.turned = now;
    }

    fn close(&mut self, now: Duration) {
        (self.mode, self.failures, self.turned) = (Mode::Closed, (0, 0), now);
    }

    fn freed(&mut self, trial: Option<u32>, now: Duration) {
        if let Mode::HalfOpen { trials, .. } = &mut self.mode
            && trial == Some(self.period)
        {
            *trials -= 1;
            self.turned = now;
        }
    }
}
