//! String literals: where they end, what they say, and which of their bytes say it.

use super::{JsonError, Problem};
use std::borrow::Cow;
use std::fmt::Write;
use std::ops::Range;

/// A string of a document: what stands between its quotes.
#[derive(Debug, Clone, Copy)]
pub struct Literal<'a> {
    source: &'a str,
    start: usize,
    escaped: bool,
}

impl<'a> Literal<'a> {
    pub(super) fn new(source: &'a str, start: usize, escaped: bool) -> Self {
        Self { source, start, escaped }
    }

    /// Byte range in the document between the quotes.
    pub fn range(&self) -> Range<usize> {
        self.start..self.start + self.source.len()
    }

    /// Byte range in the document, quotes included.
    pub fn quoted(&self) -> Range<usize> {
        self.start - 1..self.start + self.source.len() + 1
    }

    /// The decoded value: borrowed unless it holds escapes.
    pub fn decode(&self) -> Cow<'a, str> {
        if self.escaped { decode(self.source) } else { Cow::Borrowed(self.source) }
    }
}

/// Decodes what stands between the quotes of a string. A lone surrogate reads as U+FFFD; a malformed escape, which a
/// [`Reader`](super::Reader) never passes on, stands for itself.
pub fn decode(raw: &str) -> Cow<'_, str> {
    let mut rest = raw;
    let Some(mut escape) = memchr::memchr(b'\\', rest.as_bytes()) else { return Cow::Borrowed(raw) };
    let mut text = String::with_capacity(raw.len());
    loop {
        let (plain, tail) = rest.split_at(escape);
        text.push_str(plain);
        let (length, character) = unescape(tail.as_bytes());
        text.push(character);
        rest = tail.get(length..).unwrap_or_default();
        match memchr::memchr(b'\\', rest.as_bytes()) {
            Some(next) => escape = next,
            None => break,
        }
    }
    text.push_str(rest);
    Cow::Owned(text)
}

/// Encodes `text` for a place between quotes, escaping only what RFC 8259 demands.
pub fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    encode_into(text, &mut encoded);
    encoded
}

/// [`encode`], appending to `encoded`.
pub fn encode_into(text: &str, encoded: &mut String) {
    let mut plain = 0;
    for (at, byte) in text.bytes().enumerate() {
        if byte >= 0x20 && byte != b'"' && byte != b'\\' {
            continue;
        }
        encoded.push_str(text.get(plain..at).unwrap_or_default());
        plain = at + 1;
        match byte {
            b'"' => encoded.push_str("\\\""),
            b'\\' => encoded.push_str("\\\\"),
            b'\n' => encoded.push_str("\\n"),
            b'\r' => encoded.push_str("\\r"),
            b'\t' => encoded.push_str("\\t"),
            0x08 => encoded.push_str("\\b"),
            0x0c => encoded.push_str("\\f"),
            // Writing to a String cannot fail.
            _ => drop(write!(encoded, "\\u{byte:04x}")),
        }
    }
    encoded.push_str(text.get(plain..).unwrap_or_default());
}

/// Maps a byte range of the decoded value back to the raw literal. A border inside a character, or inside what one escape
/// decodes to, moves outwards. For several ranges of one literal use [`Offsets`].
pub fn raw_range(raw: &str, decoded: Range<usize>) -> Range<usize> {
    Offsets::new(raw.as_bytes()).range(decoded)
}

/// Maps ascending byte ranges of a decoded value to its raw literal, in one pass over all of them.
#[derive(Debug)]
pub struct Offsets<'a> {
    raw: &'a [u8],
    /// A border of characters or escapes: `raw` before `at` decodes to `decoded` bytes.
    at: usize,
    decoded: usize,
}

impl<'a> Offsets<'a> {
    /// Maps into `raw`, what stands between the quotes.
    pub fn new(raw: &'a [u8]) -> Self {
        Self { raw, at: 0, decoded: 0 }
    }

    /// The raw range of `decoded`, which must not begin before the end of the range asked last.
    pub fn range(&mut self, decoded: Range<usize>) -> Range<usize> {
        self.seek(decoded.start);
        let start = self.at;
        if decoded.is_empty() {
            return start..start;
        }
        self.seek(decoded.end);
        let inside = self.decoded < decoded.end && self.at < self.raw.len();
        start..if inside { self.at + self.unit().0 } else { self.at }
    }

