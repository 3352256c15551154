//! The end of an exchange: its record sealed, its metrics counted.

use super::exchange::{Admitted, Exchange, Phase};
use super::record::{self, Ending};
use super::relay::Relay;
use super::{admit, evidence, shown};
use crate::audit::Journal;
use crate::audit::record::Outcome;
use crate::metrics::METRICS;
use crate::upstream::Attempt;
use log::log_enabled;
use pingora_core::{Error, ErrorSource};
use pingora_proxy::Session;
use std::time::Instant;

/// Seals the record and counts. Runs once: the exchange is [`Phase::Settled`] afterwards.
pub fn settle(session: &Session, error: Option<&Error>, exchange: &mut Exchange, journal: &Journal) {
    let phase = std::mem::replace(&mut exchange.phase, Phase::Settled);
    let (mut admitted, mut relay) = match phase {
        // A stream that nobody came to go on with is an answer all the same.
        Phase::Admitted(mut admitted) => {
            let broken = admitted.resuming.take();
            (admitted, broken)
        }
        Phase::Answering(admitted, relay) => (admitted, Some(relay)),
        Phase::Arrived => return note_access(session, exchange, journal),
        Phase::Settled => return,
    };
    if let Some(race) = admitted.race.take() {
        race.give_up(&mut admitted.plan);
    }
    let ending = ending(session, error, exchange, &admitted, relay.as_deref());
    if let Some(relay) = relay.as_mut() {
        exchange.facts.degraded |= relay.answer.is_degraded();
        exchange.facts.decisions.extend(relay.answer.take_decisions());
    }
    if matches!(ending.outcome, Outcome::Success | Outcome::Denied) || relay.as_ref().is_some_and(|r| r.tally.whole) {
        // A policy that ends an answer says nothing against its target.
        admitted.plan.ended(relay.as_deref().and_then(|r| record::pace(r, admitted.plan.since())), Instant::now());
    }
    count(exchange, relay.as_deref(), admitted.plan.attempts());
    for attempt in admitted.plan.attempts() {
        let outcome = attempt.failure.map_or("answered", |f| f.as_str());
        METRICS.attempts.with_label_values(&[&*attempt.target, outcome]).inc();
    }
    let bytes = exchange.facts.request_bytes + relay.as_ref().map_or(0, |relay| relay.tally.bytes);
    let kept = if exchange.gateway.keep.keeps() { bytes as usize } else { 0 };
    admitted.ticket.enclose(admit::aside(kept, || evidence::close(exchange, relay.as_deref(), false)));
    let completed = record::completed(exchange, ending, relay.as_deref(), admitted.plan.attempts());
    access_log(exchange, ending);
    admitted.ticket.complete(completed);
}

/// Paths that load balancers ask for every second: recording that they were told "ready" would bury everything else.
const PROBES: [&str; 4] = ["/healthz", "/readyz", "/health", "/v1/tcp_warming"];

/// Records what was not for a model, where the config asks for all access. Refused requests for a model have a record already.
fn note_access(session: &Session, exchange: &Exchange, journal: &Journal) {
    let wanted = exchange.gateway.audit.as_ref().is_some_and(|audit| audit.log_all_access);
    let status = written(session);
    let probe = status.is_some_and(|status| status < 400) && PROBES.contains(&&*exchange.facts.path);
    if wanted && !probe && exchange.facts.endpoint.is_none() {
        journal.note_if_room(record::access(exchange, session.req_header().method.as_str(), status));
    }
}

/// The status the caller got.
fn written(session: &Session) -> Option<u16> {
    session.response_written().filter(|head| !head.status.is_informational()).map(|head| head.status.as_u16())
}

