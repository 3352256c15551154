//! Leave to send one attempt to a target, and the one place where its outcome is told to whatever keeps count.

use super::breaker::{Admission, Transition};
use super::capacity::Place;
use super::moment::Moment;
use super::parking::Cause;
use super::{Failure, Target};
use crate::metrics::METRICS;
use std::sync::Arc;
use std::time::Duration;

/// Why a target is not asked now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotNow {
    /// Its circuit breaker is open, or all its trials are under way; until then.
    Open(Moment),
    /// It is parked until then.
    Parked(Moment, Cause),
    /// It has as many requests under way as it may.
    Full,
}

/// Leave to send one attempt. Dropped without a word, it tells nothing of the target: the caller left.
#[derive(Debug)]
pub struct Pass {
    target: Arc<Target>,
    /// Taken when the outcome is told: it is told once.
    admission: Option<Admission>,
    _place: Place,
}

impl Pass {
    /// Asks for leave.
    ///
    /// # Errors
    /// Why not now.
    pub fn ask(target: &Arc<Target>, now: Moment) -> Result<Self, NotNow> {
        target.is_open(now)?;
        let Some(place) = target.standing.capacity.enter(target.max_concurrency) else { return Err(NotNow::Full) };
        Self::with_place(target, place, now)
    }

    /// As [`Pass::ask`], with a place that was waited for.
    ///
    /// # Errors
    /// The target closed meanwhile.
    pub fn with_place(target: &Arc<Target>, place: Place, now: Moment) -> Result<Self, NotNow> {
        target.is_open(now)?;
        target.cool(now);
        let admission = target.standing.breaker.enter(&target.circuit_breaker, now);
        let Some(admission) = admission else { return Err(NotNow::Open(target.reopens(now))) };
        Ok(Self { target: target.clone(), admission: Some(admission), _place: place })
    }

    /// The target it is for.
    pub fn target(&self) -> &Arc<Target> {
        &self.target
    }

    /// The first byte of an answer is here: enough for a trial, whose end may be minutes away. Everyone else is judged by the end,
    /// or a target that breaks off every stream would never be found out.
    pub fn answers(&mut self, now: Moment) {
        if matches!(self.admission, Some(Admission::Trial { .. })) {
            self.succeeded(now);
        }
    }

    /// The answer came to its end, or shows that the mistake was the caller's.
    pub fn succeeded(&mut self, now: Moment) {
        if let Some(admission) = self.admission.take() {
            self.target.cool(now);
            let turned = self.target.standing.breaker.succeeded(&self.target.circuit_breaker, admission, now);
            self.target.turned(turned, "it answered");
        }
    }

    /// The attempt failed. `retry_after` is what the target said of when to come back: it is parked until then.
    pub fn failed(&mut self, failure: Failure, retry_after: Option<Duration>, now: Moment) {
        if let (Some(cause), Some(pause)) = (failure.parks(), retry_after) {
            self.target.standing.parking.park(now + pause, cause);
            log::warn!("target {}: {}, parked for {pause:?} as it asked", self.target.id, failure.as_str());
        }
        self.target.cool(now);
        let breaker = &self.target.standing.breaker;
        match (self.admission.take(), failure.blames_target()) {
            (Some(admission), true) => {
                let turned = breaker.failed(&self.target.circuit_breaker, admission, now);
                self.target.turned(turned, failure.as_str());
            }
            (Some(admission), false) => breaker.abandoned(admission),
            (None, true) => {
                // A trial that answered and broke off after all counts as any other failure.
                let turned = breaker.failed(&self.target.circuit_breaker, Admission::Normal, now);
                self.target.turned(turned, failure.as_str());
            }
            (None, false) => {}
        }
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        if let Some(admission) = self.admission.take() {
            self.target.standing.breaker.abandoned(admission);
        }
    }
}

impl Target {
    /// Whether it may be asked at all, room aside.
    ///
    /// # Errors
    /// Why not now: where its breaker and its own word both forbid it, whichever does so longer.
    pub fn is_open(&self, now: Moment) -> Result<(), NotNow> {
        let parked = self.standing.parking.parked(now);
        let reopens = (!self.standing.breaker.admits(&self.circuit_breaker, now)).then(|| self.reopens(now));
        match (reopens, parked) {
            (None, None) => Ok(()),
            (Some(reopens), Some((until, _))) if until <= reopens => Err(NotNow::Open(reopens)),
            (_, Some((until, cause))) => Err(NotNow::Parked(until, cause)),
            (Some(reopens), None) => Err(NotNow::Open(reopens)),
        }
    }

    /// Says that its cooldown is over, when it is: to be told before anything else that may change its breaker, which would pass
    /// over that turn in silence.
    pub fn cool(&self, now: Moment) {
        self.turned(self.standing.breaker.cool(now), "its cooldown is over");
    }

    /// A log line and a metric for each turn of its breaker.
    pub fn turned(&self, transition: Option<Transition>, why: &str) {
        let Some(Transition { from, to }) = transition else { return };
        METRICS.breaker_transitions.with_label_values(&[&*self.id, to.as_str()]).inc();
        log::warn!("target {}: circuit breaker {} -> {}: {why}", self.id, from.as_str(), to.as_str());
    }

    /// When its breaker lets traffic through again; while trials are under way, soon.
    fn reopens(&self, now: Moment) -> Moment {
        match self.standing.breaker.state(now) {
            super::breaker::BreakerState::Open { until } => until,
            _ => now + Duration::from_secs(1),
        }
    }
}

#[cfg(test)]
mod tests;
