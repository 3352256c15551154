//! First-token hedging: when the target asked first is slow to its first byte, the next one is asked beside it, and whoever has
//! the first byte answers. The other one is given up; both are recorded.
//!
//! Pingora drives one upstream an exchange, so the second one is asked by [`rival`], over a connection of its own, up to the first
//! sign of its answer. If that comes first, the connection is handed over ([`connection`]): Pingora finds its request written and
//! the answer waiting, and everything from there on is the ordinary way of an answer.

mod connection;
mod rival;

pub use connection::{Connection, HandOver, Interruptible};

use super::exchange::{Ask, Exchange};
use super::forward;
use crate::metrics::METRICS;
use crate::upstream::pass::Pass;
use crate::upstream::{Failure, Moment, Plan};
use connection::Guard;
use http::Version;
use http::header::CONNECTION;
use pingora_http::RequestHeader;
use rival::Rival;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Where a race stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The first target still has time.
    Waiting,
    /// The rival is asked.
    Running,
    /// Its answer has begun.
    Won,
    /// It failed.
    Lost,
}

/// How a race ended for the rival.
pub enum Outcome {
    /// Its answer has begun.
    Won(Won),
    /// It failed, or was given up.
    Lost(Lost),
}

/// An attempt that overtook another one.
pub struct Won {
    /// Its step of the plan.
    pub step: usize,
    /// Its leave.
    pub pass: Pass,
    /// When it began.
    pub since: Instant,
    /// What its answer arrives on.
    pub connection: Connection,
}

/// A rival whose answer is not used.
pub struct Lost {
    step: usize,
    model: Arc<str>,
    failure: Failure,
    status: Option<u16>,
    took: Duration,
}

/// The attempt beside the current one. Dropped, it is given up.
pub struct Race {
    step: usize,
    model: Arc<str>,
    /// When the rival's turn comes.
    due: Instant,
    stage: watch::Receiver<Stage>,
    outcome: Arc<Mutex<Option<Outcome>>>,
    task: JoinHandle<()>,
    /// Of the connection that the target that is raced is asked over.
    guard: Guard,
}

/// Prepares to race the first attempt of an exchange, where the config asks for it and another target may be asked.
pub fn prepare(caller: &RequestHeader, exchange: &mut Exchange) {
    let gateway = exchange.gateway.clone();
    let Some(hedging) = &gateway.router.hedging else { return };
    let facts = &exchange.facts;
    let Some(admitted) = exchange.phase.admitted() else { return };
    if admitted.race.is_some() || admitted.resuming.is_some() || !admitted.plan.attempts().is_empty() {
        return;
    }
    if !admitted.stale_retry {
        hedging.budget.saw_request();
    }
    let now = Instant::now();
    let Some((step, target)) = admitted.plan.rival(now) else { return };
    let model: Arc<str> = admitted.plan.model_of(&target).into();
    let mut head = Box::new(caller.clone());
    head.set_version(Version::HTTP_11);
    let head =
        forward::request_head(&mut head, &target, facts, 0).and_then(|()| head.insert_header(CONNECTION, "close")).map(|()| head);
    let (Ok(head), Some(address)) = (head, target.address()) else { return };
    let Ok(peer) = forward::rival(&target, address) else { return };
    let draft = admitted.draft.clone();
    let (tell, stage) = watch::channel(Stage::Waiting);
    let outcome = Arc::new(Mutex::new(None));
    let due = now + hedging.after;
    let rival = Rival { step, model: model.clone(), target, peer, head, streamed: facts.stream };
    let slot = outcome.clone();
    let task = tokio::spawn(async move {
        let Some(hedging) = &gateway.router.hedging else { return };
        pingora::time::sleep(hedging.after).await;
        let Some((body, _)) = draft.body_for(&Ask::of(&rival.target, &rival.model, None)) else { return };
        let since = Instant::now();
        let Ok(pass) = Pass::ask(&rival.target, Moment::at(since)) else { return };
        if !hedging.budget.take() {
            METRICS.hedges.with_label_values(&["over_budget"]).inc();
            return;
        }
        METRICS.hedges.with_label_values(&["started"]).inc();
        tell.send_replace(Stage::Running);
        let ended = rival.run(body, pass, since).await;
        let stage = if matches!(ended, Outcome::Won(_)) { Stage::Won } else { Stage::Lost };
        *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(ended);
        tell.send_replace(stage);
    });
    admitted.replay.race(Some(stage.clone()));
    admitted.race = Some(Race { step, model, due, stage, outcome, task, guard: Guard::default() });
}

impl Race {
    /// Whether the rival was asked.
    pub fn is_running(&self) -> bool {
        *self.stage.borrow() != Stage::Waiting
    }

    /// Whether the rival's answer has begun: whatever becomes of the target that is raced is its being too late.
    pub fn is_won(&self) -> bool {
        *self.stage.borrow() == Stage::Won
    }

    /// Whether the rival may still answer.
    pub fn may_be_won(&self) -> bool {
        matches!(*self.stage.borrow(), Stage::Running | Stage::Won)
    }

    /// Waits until the rival answers or has failed.
    pub async fn ended(&mut self) {
        let _ = self.stage.wait_for(|stage| matches!(stage, Stage::Won | Stage::Lost)).await;
    }

    /// How it ended; given up if it has not. `None` when the rival was never asked.
    pub fn outcome(self) -> Option<Outcome> {
        let ended = self.outcome.lock().unwrap_or_else(PoisonError::into_inner).take();
        ended.or_else(|| self.is_running().then(|| Outcome::Lost(self.superseded())))
    }

    /// The current attempt was first: the rival is given up, and noted if it was asked.
    pub fn give_up(self, plan: &mut Plan) {
        let superseded = self.superseded();
        match self.outcome() {
            Some(Outcome::Lost(lost)) => lost.note(plan),
            Some(Outcome::Won(_)) => superseded.note(plan),
            None => {}
        }
    }

    /// How the target that is raced is connected to: not at all, once the rival's answer has begun.
    pub fn interruptible(&self, limit: Duration) -> Interruptible {
        Interruptible::new(self.stage.clone(), limit, self.guard.clone())
    }

    /// The target that is raced is connected to.
    pub fn connected(&self) {
        self.guard.stand_down();
    }

    fn superseded(&self) -> Lost {
        let took = Instant::now().saturating_duration_since(self.due);
        Lost { step: self.step, model: self.model.clone(), failure: Failure::Superseded, status: None, took }
    }
}

impl Drop for Race {
    fn drop(&mut self) {
        self.task.abort();
        self.guard.stand_down();
    }
}

impl Lost {
    /// Notes the attempt; its target is not asked again.
    pub fn note(self, plan: &mut Plan) {
        METRICS.hedges.with_label_values(&[if self.failure == Failure::Superseded { "superseded" } else { "failed" }]).inc();
        plan.rival_ended(self.step, &self.model, self.failure, self.status, self.took);
    }
}

/// Waits until a rival's answer has begun; for ever when it will not.
pub async fn overtaken(stage: &mut watch::Receiver<Stage>) {
    if stage.wait_for(|stage| *stage == Stage::Won).await.is_err() {
        std::future::pending().await
    }
}
