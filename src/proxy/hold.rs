//! Holds back the events of a stream until every policy has decided their text, and not a moment longer.
//!
//! Whole events are held, never parts: an event that turns out clean leaves as the very bytes that came, so a stream without
//! findings is identical to the provider's, token for token. Order is kept across channels. A match that spans events puts its
//! marker into the first and takes its text out of the others.

use super::said::Said;
use crate::openai::chunk::{AnswerChannel, AnswerKind, Chunk, DeltaEdit};
use crate::openai::edit::rewrite;
use crate::openai::sse::Event;
use crate::policy::Change;
use crate::policy::answer::Answer;
use crate::refusal::Refusal;
use bytes::Bytes;
use std::collections::VecDeque;
use std::ops::Range;

/// Bytes of held events beyond which what is undecided is decided as if the text ended. The policies bound the text they leave
/// undecided (512 bytes); this bounds events that carry none.
const MAX_HELD_BYTES: usize = 1 << 20;

/// What may be half a value waits for the other half no longer than so many bytes of other text of its choice; about a line.
const MAX_WAIT: u64 = 64;
/// Or so many events.
const MAX_WAIT_EVENTS: usize = 32;
/// A longer one is no word, in bytes.
const MAX_WORD: usize = 48;

/// The events that wait, in order.
#[derive(Default)]
pub struct Hold {
    queue: VecDeque<Held>,
    bytes: usize,
    /// What has left, kept for another target to go on with.
    said: Option<Said>,
}

struct Held {
    event: Event,
    spans: Vec<Span>,
    /// The text of each span, where what leaves is kept.
    texts: Vec<String>,
}

/// One replaced byte range of one delta's text.
struct Edit {
    delta: usize,
    range: Range<usize>,
    with: String,
    change: Change,
}

/// Where one delta of an event lies in its channel's text.
struct Span {
    channel: usize,
    range: Range<u64>,
}

impl Hold {
    /// Keeps what leaves.
    pub fn keeping() -> Self {
        Self { said: Some(Said::default()), ..Self::default() }
    }

    /// What has left, where it is kept and another target could go on with it.
    pub fn said(&self) -> Option<&Said> {
        self.said.as_ref().filter(|said| said.can_go_on())
    }

    /// Whether what leaves is kept.
    pub fn keeps(&self) -> bool {
        self.said.is_some()
    }

    /// The stream broke off and another one goes on behind what has left: what has not is said anew.
    ///
    /// # Errors
    /// As for [`Hold::take`].
    pub fn resume(&mut self, answer: &mut Answer) -> Result<(), Refusal> {
        self.queue.clear();
        self.bytes = 0;
        self.said.as_ref().map_or(Ok(()), |said| answer.resume(Said::CHANNEL, said.raw()))
    }

    /// Takes an event whose deltas are to be judged, and releases what is decided into `out`.
    ///
    /// # Errors
    /// The refusal that ends the stream: a policy blocked or faulted.
    pub fn take(&mut self, event: Event, chunk: &Chunk<'_>, answer: &mut Answer, out: &mut Vec<Bytes>) -> Result<(), Refusal> {
        if !self.queue.is_empty() {
            self.end_left(chunk, answer)?;
        }
        let spans = judge(chunk, answer)?;
        let texts = match self.said {
            Some(_) => chunk.deltas.iter().map(|delta| delta.text.to_string()).collect(),
            None => Vec::new(),
        };
        self.push(Held { event, spans, texts });
        for (choice, _) in &chunk.finish {
            end_where(answer, |id| id.choice == *choice)?;
        }
        self.release(answer, out);
        if self.bytes > MAX_HELD_BYTES {
            self.end(answer, out)?;
        }
        Ok(())
    }

    /// Takes an event nobody needs to judge: it keeps its place in the order.
    pub fn pass(&mut self, event: Event, answer: &mut Answer, out: &mut Vec<Bytes>) {
        self.push(Held { event, spans: Vec::new(), texts: Vec::new() });
        self.release(answer, out);
    }

