//! The order in which one exchange tries its targets, and what follows when one fails. It only moves forward.

use super::backoff::backoff;
use super::dice::Dice;
use super::moment::Moment;
use super::pass::{NotNow, Pass};
use super::{Failure, Target};
use crate::config::{RetryPolicy, Trigger};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// One try of one target, for the record and the headers.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// Id of the target.
    pub target: Arc<str>,
    /// The model it was asked for.
    pub model: Arc<str>,
    /// What the config calls that model, where its provider calls it otherwise.
    pub configured_model: Option<Arc<str>>,
    /// Why it failed; `None` when it gave the answer.
    pub failure: Option<Failure>,
    /// The HTTP status it answered with, if it did.
    pub status: Option<u16>,
    /// From the choice of the target to its answer's head or its failure.
    pub took: Duration,
}

/// What the config says of failures: which move an exchange on, and how often a target is asked again.
#[derive(Debug, Clone, PartialEq)]
pub struct Rules {
    /// The failures that move on to the next target.
    pub triggers: Vec<Trigger>,
    /// Attempts on the same target.
    pub retry: RetryPolicy,
}

/// What follows a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// The same target again, after [`Plan::pause`].
    Retry,
    /// Another target.
    Move,
    /// The caller gets what there is.
    GiveUp,
}

/// Which attempt may begin now.
#[derive(Debug)]
pub enum Entry {
    /// The one on [`Plan::current`].
    Go,
    /// One on any of these, once it has room.
    Wait(Vec<Arc<Target>>),
    /// None: what is left must not be asked.
    Closed,
}

/// The targets of one exchange, in order.
#[derive(Debug)]
pub struct Plan {
    /// The model the caller asked for.
    wanted: String,
    /// What the request takes of a token quota.
    tokens: u64,
    steps: Vec<Step>,
    at: usize,
    /// The model the current target is asked for.
    model: Arc<str>,
    since: Instant,
    pause: Duration,
    pass: Option<Pass>,
    attempts: Vec<Attempt>,
    /// The attempt whose answer began: when that breaks off after all, it is rewritten.
    answering: Option<usize>,
}

#[derive(Debug)]
struct Step {
    target: Arc<Target>,
    /// When it was first tried.
    began: Option<Instant>,
    retries: u32,
    /// Not to be asked any more.
    done: bool,
}

impl Plan {
    /// A plan over `targets`, best first, for a caller that asks for the model `wanted` with about this many `tokens`.
    pub fn new(targets: Vec<Arc<Target>>, wanted: &str, tokens: u64, now: Instant) -> Self {
        let step = |target| Step { target, began: None, retries: 0, done: false };
        Self {
            wanted: wanted.to_owned(),
            tokens,
            steps: targets.into_iter().map(step).collect(),
            at: 0,
            model: Arc::from(""),
            since: now,
            pause: Duration::ZERO,
            pass: None,
            attempts: Vec::new(),
            answering: None,
        }
    }

    /// The target of the current attempt, or of the next one.
    pub fn current(&self) -> Option<&Arc<Target>> {
        self.steps.get(self.at).map(|step| &step.target)
    }

    /// The model the current target is asked for.
    pub fn model(&self) -> &Arc<str> {
        &self.model
    }

    /// How long to wait before the next attempt.
    pub fn pause(&self) -> Duration {
        self.pause
    }

    /// Every try so far, in the order in which they were decided.
    pub fn attempts(&self) -> &[Attempt] {
        &self.attempts
    }

    /// When the current attempt began.
    pub fn since(&self) -> Instant {
        self.since
    }

    /// The time the current target has had, its earlier tries included.
    pub fn spent(&self, now: Instant) -> Duration {
        let began = self.steps.get(self.at).and_then(|step| step.began);
        began.map_or(Duration::ZERO, |began| now.saturating_duration_since(began))
    }

