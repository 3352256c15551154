//! Which targets a request may have, and in which order, whatever speaks against each of them.

use super::*;
use crate::config::Providers;
use crate::upstream::pass::Pass;
use crate::upstream::plan::Entry;
use crate::upstream::{Failure, Key, fixture};
use proptest::prelude::*;
use proptest::strategy::Strategy;

/// What is the matter with a target.
#[derive(Debug, Clone, Copy, Default)]
struct Matter {
    other_model: bool,
    full: bool,
    no_quota: bool,
    no_key: bool,
    /// Seconds its breaker is open.
    open: Option<u64>,
    /// Seconds it is parked, and whether by a 429.
    parked: Option<(u64, bool)>,
}

fn matter() -> impl Strategy<Value = Matter> {
    let often = || prop::bool::weighted(0.3);
    let closed = (prop::option::weighted(0.3, 1u64..60), prop::option::weighted(0.3, (1u64..60, any::<bool>())));
    (often(), often(), often(), prop::bool::weighted(0.1), closed).prop_map(
        |(other_model, full, no_quota, no_key, (open, parked))| Matter { other_model, full, no_quota, no_key, open, parked },
    )
}

impl Matter {
    fn is_closed(&self) -> bool {
        self.no_key || self.open.is_some() || self.parked.is_some()
    }

    /// Model first, then room and quota: what would have to refuse this request comes last.
    fn rank(&self) -> (bool, bool) {
        (self.full || self.no_quota, self.other_model)
    }

    /// Seconds until it may be asked, and whether its rate limit alone is the reason.
    fn reopens(&self) -> (u64, bool) {
        let open = self.open.unwrap_or(0);
        let (parked, limited) = self.parked.unwrap_or((0, false));
        (open.max(parked), limited && parked > open)
    }
}

/// A router over targets of which this is the matter; the places that are taken.
fn router(matters: &[Matter], configure: impl FnOnce(&mut Providers), now: Moment) -> (Router, Vec<Pass>) {
    let mut providers = fixture::providers(matters.len());
    providers.circuit_breaker.consecutive_failure_threshold = 1;
    providers.fallback.max_fallback_attempts = 10;
    configure(&mut providers);
    let mut taken = Vec::new();
    let mut target = |(config, matter): (&mut crate::config::TargetConfig, &Matter)| {
        config.max_concurrency = matter.full.then_some(1);
        if matter.other_model {
            config.model = Some("other".into());
        }
        let mut breaker = providers.circuit_breaker.clone();
        breaker.cooldown = Duration::from_secs(matter.open.unwrap_or(1));
        let key = if matter.no_key { Key::Missing("KEY is not set".into()) } else { Key::NotNeeded };
        let target = Arc::new(Target::new(config, key, &breaker));
        if matter.full {
            taken.extend(Pass::ask(&target, now));
        }
        if matter.no_quota {
            let headers = [("x-ratelimit-remaining-requests-minute", "0"), ("x-ratelimit-reset-requests-minute", "30")];
            let headers = headers.map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
            target.standing.quota.learn(&headers.into_iter().collect(), now);
        }
        if matter.open.is_some() {
            let admission = crate::upstream::breaker::Admission::Normal;
            target.standing.breaker.failed(&target.circuit_breaker, admission, now);
        }
        if let Some((seconds, limited)) = matter.parked {
            let cause = if limited { Cause::RateLimited } else { Cause::Unavailable };
            target.standing.parking.park(now + Duration::from_secs(seconds), cause);
        }
        target
    };
    let targets = providers.targets.iter_mut().zip(matters).map(&mut target).collect();
    (Router::new(targets, &providers), taken)
}