    /// The text of every channel is over: everything is decided and leaves.
    ///
    /// # Errors
    /// As for [`Hold::take`].
    pub fn end(&mut self, answer: &mut Answer, out: &mut Vec<Bytes>) -> Result<(), Refusal> {
        end_where(answer, |_| true)?;
        self.release(answer, out);
        Ok(())
    }

    /// A provider moves from reasoning to content to tool calls within a choice; the text it leaves is over, most of the time.
    /// Without this, the last word of the reasoning would hold back the whole answer. But what may be half a value waits for
    /// its other half behind a little of the other text.
    fn end_left(&self, chunk: &Chunk<'_>, answer: &mut Answer) -> Result<(), Refusal> {
        for at in 0..answer.channels() {
            if is_left(answer.at(at).id, chunk) && answer.is_open(at) && !self.waits(at, answer) {
                answer.end(at)?;
            }
        }
        Ok(())
    }

    /// Whether what is undecided of a channel is more than a word, and less than [`MAX_WAIT`] behind.
    fn waits(&self, at: usize, answer: &mut Answer) -> bool {
        let is_of = |span: &&Span| span.channel == at && !span.range.is_empty();
        let behind = self.queue.iter().rev().take_while(|held| !held.spans.iter().any(|span| is_of(&span)));
        let (mut bytes, mut events) = (0, 0);
        for held in behind {
            bytes += held.spans.iter().map(|span| span.range.end - span.range.start).sum::<u64>();
            events += 1;
            if bytes >= MAX_WAIT || events >= MAX_WAIT_EVENTS {
                return false;
            }
        }
        !is_word(&self.undecided(at, answer.at(at).upto))
    }

    /// The text of a channel from `upto` on.
    fn undecided(&self, at: usize, upto: u64) -> String {
        let mut text = String::new();
        for held in self.queue.iter().filter(|held| held.spans.iter().any(|span| span.channel == at && span.range.end > upto)) {
            let Some(data) = held.event.data() else { continue };
            let Ok(chunk) = Chunk::read(&data) else { continue };
            for (span, delta) in held.spans.iter().zip(&chunk.deltas).filter(|(span, _)| span.channel == at) {
                text.push_str(delta.text.get(upto.saturating_sub(span.range.start) as usize..).unwrap_or_default());
            }
        }
        text
    }

    fn push(&mut self, held: Held) {
        self.bytes += held.event.raw.len();
        self.queue.push_back(held);
    }

    fn release(&mut self, answer: &mut Answer, out: &mut Vec<Bytes>) {
        while let Some(held) = self.queue.front() {
            if held.spans.iter().any(|span| span.range.end > answer.at(span.channel).upto) {
                return;
            }
            if let Some(held) = self.queue.pop_front() {
                self.bytes -= held.event.raw.len();
                out.push(held.into_bytes(answer, self.said.as_mut()));
            }
        }
    }
}

impl Held {
    /// The event as it leaves: itself, or with the replacements applied.
    fn into_bytes(self, answer: &mut Answer, said: Option<&mut Said>) -> Bytes {
        let edits = edits(&self.spans, answer);
        if let Some(said) = said {
            said.look_at(&self.event.raw);
            for (delta, (span, text)) in self.spans.iter().zip(&self.texts).enumerate() {
                let redacts = |edit: &&Edit| edit.delta == delta && edit.change == Change::Redacts;
                let edits = edits.iter().flatten().filter(redacts);
                said.add(answer.at(span.channel).id, text, edits.map(|edit| (edit.range.clone(), edit.with.as_str())));
            }
        }
        let Some(edits) = edits else { return self.event.raw };
        // It was read once already: reading it again is for the rare event that changes.
        let Some(data) = self.event.data() else { return self.event.raw };
        match Chunk::read(&data) {
            Ok(chunk) => self.event.with_data(&edited(&chunk, &edits)),
            Err(_) => Bytes::new(),
        }
    }
}

