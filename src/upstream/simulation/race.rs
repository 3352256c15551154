//! The attempt beside the current one: begun when that is slow, and ended by whoever has the first byte.

use super::exchange::{Exchange, Race};
use super::provider::Ending;
use super::world::{Event, Then, World};
use crate::upstream::pass::Pass;
use crate::upstream::{Failure, Moment};

impl World {
    /// The first target is slow. What a hedge takes of a quota is counted when the race is over, be it won or lost.
    pub(super) fn hedge(&mut self, id: u64, it: &mut Exchange) -> Then {
        let Race::Ready { step, target } = it.race else { return Then::Goes };
        it.race = Race::Off;
        let rival = self.router.targets[target].clone();
        let Ok(pass) = Pass::ask(&rival, Moment::at(self.instant())) else { return Then::Goes };
        if !self.router.hedging.as_ref().is_some_and(|hedging| hedging.budget.take()) {
            return Then::Goes;
        }
        self.oracle.hedge();
        let model = it.plan.model_of(&rival).into();
        let (sighting, answer) = self.ask(target, it);
        self.serial += 1;
        let serial = self.serial;
        let head_in = answer.head_in.map_or(rival.timeout, |head_in| head_in.min(rival.timeout));
        self.after(head_in, Event::Head { id, serial });
        it.tried[target] = (it.tried[target].0 + 1, it.tried[target].1.or(Some(self.now)));
        it.race = Race::Running { serial, step, model, began: self.now, pass, sighting, answer: Box::new(answer) };
        Then::Goes
    }

    /// The rival's head, or the end of its time.
    pub(super) fn rival_head(&mut self, id: u64, it: &mut Exchange) -> Then {
        let Race::Running { serial, step, model, began, mut pass, sighting, answer } = std::mem::replace(&mut it.race, Race::Off)
        else {
            return Then::Goes;
        };
        let (now, took) = (self.instant(), self.now - began);
        let in_time = answer.head_in.is_some_and(|head_in| took >= head_in);
        match answer.ending {
            Ending::Failed(failure, pause) if in_time => {
                pass.failed(failure, pause, Moment::at(now));
                self.accounts[sighting.target].spend(it.tokens);
                self.oracle.fails(sighting, failure, pause, self.now);
                it.plan.rival_ended(step, &model, failure, failure.status(), took);
            }
            Ending::Whole(_) | Ending::BreaksOff(_) if in_time => {
                self.tally.overtaken += 1;
                if let Some((slow, _)) = it.current.take() {
                    self.oracle.dropped(slow, self.now);
                }
                it.plan.overtaken(step, pass, self.start + began, now);
                (it.serial, it.stands_by) = (serial, None);
                self.hear(sighting.target, &answer);
                it.plan.answers(200, now);
                self.answering(id, it, sighting, *answer);
                return Then::Goes;
            }
            _ => {
                pass.failed(Failure::Timeout, None, Moment::at(now));
                self.accounts[sighting.target].spend(it.tokens);
                self.oracle.fails(sighting, Failure::Timeout, None, self.now);
                it.plan.rival_ended(step, &model, Failure::Timeout, None, took);
            }
        }
        if let Some(pause) = it.stands_by.take() {
            self.after(pause, Event::Begin(id));
        }
        Then::Goes
    }

    /// The rival, if there is one, is given up.
    pub(super) fn call_off(&mut self, it: &mut Exchange) {
        if let Race::Running { step, model, began, sighting, .. } = std::mem::replace(&mut it.race, Race::Off) {
            self.accounts[sighting.target].spend(it.tokens);
            self.oracle.dropped(sighting, self.now);
            it.plan.rival_ended(step, &model, Failure::Superseded, None, self.now - began);
        }
    }
}
