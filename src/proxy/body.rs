//! What becomes of the body of an answer, piece by piece: it is relayed, or it ends early, and then how.

use super::attempt::{FAILED, fail, fail_answering, started, truncated};
use super::exchange::{Exchange, Phase};
use super::relay::Stop;
use super::{forward, local};
use crate::refusal::Refusal;
use crate::upstream::Failure;
use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING};
use pingora_core::{Error, ErrorType, Result};
use pingora_proxy::Session;
use std::time::Duration;

/// How long an upstream may take to end its body after the caller has the whole answer.
const TAIL: Duration = Duration::from_secs(1);

/// A piece of the answer's body; returns what may leave now.
///
/// # Errors
/// The answer ends here: a policy stopped it, or the target broke it.
pub fn on_body(session: &Session, piece: Option<Bytes>, end: bool, exchange: &mut Exchange) -> Result<Option<Bytes>> {
    let Phase::Answering(admitted, relay) = &mut exchange.phase else { return Ok(piece) };
    if admitted.replay.is_stopping() {
        // It came with the piece that ended the answer.
        return Ok(None);
    }
    if let Some((target, _)) = admitted.plan.current() {
        admitted.replay.deadline_in(Some(target.stream_timeout));
    }
    let fed = relay.feed(piece, end);
    if !relay.is_stream() {
        return match fed {
            Ok(out) if end => finish_whole(session, out, exchange),
            Ok(out) => Ok(out),
            Err(Stop::Refused(refusal)) => become_refusal(exchange, refusal),
            Err(Stop::Failed(failure)) => Err(fail(exchange, failure, unreadable())),
        };
    }
    match fed {
        Ok(out) if relay.is_done() => {
            admitted.replay.answered();
            admitted.replay.deadline_in(Some(TAIL));
            Ok(out)
        }
        Ok(out) if relay.tally.error.is_some() => on_error_event(session, out, exchange),
        Ok(_) if end && relay.tally.chunks == 0 && !started(session) => {
            Err(fail(exchange, Failure::Broken, Error::explain(FAILED, "the stream is empty")))
        }
        Ok(out) if end && !relay.tally.whole => {
            admitted.plan.failed(Failure::Broken, false);
            Ok(Some(stop(exchange, out, truncated(), true)))
        }
        Ok(out) => Ok(out),
        Err(Stop::Refused(refusal)) => Ok(Some(stop(exchange, None, refusal, false))),
        Err(Stop::Failed(failure)) if !started(session) && (admitted.plan.has_next() || !relay.has_left()) => {
            Err(fail(exchange, failure, unreadable()))
        }
        Err(Stop::Failed(failure)) => {
            admitted.plan.failed(failure, false);
            let message = "the provider sent an event that cannot be read; what was sent so far is incomplete";
            Ok(Some(stop(exchange, None, Refusal::upstream(502, message), true)))
        }
    }
}

/// The provider reported an error inside its stream: the next target's chance while the caller has seen nothing, else the end.
fn on_error_event(session: &Session, out: Option<Bytes>, exchange: &mut Exchange) -> Result<Option<Bytes>> {
    let first = exchange.relay().filter(|relay| relay.tally.chunks == 1).and_then(|relay| relay.tally.error);
    let failure = exchange.relay().and_then(|relay| relay.tally.error).and_then(Failure::of_status);
    if let (Some(_), Some(failure), false) = (first, failure, started(session))
        && exchange.gateway.falls_back(failure)
        && exchange.admitted().is_some_and(|a| a.plan.has_next())
    {
        return Err(fail(exchange, failure, Error::explain(FAILED, "the target's stream began with an error")));
    }
    let Some(admitted) = exchange.admitted() else { return Ok(out) };
    if let Some(failure) = failure {
        admitted.plan.failed(failure, false);
    }
    admitted.replay.stop();
    Ok(out)
}

/// Ends a stream: with `out`, what else was decided (all of the text so far when the `upstream_broke`), and the refusal's event.
fn stop(exchange: &mut Exchange, out: Option<Bytes>, refusal: Refusal, upstream_broke: bool) -> Bytes {
    let (text, refused) = exchange.relay().map(|relay| relay.cut(upstream_broke)).unwrap_or_default();
    let refusal = refused.unwrap_or(refusal);
    if let Some(admitted) = exchange.admitted() {
        admitted.replay.stop();
    }
    let event = refusal.event(&exchange.facts.request_id);
    exchange.facts.refused = Some(refusal);
    [out.as_deref().unwrap_or_default(), &text[..], &event[..]].concat().into()
}

/// A whole answer that a policy refuses: its head was not sent yet, so the caller gets a plain refusal.
fn become_refusal(exchange: &mut Exchange, refusal: Refusal) -> Result<Option<Bytes>> {
    let body = Bytes::from(refusal.body(&exchange.facts.request_id));
    if refusal.status == 409 {
        exchange.facts.verdict = "block";
    }
    exchange.facts.refused = Some(refusal.clone());
    let mut head = local::refusal_head(&refusal, exchange)?;
    head.insert_header(CONTENT_LENGTH, body.len())?;
    if let Some(admitted) = exchange.admitted() {
        admitted.replay.replace_head(Box::new(head));
    }
    Ok(Some(body))
}

/// The last piece of a whole answer: its length is known now, and an error body is completed for every SDK.
fn finish_whole(session: &Session, out: Option<Bytes>, exchange: &mut Exchange) -> Result<Option<Bytes>> {
    let mut body = out.unwrap_or_default();
    let status = exchange.relay().map_or(200, |r| r.status);
    if status >= 400 {
        if status == 400 && is_context_overflow(&body) && exchange.gateway.falls_back(Failure::ContextLength) {
            let error = Error::explain(ErrorType::HTTPStatus(400), "the prompt is too long for this target");
            if exchange.admitted().is_some_and(|a| a.plan.has_next()) {
                return Err(fail_answering(session, exchange, Failure::ContextLength, error));
            }
        }
        if let Some((target, _)) = exchange.admitted().and_then(|a| a.plan.current()) {
            body = forward::without_key(body, target);
        }
        if let Some(hybrid) = Refusal::complete_foreign(status, &body, &exchange.facts.request_id) {
            body = hybrid.into();
            if let Some(head) = exchange.relay().and_then(|r| r.head.as_mut()) {
                head.remove_header(&CONTENT_ENCODING);
                head.insert_header(CONTENT_TYPE, "application/json")?;
            }
        }
    }
    let output_verdict = exchange.relay().map_or("allow", |r| r.answer.verdict());
    let Some(mut head) = exchange.relay().and_then(|r| r.head.take()) else { return Ok(Some(body)) };
    head.remove_header(&TRANSFER_ENCODING);
    head.insert_header(CONTENT_LENGTH, body.len())?;
    if output_verdict != "allow" {
        head.insert_header("x-keeptrusts-verdict", output_verdict)?;
    }
    if let Some(admitted) = exchange.admitted() {
        admitted.replay.replace_head(head);
    }
    Ok(Some(body))
}

fn unreadable() -> Box<Error> {
    Error::explain(FAILED, "the answer cannot be read")
}

fn is_context_overflow(body: &[u8]) -> bool {
    memchr::memmem::find(body, b"context_length_exceeded").is_some()
}
