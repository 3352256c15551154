//! What becomes of the body of an answer, piece by piece: it is relayed, or it ends early, and then how.

use super::attempt::FAILED;
use super::exchange::{Exchange, Phase};
use super::failing::{fail, started, truncated};
use super::relay::{Relay, Stop};
use super::{forward, local};
use crate::openai::sse::Decoder;
use crate::refusal::Refusal;
use crate::upstream::Failure;
use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING};
use pingora_core::{Error, ErrorType, Result};
use pingora_proxy::Session;
use std::borrow::Cow;
use std::time::Duration;

/// How long an upstream may take to end its body after the caller has the whole answer.
const TAIL: Duration = Duration::from_secs(1);

/// A piece of the answer's body; returns what may leave now.
///
/// # Errors
/// The answer ends here: a policy stopped it, or the target broke it.
pub fn on_body(session: &Session, piece: Option<Bytes>, end: bool, exchange: &mut Exchange) -> Result<Option<Bytes>> {
    // What comes behind the end of an upstream is nobody's.
    let Phase::Answering(admitted, relay) = &mut exchange.phase else { return Ok(None) };
    if admitted.replay.is_cut() {
        // It came with the piece that ended the answer, or the upstream.
        return Ok(None);
    }
    let had_begun = relay.tally.target_began.is_some();
    let fed = relay.feed(piece, end);
    if let (false, Some(now)) = (had_begun, relay.tally.target_began) {
        admitted.first_byte(relay.status, now);
    }
    if let Some(target) = admitted.plan.current() {
        admitted.replay.deadline_in(Some(target.stream_timeout));
    }
    if !relay.is_stream() {
        return match fed {
            Ok(out) if end => finish_whole(session, out, exchange),
            Ok(out) => Ok(out),
            Err(Stop::Refused(refusal)) => become_refusal(exchange, refusal),
            Err(Stop::Failed(failure)) => Err(fail(session, exchange, failure.into(), unreadable())),
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
            Err(fail(session, exchange, Failure::Broken.into(), Error::explain(FAILED, "the stream is empty")))
        }
        Ok(out) if end && !relay.tally.whole => {
            let error = Error::explain(FAILED, "the stream ended without an end");
            let error = fail(session, exchange, Failure::Broken.into(), error);
            if error.retry() && !started(session) {
                return Err(error);
            }
            Ok(Some(after(error.retry(), exchange, out, truncated())))
        }
        Ok(out) => Ok(out),
        Err(Stop::Refused(refusal)) => Ok(Some(stop(exchange, None, refusal, false))),
        Err(Stop::Failed(failure)) => {
            let has_left = relay.has_left();
            let error = fail(session, exchange, failure.into(), unreadable());
            if !started(session) && (error.retry() || !has_left) {
                return Err(error);
            }
            Ok(Some(after(error.retry(), exchange, None, illegible())))
        }
    }
}

/// The provider reported an error inside its stream: the next target's chance while the caller has seen nothing, or where another
/// one may go on, else the end.
fn on_error_event(session: &Session, out: Option<Bytes>, exchange: &mut Exchange) -> Result<Option<Bytes>> {
    let Phase::Answering(admitted, relay) = &mut exchange.phase else { return Ok(out) };
    if let Some(target) = admitted.plan.current() {
        relay.edit_last_words(|words| forward::without_key(words, target));
    }
    if let Some(failure) = relay.tally.error.and_then(Failure::of_status) {
        let error = Error::explain(FAILED, "the target reported an error in its stream");
        let error = fail(session, exchange, failure.into(), error);
        match (error.retry(), started(session)) {
            (true, false) => return Err(error),
            (true, true) => return Ok(Some(interrupt(exchange, out))),
            (false, _) => {}
        }
    }
    let (text, refused) = exchange.relay().filter(|r| r.has_last_words()).map(|r| r.cut(true)).unwrap_or_default();
    if let Some(admitted) = exchange.admitted() {
        admitted.replay.stop();
    }
    let mut last = Bytes::from([out.as_deref().unwrap_or_default(), &text[..]].concat());
    if let Some(target) = exchange.admitted().and_then(|a| a.plan.current()) {
        last = forward::without_key(last, target);
    }
    if let Some(refusal) = refused {
        let event = refusal.event(&exchange.facts.request_id);
        exchange.facts.refused = Some(refusal);
        return Ok(Some([&last[..], &event[..]].concat().into()));
    }
    let is_first = exchange.relay().is_some_and(|relay| relay.tally.chunks == 1);
    if is_first && !started(session) { as_answer(last, exchange).map(Some) } else { Ok(Some(last)) }
}

/// A stream that begins with the provider's error: the caller gets the status it stands for, which every SDK acts on, instead of a
/// 200 that fails at once.
fn as_answer(events: Bytes, exchange: &mut Exchange) -> Result<Bytes> {
    let Some(status) = exchange.relay().and_then(|relay| relay.tally.error) else { return Ok(events) };
    let mut decoder = Decoder::new(events.len());
    let ended = decoder.push(events.clone()).flatten().find_map(|event| event.data().map(Cow::into_owned));
    let data = ended.or_else(|| decoder.finish().and_then(|event| event.data().map(Cow::into_owned)));
    let Some(data) = data else { return Ok(events) };
    let body = Refusal::complete_foreign(status, &data, &exchange.facts.request_id).unwrap_or(data);
    let mut head = local::refusal_head(&Refusal::upstream(status, ""), exchange)?;
    head.insert_header(CONTENT_LENGTH, body.len())?;
    if let Some(relay) = exchange.relay() {
        relay.status = status;
    }
    if let Some(admitted) = exchange.admitted() {
        admitted.replay.replace_head(Box::new(head));
    }
    Ok(body.into())
}

/// What leaves of a stream that failed: all there is when another target `goes_on`, else that and the end.
fn after(goes_on: bool, exchange: &mut Exchange, out: Option<Bytes>, refusal: Refusal) -> Bytes {
    if goes_on { interrupt(exchange, out) } else { stop(exchange, out, refusal, true) }
}

/// Gives this upstream up; the answer stays open for another one.
fn interrupt(exchange: &mut Exchange, out: Option<Bytes>) -> Bytes {
    let left = exchange.resuming().map(Relay::take_left).unwrap_or_default();
    if let Some(admitted) = exchange.admitted() {
        admitted.replay.interrupt();
    }
    [out.as_deref().unwrap_or_default(), &left[..]].concat().into()
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
        if status == 400 && is_context_overflow(&body) {
            let error = Error::explain(ErrorType::HTTPStatus(400), "the prompt is too long for this target");
            let error = fail(session, exchange, Failure::ContextLength.into(), error);
            if error.retry() {
                return Err(error);
            }
        }
        if let Some(target) = exchange.admitted().and_then(|a| a.plan.current()) {
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

fn illegible() -> Refusal {
    let message = "the provider sent an event that cannot be read; what was sent so far is incomplete";
    Refusal::upstream(502, message)
}

fn unreadable() -> Box<Error> {
    Error::explain(FAILED, "the answer cannot be read")
}

fn is_context_overflow(body: &[u8]) -> bool {
    memchr::memmem::find(body, b"context_length_exceeded").is_some()
}
