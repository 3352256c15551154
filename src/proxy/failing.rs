//! An attempt failed: what that means for its target, whether another attempt follows, and what the caller gets when none does.

use super::attempt::FAILED;
use super::exchange::{Exchange, Phase};
use super::race::Race;
use super::replay::{self, DEADLINE, INTERRUPTED, OVERTAKEN, STOPPED};
use super::{local, resume};
use crate::refusal::Refusal;
use crate::upstream::Failure;
use crate::upstream::plan::Next;
use pingora_core::{Error, ErrorSource, ErrorType};
use pingora_proxy::{FailToProxy, Session};
use std::time::{Duration, Instant};

/// A failure, and what the target said of when to come back.
#[derive(Debug, Clone, Copy)]
pub struct Failed {
    /// Why.
    pub failure: Failure,
    /// `Retry-After`.
    pub retry_after: Option<Duration>,
}

impl From<Failure> for Failed {
    fn from(failure: Failure) -> Self {
        Self { failure, retry_after: None }
    }
}

/// No connection to the target.
pub fn not_connected(session: &Session, exchange: &mut Exchange, mut error: Box<Error>) -> Box<Error> {
    if *error.etype() == OVERTAKEN || is_overtaken(exchange) {
        error.set_retry(true);
        return error;
    }
    fail(session, exchange, connect_failure(&error).into(), error)
}

/// What having no connection comes from.
pub fn connect_failure(error: &Error) -> Failure {
    match error.etype() {
        ErrorType::TLSHandshakeFailure | ErrorType::TLSHandshakeTimedout | ErrorType::InvalidCert | ErrorType::HandshakeError => {
            Failure::Tls
        }
        ErrorType::ConnectTimedout => Failure::Timeout,
        _ => Failure::Connect,
    }
}

/// An attempt broke after its connection stood.
pub fn broken(session: &Session, exchange: &mut Exchange, mut error: Box<Error>, reused: bool) -> Box<Error> {
    let deadline = *error.etype() == DEADLINE;
    if [STOPPED, FAILED].contains(error.etype()) || matches!(error.etype(), ErrorType::HTTPStatus(_)) {
        return error;
    }
    if [OVERTAKEN, INTERRUPTED].contains(error.etype()) {
        error.set_retry(true);
        return error;
    }
    if is_answered(exchange) || *error.esource() == ErrorSource::Downstream && !deadline {
        error.set_retry(false);
        return error;
    }
    if is_overtaken(exchange) && !started(session) {
        error.set_retry(true);
        return error;
    }
    // A pooled connection that was dead all along says nothing about the target: ask it once more, on a fresh one.
    let stale = reused && !deadline && exchange.relay().is_none() && !was_alive(&error);
    if let (true, Some(admitted)) = (stale, exchange.admitted())
        && !std::mem::replace(&mut admitted.stale_retry, true)
    {
        error.set_retry(true);
        return error;
    }
    if *error.etype() == ErrorType::InvalidHTTPHeader {
        // Pingora's words quote all it has read of such a head: a log line is no place for that.
        error = Error::explain(ErrorType::InvalidHTTPHeader, "the head of the answer cannot be read").into_up();
    }
    let failure = match error.etype() {
        _ if deadline => Failure::Timeout,
        ErrorType::InvalidHTTPHeader => Failure::Unreadable,
        ErrorType::ReadTimedout | ErrorType::WriteTimedout => Failure::Timeout,
        _ => Failure::Broken,
    };
    fail(session, exchange, failure.into(), error)
}

/// Whether the error shows that there was someone at the other end: bytes that are no head, or a reset of this one stream. A stream
/// refused unread (RFC 9113, section 8.7) may be asked for again like one on a dead connection.
fn was_alive(error: &Error) -> bool {
    let reset = error.root_cause().downcast_ref::<h2::Error>().filter(|cause| cause.is_reset() && cause.is_remote());
    *error.etype() == ErrorType::InvalidHTTPHeader
        || reset.is_some_and(|cause| cause.reason() != Some(h2::Reason::REFUSED_STREAM))
}

/// Marks the current attempt failed and says, by the error, whether another one follows: any while the caller has seen nothing of
/// this one's answer; then only one that goes on with it, where the config asks for that.
pub fn fail(session: &Session, exchange: &mut Exchange, failed: Failed, mut error: Box<Error>) -> Box<Error> {
    let Failed { failure, retry_after } = failed;
    let now = Instant::now();
    error.set_retry(false);
    let gateway = exchange.gateway.clone();
    let Some(admitted) = exchange.admitted() else { return error };
    admitted.stale_retry = false;
    let target = admitted.plan.current().map(|t| t.id.clone()).unwrap_or_default();
    if started(session) {
        admitted.plan.broke(failure, retry_after, now);
        log::warn!("target {target}: {}: {error}; its answer had begun", failure.as_str());
        error.set_retry(resume::begin(exchange));
        return error;
    }
    let next = admitted.plan.failed(failure, retry_after, &gateway.router.rules, now, &mut admitted.dice);
    log::warn!("target {target}: {}: {error}; {next:?}", failure.as_str());
    // A rival under way is a target still to be heard, even where no other may be asked any more.
    let moves_on = gateway.router.rules.triggers.contains(&failure.trigger());
    let races = moves_on && admitted.race.as_ref().is_some_and(Race::may_be_won);
    error.set_retry(next != Next::GiveUp || races);
    error
}

