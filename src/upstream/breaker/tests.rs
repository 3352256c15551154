//! The rules of the breaker one by one, and under threads; `model` holds it against a plain account of itself.

mod model;

use super::*;
use proptest::prelude::*;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

const START: Moment = Moment::from_millis(1_000);

fn config(threshold: u32, half_open_successes: u32, cooldown: u64) -> CircuitBreaker {
    let cooldown = Duration::from_millis(cooldown);
    CircuitBreaker { enabled: true, consecutive_failure_threshold: threshold, cooldown, half_open_successes }
}

fn after(millis: u64) -> Moment {
    START + Duration::from_millis(millis)
}

/// A breaker of threshold 1 that a live failure opened at `START` for 10 ms.
fn opened(half_open_successes: u32) -> (Breaker, CircuitBreaker) {
    let (breaker, config) = (Breaker::default(), config(1, half_open_successes, 10));
    let opened = breaker.failed(&config, Admission::Normal, START);
    assert_eq!(opened, Some(Transition { from: BreakerState::Closed, to: BreakerState::Open { until: after(10) } }));
    (breaker, config)
}

#[test]
fn a_target_that_keeps_failing_is_left_alone_until_a_trial_succeeds() {
    let (breaker, config) = opened(1);
    assert_eq!(breaker.enter(&config, after(9)), None);
    assert_eq!(breaker.state(after(10)), BreakerState::HalfOpen);
    let trial = breaker.enter(&config, after(10)).expect("a trial");
    assert!(!breaker.admits(&config, after(10)), "one trial at a time");
    let closed = breaker.succeeded(&config, trial, after(11));
    assert_eq!(closed, Some(Transition { from: BreakerState::HalfOpen, to: BreakerState::Closed }));
    assert_eq!(breaker.enter(&config, after(11)), Some(Admission::Normal));
}

#[test]
fn a_failed_trial_opens_again_for_a_whole_cooldown() {
    let (breaker, config) = opened(1);
    let trial = breaker.enter(&config, after(50)).expect("a trial");
    let reopened = breaker.failed(&config, trial, after(60));
    assert_eq!(reopened, Some(Transition { from: BreakerState::HalfOpen, to: BreakerState::Open { until: after(70) } }));
}

#[test]
fn a_caller_who_leaves_makes_room_for_the_next_trial() {
    let (breaker, config) = opened(1);
    let trial = breaker.enter(&config, after(10)).expect("a trial");
    breaker.abandoned(trial);
    assert!(breaker.admits(&config, after(10)));
    assert_eq!(breaker.state(after(10)), BreakerState::HalfOpen);
}

#[test]
fn a_late_report_of_an_earlier_trial_changes_nothing() {
    let (breaker, config) = opened(2);
    let [late, fails] = [10, 10].map(|at| breaker.enter(&config, after(at)).expect("a trial"));
    assert!(breaker.failed(&config, fails, after(11)).is_some());
    let now = after(30);
    let _under_way = breaker.enter(&config, now).expect("a trial of the next period");
    let before = breaker.word();
    assert_eq!(breaker.failed(&config, late, now), None);
    assert_eq!(breaker.word(), before);
}

#[test]
fn requests_that_left_before_it_opened_change_nothing_any_more() {
    let (breaker, config) = opened(1);
    for now in [after(5), after(20)] {
        let state = breaker.state(now);
        assert_eq!(breaker.succeeded(&config, Admission::Normal, now), None);
        assert_eq!(breaker.failed(&config, Admission::Normal, now), None);
        assert_eq!(breaker.state(now), state);
    }
}

#[test]
fn a_breaker_that_is_switched_off_never_opens_and_frees_what_was_on_trial() {
    let (breaker, on) = opened(1);
    let off = CircuitBreaker { enabled: false, ..on.clone() };
    let trial = breaker.enter(&on, after(10)).expect("a trial");
    assert!(breaker.admits(&off, after(10)));
    assert_eq!(breaker.enter(&off, after(10)), Some(Admission::Normal));
    assert_eq!(breaker.failed(&off, trial, after(10)), None);
    assert!(breaker.admits(&on, after(10)), "its place is free");
    let fresh = Breaker::default();
    for _ in 0..10 {
        assert_eq!(fresh.failed(&off, Admission::Normal, START).or(fresh.probed(&off, false, START)), None);
    }
    assert_eq!(fresh.state(START), BreakerState::Closed);
}

