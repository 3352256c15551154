//! What the audit log says of an exchange: the one place where facts become records.

use super::exchange::{Exchange, Facts};
use super::relay::Relay;
use crate::audit::record::{
    About, Attempt, AttemptResult, Client, Completed, Content, Coverage, Outcome, PolicyDecision, Received, Redactions, Trace,
    UsageNumbers, UsageSource, Word,
};
use crate::gateway::Gateway;
use crate::openai::chunk::Usage;
use crate::openai::request::Endpoint;
use crate::policy::chain::{Decision, strongest};
use crate::upstream::{self, Failure};
use std::time::Instant;

/// How an answer ended for its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ending {
    /// The word.
    pub outcome: Outcome,
    /// The status the caller got.
    pub status: Option<u16>,
}

/// The record that is durable before any byte leaves.
pub fn received(exchange: &Exchange, target: Option<&str>) -> Received {
    Received {
        about: about(exchange),
        target: target.map(Into::into),
        policy: exchange.facts.decisions.iter().map(decision).collect(),
    }
}

/// The one record of an exchange that never reached a target.
pub fn refused(exchange: &Exchange, caller_left: bool) -> Completed {
    let status = exchange.facts.refused.as_ref().map(|r| r.status);
    let outcome = match status {
        _ if caller_left => Outcome::Aborted,
        Some(500..) => Outcome::Error,
        _ => Outcome::Denied,
    };
    completed(exchange, Ending { outcome, status }, None, &[])
}

/// The last record of an exchange.
pub fn completed(exchange: &Exchange, ending: Ending, relay: Option<&Relay>, attempts: &[upstream::Attempt]) -> Completed {
    let facts = &exchange.facts;
    let tally = relay.map(|r| &r.tally);
    let usage = tally.and_then(|t| t.usage);
    let since = |at: Option<Instant>| Some(at?.duration_since(facts.began?).as_secs_f64() * 1e3);
    Completed {
        about: about(exchange),
        target: facts.served.as_ref().map(|s| s.target.to_string()),
        provider: facts.served.as_ref().map(|s| s.provider.to_string()),
        response_model: tally.and_then(|t| t.model.clone()),
        response_id: tally.and_then(|t| t.id.clone()),
        response: tally.map(|t| Content {
            bytes: t.bytes,
            redactions: redactions(facts, "output"),
            coverage: relay.map(|relay| answer_coverage(facts, relay)).unwrap_or_default(),
        }),
        chunks: tally.filter(|t| t.chunks > 0).map(|t| t.chunks),
        finish_reasons: tally.map(|t| t.finish_reasons.clone()).unwrap_or_default(),
        policy: facts.decisions.iter().map(decision).collect(),
        verdict: verdict(facts).into(),
        reason_code: reason(facts),
        outcome: ending.outcome,
        http_status: ending.status,
        attempts: attempts.iter().map(attempt).collect(),
        fallback: attempts.first().is_some_and(|first| facts.served.as_ref().is_some_and(|s| s.target != first.target)),
        continued: facts.continued,
        dropped_fields: facts.dropped.clone(),
        degraded: facts.degraded,
        usage: usage.map(numbers),
        cost_usd: usage.and_then(|usage| cost(&exchange.gateway, facts, usage, attempts)),
        ttft_ms: tally.and_then(|t| since(t.first_byte)),
        duration_ms: since(Some(Instant::now())),
        overhead_us: facts.overhead.map(|d| d.as_micros() as u64),
        tokens_per_second: relay.and_then(tokens_per_second),
    }
}

/// The strongest verdict of both phases.
pub fn verdict(facts: &Facts) -> &'static str {
    strongest(std::iter::once(facts.verdict).chain(facts.decisions.iter().map(|d| d.verdict)))
}

/// What the configured prices make of the tokens. A provider that was asked and then given up for a faster one bills the prompt it
/// read; what it had written by then, nobody here knows.
pub fn cost(gateway: &Gateway, facts: &Facts, usage: Usage, attempts: &[upstream::Attempt]) -> Option<f64> {
    let pricing = |id: &str| gateway.targets().iter().find(|t| *t.id == *id)?.pricing;
    let served = pricing(&facts.served.as_ref()?.target)?;
    let fresh = usage.input_tokens.saturating_sub(usage.cached_tokens);
    let cost = fresh as f64 * served.input_price_per_million
        + usage.cached_tokens as f64 * served.cached_input_price_per_million
        + usage.output_tokens as f64 * served.output_price_per_million;
    let given_up =
        attempts.iter().filter(|a| a.failure == Some(Failure::Superseded) && a.status.is_none_or(|status| status < 400));
    let given_up = given_up.filter_map(|a| pricing(&a.target));
    let given_up: f64 = given_up.map(|p| usage.input_tokens as f64 * p.input_price_per_million).sum();
    Some((cost + given_up) / 1e6)
}

