//! The clock and the events of a simulation: requests arrive, are sent where the real router says, and are answered by simulated
//! providers. It drives `Router`, `Plan` and `Pass` as the proxy does, and tells the oracle of every step.

use super::account::Account;
use super::exchange::{Exchange, Race, Waiter};
use super::oracle::{Oracle, Sighting};
use super::provider::{Answer, Ending, Fills, whole_millis};
use super::scenario::{Scenario, Tally};
use crate::upstream::capacity::Queue;
use crate::upstream::fixture;
use crate::upstream::pass::Pass;
use crate::upstream::plan::{Entry, Next};
use crate::upstream::{Dice, Failure, Moment, Router};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::time::{Duration, Instant};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Event {
    /// `refused`: it was before, and is not again if as much has turned since as this says.
    Arrive {
        refused: Option<Option<u64>>,
    },
    Begin(u64),
    Head {
        id: u64,
        serial: u64,
    },
    End {
        id: u64,
        serial: u64,
    },
    Hedge(u64),
    QueueTimeout {
        id: u64,
        serial: u64,
    },
    Leave(u64),
    Probe(usize),
    Settled,
}

/// Everything at one moment.
pub(super) struct World {
    pub(super) scenario: Scenario,
    pub(super) router: Router,
    pub(super) queue: Queue,
    pub(super) oracle: Oracle,
    pub(super) accounts: Vec<Account>,
    /// By target, in this minute: which one, refusals, the most under way.
    minutes: Vec<(u64, i64, i64)>,
    pub(super) start: Instant,
    pub(super) now: Duration,
    pub(super) dice: Dice,
    events: BinaryHeap<Reverse<(Duration, u64, Event)>>,
    pub(super) serial: u64,
    exchanges: HashMap<u64, Exchange>,
    waiting: Vec<u64>,
    pub(super) settled: Option<Duration>,
    pub(super) tally: Tally,
}

/// What becomes of an exchange after an event.
pub(super) enum Then {
    Goes,
    Ends,
}

impl World {
    /// Runs to the last answer. `settled`: by when every target is to be back, if that is to be checked.
    pub(super) fn run(scenario: Scenario, settled: Option<Duration>) -> (Tally, Oracle, Router) {
        let count = scenario.weather.len();
        let providers = &scenario.providers;
        let mut world = World {
            router: fixture::router(providers),
            queue: Queue::new(providers.queue.max_waiting),
            oracle: Oracle::new(providers),
            accounts: (0..count).map(|_| Account::default()).collect(),
            minutes: vec![(0, 0, 0); count],
            start: Instant::now(),
            now: Duration::ZERO,
            dice: Dice::seeded(scenario.seed),
            events: BinaryHeap::new(),
            serial: 0,
            exchanges: HashMap::new(),
            waiting: Vec::new(),
            settled,
            tally: Tally {
                calm: vec![0; count],
                asked: vec![0; count],
                over_quota: vec![0; count],
                excess: vec![i64::MIN; count],
                ..Tally::default()
            },
            scenario,
        };
        world.after(Duration::ZERO, Event::Arrive { refused: None });
        (0..count).for_each(|target| world.after(Duration::from_millis(500 * target as u64), Event::Probe(target)));
        if let Some(at) = settled {
            world.after(at, Event::Settled);
        }
        while let Some(Reverse((at, _, event))) = world.events.pop() {
            world.now = at;
            world.on(event);
            world.wake();
        }
        assert!(world.exchanges.is_empty(), "an exchange that nothing ends");
        world.all_places_are_free();
        (world.tally, world.oracle, world.router)
    }

    pub(super) fn after(&mut self, wait: Duration, event: Event) {
        self.serial += 1;
        self.events.push(Reverse((self.now + whole_millis(wait), self.serial, event)));
    }

    pub(super) fn instant(&self) -> Instant {
        self.start + self.now
    }

    fn on(&mut self, event: Event) {
        match event {
            Event::Arrive { refused } => self.arrive(refused),
            Event::Probe(target) => self.probe(target),
            Event::Settled => self.all_are_back(),
            Event::Begin(id) => self.with(id, |world, it| world.begin(id, it)),
            Event::Head { id, serial } => self.with(id, |world, it| world.head(id, serial, it)),
            Event::End { id, serial } => self.with(id, |world, it| if it.serial == serial { world.end(it) } else { Then::Goes }),
            Event::Hedge(id) => self.with(id, |world, it| world.hedge(id, it)),
            Event::QueueTimeout { id, serial } => self.with(id, |world, it| {
                let gives_up = it.serial == serial && it.waiting.take().is_some();
                world.tally.shed += u64::from(gives_up);
                if gives_up { Then::Ends } else { Then::Goes }
            }),
            Event::Leave(id) => self.with(id, |_, it| {
                it.answered = true;
                Then::Ends
            }),
        }
    }

    fn with(&mut self, id: u64, step: impl FnOnce(&mut Self, &mut Exchange) -> Then) {
        let Some(mut it) = self.exchanges.remove(&id) else { return };
        match step(self, &mut it) {
            Then::Goes => _ = self.exchanges.insert(id, it),
            Then::Ends => self.bury(it),
        }
    }