    /// Begins the next attempt: on the current target, or on the first of those behind it that may be asked and has room. An
    /// attempt that only needs another connection keeps its pass.
    pub fn enter(&mut self, now: Instant) -> Entry {
        self.pause = Duration::ZERO;
        if self.pass.is_some() {
            self.since = now;
            return Entry::Go;
        }
        let mut full = Vec::new();
        for at in self.at..self.steps.len() {
            let step = &self.steps[at];
            if step.done {
                continue;
            }
            match Pass::ask(&step.target, Moment::at(now)) {
                Ok(pass) => {
                    self.go(at, pass, now);
                    return Entry::Go;
                }
                Err(NotNow::Full) => full.push(step.target.clone()),
                Err(NotNow::Open(_) | NotNow::Parked(..)) => {}
            }
        }
        if full.is_empty() { Entry::Closed } else { Entry::Wait(full) }
    }

    /// Begins the attempt on one of the targets that were waited for.
    pub fn enter_with(&mut self, pass: Pass, now: Instant) {
        let waited_for = |step: &Step| !step.done && Arc::ptr_eq(&step.target, pass.target());
        let ahead = self.steps.iter().skip(self.at).position(waited_for).unwrap_or_default();
        self.go(self.at + ahead, pass, now);
    }

    /// The current attempt failed. `retry_after` is what the target said of when to come back.
    pub fn failed(
        &mut self,
        failure: Failure,
        retry_after: Option<Duration>,
        rules: &Rules,
        now: Instant,
        dice: &mut Dice,
    ) -> Next {
        self.broke(failure, retry_after, now);
        let may_move = rules.triggers.contains(&failure.trigger());
        let other = if may_move { self.next_open(|_| true, now) } else { None };
        let retry = self.retry_in(failure, retry_after, &rules.retry, now, dice);
        // A target that asks for time gets it while another one can serve: nothing is slept through.
        match (retry, other) {
            (Some(pause), other) if retry_after.is_none() || other.is_none() => {
                self.steps[self.at].retries += 1;
                self.pause = pause;
                Next::Retry
            }
            (_, Some(other)) => {
                self.at = other;
                Next::Move
            }
            _ => {
                // Should a rival be awaited and fail as well, nothing is left.
                if let Some(step) = self.steps.get_mut(self.at) {
                    step.done = true;
                }
                Next::GiveUp
            }
        }
    }

    /// The current attempt failed where nothing can follow: the caller has seen some of its answer.
    pub fn broke(&mut self, failure: Failure, retry_after: Option<Duration>, now: Instant) {
        if let Some(mut pass) = self.pass.take() {
            pass.failed(failure, retry_after, Moment::at(now));
        }
        self.note(Some(failure), failure.status(), now);
    }

    /// The head of an answer is here, the caller's to see.
    pub fn answers(&mut self, status: u16, now: Instant) {
        self.note(None, Some(status), now);
        self.answering = self.attempts.len().checked_sub(1);
    }

    /// The first byte of an answer's body is here.
    pub fn first_byte(&mut self, now: Instant) {
        let Some(pass) = &mut self.pass else { return };
        pass.answers(Moment::at(now));
        pass.target().standing.pace.first_token(now.saturating_duration_since(self.since), Moment::at(now));
    }

    /// The answer came to its end. `tokens_per_second` is its pace, where that can be told.
    pub fn ended(&mut self, tokens_per_second: Option<f64>, now: Instant) {
        let Some(mut pass) = self.pass.take() else { return };
        if let Some(rate) = tokens_per_second {
            pass.target().standing.pace.throughput(rate, Moment::at(now));
        }
        pass.succeeded(Moment::at(now));
    }

    /// After [`Plan::broke`]: moves on to the next target that `can` go on with the answer; whether there is one. No other is asked
    /// from here on.
    pub fn resume(&mut self, can: impl Fn(&Target) -> bool, now: Instant) -> bool {
        self.answering = None;
        self.steps.iter_mut().for_each(|step| step.done |= !can(&step.target));
        let next = self.next_open(can, now);
        self.at = next.unwrap_or(self.at);
        next.is_some()
    }

