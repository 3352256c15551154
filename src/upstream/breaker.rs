//! The circuit breaker of one target: a target that keeps failing is left alone for a while and comes back through a trial, so
//! that callers do not pay, one timeout each, for what is known already.
//!
//! ```text
//! closed --- threshold failures in a row --> open --- cooldown over --> half-open --- enough trials succeed --> closed
//!    ^                                        | ^                           |
//!    '-- a probe succeeds, and probes alone --' '------- a trial fails -----'
//!        had opened it
//! ```
//!
//! Live traffic is the better witness: a probe shows that the target can be reached, a completion that it can do its work.
//! Hence a probe never clears failures of live traffic, and never decides while a trial is under way.

mod word;

use super::moment::Moment;
use crate::config::CircuitBreaker;
use std::sync::atomic::{AtomicU64, Ordering};
use word::{Phase, Word};

/// Whether requests may go to a target, for people and for metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BreakerState {
    /// Requests go through.
    Closed,
    /// None does.
    Open {
        /// When a request may go through on trial.
        until: Moment,
    },
    /// A few go through on trial.
    HalfOpen,
}

impl BreakerState {
    /// The word used in logs, metrics and on the status page.
    pub fn as_str(self) -> &'static str {
        match self {
            BreakerState::Closed => "closed",
            BreakerState::Open { .. } => "open",
            BreakerState::HalfOpen => "half_open",
        }
    }
}

/// A change of state, for the log line and the metric. An open breaker whose cooldown runs out changes without one: nothing
/// happens at that moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transition {
    /// What it was.
    pub from: BreakerState,
    /// What it is now.
    pub to: BreakerState,
}

/// Leave to send one request. It is neither `Clone` nor `Copy`, because it is handed back exactly once, with the outcome: to
/// [`Breaker::succeeded`], [`Breaker::failed`] or [`Breaker::abandoned`]. A trial that is never handed back keeps its place.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "its outcome has to be reported"]
pub enum Admission {
    /// The breaker is closed, or switched off.
    Normal,
    /// The breaker is half-open, and this request helps to decide.
    Trial(Trial),
}

/// The half-open period that a trial belongs to; once that is over, its report changes nothing.
#[derive(Debug, PartialEq, Eq)]
pub struct Trial {
    generation: u32,
}

/// The state of one target's breaker: one atomic word, changed by compare-and-swap. Nothing else is published with it, so every
/// access is relaxed; a request through a closed breaker costs two loads and no write.
#[derive(Debug, Default)]
pub struct Breaker(AtomicU64);

impl Breaker {
    /// The state at `now`; an open breaker whose cooldown is over is half-open.
    pub fn state(&self, now: Moment) -> BreakerState {
        self.word().at(now).state()
    }

    /// Whether [`Breaker::enter`] would let a request through. Changes nothing.
    pub fn admits(&self, config: &CircuitBreaker, now: Moment) -> bool {
        !config.enabled || self.word().at(now).has_place(config)
    }

    /// Lets one request through, on trial when half-open; `None` when it has to go elsewhere.
    pub fn enter(&self, config: &CircuitBreaker, now: Moment) -> Option<Admission> {
        if !config.enabled {
            return Some(Admission::Normal);
        }
        self.change(|word| {
            let mut word = word.at(now);
            let may = word.has_place(config);
            let admission = match &mut word.phase {
                Phase::HalfOpen { trials, .. } if may => {
                    *trials += 1;
                    Some(Admission::Trial(Trial { generation: word.generation }))
                }
                _ => may.then_some(Admission::Normal),
            };
            (word, admission)
        })
    }

    /// Turns an open breaker whose cooldown is over half-open, and tells one caller of it. Every other method sees it half-open
    /// anyway; this is for those who keep a log.
    pub fn cool(&self, now: Moment) -> Option<Transition> {
        self.change(|word| {
            let after = word.at(now);
            let (from, to) = (word.state(), after.state());
            (after, (from != to).then_some(Transition { from, to }))
        })
    }

