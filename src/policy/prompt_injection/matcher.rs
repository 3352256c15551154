//! All rules over one text in one pass.
//!
//! Every rule keeps, for each of its steps, where its beginning was last completed up to there. A word of the lexicon completes the
//! steps of its classes whose predecessor is near enough. So the cost is the words of the text times the steps that name them.

use super::table::{Outcome, Step, Table};
use super::tokens::{Token, Tokens};
use crate::policy::normalize::Scan;
use std::ops::Range;

/// A rule in quotes this many words after a `mention` is spoken of.
const MENTION: u32 = 12;
/// A rule that begins at most this many words after a `mute` is muted.
const MUTE: u32 = 1;
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
    states: Vec<State>,
    pass: u32,
    events: Vec<(u32, Span)>,
}

/// What is known of a step: where it was last reached, and in which pass.
#[derive(Debug, Default, Clone, Copy)]
struct State {
    reached: u32,
    span: Span,
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
    let mut drift = 0;
    for token in Tokens::new(scan.text()) {
        read(&token);
        let (mut pieces, mut last_end, mut position) = (0u32, token.range.start, token.position + drift);
        table.lexicon.find(scan.text(), &token, |bytes, word| {
            if bytes.start >= last_end && pieces > 0 {
                // What was skipped between two pieces counts as a word for every few bytes.
                position += 1 + ((bytes.start - last_end) / 6) as u32;
            }
            last_end = bytes.end;
            pieces += 1;
            let (first, start, end) = (position, bytes.start as u32, bytes.end as u32);
            memory.events.push((word, Span { first, last: first, start, end, quoted: token.quoted, muted: false }));
        });
        if pieces > 0 {
            drift = position - token.position;
            memory.settle(table, &mut context, &mut hit);
        }
    }
    memory.events.shrink_to(KEEP);
}

impl States {
    fn begin(&mut self, states: usize) {
        self.pass = self.pass.wrapping_add(1);
        if self.states.len() != states || self.pass == 0 {
            self.states.clear();
            self.states.resize(states, State::default());
            self.pass = 1;
        }
        self.events.clear();
    }

    /// Applies the events of one token, in order, and those that phrases add.
    fn settle(&mut self, table: &Table, context: &mut Context, hit: &mut impl FnMut(Hit)) {
        let mut next = 0;
        while let Some((word, span)) = self.events.get(next).copied() {
            next += 1;
            for step in table.steps(word) {
                let Some(done) = self.advance(step, &span, context) else { continue };
                match step.completes.and_then(|rule| table.rules.get(rule as usize)) {
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

    /// Completes a step of a rule with `span`; the whole rule's span when it was the last step.
    #[inline]
    fn advance(&mut self, step: &Step, span: &Span, context: &Context) -> Option<Span> {
        let whole = match step.gap {
            None => Span { muted: context.mutes(span), ..*span },
            Some(gap) => {
                let before = self.states.get((step.state as usize).checked_sub(1)?)?;
                if before.reached != self.pass || span.first.checked_sub(before.span.last + 1)? > gap {
                    return None;
                }
                Span { last: span.last, end: span.end, ..before.span }
            }
        };
        if step.completes.is_some() {
            return Some(whole);
        }
        *self.states.get_mut(step.state as usize)? = State { reached: self.pass, span: whole };
        None
    }
}
