//! All rules over one text in one pass.
//!
//! Every rule keeps, for each of its steps, where its beginning was last completed up to there. A word of the lexicon completes the
//! steps of its classes whose predecessor is near enough. So the cost is the words of the text times the steps that name them.

use super::table::{MAX_GAP, Outcome, Step, Table, Then};
use super::tokens::{Token, Tokens};
use crate::policy::normalize::Scan;
#[cfg(test)]
use crate::policy::normalize::work;
use std::ops::Range;

/// A rule in quotes this many words after a `mention` is spoken of.
const MENTION: u32 = 12;
/// A rule that begins at most this many words after a `mute` is muted.
const MUTE: u32 = 1;
/// Positions begin anew beyond this one; no text has as many as are left then.
const MAX_ORIGIN: u32 = u32::MAX / 2;
/// Memory for so many words of one token stays.
const KEEP: usize = 1 << 12;

/// One completed rule.
#[derive(Debug, Clone, PartialEq)]
pub struct Hit {
    pub rule: &'static str,
    pub score: f32,
    /// Bytes in the folded text.
    pub range: Range<usize>,
    /// The text speaks of the attack rather than making it.
    pub muted: bool,
}

/// Memory of one pass, used again for the next.
#[derive(Debug, Default)]
pub struct States {
    /// For each step where it was last reached.
    spans: Vec<Span>,
    /// Where the positions of this pass begin, too far for what was reached in an earlier one.
    origin: u32,
    events: Vec<(u32, Span)>,
}

/// The words a step or phrase covers. Texts are shorter than 4 GiB.
#[derive(Debug, Default, Clone, Copy)]
struct Span {
    first: u32,
    last: u32,
    /// Bytes in the folded text.
    start: u32,
    end: u32,
    quoted: bool,
    muted: bool,
}

/// Where the last `mute` and `mention` ended.
#[derive(Default)]
struct Context {
    mute: Option<u32>,
    mention: Option<u32>,
}

impl Context {
    #[inline]
    fn mutes(&self, span: &Span) -> bool {
        let near = |end: Option<u32>, words: u32| end.is_some_and(|end| end < span.first && span.first - end - 1 <= words);
        near(self.mute, MUTE) || (span.quoted && near(self.mention, MENTION))
    }
}

/// Calls `read` for every token of `scan`, and `hit` for every rule completed.
pub fn run(table: &Table, scan: &Scan, memory: &mut States, mut read: impl FnMut(&Token), mut hit: impl FnMut(Hit)) {
    memory.begin(table.states);
    let mut context = Context::default();
    // Pieces of one token (scripts without spaces) are words of their own, so positions drift from the tokens'.
    let mut drift = memory.origin;
    let text = scan.text();
    let mut tokens = Tokens::new(text);
    for token in tokens.by_ref() {
        #[cfg(test)]
        work::count(18);
        read(&token);
        let Some(word) = text.as_bytes().get(token.range.clone()) else { continue };
        if table.lexicon.may_know(word, &token) {
            drift = memory.take(table, text, &token, drift);
            if !memory.events.is_empty() {
                memory.settle(table, &mut context, &mut hit);
            }
        }
    }
    memory.end(tokens.position() + drift);
}

impl States {
    fn begin(&mut self, states: usize) {
        if self.spans.len() != states || self.origin > MAX_ORIGIN {
            self.spans.clear();
            self.spans.resize(states, Span::default());
            self.origin = MAX_GAP + 2;
        }
        self.events.clear();
    }

    /// The pass has ended before this position.
    fn end(&mut self, position: u32) {
        self.origin = position.saturating_add(MAX_GAP + 2);
        self.events.shrink_to(KEEP);
    }

    /// Makes events of the known words in one token, and tells how far positions have drifted after it.
    #[inline(never)]
    fn take(&mut self, table: &Table, text: &str, token: &Token, drift: u32) -> u32 {
        #[cfg(test)]
        work::count(10 + token.range.len() / 2);
        let (mut pieces, mut last_end, mut position) = (0u32, token.range.start, token.position + drift);
        table.lexicon.find(text, token, |bytes, word| {
            if bytes.start >= last_end && pieces > 0 {
                // What was skipped between two pieces counts as a word for every few bytes.
                position += 1 + ((bytes.start - last_end) / 6) as u32;
            }
            last_end = bytes.end;
            pieces += 1;
            let (first, start, end) = (position, bytes.start as u32, bytes.end as u32);
            self.events.push((word, Span { first, last: first, start, end, quoted: token.quoted, muted: false }));
        });
        position - token.position
    }

    /// Applies the events of one token, in order, and those that phrases add.
    fn settle(&mut self, table: &Table, context: &mut Context, hit: &mut impl FnMut(Hit)) {
        let mut next = 0;
        while let Some((word, span)) = self.events.get(next).copied() {
            next += 1;
            #[cfg(test)]
            work::count(6);
            // What begins here is muted or not whatever this word completes.
            let begun = Span { muted: context.mutes(&span), ..span };
            for step in table.steps(word) {
                #[cfg(test)]
                work::count(1);
                let Some((rule, done)) = self.advance(step, &begun) else { continue };
                #[cfg(test)]
                work::count(6);
                match table.rules.get(rule as usize) {
                    Some(Outcome::Word(word)) => self.events.push((*word, Span { muted: false, ..done })),
                    Some(Outcome::Attack { rule, score }) => {
                        let range = done.start as usize..done.end as usize;
                        hit(Hit { rule, score: *score, range, muted: done.muted });
                    }
                    Some(Outcome::Mute) => context.mute = Some(done.last),
                    Some(Outcome::Mention) => context.mention = Some(done.last),
                    None => {}
                }
            }
        }
        self.events.clear();
    }

    /// Completes a step of a rule with `span`; the rule and its whole span when it was the last step.
    #[inline(always)]
    fn advance(&mut self, step: &Step, span: &Span) -> Option<(u32, Span)> {
        let whole = match step.follows {
            None => *span,
            Some((before, gap)) => {
                let before = self.spans.get(before as usize)?;
                // What was never reached is too far, and what lies ahead even more so.
                if span.first.wrapping_sub(before.last).wrapping_sub(1) > gap {
                    return None;
                }
                Span { last: span.last, end: span.end, ..*before }
            }
        };
        match step.then {
            Then::Completes(rule) => return Some((rule, whole)),
            Then::Waits(place) => *self.spans.get_mut(place as usize)? = whole,
        }
        None
    }
}
