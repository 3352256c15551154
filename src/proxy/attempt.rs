//! One attempt: the target's turn, what it is sent, and what its head means.

use super::exchange::{Exchange, Phase, Served};
use super::failing::{Failed, fail, started};
use super::relay::{DEFAULT_MAX_RESPONSE, Relay};
use super::replay::STOPPED;
use super::{forward, race, resume, turn};
use crate::metrics::METRICS;
use crate::policy::answer::Answer;
use crate::refusal::Refusal;
use crate::upstream::parking::retry_after;
use crate::upstream::{Failure, Moment};
use http::Version;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use pingora_core::upstreams::peer::HttpPeer;
use pingora_core::{Error, ErrorType, Result};
use pingora_http::{RequestHeader, ResponseHeader};
use pingora_proxy::Session;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// Clients keep idle sockets for a minute (Node), or 90 s (Go, reqwest); closing first is a race they lose.
const KEEPALIVE_SECONDS: u64 = 120;
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

/// Begins the next attempt, once it may, and says how to reach its target.
///
/// # Errors
/// Nothing may be asked any more, the caller left, or the target's name is not resolved: then another attempt may follow.
pub async fn begin(session: &mut Session, exchange: &mut Exchange) -> Result<Box<HttpPeer>> {
    back_to_admitted(exchange);
    let handed_over = turn::take(session, exchange).await?;
    let Phase::Admitted(admitted) = &mut exchange.phase else { return internal("no exchange to forward") };
    let Some(target) = admitted.plan.current().cloned() else { return internal("no target to ask") };
    let model = admitted.plan.model().clone();
    let Some((body, dropped)) = admitted.body_for(&target, &model) else { return internal("no body for the target") };
    admitted.replay.set_body(body);
    admitted.replay.deadline_in(Some(target.timeout.saturating_sub(admitted.plan.spent(Instant::now()))));
    exchange.facts.dropped = dropped;
    exchange.facts.served = Some(Served { target: target.id.clone(), provider: target.provider.clone(), model });
    if let Some(connection) = handed_over {
        return Ok(forward::handed_over(&target, connection));
    }
    let Some(address) = target.address() else {
        let error = Error::explain(ErrorType::ConnectError, "the target's name is not resolved");
        return Err(fail(session, exchange, Failure::Dns.into(), error));
    };
    race::prepare(session.req_header(), exchange);
    let mut peer = forward::peer(&target, address)?;
    if let Some(race) = exchange.admitted().and_then(|a| a.race.as_ref()) {
        peer.options.custom_l4 = Some(Arc::new(race.interruptible(target.connect_timeout)));
    }
    Ok(peer)
}

/// A connection to the target stands: one that was kept, or a new one.
pub fn connected(exchange: &mut Exchange, reused: bool) {
    let Some(admitted) = exchange.admitted() else { return };
    admitted.race.as_ref().inspect(|race| race.connected());
    let Some(target) = admitted.plan.current() else { return };
    let reused = if reused { "true" } else { "false" };
    METRICS.upstream_connections.with_label_values(&[&*target.id, reused]).inc();
}

/// The head the target gets.
///
/// # Errors
/// A configured header that is no header.
pub fn request_head(head: &mut RequestHeader, exchange: &mut Exchange) -> Result<()> {
    let Phase::Admitted(admitted) = &exchange.phase else { return internal("no exchange to forward") };
    let Some(target) = admitted.plan.current() else { return internal("no target to ask") };
    forward::request_head(head, target, &exchange.facts, admitted.replay.body_len())
}

