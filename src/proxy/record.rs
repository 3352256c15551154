//! What the audit log says of an exchange: the one place where facts become records.

use super::exchange::{Exchange, Facts};
use super::relay::Relay;
use super::shown;
use crate::audit::record::{
    About, Attempt, AttemptResult, Client, Completed, Content, Coverage, Event, Feature, Outcome, PolicyDecision, Principal,
    Received, Redactions, Trace, UsageNumbers, UsageSource, Word,
};
use crate::gateway::Gateway;
use crate::openai::chunk::Usage;
use crate::openai::request::Endpoint;
use crate::policy::chain::{Decision, strongest};
use crate::upstream::{self, Failure};
use std::time::Instant;

/// Choices whose end a record tells, at most.
const MAX_CHOICES: usize = 128;

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
    let counted = tally.and_then(|t| t.usage);
    let usage = counted.or_else(|| estimate(facts, relay?));
    let source = if counted.is_some() { UsageSource::Upstream } else { UsageSource::Estimate };
    let since = |at: Option<Instant>| Some(at?.duration_since(facts.began?).as_secs_f64() * 1e3);
    Completed {
        about: about(exchange),
        target: facts.served.as_ref().map(|s| s.target.to_string()),
        provider: facts.served.as_ref().map(|s| s.provider.to_string()),
        response_model: tally.and_then(|t| t.model.as_deref().map(shown::name)),
        response_id: tally.and_then(|t| t.id.as_deref().map(shown::name)),
        response: relay.map(|_| Content {
            redactions: redactions(facts, "output"),
            coverage: relay.map(|relay| answer_coverage(facts, relay)).unwrap_or_default(),
            ..exchange.evidence.answer(&facts.event_id).unwrap_or_default()
        }),
        chunks: tally.filter(|t| t.chunks > 0).map(|t| t.chunks),
        finish_reasons: tally
            .map(|t| t.finish_reasons.iter().take(MAX_CHOICES).map(|r| shown::name(r)).collect())
            .unwrap_or_default(),
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
        usage: usage.map(|usage| numbers(usage, source)),
        cost_usd: usage.and_then(|usage| cost(&exchange.gateway, facts, usage, attempts)),
        ttft_ms: tally.and_then(|t| since(t.first_byte)),
        duration_ms: since(Some(Instant::now())),
        overhead_us: facts.overhead.map(|d| d.as_micros() as u64),
        tokens_per_second: relay.and_then(tokens_per_second),
    }
}

/// The record of a request that was not for a model.
pub fn access(exchange: &Exchange, method: &str, http_status: Option<u16>) -> Event {
    let method = method.chars().take(32).collect();
    Event::HttpRequest { about: Box::new(About { request: None, ..about(exchange) }), method, http_status }
}

/// About how many tokens an answer took that its provider did not count, or had no chance to: a stream that broke off. Prompts have
/// about four bytes a token, and providers send about one token an event.
fn estimate(facts: &Facts, relay: &Relay) -> Option<Usage> {
    const BYTES_PER_TOKEN: u64 = 4;
    let tally = &relay.tally;
    let input_tokens = facts.request_bytes.div_ceil(BYTES_PER_TOKEN);
    let streamed = relay.status < 400 && tally.error.is_none() && tally.chunks > 0;
    streamed.then(|| Usage { input_tokens, output_tokens: tally.chunks, ..Usage::default() })
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
        // No key is asked for: whoever reaches the gateway may use it.
        principal: Some(Principal { kind: "anonymous".into(), ..Principal::default() }),
        user: facts.user.clone(),
        team: facts.team.clone(),
        client: Client { ip: facts.client.clone(), user_agent: facts.user_agent.clone() },
        conversation: facts.conversation.clone(),
        operation: facts.endpoint.map(operation).map(Word::Borrowed),
        request_model: (!facts.model.is_empty()).then(|| shown::name(&facts.model)),
        path: Some(facts.path.clone()),
        stream: facts.stream,
        tools: facts.tools.clone(),
        parameters: facts.parameters.iter().map(|(name, value)| (Word::Borrowed(*name), value.clone())).collect(),
        retry: facts.retry.filter(|n| *n > 0),
        request: Some(Content {
            bytes: facts.request_bytes,
            redactions: redactions(facts, "input"),
            coverage: Coverage { scanned: words(&facts.scanned), unscanned: words(&facts.unscanned) },
            ..exchange.evidence.request(&facts.event_id)
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
        features: decision.features.iter().map(|(id, score)| Feature { id: Word::Owned(id.clone()), score: *score }).collect(),
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
        model: shown::name(&attempt.model),
        configured_model: attempt.configured_model.as_deref().map(Into::into),
        result: match attempt.status {
            Some(status) => AttemptResult::Status(status),
            None => AttemptResult::Error(reason.unwrap_or("unknown").into()),
        },
        ms: attempt.took.as_secs_f64() * 1e3,
        reason: reason.map(Into::into),
    }
}

fn numbers(usage: Usage, source: UsageSource) -> UsageNumbers {
    UsageNumbers {
        input_tokens: usage.input_tokens,
        output_tokens: usage.output_tokens,
        cached: usage.cached_tokens,
        reasoning: usage.reasoning_tokens,
        source,
    }
}

fn words(list: &[&'static str]) -> Vec<Word> {
    list.iter().map(|word| Word::Borrowed(*word)).collect()
}
