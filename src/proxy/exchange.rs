//! One request and its answer, from the first hook to the last: Pingora's per-request context.

use super::evidence::Evidence;
use super::race::Race;
use super::relay::Relay;
use super::replay::Handle;
use super::{resume, shown};
use crate::audit::journal::Ticket;
use crate::gateway::Gateway;
use crate::openai::edit::{Splice, apply};
use crate::openai::request::{Endpoint, Outline, Prefix};
use crate::policy::answer::Watcher;
use crate::policy::chain::Decision;
use crate::refusal::Refusal;
use crate::server::status::InFlight;
use crate::upstream::capacity::Place;
use crate::upstream::{Attempt, Dice, Plan, Target};
use bytes::Bytes;
use http::header::USER_AGENT;
use pingora_http::RequestHeader;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// One request and its answer.
pub struct Exchange {
    /// The gateway it began with and keeps, whatever is reloaded meanwhile.
    pub gateway: Arc<Gateway>,
    /// Who asks for what, and what was decided: for headers, records and metrics.
    pub facts: Facts,
    /// What can be proved of it later.
    pub evidence: Evidence,
    /// Where it stands.
    pub phase: Phase,
    /// Counts an LLM request as in flight until the exchange is dropped; pages of our own are not counted.
    pub in_flight: Option<InFlight>,
    /// Its place among the requests under way.
    pub place: Option<Place>,
}

/// Where an exchange stands. It only moves down this list, except that an answer that breaks before the caller saw any of it puts
/// it back to `Admitted`, for the next target.
pub enum Phase {
    /// Its head was read.
    Arrived,
    /// It was judged, its record is durable, a target is to be asked.
    Admitted(Box<Admitted>),
    /// A target answers.
    Answering(Box<Admitted>, Box<Relay>),
    /// Its record is sealed.
    Settled,
}

/// All that a target needs to be asked.
pub struct Admitted {
    /// The reserved place in the journal.
    pub ticket: Ticket,
    /// The targets, in order.
    pub plan: Plan,
    /// The request body as the caller sent it, and its edits; shared with an attempt that runs beside the current one.
    pub draft: Arc<Draft>,
    /// The wrapped session.
    pub replay: Handle,
    /// What watches the answer.
    pub watching: Vec<Watcher>,
    /// A pooled connection turned out dead and the same target is tried once more.
    pub stale_retry: bool,
    /// Randomness of this exchange: pauses and choices.
    pub dice: Dice,
    /// An attempt beside the current one.
    pub race: Option<Race>,
    /// An answer that broke off before the caller's eyes, for the next attempt to go on with.
    pub resuming: Option<Box<Relay>>,
}

/// The caller's body, and what a body for any target is made from.
pub struct Draft {
    /// The decoded body, as the caller sent it.
    pub body: Bytes,
    /// The chain's redactions.
    pub redactions: Vec<Splice>,
    /// Where bodies for targets differ.
    pub outline: Outline,
}

/// What one target is asked.
#[derive(Debug, Clone, Copy)]
pub struct Ask<'a> {
    /// The model.
    pub model: &'a str,
    /// To report usage in its stream.
    pub usage: bool,
    /// Without these top-level fields, which it rejects.
    pub drop_fields: &'a [String],
    /// To go on with this answer of the assistant's, which it is told in that way.
    pub continuing: Option<(&'a str, Prefix)>,
}

