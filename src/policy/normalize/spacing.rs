//! Letters set apart (`i g n o r e`, `i.g.n.o.r.e`) put together again.

use super::map::OffsetMap;
use std::ops::Range;

/// Fewer letters than this in a row are initials or a list, not a word.
const MIN_LETTERS: usize = 3;
/// A longer gap ends the run.
const MAX_GAP: usize = 6;

/// Rewrites `text` into `out` with its spaced-out words joined; false, and nothing written, when there are none.
///
/// The first gap of a run says what stands between letters; any other gap is the space between two words.
pub fn join(text: &str, out: &mut String, map: &mut OffsetMap) -> bool {
    let bytes = text.as_bytes();
    let (mut copied, mut at) = (0, 0);
    while let Some(run) = next_run(bytes, at) {
        at = run.end;
        if run.letters < MIN_LETTERS || run.joins + 1 < MIN_LETTERS {
            continue;
        }
        copy(text, copied..run.start, out, map);
        let mut letter = run.start;
        loop {
            copy(text, letter..letter + 1, out, map);
            let gap = gap_after(bytes, letter);
            if gap.end >= run.end {
                break;
            }
            if bytes.get(gap.clone()) != bytes.get(run.gap.clone()) {
                map.unit(out.len(), gap.start);
                out.push(' ');
            }
            letter = gap.end;
        }
        copied = run.end;
    }
    if copied == 0 {
        return false;
    }
    copy(text, copied..text.len(), out, map);
    map.finish(text.len());
    true
}

/// Single letters or digits with short gaps between them.
struct Run {
    start: usize,
    end: usize,
    /// The first gap.
    gap: Range<usize>,
    letters: usize,
    /// Gaps equal to the first.
    joins: usize,
}

/// The first run long enough to be a word that starts at or after `from`, where no word goes on.
fn next_run(bytes: &[u8], from: usize) -> Option<Run> {
    let mut at = next_row(bytes, from)?;
    let gap = gap_after(bytes, at);
    let mut run = Run { start: at, end: at + 1, gap: gap.clone(), letters: 0, joins: 0 };
    loop {
        run.letters += usize::from(bytes.get(at).is_some_and(u8::is_ascii_alphabetic));
        run.end = at + 1;
        let next = gap_after(bytes, at);
        if next.is_empty() || next.len() > MAX_GAP || !stands_alone(bytes, next.end) {
            return Some(run);
        }
        run.joins += usize::from(bytes.get(next.clone()) == bytes.get(gap.clone()));
        at = next.end;
    }
}

/// Where the first letters or digits stand alone, as many in a row as a word has.
fn next_row(bytes: &[u8], from: usize) -> Option<usize> {
    let (mut at, mut last) = (from, from);
    let (mut first, mut row) = (from, 0);
    loop {
        while !is_word(*bytes.get(at)?) {
            at += 1;
        }
        let start = at;
        while bytes.get(at).is_some_and(|b| is_word(*b)) {
            at += 1;
        }
        if at > start + 1 {
            row = 0;
            continue;
        }
        if row == 0 || start > last + MAX_GAP {
            (first, row) = (start, 0);
        }
        (row, last) = (row + 1, at);
        if row == MIN_LETTERS {
            return Some(first);
        }
    }
}

/// The separators after the letter at `at`, looked for no further than a run allows.
fn gap_after(bytes: &[u8], at: usize) -> Range<usize> {
    let start = at + 1;
    let rest = bytes.get(start..).unwrap_or_default();
    start..start + rest.iter().take(MAX_GAP + 1).take_while(|b| !is_word(**b)).count()
}

fn stands_alone(bytes: &[u8], at: usize) -> bool {
    let word = |at: Option<usize>| at.and_then(|at| bytes.get(at)).is_some_and(|b| is_word(*b));
    bytes.get(at).is_some_and(u8::is_ascii_alphanumeric) && !word(at.checked_sub(1)) && !word(at.checked_add(1))
}

/// Bytes of other scripts count as part of a word: a letter beside one does not stand alone.
fn is_word(b: u8) -> bool {
    WORD[usize::from(b)]
}

const WORD: [bool; 256] = {
    let mut word = [false; 256];
    let mut b = 0;
    while b < word.len() {
        word[b] = (b as u8).is_ascii_alphanumeric() || b >= 0x80;
        b += 1;
    }
    word
};

fn copy(text: &str, range: Range<usize>, out: &mut String, map: &mut OffsetMap) {
    if !range.is_empty() {
        map.copy(out.len(), range.start);
        out.push_str(text.get(range).unwrap_or_default());
    }
}
