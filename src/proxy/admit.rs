//! From an arrived request to an admitted one: read, view, route, judge, record. Nothing leaves the host before this is through.

use super::exchange::{Admitted, Draft, Exchange, Phase};
use super::intake::{self, Halt};
use super::replay::Handle;
use super::{evidence, record, settle, shown};
use crate::audit::journal::{Journal, Ticket, Unavailable};
use crate::metrics::METRICS;
use crate::openai::request::{Channel, Endpoint, Prompt, Role, Text};
use crate::policy::answer::Watcher;
use crate::policy::chain::{Facts as ChainFacts, Ruling};
use crate::refusal::Refusal;
use crate::upstream::{Dice, Plan, Unroutable};
use pingora_proxy::Session;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// The span of ten seconds in which it was last logged that requests are refused.
static REFUSALS_TOLD: AtomicU64 = AtomicU64::new(0);

/// Tools that a record names, at most.
const MAX_TOOLS: usize = 128;

/// Reads and judges one request that came through the `gate`: its head is sound and there is room. On success the exchange is [`Phase::Admitted`] and its `received` record is durable.
///
/// # Errors
/// [`Halt::Refused`]: the refusal's own record is durable. [`Halt::Gone`]: the caller left; that is recorded too.
pub async fn admit(
    endpoint: Endpoint,
    gate: Result<(), Refusal>,
    session: &mut Session,
    exchange: &mut Exchange,
    journal: &Journal,
) -> Result<(), Halt> {
    exchange.facts.endpoint = Some(endpoint);
    exchange.facts.verdict = "allow";
    let mut ticket = journal.admit().await.map_err(|why| audit_unavailable(&why))?;
    exchange.facts.event_id = ticket.id().to_string();
    let judged = match gate {
        Ok(()) => judge(endpoint, session, exchange).await,
        Err(refusal) => Err(refusal.into()),
    };
    match judged {
        Ok(judged) => {
            let received = record::received(exchange, judged.plan.current().map(|target| &*target.id));
            ticket.enclose(exchange.evidence.begun());
            ticket.received(received).await.map_err(|why| audit_unavailable(&why))?;
            exchange.facts.overhead = Some(judged.since.elapsed());
            let replay = Handle::install(session);
            let Judged { plan, draft, dice, watching, .. } = judged;
            let (race, resuming, stale_retry) = (None, None, false);
            let admitted = Admitted { ticket, plan, draft, replay, watching, stale_retry, dice, race, resuming };
            exchange.phase = Phase::Admitted(Box::new(admitted));
            Ok(())
        }
        Err(halt) => refuse(halt, ticket, exchange).await,
    }
}

/// 503 for everything under `/v1/` while `pack.enabled` is false.
pub fn switched_off() -> Refusal {
    Refusal::unavailable("not_ready", "this gateway is switched off (pack.enabled is false)")
}

struct Judged {
    plan: Plan,
    draft: Arc<Draft>,
    dice: Dice,
    watching: Vec<Watcher>,
    since: Instant,
}

async fn judge(endpoint: Endpoint, session: &mut Session, exchange: &mut Exchange) -> Result<Judged, Halt> {
    let gateway = exchange.gateway.clone();
    if !gateway.enabled {
        return Err(switched_off().into());
    }
    let body = intake::read(session, &gateway.limits).await?;
    let since = Instant::now();
    exchange.facts.request_bytes = body.len() as u64;
    if gateway.audit.is_some() {
        aside(body.len(), || exchange.evidence.read(&body, &gateway.keep));
    }
    let prompt = Prompt::read(endpoint, &body)?;
    describe(&prompt, exchange);

    let (ruling, coverage) = {
        let head = session.req_header();
        let header = |name: &str| head.headers.get(name).and_then(|v| v.to_str().ok());
        let model = exchange.facts.model.as_str();
        let facts = ChainFacts { path: head.uri.path(), header: &header, model };
        aside(body.len(), || (gateway.chain.inspect(&prompt, &facts), coverage(&prompt, gateway.chain.reads(&facts))))
    };
    (exchange.facts.scanned, exchange.facts.unscanned) = coverage;
    note(&ruling, exchange);
    if let Some(refusal) = ruling.refusal {
        return Err(refusal.into());
    }

    if gateway.audit.is_some() {
        let restores = ruling.watching.iter().any(Watcher::restores);
        aside(body.len(), || exchange.evidence.admitted(&body, &ruling.splices, restores));
    }
    let outline = prompt.outline();
    let mut dice = Dice::seeded(exchange.facts.seed);
    let plan = gateway.router.route(&exchange.facts.model, outline.tokens(), Instant::now(), &mut dice).map_err(unroutable)?;
    let draft = Arc::new(Draft { redactions: ruling.splices, outline, body: body.clone() });
    Ok(Judged { plan, draft, dice, watching: ruling.watching, since })
}