/// The order in which a plan asks when each target fails with what only moves on.
fn order(router: &Router, mut plan: Plan, now: Instant) -> Vec<usize> {
    let mut order = Vec::new();
    while let Some(target) = plan.current().cloned() {
        order.extend(router.targets.iter().position(|one| one.id == target.id));
        if !plan.resume(|_| true, now) {
            break;
        }
    }
    order
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn a_plan_has_every_open_target_once_by_model_room_and_quota(
        matters in prop::collection::vec(matter(), 1..7),
        seed in any::<u64>(),
    ) {
        let now = Instant::now();
        let (router, _taken) = router(&matters, |_| {}, Moment::at(now));
        let mut expected: Vec<usize> = (0..matters.len()).filter(|at| !matters[*at].is_closed()).collect();
        expected.sort_by_key(|at| matters[*at].rank());
        match router.route("m", 10, now, &mut Dice::seeded(seed)) {
            Ok(plan) => prop_assert_eq!(order(&router, plan, now), expected),
            Err(_) => prop_assert!(expected.is_empty()),
        }
    }

    #[test]
    fn when_all_are_closed_the_earliest_end_is_told_and_is_true(matters in prop::collection::vec(matter(), 1..7), seed in any::<u64>()) {
        let now = Instant::now();
        let closed = |matter: Matter| Matter { open: matter.open.or(matter.parked.is_none().then_some(7)), full: false, ..matter };
        let matters: Vec<Matter> = matters.into_iter().map(closed).collect();
        let (router, _taken) = router(&matters, |_| {}, Moment::at(now));
        let why = router.route("m", 10, now, &mut Dice::seeded(seed)).err();
        let keyed = || matters.iter().filter(|matter| !matter.no_key).map(Matter::reopens);
        let Some(earliest) = keyed().map(|(seconds, _)| Duration::from_secs(seconds)).min() else {
            prop_assert_eq!(why, Some(Unroutable::NoKey));
            return Ok(());
        };
        let rate_limited = keyed().all(|(_, limited)| limited);
        prop_assert_eq!(why, Some(Unroutable::Closed { retry_after: earliest, rate_limited }));
        let just_before = now + earliest - Duration::from_millis(1);
        prop_assert!(router.route("m", 10, just_before, &mut Dice::seeded(seed)).is_err());
        let mut plan = router.route("m", 10, now + earliest, &mut Dice::seeded(seed)).expect("as it was told");
        prop_assert!(matches!(plan.enter(now + earliest), Entry::Go));
    }

    #[test]
    fn a_plan_is_as_long_as_the_config_allows(count in 1usize..7, most in 0u32..7, allowed in any::<bool>(), seed in any::<u64>()) {
        let configure = |providers: &mut Providers| {
            providers.fallback.max_fallback_attempts = most;
            providers.routing.allow_fallbacks = allowed;
            providers.routing.strategy = crate::config::Strategy::Random;
        };
        let now = Instant::now();
        let (router, _taken) = router(&vec![Matter::default(); count], configure, Moment::at(now));
        let fallbacks = if allowed && count > 1 { most as usize } else { 0 };
        let plan = router.route("m", 10, now, &mut Dice::seeded(seed)).expect("open targets");
        prop_assert_eq!(order(&router, plan, now).len(), count.min(1 + fallbacks));
    }
}

#[test]
fn a_target_on_trial_is_asked_by_one_request_and_no_other() {
    let now = Instant::now();
    let (router, _taken) = router(&[Matter::default(), Matter::default()], |_| {}, Moment::at(now));
    Pass::ask(&router.targets[0], Moment::at(now)).unwrap().failed(Failure::Connect, None, Moment::at(now));
    let later = now + router.targets[0].circuit_breaker.cooldown;
    let first = |plan: &Plan| plan.current().map(|target| target.id.to_string());
    let mut on_trial = router.route("m", 10, later, &mut Dice::seeded(1)).expect("a plan");
    assert_eq!(first(&on_trial).as_deref(), Some("t0"));
    assert!(matches!(on_trial.enter(later), Entry::Go));
    let other = router.route("m", 10, later, &mut Dice::seeded(1)).expect("a plan");
    assert_eq!(first(&other).as_deref(), Some("t1"));
}