/// Output tokens over the time from the first byte to the last, of the target that answered last; streams only.
pub fn tokens_per_second(relay: &Relay) -> Option<f64> {
    let tally = &relay.tally;
    let took = tally.last_byte?.duration_since(tally.target_began?).as_secs_f64();
    let tokens = tally.usage?.output_tokens;
    (relay.is_stream() && took > 0.0 && tokens > 0).then(|| tokens as f64 / took)
}

/// How fast a target writes: as [`tokens_per_second`] and, for an answer that came as a whole, over the time since it was asked.
pub fn pace(relay: &Relay, asked: Instant) -> Option<f64> {
    let whole = || {
        let took = relay.tally.last_byte?.checked_duration_since(asked)?.as_secs_f64();
        let tokens = relay.tally.usage?.output_tokens;
        (took > 0.0 && tokens > 0).then(|| tokens as f64 / took)
    };
    tokens_per_second(relay).or_else(whole)
}

fn about(exchange: &Exchange) -> About {
    let facts = &exchange.facts;
    About {
        config: Some(exchange.gateway.stamp.clone()),
        principal: None,
        user: facts.user.clone(),
        team: facts.team.clone(),
        client: Client { ip: facts.client.clone(), user_agent: facts.user_agent.clone() },
        conversation: facts.conversation.clone(),
        operation: facts.endpoint.map(operation).map(Word::Borrowed),
        request_model: (!facts.model.is_empty()).then(|| facts.model.clone()),
        path: Some(facts.path.clone()),
        stream: facts.stream,
        tools: facts.tools.clone(),
        parameters: Default::default(),
        retry: facts.retry.filter(|n| *n > 0),
        request: Some(Content {
            bytes: facts.request_bytes,
            redactions: redactions(facts, "input"),
            coverage: Coverage { scanned: words(&facts.scanned), unscanned: words(&facts.unscanned) },
        }),
        trace: Trace {
            trace_id: Some(facts.trace_id.clone()),
            span_id: Some(facts.span_id.clone()),
            request_id: Some(facts.request_id.clone()),
        },
    }
}

/// What of an answer somebody watched, and what was there besides; nothing where nobody looked.
fn answer_coverage(facts: &Facts, relay: &Relay) -> Coverage {
    let (mut scanned, mut unscanned) = (Vec::new(), Vec::new());
    if !relay.answer.is_watched() || relay.status >= 400 {
        return Coverage::default();
    }
    for (kind, watched) in relay.answer.watched() {
        let list = if watched { &mut scanned } else { &mut unscanned };
        if !list.contains(&kind.as_str()) {
            list.push(kind.as_str());
        }
    }
    unscanned.extend(&relay.tally.unread);
    if facts.endpoint == Some(Endpoint::Embeddings) {
        unscanned.push("embedding");
    }
    Coverage { scanned: words(&scanned), unscanned: words(&unscanned) }
}

fn operation(endpoint: Endpoint) -> &'static str {
    match endpoint {
        Endpoint::ChatCompletions => "chat",
        Endpoint::Completions => "text_completion",
        Endpoint::Embeddings => "embeddings",
    }
}

fn decision(decision: &Decision) -> PolicyDecision {
    PolicyDecision {
        kind: decision.kind.into(),
        phase: decision.phase.into(),
        verdict: decision.verdict.into(),
        reason_code: decision.reason_code.map(Word::Borrowed),
        rules: decision.rules.iter().cloned().map(Word::Owned).collect(),
        score: decision.score,
        us: (decision.verdict != "skipped").then_some(decision.took.as_micros() as u64),
    }
}

fn redactions(facts: &Facts, phase: &str) -> Vec<Redactions> {
    let found = facts.decisions.iter().filter(|d| d.phase == phase && d.verdict == "redact").flat_map(|d| &d.found);
    found.map(|(what, count)| Redactions { kind: Word::Owned(what.clone()), count: u64::from(*count) }).collect()
}

fn reason(facts: &Facts) -> Option<Word> {
    let refused = facts.refused.as_ref().map(|r| r.reason_code.unwrap_or(r.code));
    let strong = facts.decisions.iter().find_map(|d| d.reason_code);
    refused.or(strong).map(Word::Borrowed)
}

fn attempt(attempt: &upstream::Attempt) -> Attempt {
    let reason = attempt.failure.map(|f| f.as_str());
    Attempt {
        target: attempt.target.to_string(),
        model: attempt.model.to_string(),
        configured_model: attempt.configured_model.as_deref().map(Into::into),
        result: match attempt.status {
            Some(status) => AttemptResult::Status(status),
            None => AttemptResult::Error(reason.unwrap_or("unknown").into()),
        },
        ms: attempt.took.as_secs_f64() * 1e3,
        reason: reason.map(Into::into),
    }
}

fn numbers(usage: Usage) -> UsageNumbers {
    UsageNumbers {
        input_tokens: usage.input_tokens,
        output_tokens: usage.output_tokens,
        cached: usage.cached_tokens,
        reasoning: usage.reasoning_tokens,
        source: UsageSource::Upstream,
    }
}

fn words(list: &[&'static str]) -> Vec<Word> {
    list.iter().map(|word| Word::Borrowed(*word)).collect()
}