    fn arrive(&mut self, refused: Option<Option<u64>>) {
        if refused.is_none() && self.now < self.scenario.until {
            let gap = Duration::from_secs_f64(2.0 * self.dice.ratio() / (self.scenario.rate)(self.now));
            self.after(gap, Event::Arrive { refused: None });
        }
        self.tally.arrived += 1;
        let tokens = 1 + self.dice.below(self.scenario.tokens as usize) as u64;
        let mut dice = Dice::seeded(self.scenario.seed.wrapping_add(self.serial));
        let plan = match self.router.route("m", tokens, self.instant(), &mut dice) {
            Ok(plan) => plan,
            Err(why) => {
                assert_ne!(refused, Some(Some(self.oracle.turns)), "refused at {:?} though it was told to come then", self.now);
                self.tally.refused += 1;
                let (again, holds) = self.oracle.refused(why, self.now);
                // Not all come back, and not all to the millisecond.
                if self.dice.ratio() < 0.2 {
                    self.after(again - self.now, Event::Arrive { refused: Some(holds) });
                }
                return;
            }
        };
        self.serial += 1;
        let id = self.serial;
        let it = Exchange {
            plan,
            dice,
            tokens,
            arrived: self.now,
            serial: id,
            current: None,
            race: Race::Off,
            stands_by: None,
            waiting: None,
            waiting_for: None,
            tried: vec![(0, None); self.router.targets.len()],
            last_failure: None,
            answered: false,
            left: 0,
        };
        if self.dice.ratio() < self.scenario.leaving {
            let patience = Duration::from_millis(self.dice.below(20_000) as u64);
            self.after(patience, Event::Leave(id));
        }
        self.exchanges.insert(id, it);
        self.with(id, |world, it| world.begin(id, it));
    }

    /// Begins the next attempt, as soon as it may.
    fn begin(&mut self, id: u64, it: &mut Exchange) -> Then {
        match it.plan.enter(self.instant()) {
            Entry::Go => self.sent(id, it),
            Entry::Closed => Then::Ends,
            Entry::Wait(full) => {
                let Some(target) = full.into_iter().next() else { return Then::Ends };
                let Some(queued) = self.queue.join() else {
                    self.tally.shed += 1;
                    return Then::Ends;
                };
                it.waiting = Some(Waiter::new(queued, &target.standing.capacity, target.max_concurrency));
                it.waiting_for = Some(target);
                self.serial += 1;
                it.serial = self.serial;
                self.waiting.push(id);
                self.after(self.scenario.providers.queue.timeout, Event::QueueTimeout { id, serial: it.serial });
                Then::Goes
            }
        }
    }

    /// Whoever waits and was woken goes on.
    fn wake(&mut self) {
        for id in std::mem::take(&mut self.waiting) {
            self.with(id, |world, it| {
                let Some(waiter) = &mut it.waiting else { return Then::Goes };
                let Some(place) = waiter.poll() else {
                    world.waiting.push(id);
                    return Then::Goes;
                };
                it.waiting = None;
                let Some(target) = it.waiting_for.take() else { return Then::Ends };
                match Pass::with_place(&target, place, Moment::at(world.instant())) {
                    Ok(pass) => {
                        it.plan.enter_with(pass, world.instant());
                        world.sent(id, it)
                    }
                    Err(_) => Then::Ends,
                }
            });
        }
    }

    /// An attempt leaves.
    fn sent(&mut self, id: u64, it: &mut Exchange) -> Then {
        let target = self.index(&it.plan.current().expect("a current target").id);
        // Whoever waited in the queue chose as things stood before.
        if it.left == 0 && it.serial == id {
            self.chosen(target, it.tokens);
        }
        let policy = &self.scenario.providers.retry_policy;
        let (tries, began) = &mut it.tried[target];
        *tries += 1;
        began.get_or_insert(self.now);
        assert!(*tries <= 1 + policy.max_retries, "t{target} was asked {tries} times");
        if *tries > 1 {
            let (before, failure) = it.last_failure.expect("a reason to retry");
            let transient = !matches!(failure, Failure::Tls | Failure::Dns | Failure::Auth(_) | Failure::ModelNotFound);
            assert!(before == target && transient, "t{target} was asked again after {failure:?} of t{before}");
        }
        let (sighting, answer) = self.ask(target, it);
        self.accounts[target].spend(it.tokens);
        let first = it.left == 1;
        let (now, target) = (self.instant(), it.plan.current().expect("a current target").clone());
        self.serial += 1;
        it.serial = self.serial;
        let time_left = target.timeout.saturating_sub(it.plan.spent(now));
        let head_in = answer.head_in.map_or(time_left, |head_in| head_in.min(time_left));
        self.after(head_in, Event::Head { id, serial: it.serial });
        it.current = Some((sighting, answer));
        if let (Some(hedging), true) = (&self.router.hedging, first) {
            hedging.budget.saw_request();
            self.oracle.request();
            if let Some((step, rival)) = it.plan.rival(now) {
                it.race = Race::Ready { step, target: self.index(&rival.id) };
                self.after(hedging.after, Event::Hedge(id));
            }
        }
        Then::Goes
    }

