//! All rules over one text in one pass.
//!
//! Every rule keeps, for each of its steps, where its beginning was last completed up to there. A word of the lexicon completes the
//! steps of its classes whose predecessor is near enough. So the cost is the words of the text times the rules that name them.

use super::table::{Outcome, Table};
use super::tokens::{Token, Tokens};
use crate::policy::normalize::Scan;
use std::ops::Range;

/// A rule in quotes this many words after a `mention` is spoken of.
const MENTION: u32 = 12;
/// A rule that begins at most this many words after a `mute` is muted.
const MUTE: u32 = 1;

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
    states: Vec<Span>,
    /// In which pass each state was reached last: apart, since most of the time that is all there is to see.
    reached: Vec<u32>,
    pass: u32,
    events: Vec<(u16, Span)>,
    buffer: String,
}

/// The words a step or phrase covers.
#[derive(Debug, Default, Clone)]
struct Span {
    first: u32,
    last: u32,
    bytes: Range<usize>,
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
        let States { events, buffer, .. } = memory;
        let (mut pieces, mut last_end, mut position) = (0u32, token.range.start, token.position + drift);
        table.lexicon.find(scan.text(), token.range.clone(), token.leet, buffer, |bytes, classes| {
            if bytes.start >= last_end && pieces > 0 {
                // What was skipped between two pieces counts as a word for every few bytes.
                position += 1 + ((bytes.start - last_end) / 6) as u32;
            }
            last_end = bytes.end;
            pieces += 1;
            let span = Span { first: position, last: position, bytes, quoted: token.quoted, muted: false };
            events.extend(classes.iter().map(|class| (*class, span.clone())));
        });
        drift = position - token.position;
        memory.settle(table, &mut context, &mut hit);
    }
}

impl States {
    fn begin(&mut self, states: usize) {
        self.pass = self.pass.wrapping_add(1);
        if self.states.len() != states || self.pass == 0 {
            self.states.clear();
            self.states.resize(states, Span::default());
            self.reached.clear();
            self.reached.resize(states, 0);
            self.pass = 1;
        }
        self.events.clear();
    }

    /// Applies the events of one token, in order, and those that phrases add.
    fn settle(&mut self, table: &Table, context: &mut Context, hit: &mut impl FnMut(Hit)) {
        let mut next = 0;
        while let Some((class, span)) = self.events.get(next).cloned() {
            next += 1;
            for (rule, step) in table.steps.get(class as usize).into_iter().flatten() {
                let Some(rule) = table.rules.get(*rule as usize) else { continue };
                let Some(done) = self.advance(rule.first_state, *step as usize, &rule.gaps, &span, context) else { continue };
                match rule.outcome {
                    Outcome::Class(class) => self.events.push((class, Span { muted: false, ..done })),
                    Outcome::Attack { rule, score } => hit(Hit { rule, score, range: done.bytes, muted: done.muted }),
                    Outcome::Mute => context.mute = Some(done.last),
                    Outcome::Mention => context.mention = Some(done.last),
                }
            }
        }
        self.events.clear();
    }

    /// Completes `step` of a rule with `span`; the whole rule's span when it was the last step.
    fn advance(&mut self, first_state: usize, step: usize, gaps: &[u32], span: &Span, context: &Context) -> Option<Span> {
        let whole = match step.checked_sub(1) {
            None => Span { muted: context.mutes(span), ..span.clone() },
            Some(before) => {
                let before = first_state + before;
                if *self.reached.get(before)? != self.pass {
                    return None;
                }
                let before = self.states.get(before)?;
                let gap = span.first.checked_sub(before.last + 1)?;
                if gap > *gaps.get(step)? {
                    return None;
                }
                let bytes = before.bytes.start..span.bytes.end;
                Span { last: span.last, bytes, ..before.clone() }
            }
        };
        if step + 1 == gaps.len() {
            return Some(whole);
        }
        *self.states.get_mut(first_state + step)? = whole;
        *self.reached.get_mut(first_state + step)? = self.pass;
        None
    }
}
