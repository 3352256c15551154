//! One attempt after another: which target is asked, what its failure means, and what the caller gets when nothing is left.

use super::exchange::{Exchange, Phase, Served};
use super::relay::{DEFAULT_MAX_RESPONSE, Relay};
use super::replay::{self, DEADLINE, STOPPED};
use super::{admit, forward, local};
use crate::metrics::METRICS;
use crate::policy::answer::Answer;
use crate::refusal::Refusal;
use crate::upstream::{Failure, Target};
use http::Version;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use pingora_core::upstreams::peer::HttpPeer;
use pingora_core::{Error, ErrorSource, ErrorType, Result};
use pingora_http::{RequestHeader, ResponseHeader};
use pingora_proxy::{FailToProxy, Session};
use std::sync::Arc;
use std::time::Duration;

/// Node clients keep idle sockets for a minute and more; closing first is a race they lose.
const KEEPALIVE_SECONDS: u64 = 75;
const WRITE_TIMEOUT: Duration = Duration::from_secs(60);
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// The error of an answer that failed in a way we found out, and noted, ourselves.
pub(super) const FAILED: ErrorType = ErrorType::Custom("answer_failed");

/// First contact: connection settings, and who asks.
pub fn arrive(session: &mut Session, exchange: &mut Exchange) {
    if session.get_keepalive().is_some() {
        session.set_keepalive(Some(KEEPALIVE_SECONDS));
    }
    session.set_write_timeout(Some(WRITE_TIMEOUT));
    session.set_total_drain_timeout(Some(DRAIN_TIMEOUT));
    session.set_pipelining_enabled(true);
    let client = session.client_addr().and_then(|a| a.as_inet()).map(|a| a.ip().to_string());
    exchange.facts.arrived(session.req_header(), client);
}

/// Chooses the target of the next attempt and how to reach it.
///
/// # Errors
/// The target's name is not resolved: retried when another target follows.
pub fn begin(exchange: &mut Exchange) -> Result<Box<HttpPeer>> {
    back_to_admitted(exchange);
    let Phase::Admitted(admitted) = &mut exchange.phase else { return internal("no exchange to forward") };
    let Some((target, model)) = admitted.plan.current().map(|(t, m)| (t.clone(), m.to_owned())) else {
        return internal("no target to ask");
    };
    admitted.plan.begin();
    exchange.facts.served = Some(Served { target: target.id.clone(), provider: target.provider.clone(), model });
    let Some(address) = target.address() else {
        return Err(fail(exchange, Failure::Dns, Error::explain(ErrorType::ConnectError, "the target's name is not resolved")));
    };
    admitted.replay.set_body(admit::body_for(admitted));
    admitted.replay.deadline_in(Some(target.timeout));
    forward::peer(&target, address)
}

/// No connection to the target.
pub fn not_connected(exchange: &mut Exchange, error: Box<Error>) -> Box<Error> {
    let failure = match error.etype() {
        ErrorType::TLSHandshakeFailure | ErrorType::TLSHandshakeTimedout | ErrorType::InvalidCert | ErrorType::HandshakeError => {
            Failure::Tls
        }
        ErrorType::ConnectTimedout => Failure::Timeout,
        _ => Failure::Connect,
    };
    fail(exchange, failure, error)
}

/// A connection to the target stands: one that was kept, or a new one.
pub fn connected(exchange: &mut Exchange, reused: bool) {
    let Some((target, _)) = exchange.admitted().and_then(|a| a.plan.current()) else { return };
    let reused = if reused { "true" } else { "false" };
    METRICS.upstream_connections.with_label_values(&[&*target.id, reused]).inc();
}

/// The head the target gets.
///
/// # Errors
/// A configured header that is no header.
pub fn request_head(head: &mut RequestHeader, exchange: &mut Exchange) -> Result<()> {
    let Phase::Admitted(admitted) = &exchange.phase else { return internal("no exchange to forward") };
    let Some((target, _)) = admitted.plan.current() else { return internal("no target to ask") };
    forward::request_head(head, target, &exchange.facts, admitted.replay.body_len())
}