    /// The target to race the current one with, and its step. A second opinion is not worth another request's quota: a target that
    /// is short of it is no rival.
    pub fn rival(&self, now: Instant) -> Option<(usize, Arc<Target>)> {
        let at = self.next_open(|target| target.standing.quota.exhausted(self.tokens, Moment::at(now)).is_none(), now)?;
        Some((at, self.steps[at].target.clone()))
    }

    /// Whether a target behind the current one `can`.
    pub fn has_behind(&self, can: impl Fn(&Target) -> bool, now: Instant) -> bool {
        self.next_open(can, now).is_some()
    }

    /// The model to ask a rival for.
    pub fn model_of(&self, target: &Target) -> String {
        target.model_for(&self.wanted)
    }

    /// The rival was first: its attempt, begun at `since`, becomes the current one.
    pub fn overtaken(&mut self, at: usize, pass: Pass, since: Instant, now: Instant) {
        if self.pass.take().is_some() {
            self.note(Some(Failure::Superseded), None, now);
        }
        self.go(at, pass, since);
    }

    /// An attempt beside the current one is through: it failed, or was too late. Its provider counted it all the same.
    pub fn rival_ended(&mut self, at: usize, model: &Arc<str>, failure: Failure, status: Option<u16>, took: Duration) {
        let Some(step) = self.steps.get_mut(at) else { return };
        step.done = true;
        step.target.standing.quota.spend(self.tokens);
        let target = step.target.clone();
        let attempt = self.attempt(&target, model, Some(failure), status, took);
        self.attempts.push(attempt);
    }

    fn go(&mut self, at: usize, pass: Pass, since: Instant) {
        self.at = at;
        self.since = since;
        self.answering = None;
        let step = &mut self.steps[at];
        step.began.get_or_insert(since);
        step.target.standing.quota.spend(self.tokens);
        self.model = step.target.model_for(&self.wanted).into();
        self.pass = Some(pass);
    }

    /// The pause before the same target is asked again, where the failure, its count and the time left allow it.
    fn retry_in(
        &self,
        failure: Failure,
        retry_after: Option<Duration>,
        policy: &RetryPolicy,
        now: Instant,
        dice: &mut Dice,
    ) -> Option<Duration> {
        let step = self.steps.get(self.at)?;
        if !failure.is_transient() || step.retries >= policy.max_retries {
            return None;
        }
        let pause = backoff(policy, step.retries + 1, dice).max(retry_after.unwrap_or_default());
        let spent = now.saturating_duration_since(step.began.unwrap_or(now));
        let fits = spent + pause < step.target.timeout;
        (fits && step.target.is_open(Moment::at(now + pause)).is_ok()).then_some(pause)
    }

    /// The next step that may be asked now, full or not.
    fn next_open(&self, can: impl Fn(&Target) -> bool, now: Instant) -> Option<usize> {
        let open = |step: &Step| !step.done && can(&step.target) && step.target.is_open(Moment::at(now)).is_ok();
        let behind = self.at + 1;
        Some(behind + self.steps.get(behind..)?.iter().position(open)?)
    }

    fn attempt(
        &self,
        target: &Target,
        model: &Arc<str>,
        failure: Option<Failure>,
        status: Option<u16>,
        took: Duration,
    ) -> Attempt {
        let configured = target.configured_model(&self.wanted);
        let configured_model = (*configured != **model).then(|| configured.into());
        Attempt { target: target.id.clone(), model: model.clone(), configured_model, failure, status, took }
    }

    fn note(&mut self, failure: Option<Failure>, status: Option<u16>, now: Instant) {
        let Some(step) = self.steps.get(self.at) else { return };
        let took = now.saturating_duration_since(self.since);
        let attempt = self.attempt(&step.target, &self.model, failure, status, took);
        match self.answering.take().and_then(|at| self.attempts.get_mut(at)) {
            Some(begun) => *begun = attempt,
            None => self.attempts.push(attempt),
        }
    }
}

#[cfg(test)]
mod tests;
