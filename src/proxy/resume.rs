//! Opt-in (`fallback.mid_stream: continue`): a stream that breaks off is gone on with by another target, which is given the text
//! so far as the beginning of its answer. Once in an exchange, and never silently: the record says so, and a comment in the stream.

use super::exchange::{Admitted, Exchange, Phase};
use super::relay::Relay;
use super::repetition::{Heard, Repetition};
use super::said::Said;
use crate::config::{AssistantPrefix, MidStream};
use crate::gateway::Gateway;
use crate::openai::chunk::{Chunk, ChunkError, Delta, DeltaEdit};
use crate::openai::edit::rewrite;
use crate::openai::request::Prefix;
use crate::openai::sse::{Decoder, Event};
use crate::upstream::Target;
use bytes::Bytes;
use std::time::Instant;

/// How a target is asked to go on with an assistant's text; `None`: it cannot be.
pub fn prefix_of(target: &Target) -> Option<Prefix> {
    match target.assistant_prefix {
        AssistantPrefix::None => None,
        AssistantPrefix::LastMessage => Some(Prefix::LastMessage),
        AssistantPrefix::Prefix => Some(Prefix::Flag),
        AssistantPrefix::ContinueFinalMessage => Some(Prefix::FinalMessage),
    }
}

/// Whether an answer that begins now could be gone on with.
pub fn is_possible(gateway: &Gateway, admitted: &Admitted) -> bool {
    gateway.router.mid_stream == MidStream::Continue
        && admitted.draft.can_continue()
        && admitted.plan.has_behind(|target| prefix_of(target).is_some(), Instant::now())
}

/// After the current attempt broke off before the caller's eyes: another one goes on with its answer, if one may.
pub fn begin(exchange: &mut Exchange) -> bool {
    let phase = std::mem::replace(&mut exchange.phase, Phase::Settled);
    let (mut admitted, relay) = match phase {
        Phase::Answering(admitted, relay) if !exchange.facts.continued && relay.said().is_some() => (admitted, relay),
        // The one that should have gone on failed at once: there may be a third.
        Phase::Admitted(mut admitted) => match admitted.resuming.take() {
            Some(relay) => (admitted, relay),
            None => {
                exchange.phase = Phase::Admitted(admitted);
                return false;
            }
        },
        other => {
            exchange.phase = other;
            return false;
        }
    };
    let moves = admitted.plan.resume(|target| prefix_of(target).is_some(), Instant::now());
    if moves {
        exchange.facts.continued = true;
        admitted.resuming = Some(relay);
        exchange.phase = Phase::Admitted(admitted);
    } else {
        exchange.phase = Phase::Answering(admitted, relay);
    }
    moves
}

/// Nobody goes on with it after all: it is the broken answer again.
pub fn abandon(exchange: &mut Exchange) {
    exchange.phase = match std::mem::replace(&mut exchange.phase, Phase::Settled) {
        Phase::Admitted(mut admitted) => match admitted.resuming.take() {
            Some(relay) => Phase::Answering(admitted, relay),
            None => Phase::Admitted(admitted),
        },
        other => other,
    };
}

/// The answer goes on with what `target` sends now.
pub fn with(mut relay: Box<Relay>, target: &Target, strip_usage: bool) -> Box<Relay> {
    // One newline: a comment that stands before the next event, which every SDK reads over.
    let comment = format!(": the stream broke off here and target {} goes on with it\n", target.id);
    let how = prefix_of(target).unwrap_or(Prefix::LastMessage);
    if let Err(refusal) = relay.resume(Bytes::from(comment), how, strip_usage) {
        // It was judged before and let through; whatever a policy finds now, it finds again in what follows.
        log::error!("a policy refused text that was released before: {}", refusal.message);
    }
    relay
}

/// Takes out of a stream that goes on what its caller has seen: the text so far, which some providers repeat, and the roles, which
/// SDKs would put together with the first one.
pub struct Resumed {
    /// `None` once it is decided.
    repetition: Option<Repetition>,
    /// Events that may all be repetition.
    held: Vec<Event>,
}

impl Resumed {
    /// A stream that goes on behind the text `sent`, asked for in this way. Servers that are told to go on with the very message
    /// (vLLM, SGLang) send what is new and nothing else; those that are told it is a prefix may give it back (Mistral does).
    pub fn behind(sent: &str, how: Prefix) -> Self {
        let repetition = (how != Prefix::FinalMessage).then(|| Repetition::new(sent, how == Prefix::Flag));
        Self { repetition, held: Vec::new() }
    }

    /// What is new of the next event, and of those held before it.
    ///
    /// # Errors
    /// An event that cannot be read.
    pub fn sift(&mut self, event: Event) -> Result<Vec<Event>, ChunkError> {
        let Some(data) = event.data().filter(|_| !event.is_done()) else {
            // [DONE] before anything was decided: all of it was new. A comment decides nothing.
            return Ok(if event.is_done() { self.decided(event) } else { vec![event] });
        };
        let chunk = Chunk::read(&data)?;
        let ends = chunk.error || !chunk.finish.is_empty();
        if chunk.is_role_only() && !ends {
            return Ok(Vec::new());
        }
        let is_content = |delta: &&Delta<'_>| delta.channel == Said::CHANNEL;
        let text: String = chunk.deltas.iter().filter(is_content).map(|delta| delta.text.as_ref()).collect();
        let plain = without_role(&event, &chunk);
        if text.is_empty() && !ends {
            // Thoughts, usage: nothing that repeats the text.
            return Ok(vec![plain]);
        }
        let heard = match &mut self.repetition {
            Some(repetition) if !text.is_empty() => repetition.hear(&text),
            _ => Heard::Fresh,
        };
        Ok(match heard {
            Heard::Undecided if !ends => {
                self.held.push(plain);
                Vec::new()
            }
            Heard::Repeated { keep_from } => {
                (self.repetition, self.held) = (None, Vec::new());
                let all_of_it = keep_from >= text.len() && !ends;
                if all_of_it { Vec::new() } else { vec![from(&event, &chunk, keep_from)] }
            }
            Heard::Undecided | Heard::Fresh => self.decided(plain),
        })
    }

    /// All that was held is new, and so is `event`.
    fn decided(&mut self, event: Event) -> Vec<Event> {
        self.repetition = None;
        let mut all = std::mem::take(&mut self.held);
        all.push(event);
        all
    }
}

fn without_role(event: &Event, chunk: &Chunk<'_>) -> Event {
    let splices = chunk.without_role();
    if splices.is_empty() { event.clone() } else { reread(event.with_data(&rewrite(chunk.json.as_bytes(), splices)), event) }
}

/// The event without the first bytes of its text.
fn from(event: &Event, chunk: &Chunk<'_>, mut skip: usize) -> Event {
    let mut edits = Vec::with_capacity(chunk.deltas.len());
    for (delta, text) in chunk.deltas.iter().enumerate().filter(|(_, delta)| delta.channel == Said::CHANNEL) {
        let length = text.text.len().min(skip);
        edits.push(DeltaEdit { delta, range: 0..length, with: "" });
        skip -= length;
    }
    let splices = chunk.splices(&edits).into_iter().chain(chunk.without_role()).collect();
    reread(event.with_data(&rewrite(chunk.json.as_bytes(), splices)), event)
}

/// The bytes of one whole event as an event.
fn reread(bytes: Bytes, before: &Event) -> Event {
    let mut decoder = Decoder::default();
    decoder.push(bytes).next().and_then(Result::ok).unwrap_or_else(|| before.clone())
}

#[cfg(test)]
mod tests;
