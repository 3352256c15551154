//! What an attempt waits for before it begins: a pause, room on its target, a race that is under way. The caller may leave meanwhile.

use super::attempt::internal;
use super::exchange::{Exchange, Phase};
use super::race::{Connection, Outcome, Race};
use super::replay::STOPPED;
use super::{Room, admit};
use crate::metrics::METRICS;
use crate::refusal::Refusal;
use crate::upstream::capacity::Place;
use crate::upstream::pass::Pass;
use crate::upstream::plan::Entry;
use crate::upstream::{Moment, Target};
use futures::future::select_all;
use pingora::time::timeout;
use pingora_core::{Error, ErrorType, Result};
use pingora_proxy::Session;
use std::sync::Arc;
use std::time::Instant;

/// Waits until the next attempt may begin; it is the plan's current one then. Returns the connection of a race that was won, over
/// which the answer is under way already.
///
/// # Errors
/// No target may be asked, or has room in time; the caller left.
pub async fn take(session: &mut Session, exchange: &mut Exchange) -> Result<Option<Connection>> {
    let Phase::Admitted(admitted) = &mut exchange.phase else { return internal("no exchange to forward") };
    admitted.replay.deadline_in(None);
    if let Some(race) = admitted.race.as_mut().filter(|race| race.is_running()) {
        // It stays where it is meanwhile: should the caller leave, it is noted at the end of the exchange.
        unless_left(session, race.ended()).await?;
    }
    admitted.replay.race(None);
    match admitted.race.take().and_then(Race::outcome) {
        Some(Outcome::Won(won)) => {
            METRICS.hedges.with_label_values(&["won"]).inc();
            admitted.plan.overtaken(won.step, won.pass, won.since, Instant::now());
            return Ok(Some(won.connection));
        }
        Some(Outcome::Lost(lost)) => lost.note(&mut admitted.plan),
        None => {}
    }
    let pause = admitted.plan.pause();
    if !pause.is_zero() {
        unless_left(session, pingora::time::sleep(pause)).await?;
    }
    match admitted.plan.enter(Instant::now()) {
        Entry::Go => Ok(None),
        Entry::Wait(full) => in_line(session, exchange, full).await.map(|()| None),
        Entry::Closed => closed(exchange),
    }
}

/// Takes a place in the gateway, or waits for one in the queue.
///
/// # Errors
/// The refusal of a request for which there was no room in time.
pub async fn enter(room: &Room, exchange: &mut Exchange) -> Result<(), Refusal> {
    exchange.place = room.taken.enter(Some(room.limit));
    if exchange.place.is_some() {
        return Ok(());
    }
    let gateway = exchange.gateway.clone();
    let why = "too many requests are under way (--max-concurrency)";
    let Some(_waiting) = gateway.queue.join() else { return Err(overloaded("queue_full", why)) };
    // Its body is unread, so whether the caller leaves meanwhile cannot be told apart from its sending on.
    let place = timeout(gateway.queue_timeout, room.taken.wait(Some(room.limit))).await;
    exchange.place = Some(place.map_err(|_| overloaded("queue_timeout", why))?);
    Ok(())
}

/// Waits in the queue until one of these targets, all of them `full`, has room.
async fn in_line(session: &mut Session, exchange: &mut Exchange, mut full: Vec<Arc<Target>>) -> Result<()> {
    let gateway = exchange.gateway.clone();
    let Some(_waiting) = gateway.queue.join() else { return shed(exchange, "queue_full") };
    let began = Instant::now();
    loop {
        let patience = gateway.queue_timeout.saturating_sub(began.elapsed());
        let Ok((target, place)) = unless_left(session, timeout(patience, first_place(&full))).await? else {
            return shed(exchange, "queue_timeout");
        };
        let now = Instant::now();
        let Phase::Admitted(admitted) = &mut exchange.phase else { return internal("no exchange to forward") };
        if let Ok(pass) = Pass::with_place(&target, place, Moment::at(now)) {
            admitted.plan.enter_with(pass, now);
            return Ok(());
        }
        // It closed meanwhile; that says nothing about the others.
        match admitted.plan.enter(now) {
            Entry::Go => return Ok(()),
            Entry::Wait(others) => full = others,
            Entry::Closed => return closed(exchange),
        }
    }
}

/// The first place to become free on any of these targets. Those in the other lines are given up with it.
async fn first_place(targets: &[Arc<Target>]) -> (Arc<Target>, Place) {
    let lines = targets
        .iter()
        .map(|target| Box::pin(async move { (target.clone(), target.standing.capacity.wait(target.max_concurrency).await) }));
    select_all(lines).await.0
}

fn shed(exchange: &mut Exchange, queue: &'static str) -> Result<()> {
    exchange.facts.refused = Some(overloaded(queue, "every target has as many requests under way as it may (max_concurrency)"));
    Error::e_explain(STOPPED, "no target has room")
}

fn overloaded(queue: &'static str, why: &'static str) -> Refusal {
    METRICS.shed.with_label_values(&[queue]).inc();
    Refusal::unavailable("overloaded", why)
}

/// What may still be asked closed meanwhile. Attempts that failed have their own last word.
fn closed<T>(exchange: &mut Exchange) -> Result<T> {
    if exchange.phase.attempts().is_empty() {
        exchange.facts.refused = Some(admit::unroutable(exchange.gateway.router.closed(&exchange.facts.model, Moment::now())));
    }
    Error::e_explain(STOPPED, "no target may be asked now")
}

/// Does `work` unless the caller leaves first.
pub async fn unless_left<T>(session: &mut Session, work: impl Future<Output = T>) -> Result<T> {
    tokio::select! {
        biased;
        done = work => Ok(done),
        left = session.downstream_session.read_body_or_idle(true) => {
            let mut error = left.err().unwrap_or_else(|| Error::explain(ErrorType::ConnectionClosed, "the caller left"));
            error.as_down();
            Err(error)
        }
    }
}
