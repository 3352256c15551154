//! A breaker must do, in one atomic word, what this plain account of it does with lists and names.

use super::*;
use std::collections::BTreeSet;

#[derive(Debug, Clone, Copy)]
enum Step {
    Wait(u64),
    Enter,
    Succeed(usize),
    Fail(usize),
    Abandon(usize),
    Probe(bool),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        2 => (0..40_u64).prop_map(Step::Wait),
        6 => Just(Step::Enter),
        2 => any::<usize>().prop_map(Step::Succeed),
        4 => any::<usize>().prop_map(Step::Fail),
        1 => any::<usize>().prop_map(Step::Abandon),
        1 => any::<bool>().prop_map(Step::Probe),
    ];
    prop::collection::vec(step, 0..120)
}

/// What a breaker should be, said at length: which failures it counts and which requests are on trial, by name.
#[derive(Debug)]
enum Model {
    /// For each failure in a row whether it was live traffic's.
    Closed(Vec<bool>),
    Open {
        until: Moment,
        live: bool,
    },
    HalfOpen {
        trials: BTreeSet<usize>,
        successes: u32,
        live: bool,
    },
}

impl Model {
    fn state(&self) -> BreakerState {
        match self {
            Model::Closed(_) => BreakerState::Closed,
            Model::Open { until, .. } => BreakerState::Open { until: *until },
            Model::HalfOpen { .. } => BreakerState::HalfOpen,
        }
    }

    fn cool(&mut self, now: Moment) {
        if let Model::Open { until, live } = *self
            && now >= until
        {
            *self = Model::HalfOpen { trials: BTreeSet::new(), successes: 0, live };
        }
    }

    /// Whether request `name` may go, and on trial.
    fn enter(&mut self, config: &CircuitBreaker, name: usize) -> Option<bool> {
        match self {
            Model::Closed(_) => Some(false),
            Model::HalfOpen { trials, .. } if trials.len() < config.half_open_successes as usize => Some(trials.insert(name)),
            _ => None,
        }
    }

    fn count(&mut self, config: &CircuitBreaker, live: bool, now: Moment) {
        if let Model::Closed(failures) = self {
            failures.push(live);
            if failures.len() >= config.consecutive_failure_threshold as usize {
                *self = Model::Open { until: now + config.cooldown, live: failures.contains(&true) };
            }
        }
    }

    fn probe(&mut self, config: &CircuitBreaker, healthy: bool, now: Moment) {
        match self {
            Model::Closed(failures) if healthy => failures.retain(|live| *live),
            Model::Closed(_) => self.count(config, false, now),
            Model::Open { live: false, .. } if healthy => *self = Model::Closed(Vec::new()),
            Model::HalfOpen { trials, live: false, .. } if healthy && trials.is_empty() => *self = Model::Closed(Vec::new()),
            Model::HalfOpen { trials, live, .. } if !healthy && trials.is_empty() => {
                *self = Model::Open { until: now + config.cooldown, live: *live };
            }
            _ => {}
        }
    }

    /// Request `name` ended; `None` when nothing can be said of the target.
    fn report(&mut self, config: &CircuitBreaker, name: usize, was_trial: bool, good: Option<bool>, now: Moment) {
        match self {
            Model::Closed(failures) if !was_trial && good == Some(true) => failures.clear(),
            Model::Closed(_) if !was_trial && good == Some(false) => self.count(config, true, now),
            Model::HalfOpen { trials, successes, .. } => match (trials.remove(&name), good) {
                (true, Some(true)) if *successes + 1 == config.half_open_successes => *self = Model::Closed(Vec::new()),
                (true, Some(true)) => *successes += 1,
                (true, Some(false)) => *self = Model::Open { until: now + config.cooldown, live: true },
                _ => {}
            },
            _ => {}
        }
    }
}

proptest! {
    #[test]
    fn a_breaker_does_what_its_model_does(threshold in 1..5_u32, trials in 1..4_u32, cooldown in 1..60_u64, steps in steps()) {
        let (breaker, config) = (Breaker::default(), config(threshold, trials, cooldown));
        let (mut model, mut now) = (Model::Closed(Vec::new()), START);
        let mut under_way: Vec<(usize, bool, Admission)> = Vec::new();
        for (name, step) in steps.into_iter().enumerate() {
            if let Step::Wait(millis) = step {
                now = now + Duration::from_millis(millis);
            }
            model.cool(now);
            let before = model.state();
            prop_assert_eq!(breaker.state(now), before);
            let ended = match step {
                Step::Succeed(at) | Step::Fail(at) | Step::Abandon(at) if !under_way.is_empty() => {
                    Some(under_way.swap_remove(at % under_way.len()))
                }
                _ => None,
            };
            let transition = match (step, ended) {
                (Step::Enter, _) => {
                    prop_assert_eq!(breaker.admits(&config, now), matches!(&model, Model::Closed(_)) || {
                        matches!(&model, Model::HalfOpen { trials, .. } if trials.len() < config.half_open_successes as usize)
                    });
                    let (admission, expected) = (breaker.enter(&config, now), model.enter(&config, name));
                    prop_assert_eq!(admission.as_ref().map(|a| *a != Admission::Normal), expected);
                    under_way.extend(admission.zip(expected).map(|(admission, trial)| (name, trial, admission)));
                    None
                }
                (Step::Probe(healthy), _) => {
                    model.probe(&config, healthy, now);
                    breaker.probed(&config, healthy, now)
                }
                (Step::Succeed(_), Some((name, trial, admission))) => {
                    model.report(&config, name, trial, Some(true), now);
                    breaker.succeeded(&config, admission, now)
                }
                (Step::Fail(_), Some((name, trial, admission))) => {
                    model.report(&config, name, trial, Some(false), now);
                    breaker.failed(&config, admission, now)
                }
                (Step::Abandon(_), Some((name, trial, admission))) => {
                    model.report(&config, name, trial, None, now);
                    breaker.abandoned(admission);
                    None
                }
                _ => None,
            };
            let changed = (before != model.state()).then(|| Transition { from: before, to: model.state() });
            prop_assert_eq!(transition, changed);
            prop_assert_eq!(breaker.state(now), model.state());
        }
    }
}
