//! Whatever becomes of an attempt, its breaker, its parking and its room hear of it once.

use super::*;
use crate::upstream::breaker::BreakerState;
use crate::upstream::fixture;
use proptest::prelude::*;

const NOW: Moment = Moment::from_millis(1_000);

/// One target with one place, whose breaker opens at the second failure for a second.
fn target(half_open_successes: u32) -> Arc<Target> {
    let mut providers = fixture::providers(1);
    providers.targets[0].max_concurrency = Some(half_open_successes);
    providers.circuit_breaker.consecutive_failure_threshold = 2;
    providers.circuit_breaker.cooldown = Duration::from_secs(1);
    providers.circuit_breaker.half_open_successes = half_open_successes;
    fixture::targets(&providers).remove(0)
}

fn ask(target: &Arc<Target>, now: Moment) -> Pass {
    Pass::ask(target, now).unwrap_or_else(|why| panic!("{why:?}"))
}

/// Half-open from the returned moment on.
fn opened(target: &Arc<Target>) -> Moment {
    (0..2).for_each(|_| ask(target, NOW).failed(Failure::Connect, None, NOW));
    let until = NOW + Duration::from_secs(1);
    assert_eq!(Pass::ask(target, NOW).err(), Some(NotNow::Open(until)));
    until
}

/// What can become of an attempt.
#[derive(Debug, Clone, Copy)]
enum Fate {
    Dropped,
    Answered,
    AnsweredAndDropped,
    Failed(Failure, Option<u64>),
    AnsweredAndFailed(Failure),
}

fn fate() -> impl Strategy<Value = Fate> {
    let failure = || prop::sample::select(Failure::ALL.to_vec());
    prop_oneof![
        Just(Fate::Dropped),
        Just(Fate::Answered),
        Just(Fate::AnsweredAndDropped),
        (failure(), prop::option::of(1u64..50)).prop_map(|(failure, pause)| Fate::Failed(failure, pause)),
        failure().prop_map(Fate::AnsweredAndFailed),
    ]
}

fn meet(mut pass: Pass, fate: Fate, now: Moment) {
    match fate {
        Fate::Dropped => {}
        Fate::AnsweredAndDropped => pass.answers(now),
        Fate::Answered => {
            pass.answers(now);
            pass.succeeded(now);
            pass.succeeded(now);
        }
        Fate::Failed(failure, pause) => pass.failed(failure, pause.map(Duration::from_millis), now),
        Fate::AnsweredAndFailed(failure) => {
            pass.answers(now);
            pass.failed(failure, None, now);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn no_fate_of_any_attempt_costs_a_place_or_a_trial(
        fates in prop::collection::vec((fate(), 0u64..1_500), 1..40),
        trials in 1u32..4,
    ) {
        let (target, mut now) = (target(trials), NOW);
        for (fate, later) in fates {
            now = now + Duration::from_millis(later);
            if let Ok(pass) = Pass::ask(&target, now) {
                meet(pass, fate, now);
            }
            prop_assert_eq!(target.standing.capacity.in_flight(), 0);
        }
        // Half-open or closed by then: it lets in as many at once as it should, and they close it.
        now = now + Duration::from_secs(2);
        let mut passes: Vec<Pass> = (0..trials).map(|_| ask(&target, now)).collect();
        prop_assert_eq!(Pass::ask(&target, now).is_err(), true);
        passes.iter_mut().for_each(|pass| pass.succeeded(now));
        prop_assert_eq!(target.standing.breaker.state(now), BreakerState::Closed);
    }

    #[test]
    fn a_failure_counts_once_and_only_when_it_blames_the_target(failure in prop::sample::select(Failure::ALL.to_vec())) {
        let target = target(1);
        ask(&target, NOW).failed(failure, None, NOW);
        prop_assert!(target.is_open(NOW).is_ok(), "one failure of two");
        ask(&target, NOW).failed(failure, None, NOW);
        prop_assert_eq!(target.is_open(NOW).is_err(), failure.blames_target());
    }

    #[test]
    fn a_target_is_parked_by_a_failure_that_parks_and_names_a_time(
        failure in prop::sample::select(Failure::ALL.to_vec()),
        pause in prop::option::of(1u64..100_000),
    ) {
        let target = target(1);
        ask(&target, NOW).failed(failure, pause.map(Duration::from_millis), NOW);
        let parked = target.standing.parking.parked(NOW);
        let expected = failure.parks().zip(pause).map(|(cause, pause)| (NOW + Duration::from_millis(pause), cause));
        prop_assert_eq!(parked, expected);
    }
}

#[test]
fn a_trial_has_succeeded_with_its_first_byte_and_counts_as_any_failure_when_it_breaks_off() {
    let target = target(1);
    let now = opened(&target);
    let mut trial = ask(&target, now);
    assert!(Pass::ask(&target, now).is_err(), "one at a time");
    trial.answers(now);
    assert_eq!(target.standing.breaker.state(now), BreakerState::Closed);
    trial.failed(Failure::Broken, None, now);
    drop(trial);
    assert!(target.is_open(now).is_ok(), "one failure of two");
    ask(&target, now).failed(Failure::Broken, None, now);
    assert!(target.is_open(now).is_err());
}

#[test]
fn a_trial_whose_caller_leaves_makes_room_for_the_next() {
    let target = target(1);
    let now = opened(&target);
    drop(ask(&target, now));
    ask(&target, now).succeeded(now);
    assert_eq!(target.standing.breaker.state(now), BreakerState::Closed);
}

#[test]
fn a_target_both_open_and_parked_names_the_later_end() {
    for (pause, expected) in [
        (500, NotNow::Open(NOW + Duration::from_secs(1))),
        (5_000, NotNow::Parked(NOW + Duration::from_secs(5), Cause::Unavailable)),
    ] {
        let target = target(1);
        let (mut first, mut second) = (ask(&target, NOW), None);
        first.failed(Failure::ServerError(503), None, NOW);
        drop(first);
        second.get_or_insert(ask(&target, NOW)).failed(Failure::ServerError(503), Some(Duration::from_millis(pause)), NOW);
        assert_eq!(target.is_open(NOW), Err(expected));
    }
}

#[test]
fn a_place_that_was_waited_for_is_given_back_when_the_target_closed_meanwhile() {
    let target = target(1);
    let place = target.standing.capacity.enter(target.max_concurrency).unwrap();
    target.standing.parking.park(NOW + Duration::from_secs(1), Cause::RateLimited);
    assert!(Pass::with_place(&target, place, NOW).is_err());
    assert_eq!(target.standing.capacity.in_flight(), 0);
}
