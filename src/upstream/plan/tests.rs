//! Any script of failures, rivals and answers over any number of targets, against the promise that a plan moves forward only.

use super::*;
use crate::config::Backoff;
use crate::upstream::fixture;
use crate::upstream::parking::Cause;
use proptest::prelude::*;

fn rules(max_retries: u32, triggers: &[Trigger]) -> Rules {
    Rules { triggers: triggers.to_vec(), retry: RetryPolicy { max_retries, backoff: Backoff::default() } }
}

/// A plan over so many targets, and the targets.
fn plan(count: usize, now: Instant) -> (Plan, Vec<Arc<Target>>) {
    let targets = fixture::targets(&fixture::providers(count));
    (Plan::new(targets.clone(), "m", 10, now), targets)
}

fn current(plan: &Plan) -> &str {
    plan.current().map_or("", |target| &target.id)
}

fn in_flight(targets: &[Arc<Target>]) -> Vec<usize> {
    targets.iter().map(|target| target.standing.capacity.in_flight()).collect()
}

fn failures(plan: &Plan) -> Vec<(&str, Option<Failure>)> {
    plan.attempts().iter().map(|attempt| (&*attempt.target, attempt.failure)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn a_plan_moves_forward_only_and_asks_no_target_more_often_than_it_may(
        count in 1usize..6,
        max_retries in 0u32..4,
        script in prop::collection::vec((prop::sample::select(Failure::ALL.to_vec()), prop::option::of(0u64..60), 0u64..9_000), 1..40),
        seed in any::<u64>(),
    ) {
        let (start, mut dice) = (Instant::now(), Dice::seeded(seed));
        let (mut plan, targets) = plan(count, start);
        let rules = rules(max_retries, &Trigger::DEFAULT);
        let (mut now, mut order) = (start, Vec::new());
        for (failure, pause, took) in script {
            let Entry::Go = plan.enter(now) else { break };
            order.push(targets.iter().position(|target| target.id == plan.current().unwrap().id).unwrap());
            now += Duration::from_millis(took);
            let next = plan.failed(failure, pause.map(Duration::from_secs), &rules, now, &mut dice);
            prop_assert_eq!(in_flight(&targets), vec![0; count]);
            match next {
                Next::Retry => {
                    prop_assert!(failure.is_transient());
                    prop_assert!(plan.spent(now) + plan.pause() < targets[0].timeout, "no time is left for it");
                    now += plan.pause();
                }
                Next::Move => prop_assert!(Trigger::DEFAULT.contains(&failure.trigger()) && plan.pause().is_zero()),
                Next::GiveUp => break,
            }
        }
        prop_assert!(order.is_sorted(), "{order:?}");
        prop_assert!(order.chunk_by(|a, b| a == b).all(|tries| tries.len() <= 1 + max_retries as usize), "{order:?}");
        prop_assert_eq!(plan.attempts().len(), order.len());
    }

    #[test]
    fn a_failure_that_is_no_trigger_never_reaches_another_target(failure in prop::sample::select(Failure::ALL.to_vec())) {
        let (now, mut dice) = (Instant::now(), Dice::seeded(1));
        let (mut plan, targets) = plan(2, now);
        let others: Vec<Trigger> = Trigger::DEFAULT.into_iter().filter(|trigger| *trigger != failure.trigger()).collect();
        prop_assert!(matches!(plan.enter(now), Entry::Go));
        let next = plan.failed(failure, None, &rules(1, &others), now, &mut dice);
        prop_assert_eq!(next, if failure.is_transient() { Next::Retry } else { Next::GiveUp });
        prop_assert_eq!(current(&plan), &*targets[0].id);
    }
}

#[test]
fn a_target_that_asks_for_time_gets_it_while_another_one_can_serve() {
    let (now, second) = (Instant::now(), Some(Duration::from_secs(1)));
    let rules = rules(1, &Trigger::DEFAULT);
    let (mut alone, _) = plan(1, now);
    assert!(matches!(alone.enter(now), Entry::Go));
    assert_eq!(alone.failed(Failure::RateLimit, second, &rules, now, &mut Dice::seeded(1)), Next::Retry);
    assert!(alone.pause() >= Duration::from_secs(1));
    assert!(matches!(alone.enter(now), Entry::Closed), "not before");
    let (mut two, _) = plan(2, now);
    assert!(matches!(two.enter(now), Entry::Go));
    assert_eq!(two.failed(Failure::RateLimit, second, &rules, now, &mut Dice::seeded(1)), Next::Move);
    assert_eq!(current(&two), "t1");
}

#[test]
fn a_plan_waits_for_the_first_full_target_only_when_none_behind_it_has_room() {
    let now = Instant::now();
    let mut providers = fixture::providers(3);
    providers.targets.iter_mut().for_each(|target| target.max_concurrency = Some(1));
    let targets = fixture::targets(&providers);
    let mut taken: Vec<Pass> = targets[..2].iter().map(|target| Pass::ask(target, Moment::at(now)).unwrap()).collect();
    let new = || Plan::new(targets.clone(), "m", 10, now);
    let mut first = new();
    assert!(matches!(first.enter(now), Entry::Go));
    assert_eq!(current(&first), "t2");
    let mut second = new();
    assert!(matches!(second.enter(now), Entry::Wait(full) if full[0].id == targets[0].id));
    drop(taken.remove(0));
    second.enter_with(Pass::ask(&targets[0], Moment::at(now)).unwrap(), now);
    assert_eq!((current(&second), in_flight(&targets)), ("t0", vec![1, 1, 1]));
}

#[test]
fn an_attempt_that_needs_another_connection_keeps_its_leave() {
    let now = Instant::now();
    let (mut plan, targets) = plan(2, now);
    for _ in 0..3 {
        assert!(matches!(plan.enter(now), Entry::Go));
        assert_eq!((current(&plan), in_flight(&targets)), ("t0", vec![1, 0]));
    }
}

#[test]
fn a_rival_that_was_first_becomes_the_current_attempt() {
    let now = Instant::now();
    let (mut plan, targets) = plan(3, now);
    assert!(matches!(plan.enter(now), Entry::Go));
    let (at, rival) = plan.rival(now).expect("a rival");
    let pass = Pass::ask(&rival, Moment::at(now)).unwrap();
    plan.overtaken(at, pass, now, now);
    assert_eq!((current(&plan), in_flight(&targets)), ("t1", vec![0, 1, 0]));
    plan.answers(200, now);
    plan.first_byte(now);
    plan.ended(None, now);
    assert_eq!(failures(&plan), [("t0", Some(Failure::Superseded)), ("t1", None)]);
    assert_eq!(in_flight(&targets), [0; 3]);
}

#[test]
fn a_rival_that_failed_is_not_asked_again_by_whoever_comes_after() {
    let now = Instant::now();
    let (mut plan, _) = plan(3, now);
    assert!(matches!(plan.enter(now), Entry::Go));
    let (at, _) = plan.rival(now).expect("a rival");
    plan.rival_ended(at, &"m".into(), Failure::Connect, None, Duration::ZERO);
    assert_eq!(plan.rival(now).map(|(at, _)| at), Some(2));
    assert_eq!(plan.failed(Failure::Tls, None, &rules(3, &Trigger::DEFAULT), now, &mut Dice::seeded(1)), Next::Move);
    assert_eq!(current(&plan), "t2");
    assert_eq!(failures(&plan), [("t1", Some(Failure::Connect)), ("t0", Some(Failure::Tls))]);
}

#[test]
fn an_answer_that_breaks_off_is_one_failed_attempt_and_the_next_target_may_go_on() {
    let now = Instant::now();
    let (mut plan, targets) = plan(3, now);
    assert!(matches!(plan.enter(now), Entry::Go));
    plan.answers(200, now);
    plan.first_byte(now);
    plan.broke(Failure::Broken, None, now);
    assert!(plan.resume(|target| &*target.id == "t2", now));
    assert!(matches!(plan.enter(now), Entry::Go));
    plan.answers(200, now);
    plan.ended(None, now);
    assert_eq!(failures(&plan), [("t0", Some(Failure::Broken)), ("t2", None)]);
    assert!(!plan.resume(|_| true, now), "nothing is behind the last one");
    assert_eq!(in_flight(&targets), [0; 3]);
}

#[test]
fn no_hedge_goes_to_a_target_that_is_short_of_quota_or_left_alone() {
    let now = Instant::now();
    let (mut plan, targets) = plan(4, now);
    assert!(matches!(plan.enter(now), Entry::Go));
    let headers = [("x-ratelimit-remaining-tokens-minute", "5"), ("x-ratelimit-reset-tokens-minute", "30")];
    let headers = headers.map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
    targets[1].standing.quota.learn(&headers.into_iter().collect(), Moment::at(now));
    targets[2].standing.parking.park(Moment::at(now) + Duration::from_secs(9), Cause::Unavailable);
    assert_eq!(plan.rival(now).map(|(at, _)| at), Some(3));
}