/// Who asks for what, and what was decided.
#[derive(Default)]
pub struct Facts {
    /// When the head was read; `None` only before.
    pub began: Option<Instant>,
    /// `x-request-id`: the caller's, or ours.
    pub request_id: String,
    /// The id of the exchange's records.
    pub event_id: String,
    /// The endpoint, for requests the chain reads.
    pub endpoint: Option<Endpoint>,
    /// Path without query.
    pub path: String,
    /// The model the caller asked for.
    pub model: String,
    /// Caller's address, without port.
    pub client: Option<String>,
    /// `User-Agent`
    pub user_agent: Option<String>,
    /// `X-User-Id`
    pub user: Option<String>,
    /// `X-Team-Id`
    pub team: Option<String>,
    /// `X-Conversation-ID`
    pub conversation: Option<String>,
    /// Trace id, from `traceparent` or ours.
    pub trace_id: String,
    /// Our span in that trace.
    pub span_id: String,
    /// `x-stainless-retry-count`
    pub retry: Option<u32>,
    /// The caller asked for a stream.
    pub stream: bool,
    /// The caller asked for usage in the stream.
    pub wants_usage: bool,
    /// Names of tools offered, as records show them.
    pub tools: Vec<String>,
    /// Parameters the caller set.
    pub parameters: Vec<(&'static str, serde_json::Value)>,
    /// Bytes of the request body.
    pub request_bytes: u64,
    /// Channels the chain read.
    pub scanned: Vec<&'static str>,
    /// Parts it could not read.
    pub unscanned: Vec<&'static str>,
    /// The chain's verdict on the prompt.
    pub verdict: &'static str,
    /// What each policy said, both phases.
    pub decisions: Vec<Decision>,
    /// Places of the prompt that were replaced.
    pub redactions: usize,
    /// A policy faulted and the exchange went on.
    pub degraded: bool,
    /// Request fields the target does not take, which it was not sent.
    pub dropped: Vec<String>,
    /// A second target went on with a stream that broke off.
    pub continued: bool,
    /// Seed of the exchange's randomness.
    pub seed: u64,
    /// From the end of the body to the choice of the first target.
    pub overhead: Option<Duration>,
    /// The refusal the caller got, if one.
    pub refused: Option<Refusal>,
    /// Who answered: target id, provider, model sent, for the last target tried.
    pub served: Option<Served>,
    /// Bytes of the answer's body that went to the caller, filled at the end.
    pub response_bytes: u64,
}

/// The target last tried.
#[derive(Debug, Clone)]
pub struct Served {
    /// Target id.
    pub target: Arc<str>,
    /// Its provider.
    pub provider: Arc<str>,
    /// The model it was asked for.
    pub model: Arc<str>,
}

impl Exchange {
    /// An exchange that has not begun.
    pub fn new(gateway: Arc<Gateway>) -> Self {
        let (facts, evidence) = (Facts::default(), Evidence::default());
        Self { gateway, facts, evidence, phase: Phase::Arrived, in_flight: None, place: None }
    }

    /// A piece of the answer's body leaves: the one place where it does, but for the last words of a broken stream.
    pub fn leaves(&mut self, piece: &[u8]) {
        if self.gateway.audit.is_some() && !piece.is_empty() {
            self.evidence.leaves(piece, &self.gateway.keep);
        }
    }

    /// What a target needs, while there is one to ask.
    pub fn admitted(&mut self) -> Option<&mut Admitted> {
        self.phase.admitted()
    }

    /// The answer that broke off and is to be gone on with.
    pub fn resuming(&mut self) -> Option<&mut Relay> {
        self.admitted()?.resuming.as_deref_mut()
    }

    /// The answer under way.
    pub fn relay(&mut self) -> Option<&mut Relay> {
        match &mut self.phase {
            Phase::Answering(_, relay) => Some(relay),
            _ => None,
        }
    }
}

impl Phase {
    /// Every try of a target so far.
    pub fn attempts(&self) -> &[Attempt] {
        match self {
            Phase::Admitted(admitted) | Phase::Answering(admitted, _) => admitted.plan.attempts(),
            Phase::Arrived | Phase::Settled => &[],
        }
    }

    /// What a target needs, while there is one to ask.
    pub fn admitted(&mut self) -> Option<&mut Admitted> {
        match self {
            Phase::Admitted(admitted) | Phase::Answering(admitted, _) => Some(admitted),
            Phase::Arrived | Phase::Settled => None,
        }
    }
}

impl Admitted {
    /// The body for a target, and the names of the fields it does not take.
    pub fn body_for(&self, target: &Target, model: &str) -> Option<(Bytes, Vec<String>)> {
        let said = self.resuming.as_deref().and_then(Relay::said);
        let continuing = match said {
            // Asked plainly, it would begin anew.
            Some(said) => Some((said.sent(), resume::prefix_of(target)?)),
            None => None,
        };
        self.draft.body_for(&Ask::of(target, model, continuing))
    }

