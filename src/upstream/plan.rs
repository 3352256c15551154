//! The order in which one exchange tries its targets. It only moves forward.

use super::{Failure, Target};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// One try of one target, for the record and the headers.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// Id of the target.
    pub target: Arc<str>,
    /// Why it failed; `None` when it gave the answer.
    pub failure: Option<Failure>,
    /// From the choice of the target to its answer's head or its failure.
    pub took: Duration,
}

/// The targets of one exchange, each with the model to ask it for, in order.
#[derive(Debug)]
pub struct Plan {
    steps: Vec<(Arc<Target>, String)>,
    at: usize,
    since: Instant,
    attempts: Vec<Attempt>,
    /// The current target's answer began; when it breaks off after all, its attempt is rewritten.
    answering: bool,
}

impl Plan {
    /// A plan over `steps`, best first. May be empty: no target can serve.
    pub fn new(steps: Vec<(Arc<Target>, String)>) -> Self {
        Self { steps, at: 0, since: Instant::now(), attempts: Vec::new(), answering: false }
    }

    /// The target to try now and the model to ask it for.
    pub fn current(&self) -> Option<(&Arc<Target>, &str)> {
        self.steps.get(self.at).map(|(target, model)| (target, model.as_str()))
    }

    /// Position of the current target.
    pub fn step(&self) -> usize {
        self.at
    }

    /// The model of each step.
    pub fn models(&self) -> impl Iterator<Item = &str> {
        self.steps.iter().map(|(_, model)| model.as_str())
    }

    /// Whether another target follows the current one.
    pub fn has_next(&self) -> bool {
        self.at + 1 < self.steps.len()
    }

    /// Starts the clock of the current attempt.
    pub fn begin(&mut self) {
        self.since = Instant::now();
        self.answering = false;
    }

    /// The current target failed. Moves on when there is somewhere to go and `may_move` allows it; returns whether it moved.
    pub fn failed(&mut self, failure: Failure, may_move: bool) -> bool {
        self.note(Some(failure));
        let moves = may_move && self.has_next();
        if moves {
            self.at += 1;
        }
        moves
    }

    /// The current target gives an answer.
    pub fn succeeded(&mut self) {
        self.note(None);
        self.answering = true;
    }

    /// Every try so far, in order.
    pub fn attempts(&self) -> &[Attempt] {
        &self.attempts
    }

    fn note(&mut self, failure: Option<Failure>) {
        if std::mem::take(&mut self.answering) {
            self.attempts.pop();
        }
        if let Some((target, _)) = self.steps.get(self.at) {
            self.attempts.push(Attempt { target: target.id.clone(), failure, took: self.since.elapsed() });
        }
    }
}
