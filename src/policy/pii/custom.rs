//! The patterns a config adds, as one automaton that can say of unfinished text whether it could still match.
//!
//! The syntax is that of the `regex` crate, with `\d`, `\s`, `\w` and `\b` in their ASCII meaning, which keeps the automaton
//! small. The longest match at a position counts. A match is seen when it fits into 512 bytes ([`super::matching::HOLD`]), and it
//! never reaches from one JSON string into the next.

use super::matching::{Found, Hit, Input, Kind, Open, Rule, RuleId};
use crate::openai::json_text::DELIMITER;
use regex_automata::dfa::{Automaton, StartKind, dense};
use regex_automata::nfa::thompson;
use regex_automata::util::primitives::StateID;
use regex_automata::util::start;
use regex_automata::{Anchored, MatchKind};

/// Bytes the compiled patterns may take, all together.
const SIZE_LIMIT: usize = 2 << 20;

#[derive(Debug)]
pub(super) struct CustomPatterns {
    automaton: dense::DFA<Vec<u32>>,
    /// Which bytes can begin a match: most positions are dismissed by this table.
    begins: [bool; 256],
}

impl CustomPatterns {
    /// Compiles the patterns; `Ok(None)` when there are none. The error names the pattern that is at fault.
    pub fn new(patterns: &[String]) -> Result<Option<CustomPatterns>, String> {
        if patterns.is_empty() {
            return Ok(None);
        }
        for pattern in patterns {
            build(&[ascii_classes(pattern)]).map_err(|why| format!("detect_patterns: {pattern:?}: {why}"))?;
        }
        let all: Vec<String> = patterns.iter().map(|pattern| ascii_classes(pattern)).collect();
        let automaton = build(&all).map_err(|why| format!("detect_patterns together: {why}"))?;
        let mut custom = CustomPatterns { automaton, begins: [true; 256] };
        for byte in 0..=255u8 {
            // What stands to the left matters to `\b` and `^` only: try a word byte, another byte, a line break and the beginning.
            let possible = [None, Some(b'a'), Some(b' '), Some(b'\n'), Some(b'\r')].into_iter().any(|left| {
                custom.start(left).is_some_and(|state| !custom.automaton.is_dead_state(custom.automaton.next_state(state, byte)))
            });
            if let Some(place) = custom.begins.get_mut(usize::from(byte)) {
                *place = possible;
            }
        }
        Ok(Some(custom))
    }

    /// The first place from `from` to `to` where a match may begin.
    pub fn next(&self, bytes: &[u8], from: usize, to: usize) -> usize {
        let begins = |b: &u8| self.begins.get(usize::from(*b)).is_some_and(|&possible| possible);
        bytes.get(from..to).and_then(|part| part.iter().position(begins)).map_or(to.max(from), |n| from + n)
    }

    /// The longest match of any pattern at a position; of equal ones the pattern listed first.
    pub fn find(&self, input: &Input<'_>, at: usize) -> Found {
        let first = input.at(at)?;
        if !self.begins.get(usize::from(first)).is_some_and(|&possible| possible) {
            return Ok(None);
        }
        let left = at.checked_sub(1).map(|_| input.before(at, 1));
        let Some(mut state) = self.start(left) else { return Ok(None) };
        let mut best = None;
        let mut i = at;
        // A match shows one byte after its end: `\b` and `$` look at what follows.
        loop {
            let stop = input.ended && i >= input.bytes.len();
            let byte = input.at(i)?;
            let over = stop || byte == DELIMITER as u8;
            state = if over { self.automaton.next_eoi_state(state) } else { self.automaton.next_state(state, byte) };
            if self.automaton.is_match_state(state) && i > at {
                best = Some((i, self.automaton.match_pattern(state, 0).as_usize()));
            }
            if over || self.automaton.is_dead_state(state) || self.automaton.is_quit_state(state) {
                break;
            }
            i += 1;
        }
        Ok(best.map(|(end, pattern)| Hit { end, rule: Rule { kind: Kind::Custom, id: RuleId::Custom(pattern) }, tail: None }))
    }

    fn start(&self, left: Option<u8>) -> Option<StateID> {
        self.automaton.start_state(&start::Config::new().anchored(Anchored::Yes).look_behind(left)).ok()
    }
}

fn build(patterns: &[String]) -> Result<dense::DFA<Vec<u32>>, String> {
    let config = dense::Config::new()
        .start_kind(StartKind::Anchored)
        .match_kind(MatchKind::All)
        .dfa_size_limit(Some(SIZE_LIMIT))
        .determinize_size_limit(Some(4 * SIZE_LIMIT));
    dense::Builder::new()
        .configure(config)
        .thompson(thompson::Config::new().nfa_size_limit(Some(SIZE_LIMIT)))
        .build_many(patterns)
        .map_err(|error| std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string))
}

/// Gives the Perl classes and the word boundary their ASCII meaning.
fn ascii_classes(pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len());
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('d') => out.push_str("[0-9]"),
            Some('w') => out.push_str("[0-9A-Za-z_]"),
            Some('s') => out.push_str(r"[\t\n\x0B\x0C\r ]"),
            Some('b') => out.push_str(r"(?-u:\b)"),
            Some(other) => out.extend(['\\', other]),
            None => out.push('\\'),
        }
    }
    out
}

/// Kept apart so that the engine's loop reads the same with and without patterns.
pub(super) fn find(patterns: Option<&CustomPatterns>, input: &Input<'_>, at: usize) -> Result<Option<Hit>, Open> {
    patterns.map_or(Ok(None), |patterns| patterns.find(input, at))
}
