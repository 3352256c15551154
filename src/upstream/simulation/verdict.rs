//! What must hold of a target that is chosen, of an exchange when it ends, of the targets when the weather has cleared, and of both when all is over.

use super::exchange::Exchange;
use super::world::World;
use crate::config::Strategy;
use crate::upstream::breaker::BreakerState;
use crate::upstream::pass::Pass;
use crate::upstream::{Moment, State};
use std::time::Duration;

impl World {
    /// The first choice for a request: not one whose last word was that it has no room, while another one has.
    pub(super) fn chosen(&mut self, target: usize, tokens: u64) {
        let fits = self.accounts[target].about_fits(tokens, self.now);
        assert!(
            fits || !self.others(target, tokens),
            "t{target} asked at {:?} though it said it had no quota left: {:?}",
            self.now,
            self.accounts
        );
        if self.settled.is_some_and(|settled| self.now > settled) {
            self.tally.calm[target] += 1;
        }
    }

    /// Whether another target may be asked, and has room and quota.
    pub(super) fn others(&self, target: usize, tokens: u64) -> bool {
        let could = |other| self.oracle.may_be_asked(other, self.now) && self.accounts[other].fits(tokens, self.now);
        (0..self.accounts.len()).any(|other| other != target && could(other))
    }

    /// An exchange is over. It was answered if any target was sound and in fair weather all the while.
    pub(super) fn bury(&mut self, mut it: Exchange) {
        self.call_off(&mut it);
        if let Some((sighting, _)) = it.current.take() {
            self.oracle.dropped(sighting, self.now);
        }
        let tries = it.plan.attempts().len();
        assert!(tries == it.left || tries + 1 == it.left, "{} attempts left, {tries} are recorded", it.left);
        if it.answered {
            self.tally.answered += 1;
            return;
        }
        self.tally.failed += 1;
        let served_all_along = |target: usize| {
            let config = &self.scenario.providers.targets[target];
            let unlimited = config.max_concurrency.is_none() && !self.scenario.weather[target].has_tariff();
            unlimited
                && self.scenario.weather[target].was_fair(it.arrived, self.now)
                && [it.arrived, self.now].iter().all(|at| self.oracle.is_sound(target, *at))
                && self.oracle.targets[target].turned < it.arrived
        };
        let missed = (0..self.router.targets.len()).find(|target| served_all_along(*target));
        assert_eq!(missed, None, "failed at {:?} after {:?}: {:?}", self.now, self.now - it.arrived, it.plan.attempts());
    }

    /// The last bad weather is long enough over: whoever is asked at all is closed, and whoever is not may be.
    pub(super) fn all_are_back(&mut self) {
        for (index, target) in self.router.targets.iter().enumerate() {
            if self.scenario.weather[index].has_tariff() {
                continue;
            }
            let state = target.state(Moment::at(self.instant()));
            let spreads = self.scenario.providers.routing.strategy != Strategy::Ordered;
            let back = state == State::Healthy || state == State::HalfOpen && !spreads;
            assert!(back, "t{index} is {state:?} at {:?}", self.now);
            assert!(
                self.oracle.may_be_asked(index, self.now) || self.scenario.providers.targets[index].max_concurrency.is_some()
            );
        }
    }

    /// Nothing is under way, and no trial has kept its place: every breaker lets in what it should, and closes.
    pub(super) fn all_places_are_free(&self) {
        for target in &self.router.targets {
            let capacity = &target.standing.capacity;
            assert_eq!((capacity.in_flight(), capacity.waiting(), self.queue.waiting()), (0, 0, 0), "{}", target.id);
            let later = Moment::at(self.instant()) + Duration::from_secs(24 * 60 * 60);
            let trials = target.circuit_breaker.half_open_successes.min(target.max_concurrency.unwrap_or(u32::MAX));
            let mut passes: Vec<Pass> = (0..trials).map(|_| Pass::ask(target, later).expect("a place")).collect();
            passes.iter_mut().for_each(|pass| pass.succeeded(later));
            drop(passes);
            for _ in trials..target.circuit_breaker.half_open_successes {
                Pass::ask(target, later).expect("a place").succeeded(later);
            }
            assert_eq!(target.standing.breaker.state(later), BreakerState::Closed, "{}", target.id);
        }
    }
}