/// The target's head is here: an answer, or a reason to ask again.
///
/// # Errors
/// A failure; retried when another attempt follows.
pub fn on_head(session: &Session, head: &mut ResponseHeader, exchange: &mut Exchange) -> Result<()> {
    // Nobody asked for another protocol: a 101 is no interim answer but an odd final one.
    if head.status.is_informational() && head.status.as_u16() != 101 {
        return Ok(());
    }
    let (status, now) = (head.status.as_u16(), Instant::now());
    let Phase::Admitted(admitted) = &mut exchange.phase else { return internal("an answer without a question") };
    let Some(target) = admitted.plan.current().cloned() else { return internal("an answer without a target") };
    target.standing.quota.learn(&head.headers, Moment::at(now));
    let stream = is_stream(head, exchange.facts.stream, status);
    match failure_of(head) {
        None if stream || admitted.resuming.is_none() => admitted.plan.answers(status, now),
        None => {
            let error = Error::explain(FAILED, "what should go on with a stream is none");
            return Err(fail(session, exchange, Failure::Unreadable.into(), error));
        }
        Some(failure) => {
            let failed = Failed { failure, retry_after: retry_after(&head.headers, SystemTime::now()) };
            let error = fail(session, exchange, failed, Error::explain(ErrorType::HTTPStatus(status), "the target failed"));
            if error.retry() || failure == Failure::Unreadable || started(session) {
                return Err(error);
            }
            // Nothing is left to ask: the caller gets the provider's own words.
            if head.headers.get(CONTENT_LENGTH).is_some_and(|v| v.as_bytes() == b"0") {
                let seconds = failed.retry_after.map(|pause| u32::try_from(pause.as_secs()).unwrap_or(u32::MAX));
                let refusal = Refusal::upstream(status, format!("the provider answered {status} without a body"));
                exchange.facts.refused = Some(Refusal { retry_after: seconds, ..refusal });
                return Error::e_explain(STOPPED, "an error without a body");
            }
        }
    }
    let gateway = exchange.gateway.clone();
    let strip_usage = !exchange.facts.wants_usage && target.include_usage;
    let Some(admitted) = exchange.admitted() else { return internal("an answer without a question") };
    admitted.replay.deadline_in(Some(target.stream_timeout));

    let relay = match admitted.resuming.take() {
        Some(resuming) => resume::with(resuming, &target, strip_usage),
        None => {
            let answer = Answer::new(std::mem::take(&mut admitted.watching), gateway.chain.mode());
            let keep = resume::is_possible(&gateway, admitted);
            Box::new(match stream {
                true => Relay::stream(status, answer, strip_usage, keep),
                false => Relay::whole(status, answer, gateway.limits.max_response_bytes.unwrap_or(DEFAULT_MAX_RESPONSE)),
            })
        }
    };
    // The length goes too: the body may change, and Pingora flushes each piece only when it is open.
    forward::drop_hop_by_hop(head);
    head.remove_header(&CONTENT_LENGTH);
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

/// Why this head is no answer, if it is none.
pub(super) fn failure_of(head: &ResponseHeader) -> Option<Failure> {
    let status = head.status.as_u16();
    let unreadable = head.status.is_redirection() || status == 101 || is_encoded(head) || status < 400 && is_no_answer(head);
    Failure::of_status(status).or(unreadable.then_some(Failure::Unreadable))
}

/// Well meant, and yet no answer: nothing at all, or the page of something that stands before the provider.
fn is_no_answer(head: &ResponseHeader) -> bool {
    let is_empty = head.headers.get(CONTENT_LENGTH).is_some_and(|length| length.as_bytes() == b"0");
    is_empty || matches!(head.status.as_u16(), 204 | 205) || media(head).starts_with(b"text/html")
}

/// In an encoding that was not asked for, and that no policy can read.
fn is_encoded(head: &ResponseHeader) -> bool {
    head.headers.get(CONTENT_ENCODING).is_some_and(|v| !v.as_bytes().eq_ignore_ascii_case(b"identity"))
}

/// An SSE answer, by its type or, since some providers mislabel theirs, by what was asked for.
pub(super) fn is_stream(head: &ResponseHeader, asked: bool, status: u16) -> bool {
    let media = media(head);
    status < 400 && (media.starts_with(b"text/event-stream") || asked && !media.starts_with(b"application/json"))
}

fn media(head: &ResponseHeader) -> Vec<u8> {
    head.headers.get(CONTENT_TYPE).map(|v| v.as_bytes().to_ascii_lowercase()).unwrap_or_default()
}

fn answering(exchange: &mut Exchange, relay: Box<Relay>) {
    exchange.phase = match std::mem::replace(&mut exchange.phase, Phase::Settled) {
        Phase::Admitted(admitted) | Phase::Answering(admitted, _) => Phase::Answering(admitted, relay),
        other => other,
    };
}

/// An answer broke off unseen: its watches start again with the next target's.
fn back_to_admitted(exchange: &mut Exchange) {
    exchange.phase = match std::mem::replace(&mut exchange.phase, Phase::Settled) {
        Phase::Answering(mut admitted, relay) => {
            admitted.watching = relay.answer.into_watchers();
            Phase::Admitted(admitted)
        }
        other => other,
    };
}

pub(super) fn internal<T>(why: &'static str) -> Result<T> {
    Error::e_explain(ErrorType::InternalError, why)
}