    /// Goes to the last border at or before `decoded`.
    fn seek(&mut self, decoded: usize) {
        while self.decoded < decoded && self.at < self.raw.len() {
            let rest = self.raw.get(self.at..).unwrap_or_default();
            // Looks no further than it may go: many ranges in one long run stay linear.
            let reach = rest.get(..decoded - self.decoded).unwrap_or(rest);
            let mut plain = memchr::memchr(b'\\', reach).unwrap_or(reach.len());
            while rest.get(plain).is_some_and(|byte| byte & 0xc0 == 0x80) && plain > 0 {
                plain -= 1;
            }
            if plain > 0 {
                self.at += plain;
                self.decoded += plain;
                continue;
            }
            let (length, decoded_length) = self.unit();
            if self.decoded + decoded_length > decoded {
                return;
            }
            self.at += length;
            self.decoded += decoded_length;
        }
    }

    /// Raw and decoded length of the escape or character at `at`.
    fn unit(&self) -> (usize, usize) {
        let rest = self.raw.get(self.at..).unwrap_or_default();
        if rest.first() == Some(&b'\\') {
            let (length, character) = unescape(rest);
            return (length, character.len_utf8());
        }
        let length = 1 + rest.iter().skip(1).take_while(|byte| *byte & 0xc0 == 0x80).count();
        (length, length)
    }
}

/// The string whose first byte after the quote is at `start`: where its closing quote is, and whether it holds escapes.
pub(super) fn scan(document: &[u8], start: usize) -> Result<(usize, bool), JsonError> {
    let error = |at, what| Err(JsonError { at, problem: Problem::Expected(what) });
    let mut at = start;
    let mut escaped = false;
    loop {
        at += plain(document.get(at..).unwrap_or_default());
        match document.get(at) {
            Some(b'"') => return Ok((at, escaped)),
            Some(b'\\') => escaped = true,
            Some(_) => return error(at, "an escape instead of a control character"),
            None => return error(at, "the end of a string"),
        }
        match document.get(at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => at += 2,
            Some(b'u') if hex(document.get(at + 2..at + 6)).is_some() => at += 6,
            Some(b'u') => return error(at, "four hexadecimal digits after `\\u`"),
            _ => return error(at, "an escape"),
        }
    }
}

/// Length of the run that needs no thought: no quote, no backslash, no control character.
fn plain(bytes: &[u8]) -> usize {
    // Most strings are short: word by word beats the set-up of a vectorised search there, and loses beyond.
    const SHORT: usize = 64;
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const HIGH: u64 = ONES << 7;
    let mut length = 0;
    while let Some(word) = bytes.get(length..).and_then(|rest| rest.first_chunk::<8>()) {
        if length == SHORT {
            break;
        }
        let word = u64::from_le_bytes(*word);
        let zero_in = |word: u64| word.wrapping_sub(ONES) & !word;
        let quote = zero_in(word ^ (ONES * b'"' as u64));
        let backslash = zero_in(word ^ (ONES * b'\\' as u64));
        let control = word.wrapping_sub(ONES * 0x20) & !word;
        // Borrows can only mark bytes above a true one, and the lowest mark is the one used.
        let marks = (quote | backslash | control) & HIGH;
        if marks != 0 {
            return length + marks.trailing_zeros() as usize / 8;
        }
        length += 8;
    }
    let rest = bytes.get(length..).unwrap_or_default();
    let run = rest.get(..memchr::memchr2(b'"', b'\\', rest).unwrap_or(rest.len())).unwrap_or_default();
    // A fold instead of a search: without an early exit the compiler vectorises it.
    if !run.iter().fold(false, |any, byte| any | (*byte < 0x20)) {
        return length + run.len();
    }
    length + run.iter().position(|byte| *byte < 0x20).unwrap_or(run.len())
}

/// Length of the escape that `raw` begins with and the character it stands for.
fn unescape(raw: &[u8]) -> (usize, char) {
    let simple = |character| (2, character);
    match raw.get(1) {
        Some(b'"') => simple('"'),
        Some(b'\\') => simple('\\'),
        Some(b'/') => simple('/'),
        Some(b'b') => simple('\u{8}'),
        Some(b'f') => simple('\u{c}'),
        Some(b'n') => simple('\n'),
        Some(b'r') => simple('\r'),
        Some(b't') => simple('\t'),
        Some(b'u') => {
            let Some(unit) = hex(raw.get(2..6)) else { return (1, '\\') };
            let low = (raw.get(6..8) == Some(b"\\u")).then(|| hex(raw.get(8..12))).flatten();
            match (unit, low) {
                (0xd800..=0xdbff, Some(low @ 0xdc00..=0xdfff)) => {
                    let code = 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
                    (12, char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER))
                }
                _ => (6, char::from_u32(unit).unwrap_or(char::REPLACEMENT_CHARACTER)),
            }
        }
        _ => (1, '\\'),
    }
}

fn hex(digits: Option<&[u8]>) -> Option<u32> {
    digits?.iter().try_fold(0, |value, digit| Some(value << 4 | char::from(*digit).to_digit(16)?))
}