/// How it ended for the caller.
fn ending(session: &Session, error: Option<&Error>, exchange: &Exchange, admitted: &Admitted, relay: Option<&Relay>) -> Ending {
    let status = written(session);
    let caller_left = error.is_some_and(|e| e.esource() == &ErrorSource::Downstream) && exchange.facts.refused.is_none();
    let outcome = match relay {
        _ if exchange.facts.refused.as_ref().is_some_and(|r| r.status < 500) => Outcome::Denied,
        _ if exchange.facts.refused.is_some() => Outcome::Error,
        Some(relay) if relay.tally.error.is_some() || relay.status >= 400 => Outcome::Error,
        Some(relay) if relay.tally.whole && (error.is_none() || admitted.replay.is_answered()) => Outcome::Success,
        _ if caller_left => Outcome::Aborted,
        _ => Outcome::Error,
    };
    Ending { outcome, status }
}

/// Counts one exchange. Labels come from the config: the model is the one sent to the target, never the caller's word.
pub fn count(exchange: &Exchange, relay: Option<&Relay>, attempts: &[Attempt]) {
    let facts = &exchange.facts;
    let (model, provider) = match &facts.served {
        Some(served) if exchange.gateway.has_model(&served.model) => (&*served.model, &*served.provider),
        Some(served) => ("other", &*served.provider),
        None => ("none", "none"),
    };
    let status = match (&facts.refused, relay) {
        (Some(refusal), _) => refusal.status,
        (None, Some(relay)) => relay.status,
        (None, None) => 0,
    };
    let llm = &[model, provider];
    METRICS.requests.with_label_values(&[model, provider, status_label(status), record::verdict(facts)]).inc();
    for decision in &facts.decisions {
        METRICS.policy_evaluations.with_label_values(&[decision.kind, decision.verdict]).inc();
        METRICS.policy_seconds.with_label_values(&[decision.kind]).observe(decision.took.as_secs_f64());
    }
    if let Some(overhead) = facts.overhead {
        METRICS.overhead.with_label_values::<&str>(&[]).observe(overhead.as_secs_f64());
    }
    if let Some(began) = facts.began {
        METRICS.latency.with_label_values(llm).observe(began.elapsed().as_secs_f64());
        if let Some(first) = relay.and_then(|r| r.tally.first_byte) {
            METRICS.first_token.with_label_values(llm).observe(first.duration_since(began).as_secs_f64());
        }
    }
    if let Some(usage) = relay.and_then(|r| r.tally.usage) {
        METRICS.tokens.with_label_values(&[model, provider, "input"]).inc_by(usage.input_tokens);
        METRICS.tokens.with_label_values(&[model, provider, "output"]).inc_by(usage.output_tokens);
        if let Some(cost) = record::cost(&exchange.gateway, facts, usage, attempts) {
            METRICS.cost.with_label_values(llm).inc_by(cost);
        }
    }
    if let Some(rate) = relay.and_then(record::tokens_per_second) {
        METRICS.tokens_per_second.with_label_values(llm).observe(rate);
    }
}

/// Statuses that can be met, as label values; anything else a provider invents is `other`.
fn status_label(status: u16) -> &'static str {
    match status {
        0 => "none",
        200 => "200",
        400 => "400",
        401 => "401",
        402 => "402",
        403 => "403",
        404 => "404",
        408 => "408",
        409 => "409",
        413 => "413",
        415 => "415",
        422 => "422",
        429 => "429",
        500 => "500",
        502 => "502",
        503 => "503",
        504 => "504",
        529 => "529",
        _ => "other",
    }
}

fn access_log(exchange: &Exchange, ending: Ending) {
    if !log_enabled!(target: "kt::access", log::Level::Info) {
        return;
    }
    let facts = &exchange.facts;
    log::info!(
        target: "kt::access",
        "{} {} status={} outcome={} verdict={} target={} model={} ms={:.1}",
        facts.request_id,
        facts.path,
        ending.status.unwrap_or(0),
        ending.outcome.as_str(),
        record::verdict(facts),
        facts.served.as_ref().map_or("-", |s| &*s.target),
        facts.served.as_ref().map_or("-".into(), |s| shown::name(&s.model)),
        facts.began.map_or(0.0, |b| b.elapsed().as_secs_f64() * 1e3),
    );
}