/// Nothing is left to try: the caller gets the reason, as an answer or as the last event of its stream.
pub async fn give_up(session: &mut Session, error: &Error, exchange: &mut Exchange) -> FailToProxy {
    restore(session, exchange).await;
    let caller_left = *error.esource() == ErrorSource::Downstream && *error.etype() != DEADLINE && *error.etype() != STOPPED;
    let done = |code| FailToProxy { error_code: code, can_reuse_downstream: false };
    let has_its_end = *error.etype() == STOPPED && started(session) && exchange.resuming().is_none();
    if has_its_end || is_answered(exchange) || caller_left && exchange.facts.refused.is_none() {
        return done(0);
    }
    let refusal = exchange.facts.refused.clone().unwrap_or_else(|| exhausted(exchange, error, started(session)));
    exchange.facts.refused = Some(refusal.clone());
    let status = refusal.status;
    if !started(session) {
        session.set_keepalive(None);
        if let Err(error) = local::refuse(&refusal, session, exchange).await {
            log::debug!("the caller left before its refusal: {error}");
        }
        return done(status);
    }
    // A whole answer starts with its last byte, so only a stream can be cut short here.
    resume::abandon(exchange);
    if let Phase::Answering(_, relay) = &mut exchange.phase
        && relay.is_stream()
    {
        // The provider's own words, where they were kept back, are the one error event there is.
        let own = relay.has_last_words();
        let (text, refused) = relay.cut(true);
        let event = (!own || refused.is_some()).then(|| refused.as_ref().unwrap_or(&refusal).event(&exchange.facts.request_id));
        let last = [&text[..], event.as_deref().unwrap_or_default()].concat();
        exchange.facts.refused = Some(refused.unwrap_or(refusal));
        exchange.leaves(&last);
        match session.write_response_body(Some(last.into()), true).await {
            Ok(()) => replay::close(&mut session.downstream_session).await,
            Err(error) => log::debug!("the caller left before the end of its stream: {error}"),
        }
    }
    done(status)
}

/// Puts the caller's real session back.
pub async fn restore(session: &mut Session, exchange: &mut Exchange) {
    if let Some(replay) = exchange.admitted().map(|a| a.replay.clone()) {
        replay.restore(session).await;
    }
}

/// A final head was written to the caller. An interim one (our own 100) does not count.
pub(super) fn started(session: &Session) -> bool {
    session.response_written().is_some_and(|head| !head.status.is_informational())
}

pub(super) fn truncated() -> Refusal {
    let message = "the provider's answer broke off before its end; what was sent so far is incomplete";
    Refusal::upstream(502, message)
}

fn is_answered(exchange: &mut Exchange) -> bool {
    exchange.admitted().is_some_and(|a| a.replay.is_answered())
}

/// Whether a rival's answer has begun, and is waited for no longer than to the end of this attempt.
fn is_overtaken(exchange: &mut Exchange) -> bool {
    exchange.admitted().and_then(|a| a.race.as_ref()).is_some_and(Race::is_won)
}

/// Every attempt failed: 504 when all of them timed out, 502 otherwise, with the last reason.
fn exhausted(exchange: &mut Exchange, error: &Error, started: bool) -> Refusal {
    let attempts = exchange.admitted().map(|a| a.plan.attempts().to_vec()).unwrap_or_default();
    let begun = exchange.resuming().is_some();
    let relayed = exchange.relay().is_some();
    let Some(last) = attempts.last() else {
        log::error!("an exchange failed without an attempt: {error}");
        return Refusal::upstream(502, "the request could not be forwarded");
    };
    if begun || relayed && started && last.failure == Some(Failure::Broken) {
        return truncated();
    }
    let reason = last.failure.map_or("connection_broken", Failure::as_str);
    let tried: Vec<String> =
        attempts.iter().map(|a| format!("{} ({})", a.target, a.failure.map_or("answered", Failure::as_str))).collect();
    let timed_out = attempts.iter().all(|a| a.failure == Some(Failure::Timeout));
    let (status, code) = if timed_out { (504, "upstream_timeout") } else { (502, "upstream_error") };
    let message = format!("no target answered; the last reason was {reason}; tried: {}", tried.join(", "));
    Refusal::new(status, "upstream_error", code, message)
}