/// The target's head is here: an answer, or a reason to ask the next target.
///
/// # Errors
/// A failure; retried when its trigger is set and another target follows.
pub fn on_head(session: &Session, head: &mut ResponseHeader, exchange: &mut Exchange) -> Result<()> {
    // Nobody asked for another protocol: a 101 is no interim answer but an odd final one.
    if head.status.is_informational() && head.status.as_u16() != 101 {
        return Ok(());
    }
    let status = head.status.as_u16();
    let gateway = exchange.gateway.clone();
    let Phase::Admitted(admitted) = &mut exchange.phase else { return internal("an answer without a question") };
    let Some(target) = admitted.plan.current().map(|(t, _)| t.clone()) else { return internal("an answer without a target") };

    let stream = is_stream(head, exchange.facts.stream, status);
    let failure = match Failure::of_status(status) {
        Some(failure) => Some(failure),
        None if head.status.is_redirection() || status == 101 => Some(Failure::Unreadable),
        None if is_encoded(head) => Some(Failure::Unreadable),
        None => None,
    };
    if let Some(failure) = failure {
        let moves = gateway.falls_back(failure) && admitted.plan.has_next();
        if moves || failure == Failure::Unreadable {
            return Err(fail(exchange, failure, Error::explain(ErrorType::HTTPStatus(status), "the target failed")));
        }
        admitted.plan.failed(failure, false);
        note_health(&target, Some(failure));
        if head.headers.get(CONTENT_LENGTH).is_some_and(|v| v.as_bytes() == b"0") {
            let message = format!("the provider answered {status} without a body");
            let retry_after = head.headers.get(RETRY_AFTER).and_then(|v| v.to_str().ok()?.parse().ok());
            let refusal = Refusal::upstream(status, message);
            exchange.facts.refused = Some(Refusal { retry_after, ..refusal });
            return Error::e_explain(STOPPED, "an error without a body");
        }
    } else {
        admitted.plan.succeeded();
        note_health(&target, None);
    }
    let answer = Answer::new(std::mem::take(&mut admitted.watching), gateway.chain.mode());
    let relay = match stream {
        true => Relay::stream(status, answer, !exchange.facts.wants_usage && target.include_usage),
        false => Relay::whole(status, answer, gateway.limits.max_response_bytes.unwrap_or(DEFAULT_MAX_RESPONSE)),
    };
    admitted.replay.deadline_in(Some(target.stream_timeout));
    // The length goes too: the body may change, and Pingora flushes each piece only when it is open.
    forward::drop_hop_by_hop(head);
    head.remove_header(&CONTENT_LENGTH);
    debug_assert!(!started(session));
    answering(exchange, relay);
    Ok(())
}

/// The head the caller gets.
///
/// # Errors
/// Never in practice: every value is our own.
pub fn answer_head(head: &mut ResponseHeader, exchange: &mut Exchange) -> Result<()> {
    forward::answer_head(head, exchange)?;
    let Some(relay) = exchange.relay() else { return Ok(()) };
    match relay.is_stream() {
        true => {
            head.insert_header("cache-control", "no-cache")?;
            head.insert_header("x-accel-buffering", "no")?;
        }
        false => {
            let mut head = Box::new(head.clone());
            // Over HTTP/2 the target's version would stay, which an HTTP/1.1 caller cannot be sent.
            head.set_version(Version::HTTP_11);
            relay.head = Some(head);
        }
    }
    Ok(())
}

/// An attempt broke after its connection stood.
pub fn broken(session: &Session, exchange: &mut Exchange, mut error: Box<Error>, reused: bool) -> Box<Error> {
    let deadline = *error.etype() == DEADLINE;
    let ours = [STOPPED, FAILED].contains(error.etype());
    if ours {
        return error;
    }
    if is_answered(exchange) || *error.esource() == ErrorSource::Downstream && !deadline {
        error.set_retry(false);
        return error;
    }
    if matches!(error.etype(), ErrorType::HTTPStatus(_)) {
        return error;
    }
    // A pooled connection that was dead all along says nothing about the target: ask it once more, on a fresh one.
    let untouched = exchange.relay().is_none();
    if let (true, true, false, Some(admitted)) = (reused, untouched, deadline, exchange.admitted())
        && !std::mem::replace(&mut admitted.stale_retry, true)
    {
        error.set_retry(true);
        return error;
    }
    let failure = match error.etype() {
        _ if deadline => Failure::Timeout,
        ErrorType::ReadTimedout | ErrorType::WriteTimedout => Failure::Timeout,
        _ => Failure::Broken,
    };
    fail_answering(session, exchange, failure, error)
}

