//! Puts back what a policy took out of a prompt: each value left as a token, and comes back in the answer the caller sees.
//!
//! The values live in the memory of their exchange and nowhere else: no log, record, metric, error or `Debug` output shows them.
//! A token is restored only when it stands in the answer exactly as it was sent; one that was never given out stays as it is.

use super::{Change, Flow, Released, Replacement, Watch};
use crate::openai::json::encode;
use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::ops::Bound;
use std::sync::Arc;

/// What hides a restored token from the watch behind: a control character no value is made of, one byte like each byte it hides.
const MASK: char = '\u{1d}';

/// The values of one prompt by the tokens that stand for them.
#[derive(Clone, PartialEq, Eq)]
pub struct Restorer {
    values: BTreeMap<String, String>,
}

/// Restores the tokens of one channel ahead of the watch that judges the rest: that one sees neither token nor value.
pub struct Restoring {
    tokens: Tokens,
    /// Decided by `tokens`, not yet by `inner`.
    pending: VecDeque<Replacement>,
    inner: Option<Box<dyn Watch>>,
    /// What `inner` decided, in the channel's own offsets: masks are as long as what they hide.
    decided: Released,
}

/// Finds tokens in a text as it arrives.
#[derive(Clone)]
struct Tokens {
    restorer: Arc<Restorer>,
    /// The beginning of a token, held until it is one or is not.
    candidate: String,
    /// Where the next byte stands in the channel.
    at: u64,
    /// For JSON source, where that byte stands in it.
    source: Option<Source>,
}

/// Where a byte of JSON source stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Outside,
    Inside,
    /// Behind a backslash inside a string.
    Escape,
}

impl Restorer {
    /// From `(token, value)`. Tokens begin with `[`, end with the only `]` in them, and are ASCII without quotes or backslashes;
    /// others are left out.
    pub fn new(pairs: impl IntoIterator<Item = (String, String)>) -> Self {
        let sound = |token: &str| {
            let inside = token.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
            inside.is_some_and(|name| name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'))
        };
        Self { values: pairs.into_iter().filter(|(token, _)| sound(token)).collect() }
    }

    /// The value of a token, or that one begins like this.
    fn get(&self, beginning: &str) -> Option<Result<&str, Unfinished>> {
        let (token, value) = self.values.range::<str, _>((Bound::Included(beginning), Bound::Unbounded)).next()?;
        token.starts_with(beginning).then_some(if token.len() == beginning.len() { Ok(value) } else { Err(Unfinished) })
    }
}

/// A token that has not all arrived.
struct Unfinished;

impl fmt::Debug for Restorer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Restorer(..)")
    }
}

impl Restoring {
    /// Ahead of `inner`; `json` for a channel that is JSON source, which stays JSON.
    pub fn new(restorer: Arc<Restorer>, json: bool, inner: Option<Box<dyn Watch>>) -> Self {
        let source = json.then_some(Source::Outside);
        let tokens = Tokens { restorer, candidate: String::new(), at: 0, source };
        Self { tokens, pending: VecDeque::new(), inner, decided: Released::default() }
    }

    fn judge(&mut self, clear: &str, ended: bool, out: &mut Released) -> Flow {
        let flow = match &mut self.inner {
            Some(inner) if ended => match inner.feed(clear, &mut self.decided) {
                Flow::Continue => inner.end(&mut self.decided),
                Flow::Block => Flow::Block,
            },
            Some(inner) => inner.feed(clear, &mut self.decided),
            None => {
                self.decided.upto += clear.len() as u64;
                Flow::Continue
            }
        };
        out.findings.append(&mut self.decided.findings);
        // What the watch takes out around a token, it takes out with the token.
        let found = std::mem::take(&mut self.decided.replacements);
        let apart = |a: &Replacement, b: &Replacement| a.range.end <= b.range.start || b.range.end <= a.range.start;
        self.pending.retain(|token| found.iter().all(|other| apart(token, other)));
        out.replacements.extend(found);
        let from = out.replacements.len();
        while let Some(token) = self.pending.pop_front_if(|token| token.range.end <= self.decided.upto) {
            out.replacements.push(token);
        }
        if from < out.replacements.len() {
            out.replacements.sort_by_key(|replacement| replacement.range.start);
        }
        out.upto = self.pending.front().map_or(self.decided.upto, |token| token.range.start.min(self.decided.upto));
        flow
    }
}

impl Watch for Restoring {
    fn feed(&mut self, delta: &str, out: &mut Released) -> Flow {
        let clear = self.tokens.sift(delta, &mut self.pending);
        self.judge(&clear, false, out)
    }

    fn end(&mut self, out: &mut Released) -> Flow {
        let rest = std::mem::take(&mut self.tokens.candidate);
        self.judge(&rest, true, out)
    }

    fn fork(&self) -> Box<dyn Watch> {
        let Self { tokens, pending, inner, decided } = self;
        let inner = inner.as_ref().map(|inner| inner.fork());
        Box::new(Self { tokens: tokens.clone(), pending: pending.clone(), inner, decided: decided.clone() })
    }
}

impl Tokens {
    /// Takes the next piece and gives what the watch behind is to see of it, tokens masked. Whole tokens go to `found`.
    fn sift<'d>(&mut self, delta: &'d str, found: &mut VecDeque<Replacement>) -> Cow<'d, str> {
        if self.candidate.is_empty() && memchr::memchr(b'[', delta.as_bytes()).is_none() {
            match self.source {
                Some(_) => delta.chars().for_each(|c| self.step(c)),
                None => self.at += delta.len() as u64,
            }
            return Cow::Borrowed(delta);
        }
        let mut clear = String::with_capacity(self.candidate.len() + delta.len());
        for c in delta.chars() {
            let source = self.source;
            self.step(c);
            if !self.candidate.is_empty() {
                self.candidate.push(c);
                match self.restorer.get(&self.candidate) {
                    Some(Ok(value)) => {
                        let length = self.candidate.len();
                        let with = match source {
                            None => value.to_owned(),
                            Some(Source::Outside) => format!("\"{}\"", encode(value)),
                            Some(Source::Inside | Source::Escape) => encode(value),
                        };
                        let range = self.at - length as u64..self.at;
                        found.push_back(Replacement { range, with, change: Change::Restores });
                        clear.extend(std::iter::repeat_n(MASK, length));
                        self.candidate.clear();
                        continue;
                    }
                    Some(Err(Unfinished)) => continue,
                    None => {
                        // The character itself may begin another one.
                        self.candidate.pop();
                        clear.push_str(&self.candidate);
                        self.candidate.clear();
                    }
                }
            }
            if c == '[' && source != Some(Source::Escape) { self.candidate.push(c) } else { clear.push(c) }
        }
        Cow::Owned(clear)
    }

    /// Moves on by one character.
    fn step(&mut self, c: char) {
        self.at += c.len_utf8() as u64;
        self.source = self.source.map(|source| match (source, c) {
            (Source::Outside, '"') => Source::Inside,
            (Source::Inside, '"') => Source::Outside,
            (Source::Inside, '\\') => Source::Escape,
            (Source::Escape, _) => Source::Inside,
            (source, _) => source,
        });
    }
}

#[cfg(test)]
mod tests;