    /// The request was answered. Failures in a row are counted anew; enough trials in a row close the breaker.
    pub fn succeeded(&self, config: &CircuitBreaker, admission: Admission, now: Moment) -> Option<Transition> {
        self.report(config, admission, now, |word, on_trial| match (word.phase, on_trial) {
            (Phase::Closed { .. }, false) => word.closed(),
            (Phase::HalfOpen { trials, successes, live }, true) if successes + 1 < word::trials_needed(config) => {
                word.with(Phase::HalfOpen { trials: trials.saturating_sub(1), successes: successes + 1, live })
            }
            (Phase::HalfOpen { .. }, true) => word.closed(),
            _ => word,
        })
    }

    /// The request failed in a way that blames the target. Enough failures in a row open the breaker; one failed trial does.
    pub fn failed(&self, config: &CircuitBreaker, admission: Admission, now: Moment) -> Option<Transition> {
        self.report(config, admission, now, |word, on_trial| match (word.phase, on_trial) {
            (Phase::Closed { live, probes }, false) => word.counted(live + 1, probes, config, now),
            (Phase::HalfOpen { .. }, true) => word.opened(true, config, now),
            _ => word,
        })
    }

    /// The request ended without a verdict on the target: the caller left, or the fault was its own. Frees a trial's place.
    pub fn abandoned(&self, admission: Admission) {
        if let Admission::Trial(trial) = admission {
            self.change(|word| (word.freed(trial.generation), ()));
        }
    }

    /// The outcome of a probe that no caller waits for. A failure counts like that of a request while closed, and opens a
    /// half-open breaker again unless a trial is under way; while open it changes nothing, so that live traffic gets its turn
    /// even where only the probed path is broken. A success takes back the failures of earlier probes and closes a breaker that
    /// they alone had opened, unless a trial is under way: an idle target has no traffic to close it.
    pub fn probed(&self, config: &CircuitBreaker, healthy: bool, now: Moment) -> Option<Transition> {
        self.report(config, Admission::Normal, now, |word, _| match (word.phase, healthy) {
            (Phase::Closed { live, .. }, true) => word.with(Phase::Closed { live, probes: 0 }),
            (Phase::Closed { live, probes }, false) => word.counted(live, probes + 1, config, now),
            (Phase::Open { live: false, .. } | Phase::HalfOpen { trials: 0, live: false, .. }, true) => word.closed(),
            (Phase::HalfOpen { trials: 0, live, .. }, false) => word.opened(live, config, now),
            _ => word,
        })
    }

    /// Applies `step`, told whether the admission is a trial of the present half-open period. A trial of an earlier one changes
    /// nothing, nor does a report to a breaker that was switched off, whose place is freed all the same.
    fn report(
        &self,
        config: &CircuitBreaker,
        admission: Admission,
        now: Moment,
        step: impl Fn(Word, bool) -> Word,
    ) -> Option<Transition> {
        if !config.enabled {
            self.abandoned(admission);
            return None;
        }
        self.change(|word| {
            let word = word.at(now);
            let after = match &admission {
                Admission::Normal => step(word, false),
                Admission::Trial(trial) if trial.generation == word.generation => step(word, true),
                Admission::Trial(_) => word,
            };
            let (from, to) = (word.state(), after.state());
            (after, (from != to).then_some(Transition { from, to }))
        })
    }

    fn word(&self) -> Word {
        Word::decode(self.0.load(Ordering::Relaxed))
    }

    /// Replaces the word by what `step` makes of it, again and again until no one else came between.
    fn change<T>(&self, step: impl Fn(Word) -> (Word, T)) -> T {
        let mut seen = self.0.load(Ordering::Relaxed);
        loop {
            let (word, outcome) = step(Word::decode(seen));
            let wanted = word.encode();
            if wanted == seen {
                return outcome;
            }
            match self.0.compare_exchange_weak(seen, wanted, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return outcome,
                Err(newer) => seen = newer,
            }
        }
    }
}

#[cfg(test)]
mod tests;