/// Nothing is left to try: the caller gets the reason, as an answer or as the last event of its stream.
pub async fn give_up(session: &mut Session, error: &Error, exchange: &mut Exchange) -> FailToProxy {
    restore(session, exchange).await;
    let caller_left = *error.esource() == ErrorSource::Downstream && *error.etype() != DEADLINE && *error.etype() != STOPPED;
    let done = |code| FailToProxy { error_code: code, can_reuse_downstream: false };
    let has_its_end = *error.etype() == STOPPED && started(session);
    if has_its_end || is_answered(exchange) || caller_left && exchange.facts.refused.is_none() {
        return done(0);
    }
    let refusal = exchange.facts.refused.clone().unwrap_or_else(|| exhausted(exchange, error));
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
    if let Phase::Answering(_, relay) = &mut exchange.phase
        && relay.is_stream()
    {
        let (text, refused) = relay.cut(true);
        let refusal = refused.unwrap_or(refusal);
        let last = [&text[..], &refusal.event(&exchange.facts.request_id)].concat();
        exchange.facts.refused = Some(refusal);
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

/// Marks the current attempt failed and says whether the next target is asked.
pub(super) fn fail(exchange: &mut Exchange, failure: Failure, mut error: Box<Error>) -> Box<Error> {
    let may_move = exchange.gateway.falls_back(failure);
    error.set_retry(false);
    let Some(admitted) = exchange.admitted() else { return error };
    if let Some((target, _)) = admitted.plan.current() {
        note_health(target, Some(failure));
        log::warn!("target {}: {}: {error}", target.id, failure.as_str());
    }
    admitted.stale_retry = false;
    error.set_retry(admitted.plan.failed(failure, may_move));
    error
}

/// As [`fail`], for an answer under way: another target only while the caller has seen nothing of this one.
pub(super) fn fail_answering(session: &Session, exchange: &mut Exchange, failure: Failure, mut error: Box<Error>) -> Box<Error> {
    if !started(session) {
        return fail(exchange, failure, error);
    }
    if let Some(admitted) = exchange.admitted() {
        admitted.plan.failed(failure, false);
    }
    error.set_retry(false);
    error
}

fn is_answered(exchange: &mut Exchange) -> bool {
    exchange.admitted().is_some_and(|a| a.replay.is_answered())
}

/// In an encoding that was not asked for, and that no policy can read.
fn is_encoded(head: &ResponseHeader) -> bool {
    head.headers.get(CONTENT_ENCODING).is_some_and(|v| !v.as_bytes().eq_ignore_ascii_case(b"identity"))
}

/// An SSE answer, by its type or, since some providers mislabel theirs, by what was asked for.
fn is_stream(head: &ResponseHeader, asked: bool, status: u16) -> bool {
    let media = head.headers.get(CONTENT_TYPE).map(|v| v.as_bytes().to_ascii_lowercase()).unwrap_or_default();
    status < 400 && (media.starts_with(b"text/event-stream") || asked && !media.starts_with(b"application/json"))
}

pub(super) fn truncated() -> Refusal {
    let message = "the provider's answer broke off before its end; what was sent so far is incomplete";
    Refusal::upstream(502, message)
}

/// Every attempt failed: 504 when all of them timed out, 502 otherwise, with the last reason.
fn exhausted(exchange: &mut Exchange, error: &Error) -> Refusal {
    let attempts = exchange.admitted().map(|a| a.plan.attempts().to_vec()).unwrap_or_default();
    let relayed = exchange.relay().is_some();
    let Some(last) = attempts.last() else {
        log::error!("an exchange failed without an attempt: {error}");
        return Refusal::upstream(502, "the request could not be forwarded");
    };
    if relayed && last.failure == Some(Failure::Broken) {
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

fn note_health(target: &Arc<Target>, failure: Option<Failure>) {
    let turned = match failure {
        Some(failure) if failure.blames_target() => target.health.failed().then_some("unhealthy"),
        Some(_) => None,
        None => target.health.succeeded().then_some("healthy"),
    };
    if let Some(state) = turned {
        log::warn!("target {} is {state}", target.id);
    }
}

fn answering(exchange: &mut Exchange, relay: Relay) {
    exchange.phase = match std::mem::replace(&mut exchange.phase, Phase::Settled) {
        Phase::Admitted(admitted) | Phase::Answering(admitted, _) => Phase::Answering(admitted, Box::new(relay)),
        other => other,
    };
}

/// An answer broke off unseen: its watches start again with the next target's.
fn back_to_admitted(exchange: &mut Exchange) {
    exchange.phase = match std::mem::replace(&mut exchange.phase, Phase::Settled) {
        Phase::Answering(mut admitted, relay) => {
            admitted.watching = relay.answer.into_policies();
            Phase::Admitted(admitted)
        }
        other => other,
    };
}

fn internal<T>(why: &'static str) -> Result<T> {
    Error::e_explain(ErrorType::InternalError, why)
}