    /// The first byte of an answer's body is here: who runs beside it is too late. How fast a target refuses is not its pace.
    pub fn first_byte(&mut self, status: u16, now: Instant) {
        if status < 400 {
            self.plan.first_byte(now);
        }
        if let Some(race) = self.race.take() {
            self.replay.race(None);
            race.give_up(&mut self.plan);
        }
    }
}

impl<'a> Ask<'a> {
    /// What `target` is asked.
    pub fn of(target: &'a Target, model: &'a str, continuing: Option<(&'a str, Prefix)>) -> Self {
        Self { model, usage: target.include_usage, drop_fields: &target.drop_fields, continuing }
    }
}

impl Draft {
    /// Whether a target could be asked to go on with an answer to this request.
    pub fn can_continue(&self) -> bool {
        self.outline.is_continuable(&self.body)
    }

    /// The body for a target, and the names of the fields that were dropped from it. `None` when it is to go on with an answer but
    /// the request is not of the kind that can be continued: asked plainly, it would begin anew.
    pub fn body_for(&self, ask: &Ask<'_>) -> Option<(Bytes, Vec<String>)> {
        let mut splices = match ask.continuing {
            Some((text, how)) => self.outline.continued(&self.body, text, how)?,
            None => Vec::new(),
        };
        splices.extend(self.outline.with_model(&self.body, ask.model));
        splices.extend(self.outline.with_usage(&self.body).filter(|_| ask.usage));
        // After the new members, which may begin where a dropped one does.
        let (cuts, dropped) = self.outline.without(&self.body, ask.drop_fields);
        splices.extend(cuts);
        splices.extend(self.redactions.iter().cloned());
        Some((apply(&self.body, splices), dropped.into_iter().map(Into::into).collect()))
    }
}

impl Facts {
    /// Notes who asks, from the head. Values are bounded: they end up in records.
    pub fn arrived(&mut self, head: &RequestHeader, client: Option<String>) {
        let text = |name: &str| head.headers.get(name).and_then(|v| v.to_str().ok()).filter(|v| !v.is_empty());
        self.began = Some(Instant::now());
        self.path = shown::name(head.uri.path());
        self.client = client;
        let identity = |name: &str| text(name).map(shown::identity);
        self.user_agent = text(USER_AGENT.as_str()).map(shown::name);
        self.user = identity("x-user-id");
        self.team = identity("x-team-id");
        self.conversation = identity("x-conversation-id");
        self.retry = text("x-stainless-retry-count").and_then(|n| n.parse().ok());
        let fresh = uuid::Uuid::now_v7();
        let id = text("x-request-id").filter(|v| v.len() <= 128 && v.bytes().all(|b| b.is_ascii_graphic()) && shown::is_clean(v));
        self.request_id = id.map_or_else(|| fresh.to_string(), Into::into);
        let trace = text("traceparent").and_then(trace_id);
        self.trace_id = trace.map_or_else(|| uuid::Uuid::now_v7().simple().to_string(), Into::into);
        self.span_id = fresh.simple().to_string()[16..].to_owned();
        self.seed = fresh.as_u64_pair().1;
        self.verdict = "allow";
    }
}

/// The trace id of a W3C `traceparent`.
fn trace_id(value: &str) -> Option<&str> {
    let mut parts = value.split('-');
    let (version, trace, span) = (parts.next()?, parts.next()?, parts.next()?);
    let hex = |s: &str, n: usize| {
        s.len() == n && s.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) && s.bytes().any(|b| b != b'0')
    };
    (version.len() == 2 && version != "ff" && hex(trace, 32) && hex(span, 16)).then_some(trace)
}

#[cfg(test)]
mod tests;