    pub(super) fn ask(&mut self, target: usize, it: &mut Exchange) -> (Sighting, Answer) {
        it.left += 1;
        let sighting = self.oracle.leaves(target, self.now);
        let answer = self.scenario.weather[target].ask(it.tokens, self.now, &mut self.dice);
        let under_way = i64::from(self.oracle.targets[target].under_way);
        self.tally.asked[target] += 1;
        let minute = &mut self.minutes[target];
        if minute.0 != self.now.as_secs() / 60 {
            *minute = (self.now.as_secs() / 60, 0, 0);
        }
        minute.2 = minute.2.max(under_way);
        if answer.over_quota && self.others(target, it.tokens) {
            let minute = &mut self.minutes[target];
            minute.1 += 1;
            self.tally.over_quota[target] += 1;
            self.tally.excess[target] = self.tally.excess[target].max(minute.1 - minute.2);
        }
        (sighting, answer)
    }

    /// A head, or the end of the time for it.
    fn head(&mut self, id: u64, serial: u64, it: &mut Exchange) -> Then {
        match &it.race {
            Race::Running { serial: rival, .. } if *rival == serial => return self.rival_head(id, it),
            _ if it.serial != serial => return Then::Goes,
            _ => {}
        }
        let Some((sighting, answer)) = it.current.take() else { return Then::Goes };
        let now = self.instant();
        let target = it.plan.current().expect("a current target").clone();
        let in_time = answer.head_in.is_some_and(|head_in| now.duration_since(it.plan.since()) >= head_in);
        let (began, timeout) = (it.tried[sighting.target].1.unwrap_or(self.now), target.timeout);
        assert!(self.now - began <= timeout, "{:?} on t{} beyond its timeout", self.now - began, sighting.target);
        let ending = if in_time { answer.ending } else { Ending::Failed(Failure::Timeout, None) };
        if in_time {
            self.hear(sighting.target, &answer);
        }
        match ending {
            Ending::Failed(failure, pause) => self.failed(id, it, sighting, failure, pause),
            Ending::Whole(_) | Ending::BreaksOff(_) => {
                it.plan.answers(200, now);
                self.answering(id, it, sighting, answer);
                Then::Goes
            }
        }
    }

    fn failed(&mut self, id: u64, it: &mut Exchange, at: Sighting, failure: Failure, pause: Option<Duration>) -> Then {
        it.last_failure = Some((at.target, failure));
        self.oracle.fails(at, failure, pause, self.now);
        let next = it.plan.failed(failure, pause, &self.router.rules, self.instant(), &mut it.dice);
        match it.race {
            // Even where nothing else is left: the rival may still answer.
            Race::Running { .. } => it.stands_by = Some(it.plan.pause()),
            _ if next == Next::GiveUp => return Then::Ends,
            _ => {
                it.race = Race::Off;
                self.after(it.plan.pause(), Event::Begin(id));
            }
        }
        Then::Goes
    }

    /// The first byte for the caller: the race is over.
    pub(super) fn answering(&mut self, id: u64, it: &mut Exchange, mut sighting: Sighting, answer: Answer) {
        it.plan.first_byte(self.instant());
        it.answered = true;
        self.oracle.answers(&mut sighting, self.now);
        self.call_off(it);
        let (Ending::Whole(length) | Ending::BreaksOff(length)) = answer.ending else { unreachable!("not an answer") };
        self.after(length, Event::End { id, serial: it.serial });
        it.current = Some((sighting, answer));
    }

    fn end(&mut self, it: &mut Exchange) -> Then {
        let Some((sighting, answer)) = it.current.take() else { return Then::Goes };
        match answer.ending {
            Ending::BreaksOff(_) => {
                it.plan.broke(Failure::Broken, None, self.instant());
                self.oracle.fails(sighting, Failure::Broken, None, self.now);
            }
            _ => {
                it.plan.ended(Some(100.0), self.instant());
                self.oracle.ends(sighting, self.now);
            }
        }
        Then::Ends
    }

    pub(super) fn hear(&mut self, target: usize, answer: &Answer) {
        self.router.targets[target].standing.quota.learn(&answer.headers, Moment::at(self.instant()));
        for fills in [Fills::OnTheMinute, Fills::Steadily] {
            self.accounts[target].hear(&answer.headers, fills, self.now);
        }
    }

    fn index(&self, id: &str) -> usize {
        self.router.targets.iter().position(|target| &*target.id == id).expect("a known target")
    }

    fn probe(&mut self, target: usize) {
        let healthy = self.scenario.weather[target].probed(self.now, &mut self.dice);
        let asked = &self.router.targets[target];
        let turned = asked.standing.breaker.probed(&asked.circuit_breaker, healthy, Moment::at(self.instant()));
        asked.turned(turned, "probe");
        self.oracle.probed(target, healthy, self.now);
        if self.now < self.scenario.until {
            self.after(self.router.targets[target].probe.interval, Event::Probe(target));
        }
    }
}