impl Span {
    /// The replacements that fall into this delta, in its own offsets. The marker belongs to the delta where the match begins.
    fn edits(&self, delta: usize, answer: &mut Answer) -> Vec<Edit> {
        let channel = answer.at(self.channel);
        let mut edits = Vec::new();
        while let Some(next) = channel.replacements.front() {
            if next.range.start >= self.range.end {
                break;
            }
            let local = next.range.start.max(self.range.start)..next.range.end.min(self.range.end);
            let with = if next.range.start >= self.range.start { next.with.clone() } else { String::new() };
            if local.start < local.end {
                let range = (local.start - self.range.start) as usize..(local.end - self.range.start) as usize;
                edits.push(Edit { delta, range, with, change: next.change });
            }
            if next.range.end > self.range.end {
                break;
            }
            channel.replacements.pop_front();
        }
        edits
    }
}

/// Feeds every delta of an object to its watches.
fn judge(chunk: &Chunk<'_>, answer: &mut Answer) -> Result<Vec<Span>, Refusal> {
    let mut spans = Vec::with_capacity(chunk.deltas.len());
    for delta in &chunk.deltas {
        let channel = answer.channel(delta.channel);
        let from = answer.at(channel).fed;
        answer.feed(channel, &delta.text)?;
        spans.push(Span { channel, range: from..answer.at(channel).fed });
    }
    Ok(spans)
}

/// Judges an answer that is whole; returns it edited, or `None` when nothing changes.
///
/// # Errors
/// The refusal that takes its place: a policy blocked or faulted.
pub fn judge_whole(chunk: &Chunk<'_>, answer: &mut Answer) -> Result<Option<Vec<u8>>, Refusal> {
    let spans = judge(chunk, answer)?;
    end_where(answer, |_| true)?;
    Ok(edits(&spans, answer).map(|edits| edited(chunk, &edits)))
}

/// The replacements that fall into an object's deltas; `None` when there are none.
fn edits(spans: &[Span], answer: &mut Answer) -> Option<Vec<Edit>> {
    let edits: Vec<Edit> = spans.iter().enumerate().flat_map(|(delta, span)| span.edits(delta, answer)).collect();
    (!edits.is_empty()).then_some(edits)
}

/// The object with its texts edited, and nothing else but what would repeat them.
fn edited(chunk: &Chunk<'_>, edits: &[Edit]) -> Vec<u8> {
    let edits: Vec<DeltaEdit<'_>> =
        edits.iter().map(|e| DeltaEdit { delta: e.delta, range: e.range.clone(), with: &e.with }).collect();
    rewrite(chunk.json.as_bytes(), chunk.splices(&edits))
}

/// Whether a provider that says this has left a channel. Not left is what runs side by side: the channels of one event, parallel
/// tool calls, other choices, and whatever a text without a name of its own accompanies.
fn is_left(open: AnswerChannel, chunk: &Chunk<'_>) -> bool {
    let leaves = |to: AnswerChannel| {
        let beside = matches!(to.kind, AnswerKind::Other(_)) || (open.kind.is_call() && to.kind.is_call());
        open.choice == to.choice && !beside
    };
    let mut new = chunk.deltas.iter().map(|delta| delta.channel);
    new.clone().any(leaves) && new.all(|new| new != open)
}

/// A word and what may stand behind it: the beginning of a value perhaps, but one that tells nothing. Half a number does.
fn is_word(text: &str) -> bool {
    let word = text.trim_end_matches(|c: char| !c.is_alphanumeric() && c != '@');
    text.len() <= MAX_WORD && word.chars().all(char::is_alphabetic)
}

fn end_where(answer: &mut Answer, applies: impl Fn(AnswerChannel) -> bool) -> Result<(), Refusal> {
    for at in 0..answer.channels() {
        if applies(answer.at(at).id) && answer.is_open(at) {
            answer.end(at)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
