//! The whole state of a breaker in 64 bits, because two atomics could be read halfway between two changes.
//!
//! ```text
//! bits   63..62  61    60..41      40..0
//!        phase   live  generation  closed: live failures (20), probe failures (20)
//!                                  open: until, milliseconds (41, some 69 years)
//!                                  half-open: trials under way (16), successes (16)
//! ```

use super::BreakerState;
use crate::config::CircuitBreaker;
use crate::upstream::moment::Moment;

const COUNT_BITS: u32 = 20;
const COUNT: u32 = (1 << COUNT_BITS) - 1;
const TRIAL_BITS: u32 = 16;
const TRIALS: u32 = (1 << TRIAL_BITS) - 1;
const GENERATION: u32 = (1 << 20) - 1;
const GENERATION_AT: u32 = 41;
const UNTIL: u64 = (1 << GENERATION_AT) - 1;
const LIVE: u64 = 1 << 61;
const PHASE_AT: u32 = 62;

/// The state of a breaker, taken apart. Zero is closed with no failures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Word {
    /// Counts half-open periods, round and round. A cooldown passes between two of them, so that none comes round again while a
    /// trial of its namesake is still under way.
    pub(super) generation: u32,
    pub(super) phase: Phase,
}

/// What a breaker is and what it counts meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Failures since the last success: of live traffic, and of probes since their own last success.
    Closed { live: u32, probes: u32 },
    /// `live`: failures of live traffic had a part in opening it.
    Open { until: Moment, live: bool },
    /// Trials under way and successes in a row.
    HalfOpen { trials: u32, successes: u32, live: bool },
}

/// How many trials have to succeed, which is also how many may be under way at once.
pub(super) fn trials_needed(config: &CircuitBreaker) -> u32 {
    config.half_open_successes.clamp(1, TRIALS)
}

impl Word {
    /// This word once `now` has come: an open breaker whose cooldown is over enters its next half-open period.
    pub(super) fn at(self, now: Moment) -> Self {
        match self.phase {
            Phase::Open { until, live } if until <= now => {
                Self { generation: (self.generation + 1) & GENERATION, phase: Phase::HalfOpen { trials: 0, successes: 0, live } }
            }
            _ => self,
        }
    }

    pub(super) fn state(self) -> BreakerState {
        match self.phase {
            Phase::Closed { .. } => BreakerState::Closed,
            Phase::Open { until, .. } => BreakerState::Open { until },
            Phase::HalfOpen { .. } => BreakerState::HalfOpen,
        }
    }

    /// Whether one more request may go through.
    pub(super) fn has_place(self, config: &CircuitBreaker) -> bool {
        match self.phase {
            Phase::Closed { .. } => true,
            Phase::Open { .. } => false,
            Phase::HalfOpen { trials, .. } => trials < trials_needed(config),
        }
    }

    pub(super) fn with(self, phase: Phase) -> Self {
        Self { phase, ..self }
    }

    pub(super) fn closed(self) -> Self {
        self.with(Phase::Closed { live: 0, probes: 0 })
    }

    pub(super) fn opened(self, live: bool, config: &CircuitBreaker, now: Moment) -> Self {
        let until = Moment::from_millis((now + config.cooldown).as_millis().min(UNTIL));
        self.with(Phase::Open { until, live })
    }

    /// Closed with these failures, or open when they reach the threshold.
    pub(super) fn counted(self, live: u32, probes: u32, config: &CircuitBreaker, now: Moment) -> Self {
        if live.saturating_add(probes) >= config.consecutive_failure_threshold.clamp(1, COUNT) {
            return self.opened(live > 0, config, now);
        }
        self.with(Phase::Closed { live, probes })
    }

    /// One trial of the half-open period `generation` less, if that is still on.
    pub(super) fn freed(self, generation: u32) -> Self {
        match self.phase {
            Phase::HalfOpen { trials, successes, live } if self.generation == generation => {
                self.with(Phase::HalfOpen { trials: trials.saturating_sub(1), successes, live })
            }
            _ => self,
        }
    }

    pub(super) fn decode(word: u64) -> Self {
        // Each part is masked to at most 20 bits before the cast.
        let part = |at: u32, mask: u32| (word >> at) as u32 & mask;
        let live = word & LIVE != 0;
        let phase = match word >> PHASE_AT {
            0 => Phase::Closed { live: part(COUNT_BITS, COUNT), probes: part(0, COUNT) },
            1 => Phase::Open { until: Moment::from_millis(word & UNTIL), live },
            _ => Phase::HalfOpen { trials: part(TRIAL_BITS, TRIALS), successes: part(0, TRIALS), live },
        };
        Self { generation: part(GENERATION_AT, GENERATION), phase }
    }

    pub(super) fn encode(self) -> u64 {
        let pair = |high: u32, low: u32, bits: u32| (u64::from(high) << bits) | u64::from(low);
        let (phase, live, rest) = match self.phase {
            Phase::Closed { live, probes } => (0, false, pair(live, probes, COUNT_BITS)),
            Phase::Open { until, live } => (1, live, until.as_millis()),
            Phase::HalfOpen { trials, successes, live } => (2, live, pair(trials, successes, TRIAL_BITS)),
        };
        (phase << PHASE_AT) | if live { LIVE } else { 0 } | (u64::from(self.generation) << GENERATION_AT) | rest
    }
}