#[test]
fn a_probe_closes_what_probes_alone_have_opened() {
    let (breaker, config) = (Breaker::default(), config(2, 1, 10));
    assert_eq!(breaker.probed(&config, false, START), None);
    assert!(breaker.probed(&config, false, START).is_some(), "two failed probes open it");
    assert_eq!(breaker.probed(&config, true, after(1)).map(|t| t.to), Some(BreakerState::Closed), "before its cooldown is over");
}

#[test]
fn a_probe_does_not_speak_for_completions() {
    let (breaker, config) = (Breaker::default(), config(2, 1, 10));
    assert_eq!(breaker.failed(&config, Admission::Normal, START), None);
    assert_eq!(breaker.probed(&config, true, START), None);
    assert!(breaker.failed(&config, Admission::Normal, START).is_some(), "the failure before the probe still counts");
    for now in [after(1), after(20)] {
        assert_eq!(breaker.probed(&config, true, now), None);
        assert_ne!(breaker.state(now), BreakerState::Closed);
    }
    let trial = breaker.enter(&config, after(20)).expect("a trial");
    assert_eq!(breaker.probed(&config, false, after(20)), None, "the trial decides");
    breaker.abandoned(trial);
    assert!(breaker.probed(&config, false, after(20)).is_some(), "nobody else does");
}

proptest! {
    #[test]
    fn a_word_is_what_was_written(
        generation in 0..1_u32 << 20,
        counts in (0..1_u32 << 16, 0..1_u32 << 16),
        live: bool,
        until in 1..1_u64 << 41,
    ) {
        for phase in [
            Phase::Closed { live: counts.0, probes: counts.1 },
            Phase::Open { until: Moment::from_millis(until), live },
            Phase::HalfOpen { trials: counts.0, successes: counts.1, live },
        ] {
            let word = Word { generation, phase };
            prop_assert_eq!(Word::decode(word.encode()), word);
        }
    }

    #[test]
    fn no_config_makes_it_panic(
        threshold: u32,
        trials: u32,
        millis: u64,
        seconds: u64,
        steps in prop::collection::vec(0..4_u8, 0..40),
    ) {
        let config = CircuitBreaker { cooldown: Duration::from_secs(seconds), ..config(threshold, trials, 0) };
        let (breaker, now) = (Breaker::default(), Moment::from_millis(millis));
        for step in steps {
            match (step, breaker.enter(&config, now)) {
                (0, Some(admission)) => drop(breaker.succeeded(&config, admission, now)),
                (1, Some(admission)) => breaker.abandoned(admission),
                (2, _) => drop(breaker.probed(&config, false, now)),
                (_, admission) => drop(breaker.failed(&config, admission.unwrap_or(Admission::Normal), now)),
            }
        }
    }
}

#[test]
fn threads_never_have_more_trials_under_way_than_places() {
    const THREADS: u64 = 4;
    const ROUNDS: u64 = 5_000;
    let (breaker, config) = (Breaker::default(), config(2, 2, 3));
    let clock = AtomicU64::new(1);
    // One count for each half-open period; each takes a failed request.
    let under_way: Vec<AtomicU32> = (0..=THREADS * ROUNDS).map(|_| AtomicU32::new(0)).collect();
    let start = std::sync::Barrier::new(THREADS as usize);
    let hammer = &|seed: u64| {
        start.wait();
        for round in 0..ROUNDS {
            let now = Moment::from_millis(clock.fetch_add(1, Ordering::Relaxed));
            let Some(admission) = breaker.enter(&config, now) else { continue };
            if let Admission::Trial(trial) = &admission {
                let count = &under_way[trial.generation as usize];
                assert!(count.fetch_add(1, Ordering::SeqCst) < config.half_open_successes, "more trials than places");
                std::thread::yield_now();
                count.fetch_sub(1, Ordering::SeqCst);
            }
            match (round + seed) % 5 {
                0 => breaker.abandoned(admission),
                1 | 2 => drop(breaker.succeeded(&config, admission, now)),
                _ => drop(breaker.failed(&config, admission, now)),
            }
        }
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|seed| scope.spawn(move || hammer(seed))).collect();
        threads.into_iter().for_each(|thread| thread.join().expect("no thread failed"));
    });
    let word = breaker.word();
    assert!(word.generation > 10, "it went round many times");
    assert!(!matches!(word.phase, Phase::HalfOpen { trials: 1.., .. }), "every place is free again: {word:?}");
}

#[test]
fn that_it_cooled_down_is_told_once() {
    let (breaker, _) = opened(1);
    assert_eq!(breaker.cool(after(9)), None);
    let (from, to) = (BreakerState::Open { until: after(10) }, BreakerState::HalfOpen);
    assert_eq!(breaker.cool(after(10)), Some(Transition { from, to }));
    assert_eq!(breaker.cool(after(10)), None);
}
