//! Texts inside the text: runs of base64 or hex, and whole texts announced as rot13 or reversed.

use super::Rewritten;
use base64::Engine;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use std::ops::Range;

/// Shorter runs are words and identifiers.
const MIN_BASE64: usize = 24;
/// Shorter runs of hex are colours, ids and short digests.
const MIN_HEX: usize = 32;
/// Below this share of printable characters (in percent) a decoded run is data, not a message.
const MIN_PRINTABLE: usize = 95;

const LENIENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent).with_decode_allow_trailing_bits(true);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&base64::alphabet::STANDARD, LENIENT);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&base64::alphabet::URL_SAFE, LENIENT);

/// Writes every run of base64 or hex that decodes to a message, a line each; false when there is none.
pub fn decode(text: &str, into: &mut Rewritten) -> bool {
    let bytes = text.as_bytes();
    let Rewritten { text: out, map, run: compact, decoded } = into;
    let mut at = 0;
    while let Some(run) = next_run(bytes, at) {
        at = run.end;
        compact.clear();
        compact.extend(bytes.get(run.clone()).unwrap_or_default().iter().filter(|b| !matches!(b, b'\n' | b'\r')));
        if let Some(message) = message(compact, decoded) {
            map.unit(out.len(), run.start);
            out.push_str(message);
            map.unit(out.len(), run.end);
            out.push('\n');
        }
    }
    map.finish(text.len());
    !out.is_empty()
}

/// Writes `text` with its Latin letters rotated by thirteen.
pub fn rot13(text: &str, Rewritten { text: out, map, .. }: &mut Rewritten) {
    map.copy(0, 0);
    out.extend(text.chars().map(|c| match c {
        'a'..='m' | 'A'..='M' => char::from(c as u8 + 13),
        'n'..='z' | 'N'..='Z' => char::from(c as u8 - 13),
        other => other,
    }));
    map.finish(text.len());
}

/// Writes `text` back to front. Offsets cannot run backwards, so the whole stands for the whole.
pub fn reversed(text: &str, Rewritten { text: out, map, .. }: &mut Rewritten) {
    map.unit(0, 0);
    out.extend(text.chars().rev());
    map.finish(text.len());
}

/// The next run long enough to be base64 or hex, wrapped lines included.
fn next_run(bytes: &[u8], from: usize) -> Option<Range<usize>> {
    let start = next_line(bytes, from)?;
    let mut end = line_end(bytes, start + MIN_BASE64);
    let mut line = end - start;
    // A wrapped run goes on in the next line when this one was full-length.
    while line >= MIN_BASE64 {
        let next = match bytes.get(end..).unwrap_or_default() {
            [b'\r', b'\n', ..] => end + 2,
            [b'\n', ..] => end + 1,
            _ => break,
        };
        let next_end = line_end(bytes, next);
        line = next_end - next;
        if line == 0 || line > end - start {
            break;
        }
        end = next_end;
    }
    Some(start..end)
}

/// Where the next line of at least [`MIN_BASE64`] begins. Most of a text is never looked at: a line that long has no other byte in
/// so many, so the last of them says how far to skip.
fn next_line(bytes: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    while let Some(other) = bytes.get(at..at + MIN_BASE64)?.iter().rposition(|b| !is_base64(*b)) {
        at += other + 1;
    }
    Some(at)
}

fn line_end(bytes: &[u8], start: usize) -> usize {
    let rest = bytes.get(start..).unwrap_or_default();
    start + rest.iter().position(|b| !is_base64(*b)).unwrap_or(rest.len())
}

fn is_base64(b: u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'-' | b'_' | b'=')
}

/// What a run decodes to, if it is a message; `decoded` is memory for it.
fn message<'d>(run: &[u8], decoded: &'d mut Vec<u8>) -> Option<&'d str> {
    if run.len() >= MIN_HEX && run.iter().all(u8::is_ascii_hexdigit) {
        let digits = run.get(..run.len() & !1)?;
        decoded.clear();
        decoded.resize(digits.len() / 2, 0);
        if hex::decode_to_slice(digits, decoded).is_ok() && is_readable(decoded) {
            return std::str::from_utf8(decoded).ok();
        }
    }
    let body = run.get(..run.iter().rposition(|b| *b != b'=')? + 1)?;
    // One digit too many encodes no byte: the run was cut, or glued to something.
    let body = if body.len() % 4 == 1 { body.get(..body.len() - 1)? } else { body };
    if body.contains(&b'=') {
        return None;
    }
    let engine = if body.iter().any(|b| matches!(b, b'-' | b'_')) { &URL_SAFE } else { &STANDARD };
    decoded.clear();
    engine.decode_vec(body, decoded).ok()?;
    if is_readable(decoded) { std::str::from_utf8(decoded).ok() } else { None }
}

/// UTF-16 of Latin letters: every second byte is 0, and none of the others.
fn is_wide(bytes: &[u8]) -> bool {
    let zeros = |from: usize| bytes.iter().skip(from).step_by(2).all(|b| *b == 0);
    let none = |from: usize| bytes.iter().skip(from).step_by(2).all(|b| *b != 0);
    bytes.len() >= 2 && (zeros(0) && none(1) || zeros(1) && none(0))
}

/// Whether the bytes are text rather than data, after what a text may do without is taken from them: the zeros of UTF-16, and a
/// character cut off at the end.
fn is_readable(bytes: &mut Vec<u8>) -> bool {
    if is_wide(bytes) {
        bytes.retain(|b| *b != 0);
    }
    if let Err(error) = std::str::from_utf8(bytes) {
        if error.error_len().is_some() {
            return false;
        }
        bytes.truncate(error.valid_up_to());
    }
    let text = std::str::from_utf8(bytes).unwrap_or_default();
    let (mut all, mut printable) = (0usize, 0usize);
    for c in text.chars() {
        all += 1;
        printable += usize::from(!c.is_control() || matches!(c, '\n' | '\r' | '\t'));
    }
    all > 0 && printable * 100 >= all * MIN_PRINTABLE
}