/// No target may be asked: the caller hears at once, and when to come back.
pub fn unroutable(why: Unroutable) -> Refusal {
    /// Node clients sleep all of what they are told.
    const LONGEST: u64 = 60;
    let Unroutable::Closed { retry_after, rate_limited } = why else {
        return Refusal::unavailable("not_ready", "no target can serve: each one lacks its key; see /health");
    };
    let seconds = retry_after.as_millis().div_ceil(1000).clamp(1, LONGEST.into()) as u32;
    let refusal = match rate_limited {
        true => Refusal::new(429, "rate_limit_error", "upstream_rate_limited", "every target is at its rate limit"),
        false => {
            Refusal::unavailable("upstream_unavailable", "no target is available: each one failed too often or asked for a pause")
        }
    };
    Refusal { retry_after: Some(seconds), ..refusal }
}

/// Runs work on a body of this many bytes; long work lets the streams that share this worker move to another first.
pub(super) fn aside<T>(bytes: usize, work: impl FnOnce() -> T) -> T {
    /// About two milliseconds of scanning.
    const LONG: usize = 64 * 1024;
    if bytes > LONG { tokio::task::block_in_place(work) } else { work() }
}

/// A refused exchange has one record, durable before the refusal leaves.
async fn refuse(halt: Halt, mut ticket: Ticket, exchange: &mut Exchange) -> Result<(), Halt> {
    if let Halt::Refused(refusal) = &halt {
        exchange.facts.refused = Some(refusal.clone());
    }
    exchange.phase = Phase::Settled;
    let bytes = exchange.facts.request_bytes as usize;
    ticket.enclose(aside(bytes, || evidence::close(exchange, None, true)));
    let completed = record::refused(exchange, matches!(halt, Halt::Gone(_)));
    settle::count(exchange, None, &[]);
    ticket.refuse(completed).await.map_err(|why| audit_unavailable(&why))?;
    Err(halt)
}

fn describe(prompt: &Prompt<'_>, exchange: &mut Exchange) {
    let facts = &mut exchange.facts;
    facts.model = prompt.model.as_ref().map(|(model, _)| model.to_string()).unwrap_or_default();
    facts.stream = prompt.stream;
    facts.wants_usage = prompt.include_usage;
    facts.tools = prompt.tools.iter().take(MAX_TOOLS).map(|tool| shown::name(tool)).collect();
    facts.parameters = prompt.parameters();
    if !exchange.gateway.chain.is_empty() {
        prompt.unscanned.iter().for_each(|what| METRICS.unscanned.with_label_values(&[what]).inc());
    }
}

/// The channels of a prompt that some policy reads, and what is there that none does: texts none cares for, data none could read.
fn coverage(prompt: &Prompt<'_>, reads: impl Fn(&Text<'_>) -> bool) -> (Vec<&'static str>, Vec<&'static str>) {
    let (mut scanned, mut unscanned) = (Vec::new(), prompt.unscanned.clone());
    for text in &prompt.texts {
        let name = channel_name(text);
        let list = if reads(text) { &mut scanned } else { &mut unscanned };
        if !list.contains(&name) {
            list.push(name);
        }
    }
    (scanned, unscanned)
}

/// The word records use. What the operator says is a channel of its own: a policy may leave it alone.
fn channel_name(text: &Text<'_>) -> &'static str {
    match text.channel {
        Channel::Content if text.role == Role::System => "system",
        Channel::Content => "content",
        Channel::Reasoning => "reasoning",
        Channel::Arguments => "arguments",
        Channel::Definition => "definition",
        Channel::Other => "other",
    }
}

fn note(ruling: &Ruling, exchange: &mut Exchange) {
    let facts = &mut exchange.facts;
    facts.verdict = ruling.verdict.as_str();
    facts.redactions = ruling.redactions();
    facts.degraded = ruling.degraded;
    facts.decisions.clone_from(&ruling.decisions);
}

fn audit_unavailable(why: &Unavailable) -> Halt {
    METRICS.audit_refused.inc();
    // A disk that is full of log lines gets no better by one more for each request.
    let span = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs() / 10);
    if REFUSALS_TOLD.swap(span, Ordering::Relaxed) != span {
        log::error!("{why}; requests are refused with 503 audit_unavailable, {} so far", METRICS.audit_refused.get());
    }
    let message = "the request cannot be recorded in the audit log, and nothing unrecorded is forwarded";
    Refusal::unavailable("audit_unavailable", message).into()
}
